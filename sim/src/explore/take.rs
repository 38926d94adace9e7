//! Taking a step: the state that it leads to.

use std::{rc::Rc, time::Duration};

use streamkeeper::Time;
use streamkeeper_core::{
    id::EntryId,
    link::Link,
    streams::{Answer, Call, Event},
    trouble::Trouble,
};

use super::{
    node::{NEVER, Read},
    server::Forgets,
    step::{Fate, Forgotten, Heard, Step},
    truth::{Broken, Stream, Verdict, broken, name},
    world::{Setting, Trace, World, line},
};

impl World {
    /// The state behind this step; or the promise that it breaks.
    pub(crate) fn take(&self, setting: &Setting, step: Step, mut trace: Trace<'_>) -> Result<World, Broken> {
        let mut world = self.clone();
        if step.is_told()
            && let Some(trace) = &mut trace
        {
            trace.push(line(self.now, &format!("** {step}")));
        }
        if step.is_fault() {
            world.faults -= 1;
            world.befall(step);
        }
        world.go(setting, step, &mut trace)?;
        if world.faults == 0 || world.now > world.until {
            world.before = None;
        }
        world.seal();
        Ok(world)
    }

    fn go(&mut self, setting: &Setting, step: Step, trace: &mut Trace<'_>) -> Verdict {
        match step {
            Step::Call(node, fate) => self.call(setting, node, fate, trace),
            Step::Read(node, heard) => self.read(setting, node, heard, trace),
            Step::Stale(node) => {
                let Some((_, call)) = self.change(node, |life| life.stale.pop_front()) else { return Ok(()) };
                self.execute(setting, node, &call, trace).map(drop)
            }
            Step::Hint(node, heard) => {
                let Some(event) = self.change(node, |life| life.hints.pop_front()) else { return Ok(()) };
                match heard {
                    Heard::Now => return self.hand(setting, node, event, trace.as_deref_mut()),
                    Heard::Late(by) => {
                        let at = self.now + by;
                        self.change(node, |life| life.late_hints.push_back((at, event)));
                    }
                    Heard::Never => {}
                }
                Ok(())
            }
            Step::Expire => {
                let hints = self.server.look_for_lapsed(self.now);
                self.publish(hints);
                Ok(())
            }
            Step::Pass => self.pass(setting, trace),
            Step::Cut(node, link) => self.cut(setting, node, &[link], trace),
            Step::Crash(node) => {
                self.change(node, |life| life.crash());
                self.truth_mut().crashed(node);
                self.look_at_owners(setting)
            }
            Step::Boot(node) => self.boot(setting, node, trace.as_deref_mut()),
            Step::Pause(node, span) => {
                let until = self.now + span;
                self.change(node, |life| life.paused_until = Some(until));
                Ok(())
            }
            Step::Restart(forgotten) => self.start_server_again(setting, forgotten, trace),
            Step::End(node, entry, end) => {
                self.wishes -= 1;
                self.end(setting, node, entry, end, trace.as_deref_mut())
            }
            Step::Stop(node) => {
                self.wishes -= 1;
                self.stop(setting, node, trace.as_deref_mut())
            }
        }
    }

    /// Until when a fault has its effects.
    fn befall(&mut self, step: Step) {
        let now = self.now;
        let truth = self.truth_mut();
        let lasts = match step {
            Step::Call(_, Fate::Late(by) | Fate::AnswerLate(by)) => by,
            Step::Call(_, Fate::Silence) => Duration::from_secs(1),
            Step::Pause(_, span) => span,
            Step::Hint(_, Heard::Late(by)) => by,
            _ => Duration::ZERO,
        };
        truth.calm_since = truth.calm_since.max(now + lasts);
        truth.reaper_lost |= matches!(step, Step::Crash(_) | Step::Pause(..));
        truth.restarted |= matches!(step, Step::Restart(_));
        truth.data_lost |= matches!(step, Step::Restart(_));
    }

    /// The next call of a consumer.
    fn call(&mut self, setting: &Setting, node: usize, fate: Fate, trace: &mut Trace<'_>) -> Verdict {
        match fate {
            Fate::Lost => return self.cut(setting, node, &[Link::Commands], trace),
            Fate::Late(by) => {
                let until = self.now + by;
                self.change(node, |life| life.commands.out_until = Some(until));
                return Ok(());
            }
            Fate::Silence => self.change(node, |life| life.commands.in_until = Some(NEVER)),
            Fate::AnswerLate(by) => {
                let until = self.now + by;
                self.change(node, |life| life.commands.in_until = Some(until));
            }
            Fate::Well | Fate::AnswerLost => {}
        }
        let Some((id, call)) = self.change(node, |life| life.commands.sent.pop_front()) else { return Ok(()) };
        let answer = self.execute(setting, node, &call, trace)?;
        if fate == Fate::AnswerLost {
            return self.cut(setting, node, &[Link::Commands], trace);
        }
        // Who sent it may have given it up.
        let life = self.life(node);
        if !life.commands.unanswered.contains_key(&id) {
            return Ok(());
        }
        if life.commands.in_until.is_some() {
            self.change(node, |life| life.commands.back.push_back((id, answer)));
            return Ok(());
        }
        self.change(node, |life| life.commands.unanswered.remove(&id));
        self.hand(setting, node, Event::Answered(id, answer), trace.as_deref_mut())
    }

    /// A wait for announcements finds some.
    fn read(&mut self, setting: &Setting, node: usize, heard: bool, trace: &mut Trace<'_>) -> Verdict {
        let Some(read) = self.life(node).read.clone() else { return Ok(()) };
        let answer = self.execute(setting, node, &read.call, trace)?;
        if !heard {
            return self.cut(setting, node, &[Link::Reader], trace);
        }
        // Somebody else was faster: it goes on waiting.
        if let (Ok(Answer::Read(found)), Call::Read { block, .. }) = (&answer, &read.call)
            && found.is_empty()
        {
            let until = Some(self.now + *block);
            self.change(node, |life| life.read = Some(Read { until, ..read }));
            return Ok(());
        }
        self.change(node, |life| life.read = None);
        self.hand(setting, node, Event::Answered(read.id, answer), trace.as_deref_mut())
    }

    fn start_server_again(&mut self, setting: &Setting, forgotten: Forgotten, trace: &mut Trace<'_>) -> Verdict {
        let before = self.before.clone();
        let forgets = match (forgotten, &setting.snapshot, &before) {
            (Forgotten::SinceBeginning, Some(snapshot), _) => Forgets::SinceSnapshot(snapshot),
            (Forgotten::LatestChange, _, Some(before)) => Forgets::SinceReplica(before),
            _ => Forgets::Everything,
        };
        self.restart(setting, forgets, trace)
    }

    /// Time passes until something happens by itself; then all of it happens.
    fn pass(&mut self, setting: &Setting, trace: &mut Trace<'_>) -> Verdict {
        let Some(next) = self.next(setting) else {
            return broken("kept", "nothing will ever happen again".to_owned());
        };
        self.now = self.now.max(next);
        for node in 0..self.nodes.len() {
            self.happens(setting, node, trace)?;
        }
        self.look_at_owners(setting)?;
        self.look_at_due(setting)
    }

    /// What happens to a consumer by itself now: first what it is told, last the time.
    fn happens(&mut self, setting: &Setting, node: usize, trace: &mut Trace<'_>) -> Verdict {
        let now = self.now;
        let is_now = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if is_now(self.life(node).paused_until) {
            let inbox = self.change(node, |life| {
                life.paused_until = None;
                std::mem::take(&mut life.inbox)
            });
            for event in inbox {
                self.hand(setting, node, event, trace.as_deref_mut())?;
            }
        }
        if is_now(self.life(node).commands.out_until) {
            self.change(node, |life| life.commands.out_until = None);
        }
        if is_now(self.life(node).commands.in_until) {
            let back = self.change(node, |life| {
                life.commands.in_until = None;
                let back = std::mem::take(&mut life.commands.back);
                life.commands.unanswered.retain(|id, _| !back.iter().any(|(answered, _)| answered == id));
                back
            });
            for (id, answer) in back {
                self.hand(setting, node, Event::Answered(id, answer), trace.as_deref_mut())?;
            }
        }
        while self.life(node).late_hints.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, event)) = self.change(node, |life| life.late_hints.pop_front())
        {
            self.hand(setting, node, event, trace.as_deref_mut())?;
        }
        if let Some(read) = self.life(node).read.as_ref().filter(|read| is_now(read.until)) {
            let id = read.id;
            self.change(node, |life| life.read = None);
            self.hand(setting, node, Event::Answered(id, Ok(Answer::Read(Vec::new()))), trace.as_deref_mut())?;
        }
        self.give_up(setting, node, trace)?;
        if self.life(node).is_awake() && is_now(self.life(node).wake) {
            self.hand(setting, node, Event::Timeout, trace.as_deref_mut())?;
        }
        Ok(())
    }

    /// Calls that were not answered in time.
    fn give_up(&mut self, setting: &Setting, node: usize, trace: &mut Trace<'_>) -> Verdict {
        let (now, timeout) = (self.now, setting.bounds.config.call_timeout);
        while self.life(node).is_awake()
            && let Some(id) = {
                let late = |(_, issued): &(_, &Time)| **issued + timeout <= now;
                self.life(node).commands.unanswered.iter().find(late).map(|(id, _)| *id)
            }
        {
            self.change(node, |life| life.commands.unanswered.remove(&id));
            let trouble = Trouble::connection("no answer in time");
            self.hand(setting, node, Event::Answered(id, Err(trouble)), trace.as_deref_mut())?;
        }
        Ok(())
    }

    /// Who must have an owner by now has one.
    fn look_at_due(&self, setting: &Setting) -> Verdict {
        if !(0..self.nodes.len()).any(|node| self.life(node).is_awake()) {
            return Ok(());
        }
        for at in &self.truth.streams {
            let due = self.truth.due(at.1, &setting.bound);
            if at.1.owners.is_empty() && self.now > due && self.is_to_be_owned(setting, at) {
                let late = self.now.since(due);
                return broken("kept", format!("{} has had no owner for {late:?} too long", at.1.name));
            }
        }
        Ok(())
    }

    /// Whether it is announced, and nobody has finished it.
    pub(crate) fn is_to_be_owned(&self, setting: &Setting, (entry, stream): (&EntryId, &Stream)) -> bool {
        !stream.finished && self.server.has(&setting.keys, *entry)
    }

    /// All is well again: what went wrong before excuses nothing any more.
    pub(crate) fn recovered(&mut self, setting: &Setting) {
        let (server, keys) = (self.server.clone(), &setting.keys);
        let truth = self.truth_mut();
        truth.streams.retain(|entry, stream| !stream.finished && server.has(keys, *entry));
        (truth.reaper_lost, truth.restarted, truth.data_lost) = (false, false, false);
    }

    /// In words: when, and who owns what.
    pub(crate) fn summary(&self) -> String {
        let owners = self.truth.streams.values().map(|stream| {
            let owners: Vec<String> = stream.owners.iter().map(|node| name(*node)).collect();
            format!("{}: {}", stream.name, if owners.is_empty() { "nobody".to_owned() } else { owners.join(", ") })
        });
        line(self.now, &owners.collect::<Vec<_>>().join("; "))
    }

    /// The same world, in which so much may go wrong from now on.
    pub(crate) fn with_faults(mut self, setting: &Setting) -> World {
        let bounds = &setting.bounds;
        (self.faults, self.wishes, self.until) = (bounds.faults, bounds.wishes, self.now + bounds.window);
        self.before = (bounds.faults > 0).then(|| self.server.clone());
        self.truth = Rc::new(self.truth.as_ref().clone());
        self
    }
}
