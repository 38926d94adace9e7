//! A message that is held, and the states it goes through; and all of them together.

use std::{collections::BTreeMap, time::Duration};

use super::{
    call::{Fields, History, Hold, Reason},
    event::{Fate, RunId, Stage},
};
use crate::{id::EntryId, time::Time};

/// A message that is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) hold: Hold,
    /// Dropped as soon as nobody can want them any more.
    pub(super) fields: Fields,
    pub(super) history: Option<Box<History>>,
    /// Since when it is here.
    pub(super) came: Time,
    /// When the call was issued that last showed it to be ours.
    pub(super) confirmed: Time,
    pub(super) refreshing: bool,
    /// The present server has said whose it is; or it was handed out by this one.
    pub(super) sifted: bool,
    /// The ordering key that it occupies.
    pub(super) key: Option<Box<[u8]>>,
    /// Under which it is remembered as processed.
    pub(super) processed: Option<Box<[u8]>>,
    state: State,
}

/// Where a message stands.
///
/// ```text
///  admitted ─▶ Waiting ─▶ [Checking] ─▶ [Marking] ─▶ Running ─▶ Acking │ Parking │ Burying ─▶ settled
///               ▲ │ ▲                                  │
///        Doubted ◀┘ └───────────── Dying ◀─────────────┘ the last attempt failed
///         Behind ◀┘ (its ordering key is occupied)
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// It waits for a free slot, in one of the queues.
    Waiting,
    /// It waits too, but must be confirmed before it may run.
    Doubted,
    /// It waits for those before it with the same ordering key.
    Behind,
    /// It has a slot; whether it was processed already is being asked.
    Checking,
    /// It has a slot; that its run begins is being written down.
    Marking,
    /// It has a slot, and runs.
    Running(Running),
    /// Its end is being written down; it then waits for the run that is told of it.
    Dying(Box<Dying>),
    /// It is being acknowledged, and this is what will have become of it.
    Acking(Fate),
    /// It is being put aside.
    Parking(Box<Parking>),
    /// It is being buried.
    Burying(Box<Burying>),
}

/// A run that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Running {
    pub(super) run: RunId,
    pub(super) stage: Stage,
    pub(super) tie: Tie,
    pub(super) cut: Cut,
}

/// Whether a run's message is still ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tie {
    Ours,
    /// It is nobody's any more: trimmed or deleted. Its payload is only here.
    Gone,
    /// It is another's.
    Lost,
}

/// Whether a run was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cut {
    No,
    /// It was over its time: that is a failure.
    TimedOut,
    /// We stop: its message is given back.
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Dying {
    pub(super) reason: Reason,
    pub(super) error: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Parking {
    pub(super) delay: Duration,
    pub(super) failure: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Burying {
    pub(super) reason: Reason,
    pub(super) error: Box<str>,
    /// It is gone from the stream: what is buried is what is here.
    pub(super) gone: bool,
    /// It was buried already, perhaps: the answer was lost.
    pub(super) repeated: bool,
}

/// What a state takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Waits,
    Behind,
    Slot,
    Settles,
}

impl State {
    pub(super) fn place(&self) -> Place {
        match self {
            State::Waiting | State::Doubted => Place::Waits,
            State::Behind => Place::Behind,
            State::Checking | State::Marking | State::Running(_) => Place::Slot,
            State::Dying(_) | State::Acking(_) | State::Parking(_) | State::Burying(_) => Place::Settles,
        }
    }

    /// Whether a message may go on from here to there, as drawn above.
    fn leads_to(&self, next: &State) -> bool {
        use State::{Acking, Behind, Burying, Checking, Doubted, Dying, Marking, Parking, Running, Waiting};
        match self {
            Waiting => !matches!(next, Waiting),
            Doubted => matches!(next, Waiting | Doubted | Parking(_)),
            Behind => matches!(next, Waiting | Parking(_)),
            Checking => matches!(next, Waiting | Marking | Running(_) | Acking(_) | Parking(_)),
            Marking => matches!(next, Waiting | Running(_) | Parking(_)),
            Running(_) => matches!(next, Acking(_) | Parking(_) | Burying(_) | Dying(_)),
            Dying(_) => matches!(next, Waiting | Burying(_)),
            Acking(_) => false,
            Parking(_) | Burying(_) => matches!(next, Burying(_)),
        }
    }
}

impl Held {
    pub(super) fn new(hold: Hold, fields: Fields, history: Option<History>, came: Time, confirmed: Time) -> Held {
        assert!(confirmed <= came, "{hold:?} came before anybody asked for it");
        let history = history.map(Box::new);
        let (key, processed, refreshing, sifted) = (None, None, false, true);
        Held { hold, fields, history, came, confirmed, refreshing, sifted, key, processed, state: State::Waiting }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    pub(super) fn is_behind(&self) -> bool {
        self.state == State::Behind
    }

    pub(super) fn has_slot(&self) -> bool {
        self.state.place() == Place::Slot
    }

    /// Whether it has ended here, and only Redis is still to be told.
    pub(super) fn settles(&self) -> bool {
        self.state.place() == Place::Settles
    }

    pub(super) fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.state {
            State::Running(running) => Some(running),
            _ => None,
        }
    }

    /// A run's message that was gone is ours again.
    pub(super) fn tie_again(&mut self) {
        let running = self.running_mut().filter(|running| running.tie == Tie::Gone);
        assert!(running.is_some(), "what was not gone is back");
        if let Some(running) = running {
            running.tie = Tie::Ours;
        }
    }

    /// What was to be done with it may have been done: the answer was lost.
    pub(super) fn repeat(&mut self) {
        if let State::Burying(burying) = &mut self.state {
            burying.repeated = true;
        }
    }

    /// How often it has crashed its process.
    pub(super) fn crashed(&self) -> u32 {
        self.history.as_ref().map_or(0, |history| history.crashed)
    }

    /// Why its end is decided, if it is.
    pub(super) fn dying(&self) -> Option<Reason> {
        self.history.as_ref().and_then(|history| history.dying)
    }

    /// What is called for it.
    pub(super) fn stage(&self) -> Stage {
        self.dying().map_or(Stage::Process, Stage::Dead)
    }

    /// Whether it may be what crashes processes: two crashes, or one of `process_dead`.
    pub(super) fn is_suspect(&self) -> bool {
        self.crashed() >= 2 || (self.crashed() >= 1 && self.dying().is_some())
    }

    pub(super) fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(field, _)| field == name.as_bytes()).map(|(_, value)| &**value)
    }
}

/// All messages that are held, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Holds {
    map: BTreeMap<EntryId, Held>,
    pub(super) counts: Counts,
}

/// How many are in which place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Counts {
    pub(super) waiting: usize,
    pub(super) behind: usize,
    pub(super) slots: usize,
}

impl Counts {
    fn count(&mut self, place: Place, more: bool) {
        let counter = match place {
            Place::Waits => &mut self.waiting,
            Place::Behind => &mut self.behind,
            Place::Slot => &mut self.slots,
            Place::Settles => return,
        };
        assert!(more || *counter >= 1, "what leaves {place:?} was counted there");
        *counter = if more { *counter + 1 } else { *counter - 1 };
    }
}

impl Holds {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// How many wait for a slot.
    pub(super) fn waiting(&self) -> usize {
        self.counts.waiting
    }

    /// How many wait for their ordering key.
    pub(super) fn behind(&self) -> usize {
        self.counts.behind
    }

    /// How many have a slot.
    pub(super) fn slots(&self) -> usize {
        self.counts.slots
    }

    pub(super) fn get(&self, entry: EntryId) -> Option<&Held> {
        self.map.get(&entry)
    }

    pub(super) fn get_mut(&mut self, entry: EntryId) -> Option<&mut Held> {
        self.map.get_mut(&entry)
    }

    /// It, if it is this delivery of it.
    pub(super) fn of(&mut self, hold: Hold) -> Option<&mut Held> {
        self.map.get_mut(&hold.entry).filter(|held| held.hold == hold)
    }

    /// Another server is asked about each of them.
    pub(super) fn doubt_all(&mut self) {
        for held in self.map.values_mut() {
            held.sifted = false;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (EntryId, &Held)> {
        self.map.iter().map(|(entry, held)| (*entry, held))
    }

    /// Takes one in that is not held.
    pub(super) fn insert(&mut self, held: Held) {
        assert!(held.is_waiting(), "what comes in waits first: {:?}", held.state);
        self.counts.count(held.state.place(), true);
        let before = self.map.insert(held.hold.entry, held);
        assert!(before.is_none(), "a message is held twice");
    }

    pub(super) fn remove(&mut self, entry: EntryId) -> Option<Held> {
        let held = self.map.remove(&entry)?;
        self.counts.count(held.state.place(), false);
        assert!(held.key.is_none(), "{entry} is held no more, and occupies its ordering key");
        Some(held)
    }

    /// It stands there from here on.
    pub(super) fn change(&mut self, entry: EntryId, state: State) -> Option<&mut Held> {
        self.change_to(entry, |_| state)
    }

    /// It stands from here on where this says.
    pub(super) fn change_to(&mut self, entry: EntryId, state: impl FnOnce(&Held) -> State) -> Option<&mut Held> {
        let held = self.map.get_mut(&entry)?;
        let state = state(held);
        assert!(held.state.leads_to(&state), "{entry} goes from {:?} to {state:?}", held.state);
        self.counts.count(held.state.place(), false);
        self.counts.count(state.place(), true);
        held.state = state;
        Some(held)
    }
}
