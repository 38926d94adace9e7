//! An entry of an owned stream, as the application gets it.

use streamkeeper_core::id::EntryId;

/// The fields of an entry as they stand in the stream, in order. Bytes: Redis asks for no encoding.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// An entry of an owned stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<T> {
    /// Its id: what is committed once everything up to it was worked on.
    pub id: EntryId,
    /// What it says, decoded.
    pub value: T,
}

impl<T> Entry<T> {
    pub(crate) fn new(id: EntryId, value: T) -> Entry<T> {
        Entry { id, value }
    }
}
