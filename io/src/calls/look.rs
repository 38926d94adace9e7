//! Take and look: reading the LBS.

use std::time::Duration;

use redis::{Value, aio::ConnectionLike};
use streamkeeper_core::{
    id::EntryId,
    streams::call::{Answer, Delivery, Fleet},
    trouble::Trouble,
};

use super::{
    Calls, entry_text, millis,
    script::{Lazy, script},
    start,
    value::{delivery, entry_id, list, number, odd},
};

pub(super) static SHARE: Lazy = script!(fleet + "share.lua");
pub(super) static LOOK: Lazy = script!(fleet + "look.lua");

impl Calls {
    /// Waits for new announcements. The connection's own timeout must be longer than `block`.
    pub(super) async fn read(
        &self,
        connection: &mut impl ConnectionLike,
        count: usize,
        block: Option<Duration>,
    ) -> Result<Vec<Delivery>, Trouble> {
        let names = &*self.0;
        let mut cmd = redis::cmd("XREADGROUP");
        cmd.arg("GROUP").arg(&names.group).arg(names.consumer.as_str());
        if let Some(block) = block {
            // BLOCK 0 would wait for ever.
            cmd.arg("BLOCK").arg(millis(block).max(1));
        }
        cmd.arg("COUNT").arg(count.max(1)).arg("STREAMS").arg(&names.lbs).arg(">");
        let value = self.send(connection, &cmd).await?;
        // `[[stream, entries]]` in RESP2, `{stream: entries}` in RESP3, nil if nothing came.
        let streams = match value {
            Value::Map(streams) => streams.into_iter().map(|(_, entries)| entries).collect(),
            other => {
                let streams = list(other).ok_or_else(|| Trouble::other("read: Redis answered no list"))?;
                let entries = streams.into_iter().map(|stream| list(stream)?.pop());
                entries.collect::<Option<Vec<_>>>().ok_or_else(|| Trouble::other("read: Redis answered no stream"))?
            }
        };
        let mut all = Vec::new();
        for entries in streams {
            deliveries("read", list(entries).unwrap_or_default(), &mut all)?;
        }
        Ok(all)
    }

    pub(super) async fn take(
        &self,
        connection: &mut impl ConnectionLike,
        count: usize,
        share: Option<usize>,
    ) -> Result<Answer, Trouble> {
        let names = &*self.0;
        let (mut allowed, mut more) = (count as u64, false);
        if let Some(held) = share {
            let mut cmd = SHARE.invoke(2, 7, 128);
            cmd.arg(&names.lbs).arg(&names.epoch).arg(&names.group).arg(names.consumer.as_str());
            cmd.arg(count).arg(millis(names.config.live_within())).arg(names.config.small_fleet()).arg(held);
            if let Some(partition) = names.partition {
                cmd.arg(partition);
            }
            let parts = list(self.run(connection, &SHARE, cmd).await?).unwrap_or_default();
            let mut parts = parts.iter().map_while(number);
            let mut next = || parts.next().ok_or_else(|| Trouble::other("take: Redis answered no number"));
            (allowed, more) = (next()?, next()? == 1);
        }
        let count = usize::try_from(allowed).unwrap_or(count).min(count);
        let deliveries = if count == 0 { Vec::new() } else { self.read(connection, count, None).await? };
        Ok(Answer::Taken { deliveries, more })
    }

    pub(super) async fn look(
        &self,
        connection: &mut impl ConnectionLike,
        entries: &[EntryId],
    ) -> Result<Answer, Trouble> {
        let names = &*self.0;
        let mut cmd = LOOK.invoke(2, 4 + entries.len(), 128 + 32 * entries.len());
        cmd.arg(&names.lbs).arg(&names.epoch).arg(&names.group).arg(names.consumer.as_str());
        cmd.arg(millis(names.config.live_within())).arg(names.config.small_fleet());
        let mut buffer = String::new();
        for entry in entries {
            cmd.arg(entry_text(&mut buffer, *entry));
        }
        let mut parts = list(self.run(connection, &LOOK, cmd).await?).unwrap_or_default().into_iter();
        let mut next = || parts.next().as_ref().and_then(number).ok_or_else(|| Trouble::other("look: no number"));
        let announced = next()?;
        let consumers = u32::try_from(next()?).unwrap_or(u32::MAX);
        let rank = u32::try_from(next()?).unwrap_or(u32::MAX);
        let mut found = Vec::with_capacity(parts.len() / 2);
        while let Some(idle) = parts.next() {
            let idle = number(&idle).ok_or_else(|| Trouble::other("look: no idle time"))?;
            let delivery = parts.next().and_then(delivery).ok_or_else(|| odd("look", &Value::Nil))?;
            found.push((delivery, Duration::from_millis(idle)));
        }
        Ok(Answer::Looked { fleet: Fleet { announced, consumers, rank }, deliveries: found })
    }

    pub(super) async fn mine(
        &self,
        connection: &mut impl ConnectionLike,
        after: Option<EntryId>,
        count: usize,
    ) -> Result<Vec<EntryId>, Trouble> {
        let names = &*self.0;
        let mut cmd = redis::cmd("XPENDING");
        cmd.arg(&names.lbs).arg(&names.group).arg(start(after)).arg("+").arg(count).arg(names.consumer.as_str());
        let pending = list(self.send(connection, &cmd).await?).ok_or_else(|| Trouble::other("mine: no list"))?;
        let id = |value: Value| list(value)?.first().and_then(entry_id);
        pending.into_iter().map(|v| id(v).ok_or_else(|| Trouble::other("mine: no entry id"))).collect()
    }
}

fn deliveries(call: &str, values: impl IntoIterator<Item = Value>, into: &mut Vec<Delivery>) -> Result<(), Trouble> {
    for value in values {
        into.push(delivery(value).ok_or_else(|| odd(call, &Value::Nil))?);
    }
    Ok(())
}
