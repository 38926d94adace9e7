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
    },
    time::Time,
    trouble::Trouble,
};

use super::{
    group::{Group, Name},
    plan::{Handler, Plan},
};

/// After the last fault, everything is settled within this.
const PATIENCE: Duration = Duration::from_secs(150);
/// More than this does not happen in one world, unless somebody spins.
const MOST_EVENTS: u64 = 2_000_000;
/// More timer events in a row without any time passing are a spin.
const MOST_SPINS: u32 = 200;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) config: Config,
    pub(crate) now: Time,
    pub(crate) dice: u64,
    pub(crate) order: u64,
    pub(crate) queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    pub(crate) things: Vec<Option<Thing>>,
    pub(crate) group: Group,
    pub(crate) nodes: Vec<Node>,
    pub(crate) names: Name,
    /// Until when the server answers nobody.
    pub(crate) outage_until: Time,
    pub(crate) handlers: BTreeMap<EntryId, Handler>,
    /// What is known of each message, for the judges.
    pub(crate) sent: BTreeMap<EntryId, Story>,
}

#[derive(Default)]
pub(crate) struct Story {
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    pub(crate) timed_out: u32,
    pub(crate) crashes: u32,
    pub(crate) acked: u32,
    pub(crate) buried: u32,
    pub(crate) trimmed: bool,
}

pub(crate) struct Node {
    pub(crate) name: Name,
    pub(crate) machine: Machine,
    pub(crate) alive: bool,
    pub(crate) wake: Option<Time>,
    /// Until when the process stands still.
    pub(crate) frozen_until: Time,
    /// Until when the network swallows what it says, or what it is told.
    pub(crate) cut_until: Time,
    /// The last instant at which something disturbed it.
    pub(crate) disturbed: Time,
    /// Which connection of each link is in use, if one is.
    pub(crate) up: [Option<u32>; 2],
    pub(crate) connections: u32,
    pub(crate) asked: BTreeMap<CallId, (Link, u32)>,
    pub(crate) runs: BTreeMap<RunId, Going>,
    pub(crate) stop_by: Option<Time>,
    pub(crate) stopped: bool,
    pub(crate) spins: u32,
}

pub(crate) struct Going {
    pub(crate) run: Run,
    pub(crate) lost: bool,
    pub(crate) cancelled: bool,
}

pub(crate) enum Thing {
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
            assert!(self.order < MOST_EVENTS, "too much happens at {:?}", self.now);
            self.judge_deeds();
        }
        self.judge_the_end(end);
    }

    pub(super) fn is_settled(&self) -> bool {
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

    pub(super) fn tell(&mut self, at: usize, name: Name, event: Event) {
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
        assert_eq!(node.machine.running(), node.runs.len(), "runs that it knows of");
        assert!(node.machine.running() <= s.concurrency.min(node.machine.held()));
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

    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    pub(super) fn later(&mut self, pause: Duration, thing: Thing) {
        self.at(self.now + pause, thing);
    }

    pub(super) fn at(&mut self, at: Time, thing: Thing) {
        self.order += 1;
        self.things.push(Some(thing));
        self.queue.push(Reverse((at.max(self.now), self.order, self.things.len() - 1)));
    }
}
