//! What the calls of both halves have in common: scripts, replies, errors, what a server tells of itself.

pub(crate) mod info;
pub(crate) mod script;
#[cfg(test)]
pub(crate) mod server;
pub(crate) mod troubles;
pub(crate) mod value;

use std::{fmt::Write as _, time::Duration};

use streamkeeper_core::id::EntryId;

/// Writes something into the buffer instead.
pub(crate) fn entry_text(buffer: &mut String, entry: EntryId) -> &[u8] {
    buffer.clear();
    push_entry(buffer, entry);
    buffer.as_bytes()
}

pub(crate) fn push_entry(buffer: &mut String, entry: EntryId) {
    push(buffer, entry);
}

pub(crate) fn push(buffer: &mut String, what: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(buffer, "{what}");
}

/// Milliseconds, as Redis counts.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// At most a hundred years: "for ever" as a ttl or a delay. Redis refuses what its clock cannot count up to.
pub(crate) fn longest(span: Duration) -> Duration {
    span.min(Duration::from_secs(100 * 365 * 24 * 3_600))
}

/// Where a page behind `after` begins.
pub(crate) fn start(after: Option<EntryId>) -> String {
    after.map_or_else(|| "-".to_owned(), |entry| format!("({entry}"))
}
