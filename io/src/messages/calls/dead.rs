//! Look after dead letters.

use redis::{Value, aio::MultiplexedConnection};
use serde::Serialize;
use streamkeeper_core::{id::EntryId, messages::call::Fields, trouble::Trouble};

use super::{
    BATCH, Calls,
    script::{Lazy, script},
    send::unpacked,
    serial, troubles,
    value::{delivery, list, number, odd, text},
};
use crate::wire::{entry_text, start};

pub(super) static RETRY: Lazy = script!(messages + "retry.lua");

/// A message that was given up, as it stands in the dead letter stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its id among the dead letters: what `retry` and `drop` take.
    #[serde(serialize_with = "serial::entry")]
    pub id: EntryId,
    /// The id it had in the stream.
    #[serde(serialize_with = "serial::maybe_entry")]
    pub entry: Option<EntryId>,
    /// `failed`, `crashed`, `broken` or `rejected`.
    pub reason: Box<str>,
    /// In words.
    pub error: Box<str>,
    /// How many of its runs failed.
    pub attempts: u64,
    /// How many of its runs crashed their process.
    pub crashed: u64,
    /// How often Redis had delivered it.
    pub deliveries: u64,
    /// When something went wrong first: milliseconds since 1970 by Redis's clock, like the following.
    pub first_ms: u64,
    /// When something went wrong last.
    pub last_ms: u64,
    /// Who had it last.
    pub consumer: Box<str>,
    /// When it was given up.
    pub at_ms: u64,
    /// What it says.
    #[serde(serialize_with = "serial::fields")]
    pub original: Fields,
}

/// What became of a dead letter that was to be retried.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retried {
    /// It is back in the stream, under this id.
    Sent(EntryId),
    /// It is not among the dead letters: retried or dropped already.
    Missing,
    /// It cannot be sent again; why, and what to do.
    Refused(Box<str>),
}

impl Calls {
    /// Lists dead letters, oldest first, behind `after`; fewer than `count` at the end.
    pub(crate) async fn dead(
        &self,
        connection: &mut MultiplexedConnection,
        after: Option<EntryId>,
        count: usize,
    ) -> Result<Vec<DeadLetter>, Trouble> {
        let mut range = redis::cmd("XRANGE");
        range.arg(&self.0.dead).arg(start(after)).arg("+").arg("COUNT").arg(count.min(isize::MAX.unsigned_abs()));
        let entries = list(self.ask(connection, &range).await?).unwrap_or_default();
        entries.into_iter().map(|v| letter(v).ok_or_else(|| Trouble::other("dead: Redis answered no entry"))).collect()
    }

    /// One dead letter, if it is there.
    pub(crate) async fn dead_letter(
        &self,
        connection: &mut MultiplexedConnection,
        id: EntryId,
    ) -> Result<Option<DeadLetter>, Trouble> {
        let (mut range, id) = (redis::cmd("XRANGE"), id.to_string());
        range.arg(&self.0.dead).arg(&id).arg(&id);
        let entries = list(self.ask(connection, &range).await?).unwrap_or_default();
        Ok(entries.into_iter().next().and_then(letter))
    }

    /// Puts dead letters back into the stream, as they were sent. May be asked again.
    pub(crate) async fn dead_retry(
        &self,
        connection: &mut MultiplexedConnection,
        ids: &[EntryId],
    ) -> Result<Vec<Retried>, Trouble> {
        let (names, mut buffer, mut all) = (&*self.0, String::new(), Vec::with_capacity(ids.len()));
        for ids in ids.chunks(BATCH) {
            let mut cmd = RETRY.invoke(2, ids.len(), 128 + 32 * ids.len());
            cmd.arg(names.keys.stream()).arg(&names.dead);
            for id in ids {
                cmd.arg(entry_text(&mut buffer, *id));
            }
            let answers = self.run(connection, &RETRY, cmd).await;
            let answers = list(answers.map_err(|t| troubles::advise(t, &names.keys))?).unwrap_or_default();
            for answer in &answers {
                all.push(retried(answer).ok_or_else(|| odd("retry", answer))?);
            }
        }
        Ok(all)
    }

    /// Deletes dead letters for good. Answers how many were there.
    pub(crate) async fn dead_drop(
        &self,
        connection: &mut MultiplexedConnection,
        ids: &[EntryId],
    ) -> Result<u64, Trouble> {
        let (mut buffer, mut dropped) = (String::new(), 0);
        for ids in ids.chunks(BATCH) {
            let mut cmd = redis::cmd("XDEL");
            cmd.arg(&self.0.dead);
            for id in ids {
                cmd.arg(entry_text(&mut buffer, *id));
            }
            let value = self.ask(connection, &cmd).await?;
            dropped += number(&value).ok_or_else(|| odd("drop", &value))?;
        }
        Ok(dropped)
    }
}

fn retried(answer: &Value) -> Option<Retried> {
    let text = text(answer)?;
    if text.is_empty() {
        return Some(Retried::Missing);
    }
    match text.strip_prefix("broken ") {
        Some(why) => Some(Retried::Refused(why.into())),
        None => text.parse().ok().map(Retried::Sent),
    }
}

fn letter(value: Value) -> Option<DeadLetter> {
    let found = delivery(value)?;
    let (mut about, mut original) = (Vec::new(), Vec::new());
    for (name, value) in found.fields.unwrap_or_default() {
        match name.strip_prefix(b"original:") {
            Some(name) => original.push((name.to_vec(), value)),
            None if name == b"originals" => original.extend(unpacked(&value).iter().cloned()),
            None => about.push((name, value)),
        }
    }
    let text = |wanted: &str| {
        let found = about.iter().find(|(name, _)| name == wanted.as_bytes());
        Box::<str>::from(found.map(|(_, value)| String::from_utf8_lossy(value)).unwrap_or_default())
    };
    let number = |wanted| text(wanted).parse().unwrap_or(0);
    Some(DeadLetter {
        id: found.entry,
        entry: text("id").parse().ok(),
        reason: text("reason"),
        error: text("error"),
        attempts: number("attempts"),
        crashed: number("crashed"),
        deliveries: number("deliveries"),
        first_ms: number("first_ms"),
        last_ms: number("last_ms"),
        consumer: text("consumer"),
        at_ms: number("at_ms"),
        original: original.into(),
    })
}
