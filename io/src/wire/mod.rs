//! What the calls of both halves have in common: scripts, replies, errors, what a server tells of itself.

#[cfg(test)]
mod counted;
pub(crate) mod info;
pub(crate) mod script;
#[cfg(test)]
pub(crate) mod server;
pub(crate) mod troubles;
pub(crate) mod value;

use std::{fmt::Write as _, time::Duration};

use streamkeeper_core::id::EntryId;

/// How many words a request has at most, its name included: ElastiCache Serverless takes no more of them. Only what an
/// application gives us in one piece, a message of thousands of fields, is sent as it is.
pub(crate) const MOST_ARGUMENTS: usize = 3_999;

/// Cuts a list into calls of at most so many items, and of [`MOST_ARGUMENTS`] words: `besides` and each item's own. One
/// that is too long for any call is alone in its own.
pub(crate) fn calls<T>(
    items: &[T],
    most: usize,
    besides: usize,
    words: impl Fn(&T) -> usize,
) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut all = besides;
        let fits = |item: &&T| {
            all += words(item);
            all <= MOST_ARGUMENTS
        };
        let n = rest.iter().take(most).take_while(fits).count().max(1).min(rest.len());
        let (call, behind) = rest.split_at(n);
        rest = behind;
        (!call.is_empty()).then_some(call)
    })
}

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

/// How many entries a stream is to keep, as XADD takes it; empty for all.
pub(crate) fn cap(entries: Option<u64>) -> String {
    entries.map_or_else(String::new, |entries| entries.min(i64::MAX.unsigned_abs()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_cut_by_number_and_by_words() {
        let lengths =
            |items: &[usize], most| calls(items, most, 99, |words| *words).map(<[usize]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(&[], 2), [0; 0]);
        assert_eq!(lengths(&[1; 5], 2), [2, 2, 1]);
        assert_eq!(lengths(&[1_300, 2_600, 1, 9_999, 9_999, 3_900], 500), [2, 1, 1, 1, 1]);
    }
}
