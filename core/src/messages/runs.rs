//! Which message runs next: what is due before what is new, one at a time of each ordering key and of the suspects, as
//! many as there are slots and as the rates allow; and runs that last too long.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    time::Duration,
};

use super::{
    Command, Fate, Machine, Remark, Run, RunId,
    asked::{Kind, Question},
    call::{Call, Hold, Reason},
    held::{Burying, Cut, Dying, Held, Parking, Running, State as HeldState, Tie},
};
use crate::{id::EntryId, time::Time};

/// How many messages one question is about that is not one command for all of them.
const BATCH: usize = 500;
/// For how long a suspect is put aside while others have their turn.
pub(super) const SUSPECT_PAUSE: Duration = Duration::from_secs(1);

/// What waits, and what runs. The queues may name messages that have ended meanwhile: these are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) due: VecDeque<EntryId>,
    pub(super) new: VecDeque<EntryId>,
    /// Each key that is occupied, and who waits for it.
    pub(super) keys: BTreeMap<Box<[u8]>, VecDeque<EntryId>>,
    /// The suspect whose turn it is, and those who wait.
    pub(super) suspect: Option<EntryId>,
    pub(super) suspects: VecDeque<EntryId>,
    pub(super) checks: VecDeque<EntryId>,
    live: BTreeMap<RunId, Live>,
    pub(super) last: u64,
    /// Every run up to this one has been looked at for being over its time.
    pub(super) timed_out: RunId,
    /// Every run up to this one has been looked at for hanging.
    pub(super) hanging: RunId,
    /// A run has succeeded since this process started: not everything crashes.
    succeeded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Live {
    pub(super) entry: EntryId,
    pub(super) started: Time,
}

/// In which queue a message waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Queue {
    Due,
    New,
}

impl State {
    pub(super) fn push(&mut self, queue: Queue, entry: EntryId) {
        match queue {
            Queue::Due => self.due.push_back(entry),
            Queue::New => self.new.push_back(entry),
        }
    }

    /// It goes before all others.
    pub(super) fn push_front(&mut self, entry: EntryId) {
        self.due.push_front(entry);
    }

    pub(super) fn due_waiting(&self) -> usize {
        self.due.len()
    }

    /// Whether a suspect waits for its turn, perhaps.
    pub(super) fn suspect_waits(&self) -> bool {
        !self.suspects.is_empty()
    }

    pub(super) fn under_way(&self) -> usize {
        self.live.len()
    }

    pub(super) fn ended(&mut self, run: RunId) -> Option<Live> {
        self.live.remove(&run)
    }

    pub(super) fn live(&self) -> impl Iterator<Item = (RunId, Live)> {
        self.live.iter().map(|(run, live)| (*run, *live))
    }

    pub(super) fn is_live(&self, run: RunId) -> bool {
        self.live.contains_key(&run)
    }

    pub(super) fn succeed(&mut self) {
        self.succeeded = true;
    }

    /// The first run behind this one.
    fn behind(&self, run: RunId) -> Option<(RunId, Live)> {
        self.live.range((Bound::Excluded(run), Bound::Unbounded)).next().map(|(run, live)| (*run, *live))
    }
}

impl Machine {
    /// How many of those that wait there are slots for.
    pub(super) fn startable(&self) -> usize {
        if !self.is_open() {
            return 0;
        }
        let free = self.config.concurrency.saturating_sub(self.holds.slots());
        let due = self.runs.due.len().min(free);
        // For what is being asked for by due time, slots are kept.
        let new = self.runs.new.len().min(free.saturating_sub(due + self.reading.due_reserved()));
        due + new
    }

    pub(super) fn start_due(&self) -> Option<Time> {
        if self.startable() > 0 { self.allowed_from() } else { None }
    }

    pub(super) fn start_runs(&mut self) {
        self.ask_for_permits();
        while self.start_due().is_some_and(|at| at <= self.now) {
            let next = self.runs.due.pop_front().or_else(|| self.runs.new.pop_front());
            if let Some(entry) = next {
                self.begin(entry);
            }
        }
        self.ask_for_permits();
        self.ask_for_checks();
    }

    /// A message has its turn: it is given a slot, or it turns out what else is to be done with it.
    fn begin(&mut self, entry: EntryId) {
        let Some(held) = self.holds.get(entry).filter(|held| held.is_waiting()) else { return };
        assert!(self.is_open() && self.holds.slots() < self.config.concurrency, "{entry} begins without a slot");
        if !self.is_trusted(held) {
            return self.doubt(entry);
        }
        let (is_suspect, is_dying) = (held.is_suspect(), held.dying().is_some());
        if let Some(history) = &held.history {
            if history.buried_alive {
                let (reason, error) = (history.dying.unwrap_or(Reason::Crashed), history.error.clone());
                return self.bury(entry, Burying { reason, error, gone: false, repeated: false });
            }
            let most = self.config.max_crashes;
            if most > 0 && history.crashed >= most && history.dying.is_none() && self.runs.succeeded {
                return self.decide_end(entry, Dying { reason: Reason::Crashed, error: None });
            }
            let most = self.config.max_attempts;
            if most > 0 && history.failed >= most && history.dying.is_none() {
                return self.decide_end(entry, Dying { reason: Reason::Failed, error: None });
            }
            if is_suspect && self.runs.suspect.is_some_and(|other| other != entry) {
                return self.wait_as_suspect(entry);
            }
        }
        if self.config.ordered_by.is_some() && !self.occupy_key(entry) {
            // Its key comes first: who has that may be waiting for this very turn.
            return self.next_suspect(entry);
        }
        self.spend();
        if is_suspect {
            assert!(self.runs.suspect.is_none_or(|other| other == entry), "{entry} is one of two suspects");
            self.runs.suspect = Some(entry);
        }
        if let Some(processed) = &self.config.processed
            && !is_dying
            && let Some(held) = self.holds.get_mut(entry)
        {
            held.processed = match &processed.by {
                Some(name) => held.field(name).map(Into::into),
                None => Some(entry.to_string().into_bytes().into()),
            };
            if held.processed.is_some() {
                self.holds.change(entry, HeldState::Checking);
                return self.runs.checks.push_back(entry);
            }
        }
        self.mark_or_run(entry);
    }

    /// One suspect waits here for its turn, in a place of its own. The others are put aside for a while: they would else
    /// fill the room of those that harm nobody.
    fn wait_as_suspect(&mut self, entry: EntryId) {
        assert!(self.holds.get(entry).is_some_and(Held::is_suspect), "{entry} is no suspect, and waits as one");
        assert!(self.runs.suspect.is_some(), "{entry} waits for a suspect's end, and there is none");
        let waits = |entry: &EntryId| self.holds.get(*entry).is_some_and(Held::is_waiting);
        if !self.runs.suspects.iter().any(waits) {
            self.runs.suspects.push_back(entry);
        } else {
            self.park(entry, Parking { delay: SUSPECT_PAUSE, failure: None });
        }
    }

    /// What has crashed a process is written down as started first.
    fn mark_or_run(&mut self, entry: EntryId) {
        if self.holds.get(entry).is_some_and(|held| held.crashed() >= 1) {
            self.holds.change(entry, HeldState::Marking);
            self.mark(entry);
        } else {
            self.run(entry);
        }
    }

    /// It is written down that it starts: it does, if it still may.
    pub(super) fn go_on(&mut self, entry: EntryId) {
        let state = self.holds.get(entry).map(Held::state);
        assert!(state == Some(&HeldState::Marking), "{entry} is written down as started, and is {state:?}");
        if self.may_go_on(entry) {
            self.run(entry);
        }
    }

    /// Whether what has a slot may still run. If not, it waits again, or is given back.
    fn may_go_on(&mut self, entry: EntryId) -> bool {
        let Some(held) = self.holds.get(entry) else { return false };
        assert!(held.has_slot(), "{entry} goes on without a slot: {:?}", held.state());
        if !self.is_running() {
            self.give_back(entry);
            return false;
        }
        if self.paused || !self.is_trusted(held) {
            self.step_back(entry);
            self.runs.push_front(entry);
            return false;
        }
        true
    }

    /// It gives its slot back, and waits again.
    pub(super) fn step_back(&mut self, entry: EntryId) {
        self.holds.change(entry, HeldState::Waiting);
    }

    fn run(&mut self, entry: EntryId) {
        assert!(self.is_open(), "{entry} starts although nothing may");
        let held = self.holds.get(entry);
        assert!(held.is_some_and(|held| self.is_trusted(held)), "{entry} starts, and may be another's");
        self.runs.last += 1;
        let run = RunId(self.runs.last);
        let running =
            |held: &Held| HeldState::Running(Running { run, stage: held.stage(), tie: Tie::Ours, cut: Cut::No });
        let Some(held) = self.holds.change_to(entry, running) else { return };
        let (most, alone) = (self.config.max_attempts, self.runs.suspect == Some(entry));
        assert!(alone || !held.is_suspect(), "{entry} may crash the process, and runs out of turn");
        let failed = held.history.as_ref().map_or(0, |history| history.failed);
        assert!(most == 0 || failed < most || held.dying().is_some(), "{entry} has used up its attempts: {failed}");
        let is_done_for = held.history.as_ref().is_some_and(|history| history.buried_alive);
        assert!(!is_done_for, "{entry} has crashed a process as it was buried, and runs once more");
        assert!(run > self.runs.timed_out, "{run:?} is new, and over its time");
        assert!(run > self.runs.hanging, "{run:?} is new, and hangs");
        let history = held.history.as_deref().cloned();
        let before = history.as_ref().map_or(0, |history| history.failed.saturating_add(history.crashed));
        let start = Run {
            id: run,
            entry,
            stage: held.stage(),
            attempt: before.saturating_add(1),
            deliveries: held.hold.deliveries,
            history,
            fields: held.fields.clone(),
            begins_before: if self.config.no_ack {
                Time::from_micros(u64::MAX)
            } else {
                held.confirmed + self.config.trust()
            },
        };
        assert!(start.attempt >= 1 && start.begins_before > self.now, "{start:?} comes too late");
        self.runs.live.insert(run, Live { entry, started: self.now });
        assert!(self.holds.slots() <= self.config.concurrency, "more runs than slots");
        assert!(self.runs.live.len() <= self.holds.slots(), "each run has a slot");
        self.command(Command::Start(start));
    }

    /// Whether its last confirmation is so fresh that nobody can have taken it.
    pub(super) fn is_trusted(&self, held: &Held) -> bool {
        self.config.no_ack || self.now < held.confirmed + self.config.trust()
    }

    /// Occupies its ordering key, if nobody else does.
    fn occupy_key(&mut self, entry: EntryId) -> bool {
        let Some(name) = &self.config.ordered_by else { return true };
        let Some(held) = self.holds.get_mut(entry) else { return false };
        if held.key.is_some() {
            return true; // it was handed over
        }
        let Some(key) = held.field(name).map(Box::<[u8]>::from) else { return true };
        if let Some(waiting) = self.runs.keys.get_mut(&key) {
            waiting.push_back(entry);
            self.holds.change(entry, HeldState::Behind);
            return false;
        }
        held.key = Some(key.clone());
        let before = self.runs.keys.insert(key, VecDeque::new());
        assert!(before.is_none(), "{entry} takes an ordering key that is occupied");
        true
    }

    /// Another suspect has its turn: not before Redis knows how the last one ended, since the next may take this
    /// process along.
    pub(super) fn next_suspect(&mut self, entry: EntryId) {
        if self.runs.suspect != Some(entry) {
            return;
        }
        self.runs.suspect = None;
        while let Some(next) = self.runs.suspects.pop_front() {
            assert!(self.runs.suspect.is_none(), "{next} would be one of two suspects");
            // It may have ended, and have come again without what made it one.
            let is_one = |held: &Held| held.is_waiting() && held.is_suspect();
            if next != entry && self.holds.get(next).is_some_and(is_one) {
                self.runs.suspect = Some(next);
                return self.runs.push_front(next);
            }
        }
    }

    /// The key that it alone occupied goes to those who wait for it.
    pub(super) fn free(&mut self, entry: EntryId) {
        if self.config.ordered_by.is_none() {
            return;
        }
        let Some(key) = self.holds.get_mut(entry).and_then(|held| held.key.take()) else { return };
        while let Some(next) = self.runs.keys.get_mut(&key).and_then(VecDeque::pop_front) {
            if let Some(held) = self.holds.get_mut(next)
                && held.is_behind()
            {
                assert!(held.key.is_none(), "{next} waits for its ordering key, and occupies one");
                held.key = Some(key);
                self.holds.change(next, HeldState::Waiting);
                return self.runs.push_front(next);
            }
        }
        let free = self.runs.keys.remove(&key);
        assert!(free.is_some_and(|waiting| waiting.is_empty()), "{entry} frees a key that others wait for");
    }

    /// The queues name nobody any more who has ended.
    pub(super) fn tidy_queues(&mut self) {
        let holds = &self.holds;
        let waits = |entry: &EntryId| holds.get(*entry).is_some_and(Held::is_waiting);
        for queue in [&mut self.runs.due, &mut self.runs.new, &mut self.runs.suspects] {
            queue.retain(waits);
        }
        for queue in self.runs.keys.values_mut() {
            queue.retain(|entry| holds.get(*entry).is_some_and(Held::is_behind));
        }
    }

    fn ask_for_checks(&mut self) {
        while !self.runs.checks.is_empty() && self.may(Kind::Check) {
            let count = self.runs.checks.len().min(BATCH);
            let entries: Vec<EntryId> = self.runs.checks.drain(..count).collect();
            let checking = entries.iter().filter_map(|entry| {
                let held = self.holds.get(*entry).filter(|held| *held.state() == HeldState::Checking)?;
                Some((held.hold, held.processed.clone()?))
            });
            let (holds, keys): (Vec<Hold>, Vec<Box<[u8]>>) = checking.unzip();
            assert!(holds.len() <= BATCH, "{} keys are checked in one call", holds.len());
            if !holds.is_empty() {
                let items = holds.iter().map(|hold| hold.entry).zip(keys).collect();
                self.ask(Question::Check(holds), Call::Check(items));
            }
        }
    }

    pub(super) fn checks_due(&self) -> Option<Time> {
        if self.runs.checks.is_empty() { None } else { self.open_from(Kind::Check) }
    }

    pub(super) fn checked(&mut self, holds: Vec<Hold>, answers: Vec<bool>) {
        assert_eq!(holds.len(), answers.len(), "each message has its answer");
        for (hold, processed) in holds.into_iter().zip(answers) {
            let Some(held) = self.holds.of(hold).filter(|held| *held.state() == HeldState::Checking) else { continue };
            if processed {
                held.processed = None;
                self.acknowledge(hold.entry, Fate::Duplicate);
            } else if self.may_go_on(hold.entry) {
                self.mark_or_run(hold.entry);
            }
        }
    }

    pub(super) fn check_failed(&mut self, holds: &[Hold]) {
        self.runs.checks.extend(holds.iter().map(|hold| hold.entry));
    }

    pub(super) fn timeout_due(&self) -> Option<Time> {
        let (_, live) = self.runs.behind(self.runs.timed_out)?;
        Some(live.started + self.config.timeout?)
    }

    pub(super) fn hang_due(&self) -> Option<Time> {
        let (_, live) = self.runs.behind(self.runs.hanging)?;
        Some(live.started + self.config.hangs_after())
    }

    /// Runs start one after the other, so the first is always the one that has lasted longest.
    pub(super) fn cut_off_late_runs(&mut self) {
        while self.timeout_due().is_some_and(|at| at <= self.now) {
            let Some((run, live)) = self.runs.behind(self.runs.timed_out) else { break };
            assert!(run > self.runs.timed_out, "{run:?} would be over its time for ever");
            assert!(live.started <= self.now, "{run:?} is over its time before it begins");
            self.runs.timed_out = run;
            self.time_out(run, live.entry);
        }
        while self.hang_due().is_some_and(|at| at <= self.now) {
            let Some((run, live)) = self.runs.behind(self.runs.hanging) else { break };
            assert!(run > self.runs.hanging, "{run:?} would hang for ever");
            assert!(live.started <= self.now, "{run:?} hangs before it begins");
            self.runs.hanging = run;
            self.remark(Remark::Hangs(live.entry, self.now.since(live.started)));
        }
    }

    fn time_out(&mut self, run: RunId, entry: EntryId) {
        let Some(running) = self.holds.get_mut(entry).and_then(Held::running_mut) else { return };
        assert!(running.run == run, "{run:?} is over its time, and another runs: {:?}", running.run);
        if running.cut == Cut::No {
            running.cut = Cut::TimedOut;
            self.command(Command::Cancel(run));
            self.remark(Remark::TimedOut(entry));
        }
    }

    /// How long this message's run may take, in words.
    pub(super) fn timeout_text(&self) -> Box<str> {
        assert!(self.config.timeout.is_some(), "a run is over a time that it does not have");
        let timeout = self.config.timeout.unwrap_or(Duration::ZERO);
        format!("the run was cancelled after its timeout of {timeout:?}").into()
    }
}
