//! Look for orphans, and what keeps the group clean.

use std::time::Duration;

use redis::aio::ConnectionLike;
use streamkeeper_core::{
    id::EntryId,
    streams::call::{Answer, Idle},
    trouble::Trouble,
};

use super::{
    Calls, entry_text, millis,
    script::{Lazy, script},
    start,
    value::{entry_id, list, number, odd, text, utf8},
};

pub(super) static REAP: Lazy = script!("reap.lua");
pub(super) static BURY: Lazy = script!(prelude + "bury.lua");
pub(super) static FORGET: Lazy = script!("forget.lua");
pub(super) static CLEAN: Lazy = script!("clean.lua");

/// A consumer that has nothing pending and was not heard of for so long is deleted.
const STALE: Duration = Duration::from_secs(3_600);

/// How many entries are forgotten in one call.
const FORGOTTEN: usize = 500;

impl Calls {
    pub(super) async fn reap(
        &self,
        connection: &mut impl ConnectionLike,
        after: Option<EntryId>,
        count: usize,
        room: usize,
    ) -> Result<Answer, Trouble> {
        let names = &*self.0;
        let (ttl, interval) = (names.config.lease_ttl, names.config.reap_interval);
        // Until a little after the next look, and short, since for so long nobody looks when the reaper has died.
        let hold = interval * 3 / 2;
        let mut cmd = REAP.invoke(2, 7, 256);
        cmd.arg(&names.reaper).arg(&names.lbs).arg(&names.process).arg(millis(hold));
        cmd.arg(&names.group).arg(millis(ttl)).arg(start(after)).arg(count).arg(room);
        let value = self.run(connection, &REAP, cmd).await?;
        let parts = list(value).ok_or_else(|| Trouble::other("reap: Redis answered no list"))?;
        let first = parts.first().ok_or_else(|| Trouble::other("reap: Redis answered an empty list"))?;
        if let Some(left) = utf8(first).and_then(|text| text.strip_prefix("is ")?.parse().ok()) {
            return Ok(Answer::ReaperIs(Duration::from_millis(left)));
        }
        let announced = number(first).ok_or_else(|| odd("reap", first))?;
        let one = |pair: &[redis::Value]| {
            Some(Idle { entry: entry_id(pair.first()?)?, idle: Duration::from_millis(number(pair.get(1)?)?) })
        };
        let idle: Option<Vec<_>> = parts[1..].chunks(2).map(one).collect();
        Ok(Answer::Reaped { idle: idle.ok_or_else(|| Trouble::other("reap: no idle entry"))?, announced })
    }

    pub(super) async fn bury(
        &self,
        connection: &mut impl ConnectionLike,
        entry: EntryId,
        error: &str,
    ) -> Result<bool, Trouble> {
        let (names, mut buffer) = (&*self.0, String::new());
        let mut cmd = BURY.invoke(2, 4, 256 + error.len());
        cmd.arg(&names.lbs).arg(&names.dead);
        cmd.arg(&names.group).arg(names.cap()).arg(entry_text(&mut buffer, entry)).arg(error);
        let value = self.run(connection, &BURY, cmd).await?;
        number(&value).map(|n| n == 1).ok_or_else(|| odd("bury", &value))
    }

    pub(super) async fn forget(
        &self,
        connection: &mut impl ConnectionLike,
        entries: &[EntryId],
        idle: Duration,
    ) -> Result<Vec<EntryId>, Trouble> {
        let (names, mut buffer) = (&*self.0, String::new());
        let mut forgotten = Vec::with_capacity(entries.len());
        for entries in entries.chunks(FORGOTTEN) {
            let mut cmd = FORGET.invoke(1, 2 + entries.len(), 128 + 32 * entries.len());
            cmd.arg(&names.lbs).arg(&names.group).arg(millis(idle));
            for entry in entries {
                cmd.arg(entry_text(&mut buffer, *entry));
            }
            for id in list(self.run(connection, &FORGET, cmd).await?).unwrap_or_default() {
                forgotten.push(entry_id(&id).ok_or_else(|| odd("forget", &id))?);
            }
        }
        Ok(forgotten)
    }

    pub(super) async fn clean(&self, connection: &mut impl ConnectionLike) -> Result<Vec<Box<str>>, Trouble> {
        let names = &*self.0;
        let mut cmd = CLEAN.invoke(3, 3, 256);
        cmd.arg(&names.lbs).arg(&names.fences).arg(&names.checkpoints);
        cmd.arg(&names.group).arg(names.consumer.as_str()).arg(millis(STALE));
        let deleted = list(self.run(connection, &CLEAN, cmd).await?).unwrap_or_default();
        deleted.iter().map(|name| text(name).map(|t| t.into()).ok_or_else(|| odd("clean", name))).collect()
    }
}
