//! One stream's states in this consumer, and the table of all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{call::Failure, event::End};
use crate::{
    id::{Attempt, EntryId, Identity, StreamName, Token},
    time::Time,
};

/// One announcement that this consumer owns, wants or is ending.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    pub(super) stream: StreamName,
    pub(super) attempt: Attempt,
    pub(super) state: State,
}

/// Where its ownership stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// Redis is asked for it, or will be.
    Asking(Asking),
    /// It is ours, until its deadline.
    Owned(Owned),
    /// It is ours no more: Redis is told so.
    Finishing(Finishing),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asking {
    /// What the announcer added, for the application.
    pub(super) info: Option<Box<str>>,
    /// Another announcement of the stream that the record names.
    pub(super) other: Option<EntryId>,
    /// The application asked for it by hand and waits for an answer.
    pub(super) claimed: bool,
    /// Since when it is known to be without an owner; new announcements have none.
    pub(super) orphan_since: Option<Time>,
    /// Calls so far.
    pub(super) asked: u32,
    /// When the call that is under way was issued, if one is.
    pub(super) asked_at: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owned {
    pub(super) token: Token,
    /// Failures in a row of its handler, before this ownership.
    pub(super) failures: u32,
    pub(super) gained: Time,
    /// The server that granted it, or that it was created on again.
    pub(super) identity: Identity,
    pub(super) deadline: Time,
    /// A renewal is under way, and was issued at this instant.
    pub(super) renewing: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Finishing {
    pub(super) token: Token,
    pub(super) identity: Identity,
    pub(super) end: End,
    pub(super) failure: Option<Failure>,
    /// Until when an answer counts.
    pub(super) deadline: Time,
    /// Calls so far.
    pub(super) sent: u32,
}

impl Lease {
    /// When it ends by itself: validity, or the patience for an answer.
    fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Asking(_) => None,
            State::Owned(owned) => Some(owned.deadline),
            State::Finishing(finishing) => Some(finishing.deadline),
        }
    }
}

/// All announcements that this consumer owns, wants or is ending.
///
/// Deadlines move with every heartbeat, so they are queued lazily: each lease stands in the queue once, at a time that
/// is never later than its deadline, and is put back when it comes up early.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Leases {
    by_entry: BTreeMap<EntryId, (Lease, Time)>,
    /// Owned or finishing: a stream stands here once.
    by_stream: BTreeMap<StreamName, EntryId>,
    queue: BTreeSet<(Time, EntryId)>,
    owned: usize,
}

impl Leases {
    pub(super) fn len(&self) -> usize {
        self.by_entry.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_entry.is_empty()
    }

    pub(super) fn owned(&self) -> usize {
        self.owned
    }

    /// How many are owned or being ended: what the application has.
    pub(super) fn told(&self) -> usize {
        self.by_stream.len()
    }

    pub(super) fn contains(&self, entry: EntryId) -> bool {
        self.by_entry.contains_key(&entry)
    }

    pub(super) fn lease(&self, entry: EntryId) -> Option<&Lease> {
        self.by_entry.get(&entry).map(|(lease, _)| lease)
    }

    pub(super) fn asking_mut(&mut self, entry: EntryId) -> Option<&mut Asking> {
        match self.by_entry.get_mut(&entry) {
            Some((Lease { state: State::Asking(asking), .. }, _)) => Some(asking),
            _ => None,
        }
    }

    /// The ownership of this very attempt.
    pub(super) fn owned_mut(&mut self, entry: EntryId, attempt: Attempt) -> Option<&mut Owned> {
        match self.by_entry.get_mut(&entry) {
            Some((Lease { state: State::Owned(owned), attempt: ours, .. }, _)) if *ours == attempt => Some(owned),
            _ => None,
        }
    }

    /// The end of this very attempt's ownership.
    pub(super) fn finishing_mut(&mut self, entry: EntryId, attempt: Attempt) -> Option<&mut Finishing> {
        match self.by_entry.get_mut(&entry) {
            Some((Lease { state: State::Finishing(finishing), attempt: ours, .. }, _)) if *ours == attempt => {
                Some(finishing)
            }
            _ => None,
        }
    }

    /// The announcement under which a stream is owned or being ended here.
    pub(super) fn of_stream(&self, stream: &StreamName) -> Option<EntryId> {
        self.by_stream.get(stream).copied()
    }

    /// Puts a lease in, in place of what stood there.
    pub(super) fn put(&mut self, entry: EntryId, lease: Lease) {
        self.take(entry);
        let deadline = lease.deadline();
        if let Some(at) = deadline {
            let before = self.by_stream.insert(lease.stream.clone(), entry);
            assert!(before.is_none(), "stream {} is held under {before:?} and {entry} at once", lease.stream);
            let new = self.queue.insert((at, entry));
            assert!(new, "{entry} is queued for {at:?} before it stands in the table");
        }
        self.owned += usize::from(matches!(lease.state, State::Owned(_)));
        let before = self.by_entry.insert(entry, (lease, deadline.unwrap_or_default()));
        assert!(before.is_none(), "{entry} was taken out, and stands in the table");
        self.check_counts();
    }

    /// Takes a lease out.
    pub(super) fn take(&mut self, entry: EntryId) -> Option<Lease> {
        let (lease, queued) = self.by_entry.remove(&entry)?;
        if lease.deadline().is_some() {
            let under = self.by_stream.remove(&lease.stream);
            assert_eq!(under, Some(entry), "stream {} was held under this announcement", lease.stream);
            let was_queued = self.queue.remove(&(queued, entry));
            assert!(was_queued, "{entry} has a deadline, and is not queued for {queued:?}");
        }
        self.owned -= usize::from(matches!(lease.state, State::Owned(_)));
        self.check_counts();
        Some(lease)
    }

    /// Takes out one whose deadline has come.
    pub(super) fn take_expired(&mut self, now: Time) -> Option<(EntryId, Lease)> {
        loop {
            let &(at, entry) = self.queue.first()?;
            if at > now {
                return None;
            }
            let (lease, queued) = self.by_entry.get_mut(&entry).expect("whoever is queued is in the table");
            let deadline = lease.deadline().expect("whoever is queued has a deadline");
            assert_eq!(*queued, at, "{entry} stands in the queue once");
            assert!(at <= deadline, "{entry} is queued for {at:?}, behind its deadline {deadline:?}");
            if deadline <= now {
                return self.take(entry).map(|lease| (entry, lease));
            }
            self.queue.remove(&(at, entry));
            *queued = deadline;
            let new = self.queue.insert((deadline, entry));
            assert!(new, "{entry} stood in the queue twice");
        }
    }

    /// No deadline is earlier than this.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// All, in the order of their entries, from behind `after`.
    pub(super) fn iter_after(&self, after: Option<EntryId>) -> impl Iterator<Item = (EntryId, &Lease)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.by_entry.range((from, Unbounded)).map(|(entry, (lease, _))| (*entry, lease))
    }

    /// The entries of all of them.
    pub(super) fn entries(&self) -> Vec<EntryId> {
        self.by_entry.keys().copied().collect()
    }

    /// What the sizes of the three tables say: after each change of them.
    fn check_counts(&self) {
        let (all, told, queued) = (self.by_entry.len(), self.by_stream.len(), self.queue.len());
        assert!(self.owned <= told, "of {told} held streams {} are owned", self.owned);
        assert!(told <= all, "{told} streams are held under {all} announcements");
        assert!(queued == told, "{told} streams are held, and {queued} deadlines are queued");
    }

    /// Whether the three tables agree: goes through all of them.
    pub(super) fn check(&self) {
        let mut owned = 0;
        for (entry, (lease, queued)) in &self.by_entry {
            let under = self.by_stream.get(&lease.stream);
            owned += usize::from(matches!(lease.state, State::Owned(_)));
            let Some(deadline) = lease.deadline() else {
                assert_ne!(under, Some(entry), "who only asks for stream {} does not hold it", lease.stream);
                continue;
            };
            assert_eq!(under, Some(entry), "stream {} is owned or being ended under this one", lease.stream);
            assert!(self.queue.contains(&(*queued, *entry)), "{entry} has a deadline, and no place in the queue");
            assert!(*queued <= deadline, "{entry} is queued for {queued:?}, behind its deadline {deadline:?}");
        }
        assert_eq!(owned, self.owned, "those that are owned have been counted");
        self.check_counts();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> EntryId {
        EntryId { ms: number, seq: 0 }
    }

    fn attempt(number: u64) -> Attempt {
        Attempt { incarnation: 1, number }
    }

    fn lease(stream: &str, number: u64, state: State) -> Lease {
        Lease { stream: StreamName::new(stream).unwrap(), attempt: attempt(number), state }
    }

    fn asking() -> State {
        State::Asking(Asking { info: None, other: None, claimed: false, orphan_since: None, asked: 0, asked_at: None })
    }

    fn owned(deadline: u64) -> State {
        State::Owned(Owned {
            token: Token(1),
            failures: 0,
            gained: Time::ZERO,
            identity: Identity::new("a"),
            deadline: Time::from_millis(deadline),
            renewing: None,
        })
    }

    fn finishing(deadline: u64) -> State {
        State::Finishing(Finishing {
            token: Token(1),
            identity: Identity::new("a"),
            end: End::Done,
            failure: None,
            deadline: Time::from_millis(deadline),
            sent: 1,
        })
    }

    #[test]
    fn each_state_shows_in_the_tables_that_it_should() {
        for (state, is_owned, holds_its_stream) in
            [(asking(), false, false), (owned(10), true, true), (finishing(10), false, true)]
        {
            let mut leases = Leases::default();
            leases.put(entry(1), lease("s", 1, state.clone()));
            leases.check();
            assert!(leases.contains(entry(1)) && leases.len() == 1);
            assert_eq!(leases.owned(), usize::from(is_owned), "{state:?}");
            let held = leases.of_stream(&StreamName::new("s").unwrap());
            assert_eq!(held, holds_its_stream.then_some(entry(1)), "{state:?}");
            assert_eq!(leases.next_deadline(), holds_its_stream.then_some(Time::from_millis(10)));
            assert_eq!(leases.owned_mut(entry(1), attempt(1)).is_some(), is_owned);
            assert!(leases.owned_mut(entry(1), attempt(2)).is_none(), "another attempt's ownership");
            assert!(leases.finishing_mut(entry(1), attempt(2)).is_none());
            assert!(leases.take(entry(1)).is_some() && leases.is_empty());
            leases.check();
        }
    }

    #[test]
    fn a_lease_goes_through_its_states_in_place() {
        let mut leases = Leases::default();
        for state in [asking(), owned(10), finishing(20), asking()] {
            leases.put(entry(1), lease("s", 1, state));
            leases.check();
        }
        assert_eq!((leases.len(), leases.owned(), leases.next_deadline()), (1, 0, None));
    }

    #[test]
    #[should_panic(expected = "is held under")]
    fn a_stream_is_held_once() {
        let mut leases = Leases::default();
        leases.put(entry(1), lease("s", 1, owned(10)));
        leases.put(entry(2), lease("s", 2, owned(10)));
    }

    #[test]
    fn deadlines_that_moved_are_seen_when_they_come() {
        let mut leases = Leases::default();
        leases.put(entry(1), lease("a", 1, owned(10)));
        leases.put(entry(2), lease("b", 2, owned(10)));
        leases.owned_mut(entry(1), attempt(1)).unwrap().deadline = Time::from_millis(30);
        assert_eq!(leases.take_expired(Time::from_millis(9)), None);
        assert_eq!(leases.take_expired(Time::from_millis(10)).map(|(entry, _)| entry), Some(entry(2)));
        assert_eq!(leases.take_expired(Time::from_millis(10)), None);
        leases.check();
        assert_eq!(leases.next_deadline(), Some(Time::from_millis(30)));
        assert_eq!(leases.take_expired(Time::from_millis(30)).map(|(entry, _)| entry), Some(entry(1)));
        assert!(leases.is_empty());
        leases.check();
    }

    #[test]
    fn they_are_listed_in_order_from_behind_any() {
        let mut leases = Leases::default();
        for number in [3, 1, 2] {
            leases.put(entry(number), lease(&format!("s{number}"), number, asking()));
        }
        let behind = |after| leases.iter_after(after).map(|(entry, _)| entry.ms).collect::<Vec<_>>();
        assert_eq!((behind(None), behind(Some(entry(1))), behind(Some(entry(3)))), (vec![1, 2, 3], vec![2, 3], vec![]));
    }
}
