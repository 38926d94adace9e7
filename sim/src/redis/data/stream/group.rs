//! Consumer groups: what was delivered, to whom, and not yet acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::id::Id;

/// A consumer group.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Group {
    /// The last one that was delivered.
    pub(crate) last_id: Id,
    /// How many entries were read, if that is known.
    pub(crate) entries_read: Option<u64>,
    pub(crate) consumers: BTreeMap<Bytes, Consumer>,
    pending: BTreeMap<Id, Pending>,
}

/// A consumer.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Consumer {
    /// When it last asked for something, by the server's wall clock.
    pub(crate) seen_ms: u64,
    pending: BTreeSet<Id>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Pending {
    pub(crate) consumer: Bytes,
    pub(crate) delivered_ms: u64,
    pub(crate) deliveries: u64,
}

impl Group {
    pub(crate) fn new(last_id: Id, entries_read: Option<u64>) -> Group {
        Group { last_id, entries_read, consumers: BTreeMap::new(), pending: BTreeMap::new() }
    }

    /// Notes that a consumer asked; it is created if it is not there. Whether it was.
    pub(crate) fn meet(&mut self, name: &Bytes, now_ms: u64) -> bool {
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.seen_ms = now_ms;
            return false;
        }
        self.consumers.insert(name.clone(), Consumer { seen_ms: now_ms, pending: BTreeSet::new() });
        true
    }

    /// Removes a consumer with all that is pending for it. How much that was; none if there is no such consumer.
    pub(crate) fn forget(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Makes an entry pending for a consumer that is there, and for no other.
    pub(crate) fn give(&mut self, id: Id, pending: Pending) {
        if let Some(consumer) = self.consumers.get_mut(&pending.consumer) {
            consumer.pending.insert(id);
        }
        let to = pending.consumer.clone();
        if let Some(before) = self.pending.insert(id, pending)
            && before.consumer != to
            && let Some(consumer) = self.consumers.get_mut(&before.consumer)
        {
            consumer.pending.remove(&id);
        }
    }

    /// Ends that an entry is pending. Whether it was.
    pub(crate) fn settle(&mut self, id: Id) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        if let Some(consumer) = self.consumers.get_mut(&pending.consumer) {
            consumer.pending.remove(&id);
        }
        true
    }

    /// All that is pending.
    pub(crate) fn pending(&self) -> &BTreeMap<Id, Pending> {
        &self.pending
    }

    pub(crate) fn pending_mut(&mut self, id: Id) -> Option<&mut Pending> {
        self.pending.get_mut(&id)
    }

    /// What is pending for a consumer in an interval.
    pub(crate) fn pending_of<'a>(
        &'a self,
        name: &[u8],
        interval: RangeInclusive<Id>,
    ) -> impl Iterator<Item = (Id, &'a Pending)> + use<'a> {
        let ids = self.consumers.get(name).filter(|_| !interval.is_empty()).map(|one| one.pending.range(interval));
        ids.into_iter().flatten().filter_map(|id| Some((*id, self.pending.get(id)?)))
    }
}

impl Consumer {
    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }
}
