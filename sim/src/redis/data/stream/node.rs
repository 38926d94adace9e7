//! What a stream is made of: nodes of up to 100 entries or 4096 bytes, as `~` trims whole nodes only.

use bytes::Bytes;

use super::super::number;
use super::id::Id;

/// `stream-node-max-entries`
const MAX_ENTRIES: usize = 100;
/// `stream-node-max-bytes`
const MAX_BYTES: usize = 4096;

/// Neighbouring entries.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Node {
    /// Those that are left, by id.
    pub(crate) entries: Vec<Entry>,
    first: Id,
    /// The last one added, even if it was deleted since.
    pub(crate) last: Id,
    /// The fields of the first entry: the others need not repeat them.
    fields: Vec<Bytes>,
    /// Added, with those that were deleted since: they keep their room.
    added: usize,
    bytes: usize,
}

/// An entry: its id, and fields and values by turns.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) pairs: Vec<Bytes>,
}

impl Node {
    pub(crate) fn new(entry: Entry) -> Node {
        let fields: Vec<Bytes> = entry.pairs.iter().step_by(2).cloned().collect();
        // The frame; then the numbers of entries, deleted ones and fields, the fields, and the end.
        let bytes = 7 + 2 + 2 + size_of_int(fields.len() as i64) + fields.iter().map(size_of).sum::<usize>() + 2;
        let mut node = Node { entries: Vec::new(), first: entry.id, last: entry.id, fields, added: 0, bytes };
        node.push(entry);
        node
    }

    pub(crate) fn has_room(&self, entry: &Entry) -> bool {
        let more: usize = entry.pairs.iter().map(Bytes::len).sum();
        self.bytes + more < MAX_BYTES && self.added < MAX_ENTRIES
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += self.size_of_entry(&entry);
        self.added += 1;
        self.last = entry.id;
        self.entries.push(entry);
    }

    pub(crate) fn find(&self, id: Id) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn size_of_entry(&self, entry: &Entry) -> usize {
        let fields = entry.pairs.len() / 2;
        let same_fields = self.fields.iter().eq(entry.pairs.iter().step_by(2));
        // Flags, and the differences to the first id.
        let head = size_of_int(i64::from(same_fields) * 2)
            + size_of_int(entry.id.ms.wrapping_sub(self.first.ms) as i64)
            + size_of_int(entry.id.seq.wrapping_sub(self.first.seq) as i64);
        let body = if same_fields {
            entry.pairs.iter().skip(1).step_by(2).map(size_of).sum()
        } else {
            size_of_int(fields as i64) + entry.pairs.iter().map(size_of).sum::<usize>()
        };
        let parts = if same_fields { fields + 3 } else { 2 * fields + 4 };
        head + body + size_of_int(parts as i64)
    }
}

/// What a string takes in a listpack. One that spells an integer is kept as one.
fn size_of(text: &Bytes) -> usize {
    if let Some(value) = number::integer(text) {
        return size_of_int(value);
    }
    let head = match text.len() {
        ..64 => 1,
        64..4096 => 2,
        _ => 5,
    };
    with_length_behind(head + text.len())
}

fn size_of_int(value: i64) -> usize {
    with_length_behind(match value {
        0..=127 => 1,
        -4096..=4095 => 2,
        -0x8000..=0x7fff => 3,
        -0x80_0000..=0x7f_ffff => 4,
        -0x8000_0000..=0x7fff_ffff => 5,
        _ => 9,
    })
}

/// An element's length stands behind it too, to be read from the end.
fn with_length_behind(length: usize) -> usize {
    length
        + match length {
            ..128 => 1,
            128..16384 => 2,
            16384..2_097_152 => 3,
            2_097_152..268_435_456 => 4,
            _ => 5,
        }
}
