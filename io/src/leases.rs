//! The leases that are held, known to the driver and to the client.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use streamkeeper_core::{
    id::{EntryId, StreamName, Token},
    time::Time,
};

use crate::lease::{Lease, Lost};

/// Every lease from its `Added` to its end.
#[derive(Default)]
pub(crate) struct Leases(Mutex<Index>);

#[derive(Default)]
struct Index {
    by_entry: BTreeMap<EntryId, Lease>,
    by_stream: BTreeMap<StreamName, EntryId>,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, lease: Lease) {
        let mut index = self.lock();
        index.by_stream.insert(lease.stream().clone(), lease.entry());
        index.by_entry.insert(lease.entry(), lease);
    }

    /// Whether this very ownership is still held.
    pub(crate) fn is_current(&self, entry: EntryId, token: Token) -> bool {
        self.lock().by_entry.get(&entry).is_some_and(|lease| lease.token() == token)
    }

    pub(crate) fn named(&self, stream: &str) -> Option<Lease> {
        let name = StreamName::new(stream).ok()?;
        let index = self.lock();
        index.by_stream.get(&name).and_then(|entry| index.by_entry.get(entry)).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Lease> {
        self.lock().by_entry.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().by_entry.len()
    }

    /// Whether somebody works on one of them, and is to be given time to end that.
    pub(crate) fn any_under_way(&self) -> bool {
        self.lock().by_entry.values().any(|lease| lease.0.work.is_under_way())
    }

    pub(crate) fn extend(&self, entries: &[EntryId], until: Time) {
        let index = self.lock();
        for entry in entries {
            if let Some(lease) = index.by_entry.get(entry) {
                lease.0.extend(until);
            }
        }
    }

    /// Ends the validity of all of them, before the machine is told to end the ownerships.
    pub(crate) fn invalidate_all(&self) {
        self.lock().by_entry.values().for_each(|lease| lease.0.invalidate());
    }

    /// An ownership has ended: everyone who waits for it hears how.
    pub(crate) fn finish(&self, entry: EntryId, lost: Lost) -> Option<Lease> {
        let lease = {
            let mut index = self.lock();
            let lease = index.by_entry.remove(&entry)?;
            if index.by_stream.get(lease.stream()) == Some(&entry) {
                index.by_stream.remove(lease.stream());
            }
            lease
        };
        lease.0.finish(lost);
        Some(lease)
    }
}
