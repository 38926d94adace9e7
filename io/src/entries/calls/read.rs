//! Read streams, and wait for news of them.

use std::time::Duration;

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    entries::call::{About, Entry, FetchItem, Fetched},
    id::{EntryId, StreamName},
    keys::Keys,
    trouble::{Trouble, TroubleKind},
};

use super::{
    Calls,
    troubles::{about_a_key, broken},
    value::{bytes, delivery, entry_id, field, list, number, odd, pairs},
};
use crate::wire::{millis, push_entry, troubles::trouble};

/// Behind this there is nothing, and Redis refuses a range that begins there.
const LAST: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };

impl Calls {
    pub(super) async fn fetch(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[FetchItem],
    ) -> Result<Vec<Fetched>, Trouble> {
        let names = &*self.0;
        let elsewhere: Vec<_> = items.iter().map(|item| names.elsewhere(&item.stream)).collect();
        let (mut pipe, mut start) = (redis::Pipeline::with_capacity(4 * items.len()), String::new());
        for (item, _) in items.iter().zip(&elsewhere).filter(|(_, elsewhere)| elsewhere.is_none()) {
            let stream = item.stream.as_str();
            start.clear();
            match item.after {
                LAST => start.push('+'),
                after => {
                    start.push('(');
                    push_entry(&mut start, after);
                }
            }
            let end = if item.after == LAST { "-" } else { "+" };
            // The two in one step: only so is it sure what was trimmed before, and what after the entries were read.
            pipe.cmd("MULTI");
            pipe.cmd("XRANGE").arg(stream).arg(&start).arg(end).arg("COUNT").arg(item.count.max(1));
            pipe.cmd("XINFO").arg("STREAM").arg(stream);
            pipe.cmd("EXEC");
        }
        let mut answers = self.send_all(connection, &pipe).await?.into_iter();
        let one = |elsewhere: Option<Box<str>>| match elsewhere {
            Some(wrong) => Ok(Fetched::Broken(wrong)),
            None => fetched(answers.by_ref().take(4).collect(), &names.keys),
        };
        elsewhere.into_iter().map(one).collect()
    }

    pub(super) async fn wait(
        &self,
        connection: &mut MultiplexedConnection,
        streams: &[(StreamName, EntryId)],
        block: Duration,
    ) -> Result<Vec<usize>, Trouble> {
        // Those that cannot be read, fetching tells of.
        let waited: Vec<_> =
            (0..streams.len()).filter(|&index| self.0.elsewhere(&streams[index].0).is_none()).collect();
        if waited.is_empty() {
            return Ok(Vec::new());
        }
        let mut cmd = redis::Cmd::with_capacity(6 + 2 * waited.len(), 64 * waited.len());
        cmd.arg("XREAD").arg("COUNT").arg(1);
        if !block.is_zero() {
            // BLOCK 0 would wait for ever.
            cmd.arg("BLOCK").arg(millis(block).max(1));
        }
        cmd.arg("STREAMS");
        for &index in &waited {
            cmd.arg(streams[index].0.as_str());
        }
        let mut buffer = String::new();
        for &index in &waited {
            cmd.arg(crate::wire::entry_text(&mut buffer, streams[index].1));
        }
        let value = self.send(connection, &cmd).await.map_err(of_one_key)?;
        // `[[stream, entries], …]` in RESP2, `{stream: entries, …}` in RESP3, nil if nothing came.
        let named: Vec<Value> = match value {
            Value::Map(streams) => streams.into_iter().map(|(name, _)| name).collect(),
            other => {
                let found = list(other).ok_or_else(|| Trouble::other("wait: Redis answered no list"))?;
                found
                    .into_iter()
                    .map(|value| list(value).unwrap_or_default().into_iter().next())
                    .collect::<Option<_>>()
                    .ok_or_else(|| Trouble::other("wait: Redis answered a stream without a name"))?
            }
        };
        // They come in the order in which they were asked for.
        let mut asked = waited.into_iter();
        let one = |name: &Value| {
            asked
                .find(|&index| bytes(name) == Some(streams[index].0.as_str().as_bytes()))
                .ok_or_else(|| odd("wait", name))
        };
        named.iter().map(one).collect()
    }
}

/// One key of many of which something is wrong: all that were asked for together have to be looked at one by one.
fn of_one_key(trouble: Trouble) -> Trouble {
    match about_a_key(&trouble) {
        true => Trouble { kind: TroubleKind::WrongType, ..trouble },
        false => trouble,
    }
}

/// The answers to MULTI, XRANGE, XINFO, EXEC.
fn fetched(answers: Vec<Value>, keys: &Keys) -> Result<Fetched, Trouble> {
    let mut results = None;
    for answer in answers {
        match answer {
            // What is refused before EXEC says more than the EXEC that is refused for that.
            Value::ServerError(error) => return broken(trouble(&error.into()), keys).map(Fetched::Broken),
            answer => results = Some(answer),
        }
    }
    let mut results = results.and_then(list).unwrap_or_default().into_iter();
    let (Some(entries), Some(about), None) = (results.next(), results.next(), results.next()) else {
        return Err(Trouble::other("fetch: Redis answered a transaction with something else than its results"));
    };
    let entries = match entries {
        Value::ServerError(error) => return broken(trouble(&error.into()), keys).map(Fetched::Broken),
        entries => list(entries).ok_or_else(|| Trouble::other("fetch: Redis answered no list"))?,
    };
    Ok(match found("fetch", about, keys)? {
        Found::Missing => Fetched::Missing,
        Found::Broken(wrong) => Fetched::Broken(wrong),
        Found::There(about) => {
            let entry = |value: Value| {
                let found = delivery(value)?;
                Some(Entry { id: found.entry, fields: found.fields? })
            };
            let entries = entries.into_iter().map(entry).collect::<Option<_>>();
            Fetched::Entries(entries.ok_or_else(|| Trouble::other("fetch: Redis answered no entry"))?, about)
        }
    })
}

/// A stream, or why there is none.
pub(super) enum Found {
    There(About),
    Missing,
    Broken(Box<str>),
}

/// What XINFO STREAM answered.
pub(super) fn found(call: &str, value: Value, keys: &Keys) -> Result<Found, Trouble> {
    let about = match value {
        Value::ServerError(error) => {
            let trouble = trouble(&error.into());
            return match trouble.kind {
                // `ERR no such key`.
                TroubleKind::GroupLost => Ok(Found::Missing),
                _ => broken(trouble, keys).map(Found::Broken),
            };
        }
        other => pairs(other).ok_or_else(|| Trouble::other(format_args!("{call}: Redis answered no map")))?,
    };
    let read = || {
        let first = match field(&about, "first-entry")? {
            Value::Nil => None,
            Value::Array(parts) => Some(entry_id(parts.first()?)?),
            _ => return None,
        };
        Some(About {
            length: number(field(&about, "length")?)?,
            added: field(&about, "entries-added").and_then(number),
            first,
            last: entry_id(field(&about, "last-generated-id")?)?,
        })
    };
    read().map(Found::There).ok_or_else(|| odd(call, &Value::Map(about)))
}
