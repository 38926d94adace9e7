//! Answers that fit a call, made from a few bytes: what a server may say, the truth or not.

use std::time::Duration;

use streamkeeper_core::{
    announcement::{Announcement, FIELD},
    id::{Identity, Token},
    streams::{
        Answer, Call,
        call::{
            Acquired, Delivery, EpochAnswer, Finished, Fleet, Grant, Idle, Released, RenewException, Renewed, Server,
        },
    },
};

use super::{entry, stream};

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
            identity: identity(c.next()),
            version: "7.0.15".into(),
            skipped: u64::from(c.next()),
            expiry_notifications: c.next() % 2 == 0,
            warnings: Vec::new(),
        }),
        Call::Epoch(_) => Answer::Epoch(EpochAnswer {
            identity: identity(c.next()),
            wait: (c.next() % 4 == 1).then(|| format!("wait:{}", c.next() % 3).as_str().into()),
            longest_ttl: Duration::from_millis(3_000) + c.span(),
            consumers: u32::from(c.next()),
        }),
        Call::Ping => Answer::Pong,
        Call::Read { count, .. } => Answer::Read(deliveries(c, *count)),
        Call::Take { count, .. } => Answer::Taken { deliveries: deliveries(c, *count), more: c.next() % 2 == 0 },
        Call::Look(entries) => {
            let mut deliveries = Vec::new();
            for &entry in entries {
                if c.next() % 5 != 4 {
                    deliveries.push((Delivery { entry, ..delivery(c) }, c.span()));
                }
            }
            let fleet = Fleet {
                announced: c.next().into(),
                consumers: u32::from(c.next() % 32),
                rank: u32::from(c.next() % 4),
            };
            Answer::Looked { fleet, deliveries }
        }
        Call::Mine { .. } => {
            let count = c.next() % 8;
            Answer::Mine((0..count).map(|_| entry(c.next())).collect())
        }
        Call::Acquire(call) if !call.items.is_empty() && c.next() == 77 => Answer::EpochDiffers,
        Call::Acquire(call) => Answer::Acquired(call.items.iter().map(|_| acquired(c)).collect()),
        Call::Renew(call) => {
            let mut renewed = Renewed::default();
            for index in 0..call.items.len() {
                if let Some(exception) = exception(c) {
                    renewed.exceptions.push((index, exception));
                }
            }
            renewed.group_lost = (c.next() % 16 == 15).then(|| "NOGROUP".into());
            Answer::Renewed(renewed)
        }
        Call::Done(items) => Answer::Done(items.iter().map(|_| finished(c)).collect()),
        Call::Release(items) => Answer::Released(items.iter().map(|_| released(c)).collect()),
        Call::Hint(_) => Answer::Hinted,
        Call::Ring { .. } => Answer::Rung,
        Call::Reap { .. } if c.next() % 4 == 3 => Answer::ReaperIs(c.span()),
        Call::Reap { .. } => {
            let count = c.next() % 6;
            let idle = (0..count).map(|_| Idle { entry: entry(c.next()), idle: c.span() }).collect();
            Answer::Reaped { idle, announced: c.next().into() }
        }
        Call::Bury { .. } => Answer::Buried(c.next() % 2 == 0),
        Call::Forget { entries, .. } => Answer::Forgotten(entries.clone()),
        Call::Clean => Answer::Cleaned(vec!["somebody".into()]),
    }
}

fn identity(number: u8) -> Identity {
    Identity::new(["run-1:repl-1", "run-2:repl-2", ""][usize::from(number) % 3])
}

fn deliveries(c: &mut Choices<'_>, most: usize) -> Vec<Delivery> {
    let count = usize::from(c.next() % 4).min(most);
    (0..count).map(|_| delivery(c)).collect()
}

fn delivery(c: &mut Choices<'_>) -> Delivery {
    let entry = entry(c.next());
    let text = match c.next() {
        250.. => return Delivery { entry, fields: None },
        240.. => "[".to_owned(),
        number => Announcement::to_json(&stream(number), None),
    };
    Delivery { entry, fields: Some(vec![(FIELD.into(), text.into_bytes())]) }
}

fn acquired(c: &mut Choices<'_>) -> Acquired {
    match c.next() % 16 {
        0..=8 => Acquired::Granted(Grant {
            token: Token(u64::from(c.next())),
            takeover: false,
            takeovers: 0,
            failures: u32::from(c.next() % 4),
            deliveries: 1,
        }),
        9 => Acquired::Gone,
        10 => Acquired::Trimmed,
        11 => Acquired::Held(c.span()),
        12 => Acquired::Busy(c.span()),
        13 => Acquired::Other(entry(c.next())),
        14 => Acquired::SetAside(10),
        _ => Acquired::Broken("WRONGTYPE".into()),
    }
}

fn exception(c: &mut Choices<'_>) -> Option<RenewException> {
    match c.next() % 16 {
        0 => Some(RenewException::Lost(None)),
        1 => Some(RenewException::Lost(Some("somebody".into()))),
        2 => Some(RenewException::TakenBack),
        3 => Some(RenewException::Recreated),
        4 => Some(RenewException::Gone),
        5 => Some(RenewException::Broken("WRONGTYPE".into())),
        _ => None,
    }
}

fn finished(c: &mut Choices<'_>) -> Finished {
    match c.next() % 8 {
        0 => Finished::Gone,
        1 => Finished::Fenced,
        2 => Finished::Broken("WRONGTYPE".into()),
        _ => Finished::Done,
    }
}

fn released(c: &mut Choices<'_>) -> Released {
    match c.next() % 8 {
        0 => Released::SetAside,
        1 => Released::Fenced,
        2 => Released::Broken("WRONGTYPE".into()),
        _ => Released::Released,
    }
}
