//! A small world as a value: consumers, a server, and what is on its way between them, at one instant. Nothing happens
//! in it by itself: whoever explores it takes one step after the other.

use std::{collections::VecDeque, hash::Hash, rc::Rc};

use streamkeeper::{Time, protocol::Protocol};
use streamkeeper_core::{
    id::{ConsumerId, EntryId, StreamName},
    keys::Keys,
    link::Link,
    streams::{Answer, Call, End, Event, Machine},
    trouble::Trouble,
};

use super::{
    bounds::Bounds,
    defect::Defect,
    digest::{Digest, Digester},
    hand::{unlink, up},
    node::{Life, NEVER, Node},
    server::{Executed, Forgets, Server},
    truth::{Bound, Broken, Truth, Verdict, broken, name},
};
/// What stays the same from state to state.
pub(crate) struct Setting {
    pub(crate) keys: Keys,
    pub(crate) bounds: Bounds,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) bound: Bound,
    pub(crate) defect: Option<Defect>,
    /// What a server has that loads its snapshot.
    pub(crate) snapshot: Option<Server>,
}

/// One state.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) server: Server,
    /// As it was before the latest change of an ownership, if it may still fall back to that.
    pub(crate) before: Option<Server>,
    pub(crate) nodes: Vec<Rc<Node>>,
    pub(crate) truth: Rc<Truth>,
    /// Faults that may still happen.
    pub(crate) faults: u8,
    /// Wishes of applications that may still come.
    pub(crate) wishes: u8,
    /// Faults may happen until then.
    pub(crate) until: Time,
}

/// What happened, for whoever wants to read it.
pub(crate) type Trace<'a> = Option<&'a mut Vec<String>>;

impl Setting {
    pub(crate) fn new(bounds: &Bounds, defect: Option<Defect>) -> Setting {
        let keys = Keys::plain("s").expect("a good name");
        let protocols = (0..bounds.consumers)
            .map(|node| Protocol::new(keys.clone(), consumer(bounds, node), bounds.config.clone(), node as u64 + 1));
        let protocols = protocols.collect();
        let bound = bounds.kept();
        Setting { keys, protocols, bound, defect, snapshot: None, bounds: bounds.clone() }
    }
}

/// The consumer at this place.
fn consumer(bounds: &Bounds, node: usize) -> ConsumerId {
    ConsumerId::named(&name(if bounds.namesakes { 0 } else { node })).expect("a good name")
}

impl World {
    /// Consumers that do not run yet, and a server with nothing in it.
    pub(crate) fn new(setting: &Setting) -> World {
        World {
            now: Time::ZERO,
            server: Server::new(&setting.keys),
            before: None,
            nodes: (0..setting.bounds.consumers).map(|_| Rc::new(Node::new())).collect(),
            truth: Rc::default(),
            faults: 0,
            wishes: 0,
            until: NEVER,
        }
    }

    /// What tells this state from others.
    pub(crate) fn digest(&self) -> Digest {
        let mut digester = Digester::new();
        (self.now, self.server.digest(), self.before.as_ref().map(Server::digest)).hash(&mut digester);
        for node in &self.nodes {
            node.digest().hash(&mut digester);
        }
        (&*self.truth, self.faults, self.wishes, self.until).hash(&mut digester);
        digester.digest()
    }

    pub(crate) fn life(&self, node: usize) -> &Life {
        self.nodes[node].life()
    }

    /// Changes a consumer.
    pub(crate) fn change<R>(&mut self, node: usize, change: impl FnOnce(&mut Life) -> R) -> R {
        change(Rc::make_mut(&mut self.nodes[node]).life_mut())
    }

    /// Nothing more changes in this state.
    pub(crate) fn seal(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| !node.is_sealed()) {
            Rc::make_mut(node).seal();
        }
    }

    pub(crate) fn truth_mut(&mut self) -> &mut Truth {
        Rc::make_mut(&mut self.truth)
    }

    /// Announces a stream.
    pub(crate) fn announce(&mut self, setting: &Setting, stream: &str) {
        let name = StreamName::new(stream).expect("a good name");
        let (now, keys) = (self.now, &setting.keys);
        if let Some(entry) = self.server.announce(keys, &name, now) {
            self.truth_mut().announced(entry, name, now);
        }
    }

    /// Starts a consumer.
    pub(crate) fn boot(&mut self, setting: &Setting, node: usize, trace: Trace<'_>) -> Verdict {
        let config = setting.bounds.config.clone();
        self.change(node, |life| {
            life.starts += 1;
            let seed = (life.starts << 8) | node as u64;
            life.machine =
                Some(Box::new(Machine::new(setting.keys.clone(), consumer(&setting.bounds, node), config, seed)));
        });
        self.hand(setting, node, Event::Timeout, trace)
    }

    /// The server executes a call of this consumer; hints start on their way.
    pub(crate) fn execute(
        &mut self,
        setting: &Setting,
        node: usize,
        call: &Call,
        trace: &mut Trace<'_>,
    ) -> Result<Result<Answer, Trouble>, Broken> {
        let earlier = self.server.clone();
        let defect = setting.defect.as_ref();
        let Executed { answer, hints } = self.server.execute(&setting.protocols[node], call, self.now, defect);
        if self.before.is_some() && is_change(call) {
            self.before = Some(earlier);
        }
        if let Some(trace) = trace {
            trace.push(line(self.now, &format!("Redis executes for {}: {call:?} → {answer:?}", name(node))));
        }
        self.publish(hints);
        if let Ok(answer) = &answer {
            let now = self.now;
            self.truth_mut().executed(call, answer, now)?;
        }
        self.look_at_lbs(setting)?;
        Ok(answer)
    }

    /// Hints start on their way to all who listen.
    pub(crate) fn publish(&mut self, hints: Vec<Event>) {
        for node in 0..self.nodes.len() {
            if !hints.is_empty() && self.life(node).is_running() && self.life(node).subscriber_up {
                self.change(node, |life| life.hints.extend(hints.iter().cloned()));
            }
        }
    }

    /// The server is another process, with less in its memory; everybody's connections are gone.
    pub(crate) fn restart(&mut self, setting: &Setting, forgets: Forgets<'_>, trace: &mut Trace<'_>) -> Verdict {
        self.server.start_again(&setting.keys, forgets, self.now);
        for node in 0..self.nodes.len() {
            // What is on its way to the old process never arrives.
            self.change(node, |life| {
                life.commands.out_until = None;
                life.stale.clear();
            });
            self.cut(setting, node, &[Link::Commands, Link::Reader, Link::Subscriber], trace)?;
        }
        Ok(())
    }

    /// Something was announced: who waits for it is served.
    pub(crate) fn serve_reads(&mut self, node: usize) {
        self.change(node, |life| {
            if let Some(read) = &mut life.read {
                read.until = None;
            }
        });
    }

    /// Connections of a consumer break.
    pub(crate) fn cut(&mut self, setting: &Setting, node: usize, links: &[Link], trace: &mut Trace<'_>) -> Verdict {
        for &link in links {
            let mut events = VecDeque::new();
            let was_up = self.change(node, |life| {
                let was_up = *up(life, link);
                if was_up {
                    unlink(life, link, &mut events);
                }
                was_up
            });
            if !was_up {
                continue;
            }
            let gone = Trouble::connection("the connection is gone");
            for event in [Event::Disconnected(link, gone)].into_iter().chain(events) {
                self.hand(setting, node, event, trace.as_deref_mut())?;
            }
        }
        Ok(())
    }

    /// An application stops its consumer, which gives back what it owns.
    pub(crate) fn stop(&mut self, setting: &Setting, node: usize, trace: Trace<'_>) -> Verdict {
        let deadline = setting.clock(node, self.now) + setting.bounds.config.heartbeat;
        self.hand(setting, node, Event::Shutdown(End::Release, deadline), trace)
    }

    /// An application ends what it owns.
    pub(crate) fn end(
        &mut self,
        setting: &Setting,
        node: usize,
        entry: EntryId,
        end: End,
        trace: Trace<'_>,
    ) -> Verdict {
        let event = match end {
            End::Done => Event::Done(entry),
            End::Release => Event::Release(entry, None),
        };
        self.hand(setting, node, event, trace)
    }

    /// Who owns what by his own clock, now: at most one each.
    pub(crate) fn look_at_owners(&mut self, setting: &Setting) -> Verdict {
        let mut owners = Vec::new();
        for entry in self.truth.streams.keys() {
            let owns = |node: &usize| {
                let now = setting.clock(*node, self.now);
                self.life(*node).machine.as_ref().is_some_and(|machine| machine.owns(*entry, now))
            };
            owners.push((*entry, (0..self.nodes.len()).filter(owns).collect()));
        }
        let changed = owners.iter().any(|(entry, owners)| self.truth.streams[entry].owners != *owners);
        if !changed {
            return Ok(());
        }
        for (entry, owners) in owners {
            if let Some(stream) = self.truth_mut().streams.get_mut(&entry) {
                stream.owners = owners;
            }
        }
        self.truth.exclusive()
    }

    /// Nothing is gone that nobody has finished.
    fn look_at_lbs(&self, setting: &Setting) -> Verdict {
        for (entry, stream) in &self.truth.streams {
            if !stream.finished && !self.truth.data_lost && !self.server.has(&setting.keys, *entry) {
                return broken(
                    "kept",
                    format!("the announcement of {} is gone, and nobody has finished it", stream.name),
                );
            }
        }
        Ok(())
    }
}

impl Setting {
    /// What a consumer's clock shows.
    pub(crate) fn clock(&self, node: usize, now: Time) -> Time {
        Time::from_micros(now.as_micros() * self.rate(node) / 100)
    }

    /// When a consumer's clock shows this.
    pub(crate) fn true_time(&self, node: usize, at: Time) -> Time {
        Time::from_micros((at.as_micros() * 100).div_ceil(self.rate(node)))
    }

    /// How fast a consumer's clock runs, in percent.
    fn rate(&self, node: usize) -> u64 {
        let drift = self.bounds.drift;
        if node.is_multiple_of(2) { 100 - drift.min(99) } else { 100 + drift }
    }
}

/// Whether a call may change who owns what.
fn is_change(call: &Call) -> bool {
    matches!(call, Call::Read { .. } | Call::Take { .. } | Call::Acquire(_) | Call::Done(_) | Call::Release(_))
}

/// A line of a story.
pub(crate) fn line(now: Time, text: &str) -> String {
    format!("{:>9.3} ms  {text}", now.as_micros() as f64 / 1_000.0)
}
