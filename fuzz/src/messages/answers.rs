//! Answers that fit a call, made from a few bytes: what a server may say, the truth or not.

use std::time::Duration;

use streamkeeper_core::{
    id::Identity,
    messages::{
        Answer, Call,
        call::{Delivery, Fenced, Fields, History, Hold, Reason, Reclaimed, Server, Swept},
    },
};

use super::entry;

/// Bytes that go round for ever.
struct Choices<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn span(&mut self) -> Duration {
        Duration::from_millis(u64::from(self.next()) * 20)
    }
}

/// An answer of the right name and size.
pub(super) fn fitting(call: &Call, bytes: &[u8]) -> Answer {
    let mut choices = Choices(bytes.iter().cycle());
    let c = &mut choices;
    match call {
        Call::Prepare => Answer::Prepared(Server {
            identity: Identity::new(["run-1:repl-1", "run-2:repl-2", ""][usize::from(c.next()) % 3]),
            version: "7.0.15".into(),
            now_ms: u64::from(c.next()) * 100,
            created: c.next() % 4 == 3,
            warnings: Vec::new(),
        }),
        Call::Read { count, .. } => {
            let some = usize::from(c.next() % 8).min(*count);
            Answer::Read((0..some).map(|_| (entry(c.next()), fields(c))).collect())
        }
        Call::Mine { after, count } => {
            let some = usize::from(c.next() % 8).min(*count);
            let mut holds: Vec<Hold> = (0..some).map(|_| hold(c)).filter(|hold| Some(hold.entry) > *after).collect();
            holds.sort_unstable();
            holds.dedup_by_key(|hold| hold.entry);
            Answer::Mine(holds)
        }
        Call::Fetch(entries) => {
            let mut deliveries = Vec::new();
            for &entry in entries {
                if c.next() % 5 != 4 {
                    let delivery = delivery(c);
                    deliveries.push(Delivery { hold: Hold { entry, ..delivery.hold }, ..delivery });
                }
            }
            Answer::Fetched(deliveries)
        }
        Call::Due { count } => {
            let some = usize::from(c.next() % 8).min(*count);
            let deliveries = (0..some).map(|_| delivery(c)).collect();
            let next = (c.next() % 4 != 3).then(|| c.span());
            Answer::Due { deliveries, next, now_ms: u64::from(c.next()) * 100 }
        }
        Call::Mark(items) => Answer::Marked(items.iter().map(|_| fenced(c)).collect()),
        Call::Check(items) => Answer::Checked(items.iter().map(|_| c.next() % 4 == 3).collect()),
        Call::Permits { count } => Answer::Permits { granted: u32::from(c.next() % 8).min(*count), wait: c.span() },
        Call::Ack(items) => Answer::Acked(items.len() as u64),
        Call::Refresh(holds) => Answer::Refreshed(holds.iter().map(|_| fenced(c)).collect()),
        Call::Park(items) => Answer::Parked(items.iter().map(|_| fenced(c)).collect()),
        Call::Bury(items) => Answer::Buried(items.iter().map(|_| fenced(c)).collect()),
        Call::Reclaim if c.next() % 4 == 3 => Answer::ReclaimerIs(c.span()),
        Call::Reclaim => {
            let moved = (0..c.next() % 4).map(|_| (entry(c.next()), u32::from(c.next() % 4))).collect();
            Answer::Reclaimed(Reclaimed { now_ms: u64::from(c.next()) * 100, moved, more: c.next() % 2 == 0 })
        }
        Call::Sweep { .. } => Answer::Swept(Swept { cursor: u64::from(c.next() % 3), ..Swept::default() }),
        Call::Leave => Answer::Left(c.next() % 2 == 0),
    }
}

fn fields(c: &mut Choices<'_>) -> Option<Fields> {
    match c.next() {
        250.. => None,
        number if number % 4 == 0 => Some(vec![(b"body".to_vec(), b"1".to_vec())].into()),
        number => Some(vec![(b"key".to_vec(), vec![number % 3])].into()),
    }
}

fn hold(c: &mut Choices<'_>) -> Hold {
    Hold { entry: entry(c.next()), deliveries: u64::from(c.next() % 4) }
}

fn delivery(c: &mut Choices<'_>) -> Delivery {
    Delivery { hold: hold(c), fields: fields(c), history: (c.next() % 2 == 1).then(|| history(c)) }
}

fn history(c: &mut Choices<'_>) -> History {
    let reasons = [Reason::Failed, Reason::Crashed, Reason::Broken, Reason::Rejected];
    History {
        failed: if c.next() == 255 { u32::MAX } else { u32::from(c.next() % 4) },
        crashed: if c.next() == 255 { u32::MAX } else { u32::from(c.next() % 5) },
        dying: reasons.get(usize::from(c.next() % 12)).copied(),
        buried_alive: c.next() % 8 == 7,
        first_ms: 0,
        last_ms: 0,
        error: "before".into(),
    }
}

fn fenced(c: &mut Choices<'_>) -> Fenced {
    match c.next() % 8 {
        0 => Fenced::Lost,
        1 => Fenced::Gone,
        2 => Fenced::Broken("WRONGTYPE".into()),
        _ => Fenced::Done,
    }
}
