//! A few processes, one group, and a network between them that loses and delays: everything that happens in it follows
//! from a [`Plan`](super::plan::Plan).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use streamkeeper_core::{
    id::{CallId, EntryId},
    messages::{
        Answer, Call, Command, Config, Event, Link, Machine, Notification, Outcome, Output, Remark, RunId, Stage,
        call::{Fields, Reason},
        event::Run,
        link_of,
    },
    time::Time,
    trouble::Trouble,
};

use super::{
    group::{Deed, Group, Name},
    plan::{Fault, Handler, Plan},
};

/// A process that restarts does so after this.
const RESTART: Duration = Duration::from_millis(500);
/// After the last fault, everything is settled within this.
const PATIENCE: Duration = Duration::from_secs(150);
/// More timer events in a row without any time passing are a spin.
const MOST_SPINS: u32 = 200;

pub(crate) struct World {
    plan: Plan,
    config: Config,
    now: Time,
    dice: u64,
    order: u64,
    queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    things: Vec<Option<Thing>>,
    group: Group,
    nodes: Vec<Node>,
    names: Name,
    /// Until when the server answers nobody.
    outage_until: Time,
    handlers: BTreeMap<EntryId, Handler>,
    /// What is known of each message, for the judges.
    sent: BTreeMap<EntryId, Story>,
}

#[derive(Default)]
struct Story {
    succeeded: u32,
    failed: u32,
    timed_out: u32,
    crashes: u32,
    acked: u32,
    buried: u32,
    trimmed: bool,
}

struct Node {
    name: Name,
    machine: Machine,
    alive: bool,
    wake: Option<Time>,
    /// Until when the process stands still.
    frozen_until: Time,
    /// Until when the network swallows what it says, or what it is told.
    cut_until: Time,
    /// The last instant at which something disturbed it.
    disturbed: Time,
    /// Which connection of each link is in use, if one is.
    up: [Option<u32>; 2],
    connections: u32,
    asked: BTreeMap<CallId, (Link, u32)>,
    runs: BTreeMap<RunId, Going>,
    stop_by: Option<Time>,
    stopped: bool,
    spins: u32,
}

struct Going {
    run: Run,
    lost: bool,
    cancelled: bool,
}

enum Thing {
    Send(usize),
    Fault(usize),
    Restart(usize),
    /// A node is told something, unless it has another name by now.
    Tell(usize, Name, Event),
    Wake(usize, Name),
    Connected(usize, Name, Link, u32),
    /// A call arrives at the server.
    Arrives(usize, Name, CallId, Call, u32),
    /// A read has waited long enough, or looks again.
    Reads(usize, Name, CallId, usize, Time, u32),
    /// The answer arrives at the node.
    Answer(usize, Name, CallId, Result<Answer, Trouble>),
    GivesUp(usize, Name, CallId),
    RunEnds(usize, Name, RunId),
}

impl World {
    pub(crate) fn new(plan: Plan) -> World {
        let config = Config::new(plan.settings()).expect("good settings");
        let mut world = World {
            group: Group::new(config.reclaim_idle),
            dice: plan.seed,
            config,
            now: Time::ZERO,
            order: 0,
            queue: BinaryHeap::new(),
            things: Vec::new(),
            nodes: Vec::new(),
            names: 0,
            outage_until: Time::ZERO,
            handlers: BTreeMap::new(),
            sent: BTreeMap::new(),
            plan,
        };
        for _ in 0..world.plan.nodes {
            let node = world.new_node();
            world.nodes.push(node);
            let (at, name) = (world.nodes.len() - 1, world.names);
            world.later(Duration::ZERO, Thing::Tell(at, name, Event::Timeout));
        }
        for (index, (at, _)) in world.plan.messages.clone().into_iter().enumerate() {
            world.later(Duration::from_millis(at), Thing::Send(index));
        }
        for (index, (at, _)) in world.plan.faults.clone().into_iter().enumerate() {
            world.later(Duration::from_millis(at), Thing::Fault(index));
        }
        world
    }

    fn new_node(&mut self) -> Node {
        self.names += 1;
        Node {
            name: self.names,
            machine: Machine::new(self.config.clone(), self.plan.seed ^ u64::from(self.names)),
            alive: true,
            wake: None,
            frozen_until: Time::ZERO,
            cut_until: Time::ZERO,
            disturbed: self.now,
            up: [None; 2],
            connections: 0,
            asked: BTreeMap::new(),
            runs: BTreeMap::new(),
            stop_by: None,
            stopped: false,
            spins: 0,
        }
    }

    /// Lives until everything is settled.
    pub(crate) fn live(mut self) {
        let last = self.plan.last_event();
        let end = last + PATIENCE;
        while let Some(Reverse((at, _, index))) = self.queue.pop() {
            if at > end || (at > last && self.is_settled()) {
                break;
            }
            self.now = self.now.max(at);
            let thing = self.things[index].take().expect("each happens once");
            self.happen(thing);
            self.judge_deeds();
        }
        self.judge_the_end(end);
    }

    fn is_settled(&self) -> bool {
        let stopping = self.nodes.iter().any(|node| node.alive && node.stop_by.is_some() && !node.stopped);
        self.group.pending.is_empty() && self.group.unread() == 0 && !stopping && self.group.there
    }

    fn happen(&mut self, thing: Thing) {
        match thing {
            Thing::Send(index) => {
                let handler = self.plan.messages[index].1.clone();
                let entry = EntryId { ms: 1_000 + index as u64, seq: 0 };
                let key = vec![handler.key];
                let fields: Fields = vec![(b"body".to_vec(), b"1".to_vec()), (b"key".to_vec(), key)].into();
                self.group.stream.insert(entry, fields);
                self.handlers.insert(entry, handler);
                self.sent.insert(entry, Story::default());
            }
            Thing::Fault(index) => self.fault(self.plan.faults[index].1.clone()),
            Thing::Restart(at) => {
                let node = self.new_node();
                let name = node.name;
                self.nodes[at] = node;
                self.later(Duration::ZERO, Thing::Tell(at, name, Event::Timeout));
            }
            Thing::Tell(at, name, event) => self.tell(at, name, event),
            Thing::Wake(at, name) => {
                let node = &self.nodes[at];
                if node.wake.is_some_and(|wake| wake <= self.now) {
                    self.tell(at, name, Event::Timeout);
                }
            }
            Thing::Connected(at, name, link, connection) => self.connected(at, name, link, connection),
            Thing::Arrives(at, name, id, call, connection) => self.arrives(at, name, id, call, connection),
            Thing::Reads(at, name, id, count, until, connection) => {
                self.reads(at, name, id, count, until, connection);
            }
            Thing::Answer(at, name, id, result) => {
                if self.nodes[at].name == name && self.nodes[at].asked.contains_key(&id) {
                    if self.nodes[at].frozen_until > self.now {
                        return self.at(self.nodes[at].frozen_until, Thing::Answer(at, name, id, result));
                    }
                    self.nodes[at].asked.remove(&id);
                    self.tell(at, name, Event::Answered(id, result));
                }
            }
            Thing::GivesUp(at, name, id) => {
                if self.nodes[at].name != name {
                    return;
                }
                if self.nodes[at].frozen_until > self.now {
                    return self.at(self.nodes[at].frozen_until, Thing::GivesUp(at, name, id));
                }
                if self.nodes[at].asked.remove(&id).is_some() {
                    self.nodes[at].disturbed = self.nodes[at].disturbed.max(self.now);
                    let trouble = Trouble::connection("no answer in time");
                    self.tell(at, name, Event::Answered(id, Err(trouble)));
                }
            }
            Thing::RunEnds(at, name, run) => self.run_ends(at, name, run),
        }
    }

    fn fault(&mut self, fault: Fault) {
        let at = |node: usize| node % self.plan.nodes;
        match fault {
            Fault::Break(node) => {
                let node = at(node);
                for link in [Link::Commands, Link::Reader] {
                    self.break_link(node, link, true);
                }
            }
            Fault::Crash(node) => self.crash(at(node)),
            Fault::Freeze(node, ms) => {
                let until = self.now + Duration::from_millis(ms);
                let node = &mut self.nodes[at(node)];
                node.frozen_until = node.frozen_until.max(until);
                node.disturbed = node.disturbed.max(until);
            }
            Fault::Cut(node, ms) => {
                let until = self.now + Duration::from_millis(ms);
                let node = &mut self.nodes[at(node)];
                node.cut_until = node.cut_until.max(until);
                node.disturbed = node.disturbed.max(until);
            }
            Fault::Outage(ms) => {
                self.outage_until = self.now + Duration::from_millis(ms);
                for node in 0..self.nodes.len() {
                    self.nodes[node].disturbed = self.outage_until;
                    for link in [Link::Commands, Link::Reader] {
                        self.break_link(node, link, true);
                    }
                }
            }
            Fault::Stop(node, ms) => {
                let (node, deadline) = (at(node), self.now + Duration::from_millis(ms));
                // One lives on: somebody has to finish the work.
                if node != 0 && self.nodes[node].alive && !self.nodes[node].stopped {
                    let by = self.nodes[node].stop_by.map_or(deadline, |before| before.min(deadline));
                    self.nodes[node].stop_by = Some(by);
                    let name = self.nodes[node].name;
                    self.tell(node, name, Event::Shutdown(deadline));
                }
            }
            Fault::Pause(node, ms) => {
                let (node, name) = (at(node), self.nodes[at(node)].name);
                self.tell(node, name, Event::Pause(true));
                self.later(Duration::from_millis(ms), Thing::Tell(node, name, Event::Pause(false)));
                // What a frozen process is told may come out of order: in the end it goes on.
                self.at(self.plan.last_event(), Thing::Tell(node, name, Event::Pause(false)));
            }
            Fault::Trim(index) => {
                let entry = EntryId { ms: 1_000 + index as u64, seq: 0 };
                if self.group.stream.remove(&entry).is_some() {
                    self.sent.get_mut(&entry).expect("it was sent").trimmed = true;
                }
            }
            Fault::LoseGroup => self.group.destroy(),
        }
    }

    fn crash(&mut self, at: usize) {
        if self.nodes[at].alive {
            for going in self.nodes[at].runs.values() {
                self.sent.get_mut(&going.run.entry).expect("it was sent").crashes += 1;
            }
            let node = &mut self.nodes[at];
            (node.alive, node.wake) = (false, None);
            node.name = u32::MAX; // what is on its way to it does not arrive
            self.later(RESTART, Thing::Restart(at));
        }
    }

    fn tell(&mut self, at: usize, name: Name, event: Event) {
        let node = &self.nodes[at];
        if node.name != name || !node.alive || node.stopped {
            return;
        }
        if node.frozen_until > self.now {
            return self.at(node.frozen_until, Thing::Tell(at, name, event));
        }
        let timer = event == Event::Timeout;
        self.nodes[at].machine.handle(event, self.now);
        loop {
            match self.nodes[at].machine.poll() {
                Output::Wait(wake) => {
                    self.sleep(at, name, wake, timer);
                    break;
                }
                output => self.obey(at, name, output),
            }
        }
        let node = &self.nodes[at];
        let s = &self.config;
        let most = s.concurrency + s.prefetch;
        assert!(node.machine.running() <= s.concurrency);
        assert!(node.machine.held() <= 2 * most + 3 * s.batch, "{} are held", node.machine.held());
        if let Some(by) = node.stop_by {
            let grace = s.call_timeout * 2 + Duration::from_millis(50);
            let late = by.max(node.frozen_until) + grace;
            assert!(node.stopped || self.now <= late, "the stop does not end");
        }
    }

    fn sleep(&mut self, at: usize, name: Name, wake: Option<Time>, timer: bool) {
        let node = &mut self.nodes[at];
        node.wake = wake;
        assert_eq!(wake.is_none(), node.machine.stopped());
        let Some(wake) = wake else { return };
        let again = timer && wake <= self.now;
        node.spins = if again { node.spins + 1 } else { 0 };
        assert!(node.spins < MOST_SPINS, "it spins at {:?}", self.now);
        self.at(wake, Thing::Wake(at, name));
    }

    fn obey(&mut self, at: usize, name: Name, output: Output) {
        match output {
            Output::Command(Command::Connect(link)) => {
                self.break_link(at, link, false);
                self.nodes[at].connections += 1;
                let (connection, pause) = (self.nodes[at].connections, self.latency());
                self.later(pause, Thing::Connected(at, name, link, connection));
            }
            Output::Command(Command::Disconnect(link)) => self.break_link(at, link, false),
            Output::Command(Command::Call(id, call)) => self.call(at, name, id, call),
            Output::Command(Command::Start(run)) => self.start(at, name, run),
            Output::Command(Command::Lost(run)) => {
                if let Some(going) = self.nodes[at].runs.get_mut(&run) {
                    assert!(!going.lost, "told twice");
                    going.lost = true;
                }
            }
            Output::Command(Command::Cancel(run)) => {
                let Some(going) = self.nodes[at].runs.get_mut(&run) else { panic!("{run:?} does not run") };
                going.cancelled = true;
                if self.handlers[&going.run.entry].stops {
                    self.later(Duration::from_millis(1), Thing::RunEnds(at, name, run));
                }
            }
            Output::Notification(Notification::Stopped(_)) => self.nodes[at].stopped = true,
            Output::Notification(Notification::Terminated(trouble)) => panic!("terminated: {trouble}"),
            Output::Remark(Remark::TimedOut(entry)) => {
                self.sent.get_mut(&entry).expect("it was sent").timed_out += 1;
            }
            Output::Settled(_) | Output::Notification(Notification::Ready) | Output::Remark(_) => {}
            Output::Wait(_) => unreachable!("handled before"),
        }
    }

    fn call(&mut self, at: usize, name: Name, id: CallId, call: Call) {
        let link = link_of(&call);
        let Some(connection) = self.nodes[at].up[link as usize] else {
            let trouble = Trouble::connection("not connected");
            return self.later(Duration::ZERO, Thing::Tell(at, name, Event::Answered(id, Err(trouble))));
        };
        let waits = match &call {
            Call::Read { block, .. } => *block,
            _ => Duration::ZERO,
        };
        self.nodes[at].asked.insert(id, (link, connection));
        self.later(self.config.call_timeout + waits, Thing::GivesUp(at, name, id));
        if self.nodes[at].cut_until > self.now && self.roll(2) == 0 {
            return; // it never arrives
        }
        let pause = self.latency();
        self.later(pause, Thing::Arrives(at, name, id, call, connection));
    }

    fn connected(&mut self, at: usize, name: Name, link: Link, connection: u32) {
        if self.nodes[at].name != name || self.nodes[at].connections < connection {
            return;
        }
        let event = if self.outage_until > self.now || self.nodes[at].cut_until > self.now {
            Event::Disconnected(link, Trouble::connection("connection refused"))
        } else {
            self.nodes[at].up[link as usize] = Some(connection);
            Event::Connected(link)
        };
        self.tell(at, name, event);
    }

    /// A connection breaks: what was asked over it is answered with that. `told`: the node is told of it besides.
    fn break_link(&mut self, at: usize, link: Link, told: bool) {
        let node = &mut self.nodes[at];
        let name = node.name;
        if node.up[link as usize].take().is_none() && !told {
            return;
        }
        node.disturbed = node.disturbed.max(self.now);
        let over: Vec<CallId> = node.asked.iter().filter(|(_, (l, _))| *l == link).map(|(id, _)| *id).collect();
        for id in over {
            self.nodes[at].asked.remove(&id);
            let trouble = Trouble::connection("connection reset");
            self.later(Duration::ZERO, Thing::Tell(at, name, Event::Answered(id, Err(trouble))));
        }
        if told {
            let event = Event::Disconnected(link, Trouble::connection("connection reset"));
            self.later(Duration::ZERO, Thing::Tell(at, name, event));
        }
    }

    /// A call arrives. One whose connection broke meanwhile may still be executed.
    fn arrives(&mut self, at: usize, name: Name, id: CallId, call: Call, connection: u32) {
        let link = link_of(&call);
        let broken = self.nodes[at].up[link as usize] != Some(connection) || self.nodes[at].name != name;
        if self.outage_until > self.now || (broken && self.roll(2) == 0) {
            return;
        }
        if let Call::Read { count, block } = call
            && self.group.there
        {
            return self.reads(at, name, id, count, self.now + block, connection);
        }
        let result = self.group.execute(name, &call, self.now);
        self.answer(at, name, id, result);
    }

    fn reads(&mut self, at: usize, name: Name, id: CallId, count: usize, until: Time, connection: u32) {
        let broken = self.nodes[at].up[Link::Reader as usize] != Some(connection) || self.nodes[at].name != name;
        if self.outage_until > self.now || (broken && self.roll(4) == 0) {
            return;
        }
        let result = self.group.execute(name, &Call::Read { count, block: Duration::ZERO }, self.now);
        let nothing = matches!(&result, Ok(Answer::Read(messages)) if messages.is_empty());
        if nothing && self.now < until {
            let next = (self.now + Duration::from_millis(2)).min(until);
            return self.at(next, Thing::Reads(at, name, id, count, until, connection));
        }
        self.answer(at, name, id, result);
    }

    fn answer(&mut self, at: usize, name: Name, id: CallId, result: Result<Answer, Trouble>) {
        if self.nodes[at].cut_until > self.now && self.roll(2) == 0 {
            return; // lost
        }
        let pause = self.latency();
        self.later(pause, Thing::Answer(at, name, id, result));
    }

    fn start(&mut self, at: usize, name: Name, run: Run) {
        self.judge_start(at, name, &run);
        let handler = &self.handlers[&run.entry];
        let lasts = if run.stage == Stage::Process { handler.lasts_ms } else { 1 };
        let id = run.id;
        let before = self.nodes[at].runs.insert(id, Going { run, lost: false, cancelled: false });
        assert!(before.is_none(), "{id:?} starts twice");
        self.later(Duration::from_millis(lasts), Thing::RunEnds(at, name, id));
    }

    fn run_ends(&mut self, at: usize, name: Name, run: RunId) {
        if self.nodes[at].name != name || !self.nodes[at].alive {
            return;
        }
        if self.nodes[at].frozen_until > self.now {
            return self.at(self.nodes[at].frozen_until, Thing::RunEnds(at, name, run));
        }
        let Some(going) = self.nodes[at].runs.remove(&run) else { return };
        let entry = going.run.entry;
        let (handler, story) = (self.handlers[&entry].clone(), self.sent.get_mut(&entry).expect("it was sent"));
        let outcome = if going.cancelled && handler.stops {
            Outcome::Cancelled
        } else if let Stage::Dead(reason) = going.run.stage {
            Outcome::Dead { reason, error: "".into() }
        } else if handler.crashes {
            self.nodes[at].runs.insert(run, going);
            return self.crash(at);
        } else if story.failed < handler.fails {
            story.failed += 1;
            Outcome::Failed { error: "no".into(), pause: None }
        } else if handler.rejects {
            Outcome::Dead { reason: Reason::Rejected, error: "never".into() }
        } else {
            story.succeeded += 1;
            Outcome::Ack
        };
        self.tell(at, name, Event::Ran(vec![(run, outcome)]));
    }

    fn latency(&mut self) -> Duration {
        let micros = if self.roll(50) == 0 { 100_000 } else { 1_000 };
        Duration::from_micros(50 + self.roll(micros))
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    fn later(&mut self, pause: Duration, thing: Thing) {
        self.at(self.now + pause, thing);
    }

    fn at(&mut self, at: Time, thing: Thing) {
        self.order += 1;
        self.things.push(Some(thing));
        self.queue.push(Reverse((at.max(self.now), self.order, self.things.len() - 1)));
    }

    /// A run may start only while its message is ours, or after somebody has succeeded with it.
    fn judge_start(&self, at: usize, name: Name, run: &Run) {
        let same = |going: &Going| going.run.entry == run.entry;
        assert!(!self.nodes[at].runs.values().any(same), "{} runs twice in one process", run.entry);
        if self.plan.loses_group() {
            return;
        }
        let story = &self.sent[&run.entry];
        let pending = self.group.pending.get(&run.entry);
        let ours = pending.is_some_and(|p| p.owner == name && p.deliveries == run.deliveries);
        let over = story.succeeded > 0 || story.trimmed;
        assert!(ours || over, "{} starts at {:?} and is not ours: {pending:?}", run.entry, self.now);
        let record = self.group.records.get(&run.entry);
        let dying = record.is_some_and(|record| record.dying.is_some());
        assert!(over || !dying || run.stage != Stage::Process, "{} is dying and is processed", run.entry);
    }

    fn judge_deeds(&mut self) {
        for deed in std::mem::take(&mut self.group.deeds) {
            match deed {
                Deed::Acked(entry) => {
                    let story = self.sent.get_mut(&entry).expect("it was sent");
                    story.acked += 1;
                    assert!(story.succeeded > 0 || story.trimmed, "{entry} is acknowledged without a success");
                }
                Deed::Buried(entry, reason) => self.judge_burial(entry, reason),
                Deed::Reclaimed(entry, from) => {
                    let Some(node) = self.nodes.iter().find(|node| node.name == from && node.alive) else { continue };
                    let kept = |going: &Going| going.run.entry == entry && !going.lost && !going.cancelled;
                    let calm = self.now.since(node.disturbed) > self.config.reclaim_idle + Duration::from_secs(2);
                    let runs = node.runs.values().any(kept);
                    assert!(!runs || !calm, "{entry} is taken from a live run at {:?}", self.now);
                }
            }
        }
    }

    fn judge_burial(&mut self, entry: EntryId, reason: Reason) {
        let story = self.sent.get_mut(&entry).expect("it was sent");
        story.buried += 1;
        if self.plan.loses_group() {
            return; // everything comes again
        }
        assert!(story.buried == 1, "{entry} is buried twice");
        let (handler, story) = (&self.handlers[&entry], &self.sent[&entry]);
        match reason {
            _ if story.trimmed => {}
            Reason::Failed => {
                assert!(story.failed + story.timed_out >= self.config.max_attempts, "{entry} has attempts left");
            }
            Reason::Crashed => {
                assert!(handler.crashes || self.may_kill_neighbours(), "{entry} did not crash anything");
            }
            Reason::Rejected => assert!(handler.rejects),
            Reason::Broken => panic!("{entry} is not broken"),
        }
    }

    /// One poisonous message takes no neighbour along. Several, or one and a network that fails besides, may: each death
    /// counts against what ran beside it.
    fn may_kill_neighbours(&self) -> bool {
        let poisons = self.handlers.values().filter(|handler| handler.crashes).count();
        poisons > 1 || self.plan.faults.iter().any(|(_, fault)| fault.kills())
    }

    fn judge_the_end(&self, end: Time) {
        let held: Vec<_> = self.nodes.iter().map(|node| node.machine.held()).collect();
        let left = (&self.group.pending, self.group.unread());
        assert!(self.is_settled(), "not settled at {:?} (end {end:?}): {left:?}, held {held:?}", self.now);
        for (entry, story) in &self.sent {
            if story.trimmed || self.plan.loses_group() {
                continue;
            }
            assert_eq!(story.acked + story.buried, 1, "{entry}: acked {} buried {}", story.acked, story.buried);
            let handler = &self.handlers[entry];
            let most = self.config.max_attempts;
            let limited = most > 0 && story.failed + story.timed_out >= most;
            let killed = story.crashes >= 1 && self.may_kill_neighbours();
            if !limited && !handler.rejects && !handler.crashes && !killed {
                assert_eq!(story.buried, 0, "{entry} could have succeeded");
            }
        }
    }
}
