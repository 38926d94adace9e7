//! Answers that fit a call, made from a few bytes: what a server may say, the truth or not.

use streamkeeper_core::{
    entries::{
        Answer, Call,
        call::{About, Aside, Committed, Entry, FetchItem, Fetched, Mark, OpenItem, Opened, Record, Server},
    },
    id::{Attempt, EntryId},
};

use super::entry;

/// Bytes that go round for ever.
struct Choices<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }
}

/// An answer of the right name and size.
pub(super) fn fitting(call: &Call, bytes: &[u8]) -> Answer {
    let mut choices = Choices(bytes.iter().cycle());
    let c = &mut choices;
    match call {
        Call::Prepare => Answer::Prepared(Server { version: "redis 7.0.15".into(), counts_added: c.next() % 2 == 0 }),
        Call::Identify => Answer::Identified((c.next() % 4 != 3).then_some(17)),
        Call::Open(items) => Answer::Opened(items.iter().map(|item| opened(item, c)).collect()),
        Call::Fetch(items) => Answer::Fetched(items.iter().map(|item| fetched(item, c)).collect()),
        Call::Wait { streams, .. } => Answer::Waited((0..streams.len()).filter(|_| c.next() % 2 == 0).collect()),
        Call::Wake { .. } => Answer::Woken([Some(true), Some(false), None][usize::from(c.next() % 8) % 3]),
        Call::Commit(items) => Answer::Committed(
            items
                .iter()
                .map(|_| match c.next() % 10 {
                    0..=3 => Committed::Done,
                    4..=5 => Committed::Conflict(record(c)),
                    6 => Committed::Fenced,
                    7 => Committed::Absent,
                    8 => Committed::Rejected(usize::from(c.next()), "no".into()),
                    _ => Committed::Broken("no".into()),
                })
                .collect(),
        ),
        Call::SetAside(items) => Answer::SetAside(
            items
                .iter()
                .map(|_| match c.next() % 4 {
                    0 | 1 => Aside::Done,
                    2 => Aside::Fenced,
                    _ => Aside::Broken("no".into()),
                })
                .collect(),
        ),
    }
}

fn record(c: &mut Choices<'_>) -> Record {
    let number = u64::from(c.next() % 4);
    let mark = Mark { attempt: Attempt { incarnation: 1, number: u64::from(c.next() % 4) }, number };
    Record {
        position: entry(c.next()),
        read: c.next().is_multiple_of(2).then(|| u64::from(c.next())),
        mark: c.next().is_multiple_of(2).then_some(mark),
    }
}

fn opened(item: &OpenItem, c: &mut Choices<'_>) -> Opened {
    if c.next() % 8 == 7 {
        return Opened::Broken("no".into());
    }
    Opened::Known { record: c.next().is_multiple_of(2).then(|| record(c)), last: item.last.then(|| entry(c.next())) }
}

fn fetched(item: &FetchItem, c: &mut Choices<'_>) -> Fetched {
    match c.next() % 8 {
        6 => return Fetched::Missing,
        7 => return Fetched::Broken("no".into()),
        _ => {}
    }
    let count = usize::from(c.next() % 8).min(item.count) as u64;
    let next = item.after.ms.saturating_add(1 + u64::from(c.next() % 3));
    let ids: Vec<EntryId> = (next..next.saturating_add(count)).map(|ms| EntryId { ms, seq: 0 }).collect();
    let about = About {
        length: u64::from(c.next()),
        added: (c.next() % 4 != 3).then(|| u64::from(c.next())),
        first: (c.next() % 4 != 3).then(|| entry(c.next())),
        last: if c.next().is_multiple_of(2) { ids.last().copied().unwrap_or(item.after) } else { entry(c.next()) },
    };
    Fetched::Entries(ids.into_iter().map(|id| Entry { id, fields: Vec::new() }).collect(), about)
}
