//! The network, and the part of the shell that speaks to it: connections, calls and their fates, notifications.

use streamkeeper_core::{
    id::CallId,
    streams::{
        Answer, Call, Event, Link,
        call::{RenewException, Renewed},
        link_of,
    },
    trouble::{Trouble, TroubleKind},
};

use super::{
    judges::Verdict,
    plan::{Fate, Kind, Told},
    redis::{Published, micros},
    world::{Happening, Message, World},
};

impl World {
    /// The shell makes a connection; what was there before is dropped.
    pub(crate) fn connect(&mut self, node: usize, link: Link) -> Verdict {
        self.note(|| format!("node {node} → connect {link:?}"));
        self.nodes[node].links[link as usize].up = false;
        self.fail_calls(node, link)?;
        let this = &mut self.nodes[node];
        let wire = &mut this.links[link as usize];
        wire.generation += 1;
        let (incarnation, generation) = (this.incarnation, wire.generation);
        self.plan(700, Happening::Connected { node, incarnation, link, generation });
        Ok(())
    }

    pub(crate) fn connected(&mut self, node: usize, incarnation: u32, link: Link, generation: u32) -> Verdict {
        let this = &mut self.nodes[node];
        if this.incarnation != incarnation || this.links[link as usize].generation != generation {
            return Ok(());
        }
        if this.partitioned_until > self.now || self.server.frozen_until > self.now {
            return self.deliver(node, Event::Disconnected(link, Trouble::connection("no route to host")));
        }
        this.links[link as usize].up = true;
        self.deliver(node, Event::Connected(link))
    }

    /// Every call that waits on a connection is answered: it is gone.
    pub(crate) fn fail_calls(&mut self, node: usize, link: Link) -> Verdict {
        let this = &mut self.nodes[node];
        let lost: Vec<CallId> = this.waiting.iter().filter(|(_, (on, _))| *on == link).map(|(id, _)| *id).collect();
        let incarnation = this.incarnation;
        for id in lost {
            self.nodes[node].waiting.remove(&id);
            let result = Err(Trouble::connection("broken pipe"));
            self.plan(0, Happening::Answer { node, incarnation, id, result, asked: false });
        }
        Ok(())
    }

    /// A connection breaks, and the shell notices.
    pub(crate) fn cut(&mut self, node: usize, link: Link) -> Verdict {
        if self.nodes[node].machine.is_none() || !self.nodes[node].links[link as usize].up {
            return Ok(());
        }
        self.nodes[node].links[link as usize].up = false;
        self.nodes[node].links[link as usize].generation += 1;
        // The calls' own answers come before the news or after it.
        if self.now.is_multiple_of(2) {
            self.fail_calls(node, link)?;
        }
        self.deliver(node, Event::Disconnected(link, Trouble::connection("connection reset by peer")))?;
        self.fail_calls(node, link)
    }

    pub(crate) fn send(&mut self, node: usize, id: CallId, call: Call) {
        let this = &mut self.nodes[node];
        let kind = kind_of(&call);
        let fated = this.fates.iter().position(|(of, _)| *of == kind || *of == Kind::Any);
        let fate = fated.and_then(|at| this.fates.remove(at)).map(|(_, fate)| fate);
        let link = link_of(&call);
        let (incarnation, who) = (this.incarnation, this.who.clone());
        this.waiting.insert(id, (link, this.links[link as usize].generation));
        let up = this.links[link as usize].up;
        let mut patience = micros(who.config.call_timeout);
        let mut waits_until = None;
        let there = match &fate {
            Some(Fate::Slow(there, _)) => there * 1_000,
            _ => 200 + id.0 % 5 * 100,
        };
        if let Call::Read { block, .. } = &call {
            patience += micros(*block);
            waits_until = Some(self.now + there + micros(*block));
        }
        self.plan(patience, Happening::Timeout { node, incarnation, id });
        if !up {
            let result = Err(Trouble::connection("not connected"));
            return self.plan(0, Happening::Answer { node, incarnation, id, result, asked: true });
        }
        if fate == Some(Fate::LostThere) || self.nodes[node].partitioned_until > self.now {
            return;
        }
        let start = self.server.start;
        let message = Message { node, incarnation, start, id, call, who, fate, waits_until };
        self.plan(there, Happening::Arrival(Box::new(message)));
    }

    /// A call arrives at the server.
    pub(crate) fn arrive(&mut self, message: Message) -> Verdict {
        if message.start != self.server.start {
            return Ok(()); // whom it was sent to is no more
        }
        if self.server.frozen_until > self.now {
            let wait = self.server.frozen_until - self.now;
            self.plan(wait, Happening::Arrival(Box::new(message)));
            return Ok(());
        }
        if let Some(Fate::Refused(kind)) = message.fate {
            return self.answer(&message, Err(refusal(kind)));
        }
        if let Some(until) = message.waits_until
            && !self.redis.has_new()
            && self.now < until
        {
            // A blocked read of a process or connection that is gone is served all the same half of the time.
            let gone = !self.nodes[message.node].waiting.contains_key(&message.id);
            if gone && message.id.0.is_multiple_of(2) {
                return Ok(());
            }
            let wait = (until - self.now).min(7_000);
            self.plan(wait, Happening::Arrival(Box::new(message)));
            return Ok(());
        }
        let result = self.redis.execute(&message.call, &message.who);
        let from = message.node;
        self.note(|| format!("server: {:?} of node {from} = {result:?}", message.id));
        self.truth.look(&self.redis)?;
        self.judge_takeovers()?;
        self.publish();
        self.answer(&message, result)
    }

    fn answer(&mut self, message: &Message, result: Result<Answer, Trouble>) -> Verdict {
        let Message { node, incarnation, id, fate, .. } = message;
        let (node, incarnation, id) = (*node, *incarnation, *id);
        let mut back = 200 + id.0 % 3 * 200;
        let mut asked = true;
        let result = match fate {
            Some(Fate::LostBack) => return Ok(()),
            Some(Fate::Slow(_, ms)) => {
                back = ms * 1_000;
                // Some shells might hand out even an answer that they gave up waiting for.
                asked = !id.0.is_multiple_of(4);
                result
            }
            Some(Fate::Twice) => {
                let again = result.clone();
                self.plan(back + 1_500, Happening::Answer { node, incarnation, id, result: again, asked: false });
                result
            }
            Some(Fate::Mismatched(which)) => Ok(misfit(*which, message)),
            _ => result,
        };
        if self.nodes[node].partitioned_until > self.now {
            return Ok(());
        }
        self.plan(back, Happening::Answer { node, incarnation, id, result, asked });
        Ok(())
    }

    /// Tells the subscribers what was published.
    pub(crate) fn publish(&mut self) {
        for published in std::mem::take(&mut self.redis.published) {
            let event = match published {
                Published::Expired(stream, entry) => {
                    let name = streamkeeper_core::id::StreamName::new(&stream).expect("a good name");
                    Event::KeyExpired(self.keys.lease(&name, entry))
                }
                Published::Doorbell(text) => Event::Doorbell(text),
            };
            let told = self.server.notifications.unwrap_or(Told::Well);
            let delays: &[u64] = match told {
                Told::Well => &[300],
                Told::Never => &[],
                Told::Late(ms) => &[ms * 1_000],
                Told::Twice => &[300, 40_000],
            };
            for node in 0..self.nodes.len() {
                let incarnation = self.nodes[node].incarnation;
                for delay in delays {
                    self.plan(*delay, Happening::Heard { node, incarnation, event: event.clone() });
                }
            }
        }
    }
}

fn kind_of(call: &Call) -> Kind {
    match call {
        Call::Acquire(_) => Kind::Acquire,
        Call::Renew(_) => Kind::Renew,
        Call::Done(_) | Call::Release(_) => Kind::Ends,
        Call::Epoch(_) | Call::Prepare => Kind::Epoch,
        Call::Read { .. } | Call::Take { .. } => Kind::Taking,
        _ => Kind::Looking,
    }
}

fn refusal(kind: TroubleKind) -> Trouble {
    let code = match kind {
        TroubleKind::Connection => return Trouble::connection("refused"),
        TroubleKind::WrongServer => "READONLY",
        TroubleKind::NotNow => "LOADING",
        TroubleKind::OutOfMemory => "OOM",
        TroubleKind::GroupLost => "NOGROUP",
        TroubleKind::WrongType => "WRONGTYPE",
        TroubleKind::Refused => "NOPERM",
        TroubleKind::Unsupported => "CROSSSLOT",
        TroubleKind::Other => "ERR",
    };
    Trouble::from_reply(code, "by the test's wish")
}

/// An answer that does not fit the call: of another name, or of a wrong size.
fn misfit(which: u8, message: &Message) -> Answer {
    let wrong = [
        Answer::Acquired(Vec::new()),
        Answer::Done(Vec::new()),
        Answer::Released(Vec::new()),
        Answer::Renewed(Renewed { exceptions: vec![(9_999, RenewException::Gone)], group_lost: None }),
        Answer::Renewed(Renewed {
            exceptions: vec![(0, RenewException::Lost(None)), (0, RenewException::Gone)],
            group_lost: None,
        }),
    ];
    let fits = |answer: &Answer| answer.name() == message.call.name();
    match &message.call {
        Call::Acquire(call) if !call.items.is_empty() => wrong[0].clone(),
        Call::Done(items) if !items.is_empty() => wrong[1].clone(),
        Call::Release(items) if !items.is_empty() => wrong[2].clone(),
        Call::Renew(_) => wrong[3 + usize::from(which % 2)].clone(),
        _ if fits(&Answer::Pong) => Answer::Hinted,
        _ => Answer::Pong,
    }
}
