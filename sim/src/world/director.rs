//! Makes happen what the plan says, when it says so, and writes down what really struck.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use streamkeeper::Time;

use super::{
    actor::{Actor, Orders},
    agenda::{Agenda, Item},
    checkpoints::Armed,
    consumer,
    lasting::{Kind, Lasting},
    producer,
    scene::Scene,
    server::Server,
};
use crate::{
    facts::{What, Who},
    plan::{Action, Plan, Point, RedisFault, ServerName, Topology, Way},
    stage::{Course, HostId},
};

/// For longer than anything is paused: the director thaws.
const LONG: Duration = Duration::from_secs(1 << 32);

/// Everything that a run is made of.
pub(crate) struct Director<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) stage: Box<dyn Course>,
    pub(crate) scene: Scene,
    pub(crate) consumers: Vec<Rc<dyn Actor>>,
    pub(crate) producer: Rc<dyn Orders>,
    pub(crate) server: Server,
    lasting: Lasting,
    agenda: Agenda,
    ongoing: BTreeMap<u64, Ongoing>,
    /// The number of the next message that is sent.
    next_message: u64,
}

/// How soon a process is killed whose handler wants that, at the longest: it stands still meanwhile.
const DOOM: Duration = Duration::from_millis(5);
/// How soon it is started again.
const RISE: Duration = Duration::from_millis(400);

/// A fault that lasts.
struct Ongoing {
    kind: &'static str,
    consumer: Option<usize>,
    how: How,
}

enum How {
    Pause(Who),
    Net(Kind, Way),
    Slow(Duration),
    /// Nobody reaches the server on this host.
    Cut(HostId, Way),
    /// The sentinel on this host stands still.
    Frozen(HostId),
    /// This node does not hear who serves the slot.
    Stale(usize),
    /// The sentinel on this host is dead.
    Dead(HostId),
    /// Ends by itself.
    Redis,
}

impl<'a> Director<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        stage: Box<dyn Course>,
        scene: Scene,
        consumers: Vec<Rc<dyn Actor>>,
        producer: Rc<dyn Orders>,
        server: Server,
    ) -> Director<'a> {
        let mut agenda = Agenda::default();
        for timed in &plan.actions {
            agenda.put(Time::ZERO + timed.at, Item::Act(timed.action.clone()));
        }
        let healed = Time::ZERO + plan.heal_at;
        agenda.put(healed, Item::Heal);
        if plan.finish {
            // The first half shows that everything is owned again, the second one that it can be finished.
            agenda.put(healed + plan.calm / 2, Item::Finish);
        }
        agenda.put(healed + plan.calm, Item::End);
        let (lasting, ongoing) = (Lasting::default(), BTreeMap::new());
        Director { plan, stage, scene, consumers, producer, server, lasting, agenda, ongoing, next_message: 1 }
    }

    /// Runs the plan to its end, and says when that was.
    pub(crate) fn run(&mut self) -> Time {
        for index in 0..self.consumers.len() {
            if self.plan.consumers[index].joins {
                self.start(index);
            }
        }
        while let Some((at, item)) = self.agenda.take() {
            self.pass_until(at);
            match item {
                Item::Act(action) => self.act(&action),
                Item::Over(number) => self.over(number),
                Item::Step(step) => self.server.step(step),
                Item::Heal => self.heal(),
                Item::Finish => self.finish(),
                Item::End => break,
            }
        }
        self.stage.now()
    }

    /// Lets time pass. Where there are workers, some of their handlers may kill their processes meanwhile.
    fn pass_until(&mut self, at: Time) {
        while self.plan.has_workers() && self.stage.now() < at {
            let next = (self.stage.now() + DOOM).min(at);
            self.stage.run_until(next);
            for who in self.scene.doomed() {
                self.execute(who);
            }
        }
        self.stage.run_until(at);
    }

    /// Kills a process whose handler wants that, and has it started again.
    fn execute(&mut self, who: Who) {
        let index = who.consumer;
        if self.consumers.get(index).and_then(|consumer| consumer.running()) == Some(who) {
            self.kill(index);
            self.agenda.put(self.stage.now() + RISE, Item::Act(Action::Start { consumer: index, renamed: false }));
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Announce { prefix, from, count } => {
                let streams = (*from..from.saturating_add(*count)).map(|number| format!("{prefix}{number}")).collect();
                self.struck(action);
                self.producer.tell(producer::Order::Announce(streams));
            }
            Action::Append { prefix, from, count, entries } => {
                let streams = (*from..from.saturating_add(*count)).map(|number| format!("{prefix}{number}"));
                if self.server.append(streams, *entries) {
                    self.struck(action);
                }
            }
            Action::Malformed { kind } => {
                self.struck(action);
                self.producer.tell(producer::Order::Malformed(*kind));
            }
            Action::Start { consumer, renamed } => {
                if let Some(idle) = self.consumers.get(*consumer).filter(|consumer| !consumer.is_up()) {
                    if *renamed {
                        idle.rename();
                    }
                    self.struck(action);
                    self.start(*consumer);
                }
            }
            Action::Crash { consumer } => self.crash(*consumer, action),
            Action::Drain { consumer, deadline_ms } => {
                if self.runs(*consumer) {
                    self.struck(action);
                    self.consumers[*consumer].tell(consumer::Order::Drain(Duration::from_millis(*deadline_ms)));
                }
            }
            Action::Pause { consumer, ms, point: Point::Now } | Action::Suspend { consumer, ms } => {
                self.pause(*consumer, *ms, action);
            }
            Action::Pause { consumer, ms, point } => self.arm(*consumer, *ms, *point, action),
            Action::Partition { consumer, way, ms } => self.net(*consumer, Kind::Partition, *way, *ms, action),
            Action::Stall { consumer, way, ms } => self.net(*consumer, Kind::Stall, *way, *ms, action),
            Action::Reset { consumer } => {
                if self.runs(*consumer) {
                    self.struck(action);
                    for server in self.server.servers.hosts.all() {
                        self.stage.reset((host(*consumer), server));
                    }
                }
            }
            Action::Slow { consumer, by_ms, ms } => {
                if *consumer < self.consumers.len() {
                    let by = Duration::from_millis(*by_ms);
                    self.struck(action);
                    for server in self.server.servers.hosts.all() {
                        self.lasting.slow(&mut *self.stage, (host(*consumer), server), by);
                    }
                    self.lasts(action, *ms, How::Slow(by));
                }
            }
            Action::LoseAnswer { consumer, after } => {
                if self.runs(*consumer) && self.server.lose_answer(host(*consumer), *after) {
                    self.struck(action);
                }
            }
            Action::Send(sending) => {
                self.struck(action);
                self.producer.tell(producer::Order::Send(sending.clone(), self.next_message));
                self.next_message += sending.count;
            }
            Action::LoseSend { after } => {
                if self.server.lose_answer(host(self.consumers.len()), *after) {
                    self.struck(action);
                }
            }
            Action::Wish { stream, end } => {
                if self.scene.is_held(stream) {
                    self.struck(action);
                    for consumer in &self.consumers {
                        consumer.tell(consumer::Order::Wish(stream.clone(), *end));
                    }
                }
            }
            Action::Redis(fault) => self.redis(fault, action),
            Action::Note(text) => self.scene.note(What::Note { text: text.clone() }),
        }
    }

    fn start(&mut self, index: usize) {
        if self.consumers[index].has_lived() {
            // A process that has ended has left its sockets open.
            self.stage.crash(host(index));
        }
        self.consumers[index].rise();
        self.stage.start(host(index));
    }

    fn crash(&mut self, index: usize, action: &Action) {
        if self.consumers.get(index).is_some_and(|consumer| consumer.is_up()) {
            self.struck(action);
            self.kill(index);
        }
    }

    fn kill(&mut self, index: usize) {
        self.scene.lives(index, None);
        self.stage.crash(host(index));
        let pauses = |ongoing: &Ongoing| ongoing.consumer == Some(index) && matches!(ongoing.how, How::Pause(_));
        for number in self.numbers(pauses) {
            if let Some(ongoing) = self.ongoing.remove(&number) {
                self.scene.note(ongoing.is_over());
            }
        }
        self.consumers[index].killed();
    }

    /// Freezes a process that runs and is not frozen yet.
    fn pause(&mut self, index: usize, ms: u64, action: &Action) {
        let Some(who) = self.consumers.get(index).and_then(|consumer| consumer.running()) else { return };
        let frozen = |ongoing: &Ongoing| matches!(ongoing.how, How::Pause(other) if other.consumer == index);
        if self.ongoing.values().any(frozen) || self.consumers[index].is_paused() {
            return;
        }
        self.struck(action);
        self.scene.note(What::Paused { who, ms });
        self.stage.freeze(host(index), self.stage.now() + LONG);
        self.lasts(action, ms, How::Pause(who));
    }

    fn arm(&mut self, index: usize, ms: u64, point: Point, action: &Action) {
        if self.runs(index) {
            let over = What::Over { kind: action.kind(), consumer: Some(index) };
            let span = Duration::from_millis(ms);
            self.consumers[index].arm(Armed { point, span, struck: struck(action), over });
        }
    }

    fn net(&mut self, index: usize, kind: Kind, way: Way, ms: u64, action: &Action) {
        if index < self.consumers.len() {
            self.struck(action);
            for server in self.server.servers.hosts.all() {
                self.lasting.close(&mut *self.stage, (host(index), server), kind, way);
            }
            self.lasts(action, ms, How::Net(kind, way));
        }
    }

    fn redis(&mut self, fault: &RedisFault, action: &Action) {
        match *fault {
            RedisFault::Switch { ms, .. } => return self.switch(fault, ms, action),
            RedisFault::Failover { ms } if self.plan.servers.topology != Topology::One => {
                return self.switch(fault, ms, action);
            }
            RedisFault::MoveSlot { ms } => return self.switch(fault, ms, action),
            RedisFault::Stale { server: ServerName::Data(number), ms } if self.has_node(number) => {
                self.struck(action);
                self.server.servers.stale(number, true);
                return self.lasts(action, ms, How::Stale(number));
            }
            RedisFault::Cut { server, way, ms } => {
                let Some(place) = self.server.servers.hosts.find(server) else { return };
                self.struck(action);
                for client in self.server.servers.hosts.clients.clone() {
                    self.lasting.close(&mut *self.stage, (client, place), Kind::Partition, way);
                }
                return self.lasts(action, ms, How::Cut(place, way));
            }
            RedisFault::Freeze { server: server @ ServerName::Sentinel(_), ms } => {
                let Some(place) = self.server.servers.hosts.find(server) else { return };
                self.struck(action);
                self.stage.freeze(place, self.stage.now() + Duration::from_millis(ms));
                return self.lasts(action, ms, How::Frozen(place));
            }
            RedisFault::Kill { server: server @ ServerName::Sentinel(_), ms } => {
                let Some(place) = self.server.servers.hosts.find(server) else { return };
                self.struck(action);
                self.stage.crash(place);
                return self.lasts(action, ms, How::Dead(place));
            }
            _ => {}
        }
        let who = match fault {
            RedisFault::DeleteConsumer { consumer } => self.consumers.get(*consumer).map(|consumer| consumer.id()),
            _ => None,
        };
        if self.server.inject(fault, who.as_deref(), struck(action))
            && let Some(ms) = action.ms()
        {
            self.lasts(action, ms, How::Redis);
        }
    }

    /// Whether there is a cluster with this node.
    fn has_node(&self, number: usize) -> bool {
        self.plan.servers.topology == Topology::Cluster && number < self.server.servers.data().len()
    }

    /// Roles change among the servers.
    fn switch(&mut self, fault: &RedisFault, ms: u64, action: &Action) {
        let Some(steps) = self.server.begin_switch(fault, struck(action)) else { return };
        for (after_ms, step) in steps {
            self.agenda.put(self.stage.now() + Duration::from_millis(after_ms), Item::Step(step));
        }
        self.lasts(action, ms, How::Redis);
    }

    fn heal(&mut self) {
        for consumer in &self.consumers {
            consumer.disarm();
        }
        for number in self.numbers(|ongoing| !matches!(ongoing.how, How::Redis)) {
            self.over(number);
        }
        self.server.heal();
        // Somebody has to be there for anything to recover.
        let ours = |index: &usize| !self.plan.consumers[*index].go;
        if !(0..self.consumers.len()).filter(ours).any(|index| self.consumers[index].is_up()) {
            let dead: Vec<usize> =
                (0..self.consumers.len()).filter(ours).filter(|index| self.consumers[*index].has_lived()).collect();
            dead.into_iter().for_each(|index| self.start(index));
        }
        self.scene.note(What::Healed);
    }

    fn finish(&mut self) {
        for consumer in &self.consumers {
            consumer.tell(consumer::Order::Finish);
        }
    }

    fn lasts(&mut self, action: &Action, ms: u64, how: How) {
        let ongoing = Ongoing { kind: action.kind(), consumer: action.consumer(), how };
        let number = self.agenda.next;
        self.ongoing.insert(number, ongoing);
        self.agenda.put(self.stage.now() + Duration::from_millis(ms), Item::Over(number));
    }

    /// A lasting fault ends, if it has not ended before.
    fn over(&mut self, number: u64) {
        let Some(ongoing) = self.ongoing.remove(&number) else { return };
        let host = ongoing.consumer.map_or(0, host);
        // Said before what follows: who goes on may stand still again at once.
        if let How::Pause(who) = ongoing.how {
            self.scene.note(What::Resumed { who });
        }
        self.scene.note(ongoing.is_over());
        match &ongoing.how {
            How::Pause(_) => self.stage.freeze(host, self.stage.now()),
            How::Net(kind, way) => {
                for server in self.server.servers.hosts.all() {
                    self.lasting.open(&mut *self.stage, (host, server), *kind, *way);
                }
            }
            How::Slow(by) => {
                for server in self.server.servers.hosts.all() {
                    self.lasting.hasten(&mut *self.stage, (host, server), *by);
                }
            }
            How::Cut(place, way) => {
                for client in self.server.servers.hosts.clients.clone() {
                    self.lasting.open(&mut *self.stage, (client, *place), Kind::Partition, *way);
                }
            }
            How::Frozen(place) => self.stage.freeze(*place, self.stage.now()),
            How::Stale(number) => self.server.servers.stale(*number, false),
            How::Dead(place) => self.stage.start(*place),
            How::Redis => self.server.over(ongoing.kind),
        }
    }

    fn numbers(&self, which: impl Fn(&Ongoing) -> bool) -> Vec<u64> {
        self.ongoing.iter().filter(|(_, ongoing)| which(ongoing)).map(|(number, _)| *number).collect()
    }

    fn runs(&self, index: usize) -> bool {
        self.consumers.get(index).is_some_and(|consumer| consumer.running().is_some())
    }

    fn struck(&self, action: &Action) {
        self.scene.note(struck(action));
    }
}

impl Ongoing {
    fn is_over(&self) -> What {
        What::Over { kind: self.kind, consumer: self.consumer }
    }
}

/// That this action strikes.
fn struck(action: &Action) -> What {
    What::Struck { action: action.to_string(), kind: action.kind(), consumer: action.consumer(), ms: action.ms() }
}

/// Where a consumer runs.
pub(crate) fn host(consumer: usize) -> HostId {
    consumer + 1
}
