//! Redis is told what became of messages: put aside, buried, marked (acknowledged: `acks.rs`). Each call whose answer was
//! lost is asked again; what cannot be judged is tried again later.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{
    Fate, Machine, Remark,
    asked::{Kind, Question},
    call::{BuryItem, Call, Fenced, Hold, Mark, MarkItem, ParkItem, Reason},
    held::{Burying, Dying, Held, Parking, State as HeldState},
    runs::Queue,
};
use crate::{id::EntryId, time::Time};

/// How many messages go into one script that does several steps for each.
const BATCH: usize = 500;
/// How many burials go into one call: each copies a payload.
pub(super) const BURIALS: usize = 100;
/// For how long a message is put aside that came while its earlier run in this process has not ended.
const STRAY_PAUSE: Duration = Duration::from_secs(1);

/// What Redis is still to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) acks: VecDeque<EntryId>,
    /// Since when the first of them waits.
    pub(super) acks_since: Time,
    /// One of them has crashed a process before: the next crash must not find its success untold.
    pub(super) hurry: bool,
    pub(super) marks: VecDeque<EntryId>,
    pub(super) parks: VecDeque<EntryId>,
    pub(super) buries: VecDeque<EntryId>,
    /// Deliveries that are not held, and are to be given back.
    pub(super) strays: BTreeMap<EntryId, Stray>,
    /// What could not be judged, and when it is tried again.
    pub(super) later: BTreeSet<(Time, EntryId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stray {
    pub(super) hold: Hold,
    pub(super) asked: bool,
}

impl State {
    pub(super) fn is_stray(&self, hold: Hold) -> bool {
        self.strays.get(&hold.entry).is_some_and(|stray| stray.hold.deliveries >= hold.deliveries)
    }

    pub(super) fn strays(&self) -> usize {
        self.strays.len()
    }

    pub(super) fn forget_strays(&mut self) {
        self.strays.clear();
    }

    fn unsent(&self) -> bool {
        !self.marks.is_empty() || !self.parks.is_empty() || !self.buries.is_empty()
    }
}

impl Parking {
    /// What has become of the message once it is put aside.
    pub(super) fn fate(&self) -> Fate {
        if self.failure.is_some() { Fate::Retried(self.delay) } else { Fate::Returned }
    }
}

impl Machine {
    /// It is put aside, with nothing counted against it, and due at once.
    pub(super) fn give_back(&mut self, entry: EntryId) {
        self.park(entry, Parking { delay: Duration::ZERO, failure: None });
    }

    /// It is put aside.
    pub(super) fn park(&mut self, entry: EntryId, parking: Parking) {
        self.settle_as(entry, HeldState::Parking(Box::new(parking)));
    }

    /// It is buried.
    pub(super) fn bury(&mut self, entry: EntryId, burying: Burying) {
        self.settle_as(entry, HeldState::Burying(Box::new(burying)));
    }

    /// It is written down that it will end.
    pub(super) fn decide_end(&mut self, entry: EntryId, dying: Dying) {
        self.settle_as(entry, HeldState::Dying(Box::new(dying)));
    }

    fn settle_as(&mut self, entry: EntryId, state: HeldState) {
        if self.config.no_ack {
            return self.forget(entry, Fate::Lost);
        }
        assert!(self.holds.get(entry).is_some(), "{entry} is settled, and not held");
        self.free(entry);
        self.holds.change(entry, state);
        self.queue(entry);
        assert!(self.settling.unsent(), "{entry} is settled, and nobody is told");
    }

    /// It is written down that it starts.
    pub(super) fn mark(&mut self, entry: EntryId) {
        let state = self.holds.get(entry).map(Held::state);
        assert!(state == Some(&HeldState::Marking), "{entry} is marked as started, and is {state:?}");
        self.settling.marks.push_back(entry);
    }

    /// This delivery is given back without being held.
    pub(super) fn return_stray(&mut self, hold: Hold) {
        assert!(!self.settling.is_stray(hold), "{hold:?} is given back twice");
        if !self.config.no_ack {
            self.settling.strays.insert(hold.entry, Stray { hold, asked: false });
        }
    }

    /// Puts it where its state says.
    fn queue(&mut self, entry: EntryId) {
        let Some(held) = self.holds.get(entry) else { return };
        match held.state() {
            HeldState::Marking | HeldState::Dying(_) => self.settling.marks.push_back(entry),
            HeldState::Parking(_) => self.settling.parks.push_back(entry),
            HeldState::Burying(_) => self.settling.buries.push_back(entry),
            HeldState::Waiting => self.runs.push(Queue::Due, entry),
            HeldState::Doubted => self.doubt(entry),
            HeldState::Behind | HeldState::Acking(_) | HeldState::Checking | HeldState::Running(_) => {}
        }
    }

    /// When something is to be told.
    pub(super) fn settling_due(&self) -> Option<Time> {
        let later = self.settling.later.first().map(|(at, _)| *at);
        let strays = self.settling.strays.values().any(|stray| !stray.asked);
        let owed = [
            (!self.settling.marks.is_empty(), Kind::Mark),
            (!self.settling.parks.is_empty() || strays, Kind::Park),
            (!self.settling.buries.is_empty(), Kind::Bury),
        ];
        let owed = owed.into_iter().filter(|(owed, _)| *owed).filter_map(|(_, kind)| self.open_from(kind)).min();
        [later, owed, self.acks_due(), self.checks_due()].into_iter().flatten().min()
    }

    /// Tells what is to be told.
    pub(super) fn settle(&mut self) {
        while let Some((at, entry)) = self.settling.later.first().copied()
            && at <= self.now
        {
            self.settling.later.pop_first();
            self.queue(entry);
        }
        while self.acks_due().is_some_and(|at| at <= self.now) {
            self.send_acks();
        }
        while !self.settling.marks.is_empty() && self.may(Kind::Mark) {
            self.send_marks();
        }
        while (!self.settling.parks.is_empty() || self.settling.strays.values().any(|s| !s.asked))
            && self.may(Kind::Park)
        {
            self.send_parks();
        }
        while !self.settling.buries.is_empty() && self.may(Kind::Bury) {
            self.send_buries();
        }
    }

    fn send_marks(&mut self) {
        let count = self.settling.marks.len().min(BATCH);
        let entries: Vec<EntryId> = self.settling.marks.drain(..count).collect();
        let item = |entry: EntryId| {
            let held = self.holds.get(entry)?;
            let mark = match held.state() {
                HeldState::Marking => Mark::Started,
                HeldState::Dying(dying) => Mark::Dying { reason: dying.reason, error: dying.error.clone() },
                _ => return None,
            };
            Some(MarkItem { hold: held.hold, mark })
        };
        let items: Vec<MarkItem> = entries.into_iter().filter_map(item).collect();
        assert!(items.len() <= BATCH, "{} marks go into one call", items.len());
        if !items.is_empty() {
            self.ask(Question::Mark(items.iter().map(|item| item.hold).collect()), Call::Mark(items));
        }
    }

    fn send_parks(&mut self) {
        let count = self.settling.parks.len().min(BATCH);
        let entries: Vec<EntryId> = self.settling.parks.drain(..count).collect();
        let item = |entry: EntryId| {
            let held = self.holds.get(entry)?;
            let HeldState::Parking(parking) = held.state() else { return None };
            Some(ParkItem { hold: held.hold, delay: parking.delay, failure: parking.failure.clone() })
        };
        let mut items: Vec<ParkItem> = entries.into_iter().filter_map(item).collect();
        for stray in self.settling.strays.values_mut().filter(|stray| !stray.asked).take(BATCH) {
            stray.asked = true;
            items.push(ParkItem { hold: stray.hold, delay: STRAY_PAUSE, failure: None });
        }
        assert!(items.len() <= 2 * BATCH, "{} messages are put aside in one call", items.len());
        if !items.is_empty() {
            self.ask(Question::Park(items.iter().map(|item| item.hold).collect()), Call::Park(items));
        }
    }

    fn send_buries(&mut self) {
        let count = self.settling.buries.len().min(BURIALS);
        let entries: Vec<EntryId> = self.settling.buries.drain(..count).collect();
        let item = |entry: EntryId| {
            let held = self.holds.get(entry)?;
            let HeldState::Burying(burying) = held.state() else { return None };
            let gone = burying.gone.then(|| held.fields.clone());
            Some(BuryItem { hold: held.hold, reason: burying.reason, error: burying.error.clone(), gone })
        };
        let items: Vec<BuryItem> = entries.into_iter().filter_map(item).collect();
        assert!(items.len() <= BURIALS, "{} payloads go into one call", items.len());
        if !items.is_empty() {
            self.ask(Question::Bury(items.iter().map(|item| item.hold).collect()), Call::Bury(items));
        }
    }

    pub(super) fn marked(&mut self, holds: Vec<Hold>, answers: Vec<Fenced>) {
        assert_eq!(holds.len(), answers.len(), "each message has its answer");
        for (hold, answer) in holds.into_iter().zip(answers) {
            let Some(held) = self.holds.of(hold) else { continue };
            match (held.state().clone(), answer) {
                (HeldState::Marking, Fenced::Done) => self.go_on(hold.entry),
                (HeldState::Dying(dying), Fenced::Done) => self.end_decided(hold.entry, *dying),
                (HeldState::Marking | HeldState::Dying(_), Fenced::Broken(error)) => {
                    self.set_aside(hold.entry, error);
                }
                // Trimmed while its last run went on: what is here is all there is.
                (HeldState::Dying(dying), Fenced::Gone) if dying.error.is_some() => {
                    self.bury_gone(hold.entry, dying.error.unwrap_or_default());
                }
                (HeldState::Marking | HeldState::Dying(_), _) => self.forget(hold.entry, Fate::Lost),
                _ => {}
            }
        }
    }

    /// Its end is written down: only `process_dead` is called for it from here on.
    fn end_decided(&mut self, entry: EntryId, dying: Dying) {
        let Some(held) = self.holds.get_mut(entry) else { return };
        assert!(
            matches!(held.state(), HeldState::Dying(_)),
            "{entry}: its end is written, and it is {:?}",
            held.state()
        );
        // Only who holds it may write that down: it is ours on this server, whatever a refresh said before.
        held.sifted = true;
        let history = held.history.get_or_insert_default();
        history.dying = Some(dying.reason);
        if let Some(error) = dying.error {
            history.failed = history.failed.saturating_add(1);
            history.error = error;
        }
        self.holds.change(entry, HeldState::Waiting);
        if self.is_running() {
            self.runs.push(Queue::Due, entry);
        } else {
            self.give_back(entry);
        }
    }

    pub(super) fn parked(&mut self, holds: Vec<Hold>, answers: Vec<Fenced>) {
        assert_eq!(holds.len(), answers.len(), "each message has its answer");
        for (hold, answer) in holds.into_iter().zip(answers) {
            if self.settling.strays.get(&hold.entry).is_some_and(|stray| stray.hold == hold) {
                self.settling.strays.remove(&hold.entry);
                continue;
            }
            let Some(held) = self.holds.of(hold) else { continue };
            let HeldState::Parking(parking) = held.state().clone() else { continue };
            match (answer, parking.failure.clone()) {
                (Fenced::Done, failure) => {
                    match failure {
                        Some(_) => self.ask_soon(parking.delay),
                        None => self.count_returned(),
                    }
                    self.forget(hold.entry, parking.fate());
                }
                (Fenced::Gone, Some(error)) => self.bury_gone(hold.entry, error),
                (Fenced::Broken(error), _) => self.set_aside(hold.entry, error),
                (Fenced::Lost | Fenced::Gone, _) => self.forget(hold.entry, Fate::Lost),
            }
        }
    }

    pub(super) fn buried(&mut self, holds: Vec<Hold>, answers: Vec<Fenced>) {
        assert_eq!(holds.len(), answers.len(), "each message has its answer");
        for (hold, answer) in holds.into_iter().zip(answers) {
            let Some(held) = self.holds.of(hold) else { continue };
            let HeldState::Burying(burying) = held.state().clone() else { continue };
            match answer {
                Fenced::Done => self.forget(hold.entry, Fate::Buried(burying.reason)),
                // It was trimmed away, or is buried already: the script knows which.
                Fenced::Gone if !burying.gone => self.bury(hold.entry, Burying { gone: true, ..*burying }),
                // The answer that said so was lost.
                Fenced::Gone if burying.repeated => self.forget(hold.entry, Fate::Buried(burying.reason)),
                // It was delivered again meanwhile, while it was held here: it is taken in, and runs again.
                Fenced::Lost if burying.gone => {
                    self.forget(hold.entry, Fate::Lost);
                    self.glance_at_own_list();
                }
                Fenced::Lost | Fenced::Gone => self.forget(hold.entry, Fate::Lost),
                Fenced::Broken(error) => self.set_aside(hold.entry, error),
            }
        }
    }

    /// It failed, and is not in the stream any more, or acknowledged by another: the script knows which. If nobody else
    /// has it, it can only be buried, with what is here of it.
    fn bury_gone(&mut self, entry: EntryId, error: Box<str>) {
        self.bury(entry, Burying { reason: Reason::Failed, error, gone: true, repeated: false });
    }

    /// It cannot be judged: it is tried again later, and holds up nobody meanwhile.
    pub(super) fn set_aside(&mut self, entry: EntryId, error: Box<str>) {
        self.remark(Remark::Broken(entry, error));
        if self.holds.get(entry).is_some_and(Held::has_slot) {
            self.free(entry);
            self.step_back(entry);
        }
        let rests = self.holds.get(entry).is_some_and(|held| !held.has_slot());
        assert!(rests, "{entry} cannot be judged, and holds others up");
        self.next_suspect(entry);
        if self.holds.get(entry).is_some_and(|held| !held.sifted) {
            self.want_refresh(entry);
        }
        self.settling.later.insert((self.now + self.config.retry_backoff_limit, entry));
    }

    /// It is not ours on another server, and its own call cannot say so: it is to hold up nobody.
    pub(super) fn cannot_be_settled(&mut self, entry: EntryId) {
        let settles = self.holds.get(entry).is_some_and(Held::settles);
        assert!(settles, "{entry} goes on, and is to be given up");
        let unknown = self.holds.get(entry).is_some_and(|held| !held.sifted);
        if unknown && self.settling.later.iter().any(|(_, later)| *later == entry) {
            self.forget(entry, Fate::Lost);
        }
    }

    /// A call was refused, or its answer was lost: it is asked again.
    pub(super) fn settling_failed(&mut self, holds: &[Hold]) {
        for hold in holds {
            if let Some(stray) = self.settling.strays.get_mut(&hold.entry)
                && stray.hold == *hold
            {
                stray.asked = false;
            } else if let Some(held) = self.holds.of(*hold) {
                held.repeat();
                self.queue(hold.entry);
            }
        }
    }
}
