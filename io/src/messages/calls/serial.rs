//! How what operators ask for looks as JSON.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use streamkeeper_core::{id::EntryId, messages::call::Fields};

/// An id as text.
pub(super) fn entry<S: Serializer>(entry: &EntryId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(entry)
}

/// An id as text, or null.
pub(super) fn maybe_entry<S: Serializer>(entry: &Option<EntryId>, serializer: S) -> Result<S::Ok, S::Error> {
    entry.map(|entry| entry.to_string()).serialize(serializer)
}

/// Fields as an object of texts; what is not UTF-8 in them is replaced.
pub(super) fn fields<S: Serializer>(fields: &Fields, serializer: S) -> Result<S::Ok, S::Error> {
    let texts = fields.iter().map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
    texts.collect::<BTreeMap<_, _>>().serialize(serializer)
}
