//! Take messages in: read new ones, list and fetch one's own, take what is due.

use std::{sync::atomic::Ordering, time::Duration};

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    id::EntryId,
    messages::call::{Answer, Delivery, Fields, Hold},
    trouble::Trouble,
};

use super::{
    BATCH, Calls, record,
    script::{Lazy, script},
    value::{delivery, entry_id, fields, list, number, odd, text},
};
use crate::wire::{entry_text, millis, start};

pub(super) static FETCH: Lazy = script!(messages + "fetch.lua");
pub(super) static DUE: Lazy = script!(messages + "due.lua");

/// How many delayed messages one call moves into the stream.
const SCHEDULED: usize = 100;

impl Calls {
    /// Waits for new messages. The connection's own timeout must be longer than `block`.
    pub(super) async fn read(
        &self,
        connection: &mut MultiplexedConnection,
        count: usize,
        block: Duration,
    ) -> Result<Vec<(EntryId, Option<Fields>)>, Trouble> {
        let names = &*self.0;
        let mut cmd = redis::cmd("XREADGROUP");
        cmd.arg("GROUP").arg(names.keys.group()).arg(names.consumer.as_str());
        // BLOCK 0 would wait for ever.
        cmd.arg("COUNT").arg(count.max(1)).arg("BLOCK").arg(millis(block).max(1));
        if names.config.no_ack {
            cmd.arg("NOACK");
        }
        cmd.arg("STREAMS").arg(names.keys.stream()).arg(">");
        let value = self.send(connection, &cmd).await?;
        // `[[stream, entries]]` in RESP2, `{stream: entries}` in RESP3, nil if nothing came.
        let entries = match value {
            Value::Map(mut streams) => streams.pop().map(|(_, entries)| entries),
            other => {
                let mut streams = list(other).ok_or_else(|| Trouble::other("read: Redis answered no list"))?;
                streams.pop().and_then(|stream| list(stream)?.pop())
            }
        };
        let entries = entries.and_then(list).unwrap_or_default();
        let one = |value| {
            let found = delivery(value)?;
            Some((found.entry, found.fields.map(Fields::from)))
        };
        entries.into_iter().map(|v| one(v).ok_or_else(|| Trouble::other("read: Redis answered no entry"))).collect()
    }

    pub(super) async fn mine(
        &self,
        connection: &mut MultiplexedConnection,
        after: Option<EntryId>,
        count: usize,
    ) -> Result<Vec<Hold>, Trouble> {
        let names = &*self.0;
        let mut cmd = redis::cmd("XPENDING");
        cmd.arg(names.keys.stream()).arg(names.keys.group());
        cmd.arg(start(after)).arg("+").arg(count.max(1)).arg(names.consumer.as_str());
        let pending = list(self.send(connection, &cmd).await?).ok_or_else(|| Trouble::other("mine: no list"))?;
        let hold = |value: Value| {
            let parts = list(value)?;
            Some(Hold { entry: entry_id(parts.first()?)?, deliveries: number(parts.get(3)?)? })
        };
        pending.into_iter().map(|v| hold(v).ok_or_else(|| Trouble::other("mine: no pending entry"))).collect()
    }

    pub(super) async fn fetch(
        &self,
        connection: &mut MultiplexedConnection,
        entries: &[EntryId],
    ) -> Result<Vec<Delivery>, Trouble> {
        let (names, mut buffer, mut all) = (&*self.0, String::new(), Vec::with_capacity(entries.len()));
        for entries in entries.chunks(BATCH) {
            let mut cmd = FETCH.invoke(2, 2 + entries.len(), 128 + 32 * entries.len());
            cmd.arg(names.keys.stream()).arg(&names.attempts);
            cmd.arg(names.keys.group()).arg(names.consumer.as_str());
            for entry in entries {
                cmd.arg(entry_text(&mut buffer, *entry));
            }
            let found = list(self.run(connection, &FETCH, cmd).await?);
            for value in found.ok_or_else(|| Trouble::other("fetch: Redis answered no list"))? {
                all.push(given("fetch", value)?);
            }
        }
        Ok(all)
    }

    pub(super) async fn due(&self, connection: &mut MultiplexedConnection, count: usize) -> Result<Answer, Trouble> {
        let names = &*self.0;
        let mut cmd = DUE.invoke(5, 4, 256);
        for key in [names.keys.stream(), &names.delayed, &names.attempts, &names.scheduled, &names.bodies] {
            cmd.arg(key);
        }
        cmd.arg(names.keys.group()).arg(names.consumer.as_str()).arg(count.min(BATCH)).arg(SCHEDULED);
        let value = self.run(connection, &DUE, cmd).await?;
        let mut parts = list(value).ok_or_else(|| Trouble::other("due: Redis answered no list"))?.into_iter();
        let mut next = || parts.next().ok_or_else(|| Trouble::other("due: Redis answered too short a list"));
        let (now, wait, wrong) = (next()?, next()?, next()?);
        let now_ms = number(&now).ok_or_else(|| odd("due", &now))?;
        names.told_ms.store(now_ms, Ordering::Relaxed);
        let next = match wait {
            Value::Int(-1) => None,
            wait => Some(Duration::from_millis(number(&wait).ok_or_else(|| odd("due", &wait))?)),
        };
        self.delayed_are_stuck(&text(&wrong).unwrap_or_default());
        let deliveries = parts.map(|value| given("due", value)).collect::<Result<_, _>>()?;
        Ok(Answer::Due { deliveries, next, now_ms })
    }

    /// Says once that delayed messages cannot be moved into the stream, and again after they could.
    fn delayed_are_stuck(&self, wrong: &str) {
        let names = &*self.0;
        if names.stuck.swap(!wrong.is_empty(), Ordering::Relaxed) || wrong.is_empty() {
            return;
        }
        tracing::warn!(
            stream = names.keys.stream(),
            error = wrong,
            "messages that were sent with a delay cannot be moved into the stream, and wait: look at {} and {}",
            names.scheduled,
            names.bodies
        );
    }
}

/// One that was handed out: `[id, deliveries, fields or nil, record or nil]`.
fn given(call: &str, value: Value) -> Result<Delivery, Trouble> {
    let one = |value| {
        let mut parts = list(value)?.into_iter();
        let (entry, deliveries) = (entry_id(&parts.next()?)?, number(&parts.next()?)?);
        let fields = match parts.next()? {
            Value::Nil => None,
            value => Some(Fields::from(fields(value)?)),
        };
        let history = parts.next().as_ref().and_then(text).map(|text| record::history(&text));
        Some(Delivery { hold: Hold { entry, deliveries }, fields, history })
    };
    one(value).ok_or_else(|| Trouble::other(format_args!("{call}: Redis answered no message")))
}
