//! The world: consumers, a server, a network between them, and time. Everything that happens is queued and happens
//! one after the other; the judges look after each.

use std::collections::BTreeMap;

use streamkeeper_core::{
    id::{CallId, EntryId, StreamName},
    keys::Keys,
    streams::{Answer, Call, Command, Event, Link, LostReason, Notification, Output},
    time::Time,
    trouble::Trouble,
};

use super::{
    judges::{Truth, Verdict, broken},
    node::Node,
    plan::{Fate, Setup, Told},
    redis::{Caller, Redis},
};

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) keys: Keys,
    /// True time, in microseconds.
    pub(crate) now: u64,
    pub(crate) redis: Redis,
    /// The server's wall clock is true time and this.
    pub(crate) clock_offset: i64,
    pub(crate) server: Server,
    pub(crate) nodes: Vec<Node>,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    pub(crate) truth: Truth,
    pub(crate) stats: Stats,
    /// What happened, if anybody wants to read it.
    pub(crate) trace: Option<Vec<String>>,
    /// Nothing is disowned any more: the fault-free end.
    pub(crate) calm: bool,
}

/// The server as a process.
#[derive(Debug, Default)]
pub(crate) struct Server {
    /// Counts its starts: what was on the way to an earlier one is lost.
    pub(crate) start: u32,
    pub(crate) frozen_until: u64,
    pub(crate) notifications: Option<Told>,
    /// What a replica holds, and its identity's number.
    pub(crate) snapshot: Option<super::redis::Data>,
    pub(crate) data_was_lost: bool,
    pub(crate) clock_went_back: bool,
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) events: u64,
    pub(crate) added: u64,
    pub(crate) takeovers: u64,
    pub(crate) done: u64,
    pub(crate) released: u64,
    pub(crate) disowned: u64,
}

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    Wake { node: usize, incarnation: u32, wake: u64 },
    Connected { node: usize, incarnation: u32, link: Link, generation: u32 },
    Arrival(Box<Message>),
    Answer { node: usize, incarnation: u32, id: CallId, result: Result<Answer, Trouble>, asked: bool },
    Timeout { node: usize, incarnation: u32, id: CallId },
    Heard { node: usize, incarnation: u32, event: Event },
    Resumed { node: usize },
    Expiry,
}

/// A call on its way to the server.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) node: usize,
    pub(crate) incarnation: u32,
    pub(crate) start: u32,
    pub(crate) id: CallId,
    pub(crate) call: Call,
    pub(crate) who: Caller,
    pub(crate) fate: Option<Fate>,
    /// Until when a read waits at the server.
    pub(crate) waits_until: Option<u64>,
}

/// Redis's wall clock at the beginning: some day in 2026, and long after the server was started.
const DAY_ONE: u64 = 1_790_000_000_000_000;
const MOST_SPINS: u32 = 8;

impl World {
    pub(crate) fn new(setup: &Setup, traced: bool) -> World {
        let redis = Redis {
            clock: DAY_ONE,
            started: DAY_ONE - 3_600_000_000,
            identity: if setup.anonymous { String::new() } else { "run-0:repl-0".into() },
            ..Redis::default()
        };
        let mut world = World {
            setup: setup.clone(),
            keys: Keys::plain("svc").expect("a good name"),
            now: 0,
            redis,
            clock_offset: i64::try_from(DAY_ONE).expect("a day"),
            server: Server::default(),
            nodes: (0..setup.nodes).map(|index| Node::new(index, setup)).collect(),
            queue: BTreeMap::new(),
            queued: 0,
            truth: Truth::default(),
            stats: Stats::default(),
            trace: traced.then(Vec::new),
            calm: false,
        };
        if setup.active_expiry {
            world.plan(50_000, Happening::Expiry);
        }
        world
    }

    /// Starts a consumer that is not running, or has stopped.
    pub(crate) fn boot(&mut self, node: usize) -> Verdict {
        let dead = self.nodes[node].machine.as_ref().is_none_or(|machine| machine.stopped());
        if !dead {
            return Ok(());
        }
        let seed = self.setup.seed.wrapping_mul(31).wrapping_add(self.queued).wrapping_add(node as u64 + 1);
        self.nodes[node].boot(&self.keys, seed);
        self.hand(node, Event::Timeout)
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} {}", now as f64 / 1_000.0, text()));
        }
    }

    pub(crate) fn plan(&mut self, after: u64, what: Happening) {
        self.queued += 1;
        self.queue.insert((self.now + after, self.queued), what);
    }

    /// Lets time pass, and everything happen that is due.
    pub(crate) fn run(&mut self, span: u64) -> Verdict {
        let until = self.now + span;
        while let Some((&(at, _), _)) = self.queue.first_key_value() {
            if at > until {
                break;
            }
            let (_, what) = self.queue.pop_first().expect("there is a first");
            self.set_time(at);
            self.happen(what)?;
        }
        self.set_time(until);
        Ok(())
    }

    fn set_time(&mut self, now: u64) {
        self.now = now;
        self.set_clock();
    }

    pub(crate) fn set_clock(&mut self) {
        let clock = i64::try_from(self.now).expect("a time") + self.clock_offset;
        self.redis.clock = u64::try_from(clock).expect("a time after 1970");
    }

    fn happen(&mut self, what: Happening) -> Verdict {
        self.stats.events += 1;
        match what {
            Happening::Wake { node, incarnation, wake } => {
                let this = &self.nodes[node];
                if this.incarnation == incarnation && this.wake == wake && this.paused_until <= self.now {
                    return self.hand(node, Event::Timeout);
                }
                Ok(())
            }
            Happening::Connected { node, incarnation, link, generation } => {
                self.connected(node, incarnation, link, generation)
            }
            Happening::Arrival(message) => self.arrive(*message),
            Happening::Answer { node, incarnation, id, result, asked } => {
                if self.nodes[node].incarnation != incarnation {
                    return Ok(());
                }
                let awaited = self.nodes[node].waiting.remove(&id).is_some();
                if awaited || !asked { self.deliver(node, Event::Answered(id, result)) } else { Ok(()) }
            }
            Happening::Timeout { node, incarnation, id } => {
                if self.nodes[node].incarnation == incarnation && self.nodes[node].waiting.remove(&id).is_some() {
                    let trouble = Trouble::connection("no answer in time");
                    return self.deliver(node, Event::Answered(id, Err(trouble)));
                }
                Ok(())
            }
            Happening::Heard { node, incarnation, event } => {
                let this = &self.nodes[node];
                let listening = this.links[Link::Subscriber as usize].up && this.partitioned_until <= self.now;
                if this.incarnation == incarnation && listening { self.deliver(node, event) } else { Ok(()) }
            }
            Happening::Resumed { node } => self.resume(node),
            Happening::Expiry => {
                self.redis.expire_actively();
                self.publish();
                self.plan(50_000, Happening::Expiry);
                Ok(())
            }
        }
    }

    pub(crate) fn resume(&mut self, node: usize) -> Verdict {
        if self.nodes[node].paused_until > self.now {
            return Ok(());
        }
        // What came meanwhile comes first, and the timer last: the worst order.
        while let Some(event) = self.nodes[node].inbox.pop_front() {
            self.hand(node, event)?;
        }
        self.hand(node, Event::Timeout)
    }

    /// Hands an event to a consumer, or queues it there if it stands still.
    pub(crate) fn deliver(&mut self, node: usize, event: Event) -> Verdict {
        if self.nodes[node].paused_until > self.now {
            self.nodes[node].inbox.push_back(event);
            return Ok(());
        }
        self.hand(node, event)
    }

    /// The driver of a machine: one event in, everything that follows out.
    fn hand(&mut self, node: usize, event: Event) -> Verdict {
        let now = self.nodes[node].clock(self.now);
        let Some(mut machine) = self.nodes[node].machine.take() else { return Ok(()) };
        let was_stopped = machine.stopped();
        let timer = event == Event::Timeout;
        let size = size_of(&event);
        self.note(|| format!("node {node} ← {event:?}"));
        self.nodes[node].asked.hear(&event);
        machine.handle(event, now);
        let mut outputs = Vec::new();
        let wake = loop {
            match machine.poll() {
                Output::Wait(wake) => break wake,
                output => outputs.push(output),
            }
        };
        let (owned, capacity, stopped) = (machine.owned(), self.nodes[node].who.config.capacity, machine.stopped());
        self.nodes[node].machine = Some(machine);
        if owned > capacity {
            return broken("bounded", format!("node {node} owns {owned}, and has room for {capacity}"));
        }
        if outputs.len() > 60 + 8 * (size + 3 * self.redis.data.lbs.len() + 20) {
            return broken("bounded", format!("{} outputs at once", outputs.len()));
        }
        if was_stopped && !outputs.is_empty() {
            return broken("in-order", format!("node {node} has stopped, and says {outputs:?}"));
        }
        let mut over = false;
        for output in outputs {
            let farewell = matches!(output, Output::Command(Command::Disconnect(_)) | Output::Remark(_));
            if over && !farewell {
                return broken("in-order", format!("after its end, node {node} says {output:?}"));
            }
            over |= matches!(output, Output::Notification(Notification::Stopped(_) | Notification::Terminated(_)));
            self.carry_out(node, output)?;
        }
        if stopped != (self.nodes[node].machine.is_some() && wake.is_none()) {
            return broken("bounded", format!("node {node} never wakes again"));
        }
        self.set_wake(node, wake.map(|wake| wake.at), timer)?;
        self.look(node)
    }

    fn set_wake(&mut self, node: usize, at: Option<Time>, timer: bool) -> Verdict {
        let this = &mut self.nodes[node];
        this.wake += 1;
        let Some(at) = at else { return Ok(()) };
        let when = this.when(at, self.now);
        if when > self.now || !timer {
            this.spins = (when, 0);
        } else {
            this.spins.1 += 1;
            if this.spins.1 > MOST_SPINS {
                return broken("bounded", format!("node {node} spins"));
            }
        }
        let (incarnation, wake) = (this.incarnation, this.wake);
        self.plan(when - self.now, Happening::Wake { node, incarnation, wake });
        Ok(())
    }

    fn carry_out(&mut self, node: usize, output: Output) -> Verdict {
        match output {
            Output::Command(Command::Connect(link)) => self.connect(node, link),
            Output::Command(Command::Disconnect(link)) => {
                self.note(|| format!("node {node} → disconnect {link:?}"));
                self.nodes[node].links[link as usize].up = false;
                self.fail_calls(node, link)
            }
            Output::Command(Command::Call(id, call)) => {
                self.note(|| format!("node {node} → {id:?} {call:?}"));
                self.nodes[node].asked.judge_call(&call)?;
                self.send(node, id, call);
                Ok(())
            }
            Output::Notification(notification) => self.notify(node, &notification),
            Output::Extended { .. } | Output::Wait(_) => Ok(()),
            Output::Remark(remark) => {
                self.note(|| format!("node {node} · {remark:?}"));
                Ok(())
            }
        }
    }

    fn notify(&mut self, node: usize, notification: &Notification) -> Verdict {
        self.note(|| format!("node {node} ⇒ {notification:?}"));
        self.nodes[node].told.hear(notification)?;
        self.nodes[node].asked.judge(notification, &self.redis)?;
        match notification {
            Notification::Added(added) => {
                self.stats.added += 1;
                self.stats.takeovers += u64::from(added.takeover);
            }
            Notification::Done { entry, .. } => {
                self.stats.done += 1;
                self.truth.told_done(&self.redis, *entry, self.server.data_was_lost)?;
            }
            Notification::Released { .. } => self.stats.released += 1,
            Notification::Disowned { reason, stream, .. } => {
                self.stats.disowned += 1;
                // A trimmed announcement may come to light late.
                if self.calm && *reason != LostReason::Gone {
                    return broken("kept", format!("node {node} lost {stream} without any fault: {reason:?}"));
                }
            }
            Notification::Expired { entry, .. } => self.nodes[node].offered.push(*entry),
            _ => {}
        }
        Ok(())
    }

    /// `exclusive`, and what a machine says of itself against what it told its application.
    fn look(&mut self, node: usize) -> Verdict {
        let this = &self.nodes[node];
        let Some(machine) = &this.machine else { return Ok(()) };
        let clock = this.clock(self.now);
        let mut valid = 0;
        for (name, (entry, _)) in &this.told.open {
            if !machine.owns(*entry, clock) {
                continue;
            }
            valid += 1;
            let stream = StreamName::new(name).expect("a good name");
            if machine.entry_of(&stream) != Some(*entry) {
                return broken("in-order", format!("node {node} owns {name} as {:?}", machine.entry_of(&stream)));
            }
            for (other, that) in self.nodes.iter().enumerate().filter(|(other, _)| *other != node) {
                let Some(rival) = &that.machine else { continue };
                if let Some(theirs) = rival.entry_of(&stream)
                    && rival.owns(theirs, that.clock(self.now))
                {
                    let how = format!("{name} is owned by node {node} ({entry}) and by node {other} ({theirs})");
                    return broken("exclusive", how);
                }
            }
        }
        let load = machine.load();
        if load.owned != this.told.open.len() || load.held < load.owned {
            return broken("bounded", format!("node {node} has {:?}, and says {load:?}", this.told.open));
        }
        if valid != machine.owned() {
            return broken("in-order", format!("node {node} owns {}, and told of {valid}", machine.owned()));
        }
        Ok(())
    }

    /// The entries that a consumer owns.
    pub(crate) fn owned_by(&self, node: usize) -> Vec<EntryId> {
        self.nodes[node].told.open.values().map(|(entry, _)| *entry).collect()
    }
}

/// How many things an event speaks of.
fn size_of(event: &Event) -> usize {
    match event {
        Event::Answered(_, Ok(Answer::Acquired(answers))) => answers.len(),
        Event::Answered(_, Ok(Answer::Read(deliveries) | Answer::Taken { deliveries, .. })) => deliveries.len(),
        Event::Answered(_, Ok(Answer::Mine(entries))) => entries.len(),
        Event::Doorbell(text) => text.len(),
        _ => 0,
    }
}
