//! Streams and their groups.

mod add;
mod claim;
mod group;
mod groups;
mod id;
mod info;
mod node;
mod pending;
mod range;
mod read;
mod trim;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::reply::Reply;
use group::Group;
use id::Id;
use node::{Entry, Node};

pub(crate) use add::{xadd, xdel, xlen, xsetid, xtrim};
pub(crate) use claim::{xack, xautoclaim, xclaim};
pub(crate) use groups::{create, createconsumer, delconsumer, destroy, setid};
pub(crate) use info::{consumers, groups, stream};
pub(crate) use pending::xpending;
pub(crate) use range::{xrange, xrevrange};
pub(crate) use read::{wake, xread, xreadgroup};

/// A stream.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Stream {
    /// By the id of the first entry that each of them got. Shared with snapshots.
    nodes: BTreeMap<Id, Arc<Node>>,
    length: usize,
    last_id: Id,
    /// The first entry that is left.
    first_id: Id,
    /// The highest one that XDEL deleted.
    max_deleted_id: Id,
    entries_added: u64,
    groups: BTreeMap<Bytes, Group>,
}

impl Stream {
    /// Adds an entry, whose id has to be above all others.
    fn push(&mut self, entry: Entry) {
        let id = entry.id;
        match self.nodes.last_entry() {
            Some(mut last) if last.get().has_room(&entry) => Arc::make_mut(last.get_mut()).push(entry),
            _ => drop(self.nodes.insert(id, Arc::new(Node::new(entry)))),
        }
        self.length += 1;
        self.entries_added += 1;
        self.last_id = id;
        if self.length == 1 {
            self.first_id = id;
        }
    }

    /// Deletes an entry. Whether it was there.
    fn delete(&mut self, id: Id) -> bool {
        let Some((first, node)) = self.nodes.range_mut(..=id).next_back() else { return false };
        let Some(at) = node.find(id) else { return false };
        let node = Arc::make_mut(node);
        node.entries.remove(at);
        let first = *first;
        if node.entries.is_empty() {
            self.nodes.remove(&first);
        }
        self.length -= 1;
        true
    }

    /// Looks up which entry is the first one now.
    fn note_first(&mut self) {
        let first = self.entries().next().map(|entry| entry.id);
        self.first_id = first.unwrap_or(Id::MIN);
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.nodes.values().flat_map(|node| &node.entries)
    }

    /// The entries of an interval.
    fn range(&self, start: Id, end: Id) -> impl DoubleEndedIterator<Item = &Entry> {
        let from = self.nodes.range(..=start).next_back().map_or(Id::MIN, |(first, _)| *first);
        // An interval from above to below is empty, and BTreeMap would not take it.
        let nodes = self.nodes.range(from..=end.max(from));
        nodes.flat_map(move |(_, node)| {
            let low = node.entries.partition_point(|entry| entry.id < start);
            let high = node.entries.partition_point(|entry| entry.id <= end);
            &node.entries[low.min(high)..high]
        })
    }

    fn find(&self, id: Id) -> Option<&Entry> {
        let (_, node) = self.nodes.range(..=id).next_back()?;
        node.find(id).map(|at| &node.entries[at])
    }

    /// Whether this entry stands here.
    pub(crate) fn has(&self, (ms, seq): (u64, u64)) -> bool {
        self.find(Id { ms, seq }).is_some()
    }

    /// The highest id that is left.
    fn last_valid_id(&self) -> Option<Id> {
        self.entries().next_back().map(|entry| entry.id)
    }

    /// Whether an entry from this one on was deleted by XDEL, and one before is left: then numbers of entries are not differences of counters.
    fn has_holes_from(&self, start: Id) -> bool {
        self.length > 0
            && self.max_deleted_id != Id::MIN
            && self.first_id <= self.max_deleted_id
            && start <= self.max_deleted_id
    }

    /// How many entries there have been up to this one, if that can be told.
    fn entries_up_to(&self, id: Id) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if (self.length == 0 && id <= self.last_id) || id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id || (self.max_deleted_id != Id::MIN && self.max_deleted_id >= self.first_id) {
            return None;
        }
        let before_first = self.entries_added.saturating_sub(self.length as u64);
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less => Some(before_first),
            std::cmp::Ordering::Equal => Some(before_first + 1),
            std::cmp::Ordering::Greater => None,
        }
    }

    pub(crate) fn memory(&self) -> usize {
        // Measured on 7.0: a pending entry, a consumer.
        const PENDING: usize = 547;
        const CONSUMER: usize = 293;
        let groups = |group: &Group| PENDING * group.pending().len() + CONSUMER * group.consumers.len();
        self.nodes.values().map(|node| node.bytes()).sum::<usize>() + self.groups.values().map(groups).sum::<usize>()
    }
}

impl Entry {
    /// Its id, and its fields and values.
    fn reply(&self) -> Reply {
        let pairs = self.pairs.iter().map(|text| Reply::Bulk(text.clone())).collect();
        Reply::Array(vec![self.id.reply(), Reply::Array(pairs)])
    }
}

/// There is no such stream or no such group.
fn no_group(key: &[u8], group: &[u8]) -> Reply {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    Reply::error(format!("NOGROUP No such key '{key}' or consumer group '{group}'"))
}
