//! Look after the group: what is idle, what nobody needs any more, and leaving.

use std::{sync::atomic::Ordering, time::Duration};

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    messages::call::{Answer, Reclaimed, Swept},
    trouble::Trouble,
};

use super::{
    Calls,
    script::{Lazy, script},
    value::{entry_id, list, number, odd, text, utf8},
};
use crate::wire::{longest, millis};

pub(super) static RECLAIM: Lazy = script!(messages + "reclaim.lua");
pub(super) static RECORDS: Lazy = script!(messages + "records.lua");
pub(super) static STRANDED: Lazy = script!(messages + "stranded.lua");
pub(super) static STALE: Lazy = script!(messages / "stale.lua");
pub(super) static LEAVE: Lazy = script!(messages / "leave.lua");

/// Who looks for what is idle stays the reclaimer for so long at least.
const ROLE: Duration = Duration::from_secs(2);
/// For so long it is remembered that a message was buried whose payload was gone.
const REMEMBERED: Duration = Duration::from_secs(3_600);
/// How many parked messages one page of the sweep is about.
const PAGE: usize = 500;

impl Calls {
    pub(super) async fn reclaim(&self, connection: &mut MultiplexedConnection) -> Result<Answer, Trouble> {
        let (names, config) = (&*self.0, &self.0.config);
        let mut cmd = RECLAIM.invoke(4, 7, 256);
        cmd.arg(&names.reclaimer).arg(names.keys.stream()).arg(&names.delayed).arg(&names.attempts);
        cmd.arg(names.consumer.as_str()).arg(millis(ROLE.max(2 * config.reclaim_interval)));
        cmd.arg(names.keys.group()).arg(millis(config.reclaim_idle));
        cmd.arg(config.reclaim_count);
        // A question that waits in a server that stands still is answered before the refreshes of the living. What is
        // held is refreshed before it has been idle for half of `reclaim_idle`: so long may it have waited.
        cmd.arg(names.told_ms.load(Ordering::Relaxed)).arg(millis(config.reclaim_idle / 2));
        let value = self.run(connection, &RECLAIM, cmd).await?;
        let parts = list(value).ok_or_else(|| Trouble::other("reclaim: Redis answered no list"))?;
        let first = parts.first().ok_or_else(|| Trouble::other("reclaim: Redis answered an empty list"))?;
        if let Some(left) = utf8(first).and_then(|text| text.strip_prefix("is ")?.parse().ok()) {
            return Ok(Answer::ReclaimerIs(Duration::from_millis(left)));
        }
        let now_ms = number(first).ok_or_else(|| odd("reclaim", first))?;
        names.told_ms.store(now_ms, Ordering::Relaxed);
        let more = parts.get(1).and_then(number).ok_or_else(|| Trouble::other("reclaim: too short a list"))? == 1;
        let one = |pair: &[Value]| {
            let crashed = u32::try_from(number(pair.get(1)?)?).unwrap_or(u32::MAX);
            Some((entry_id(pair.first()?)?, crashed))
        };
        let moved: Option<Vec<_>> = parts[2..].chunks(2).map(one).collect();
        let moved = moved.ok_or_else(|| Trouble::other("reclaim: Redis answered no message"))?;
        Ok(Answer::Reclaimed(Reclaimed { now_ms, moved, more }))
    }

    /// One page of the sweep.
    pub(super) async fn sweep(&self, connection: &mut MultiplexedConnection, cursor: u64) -> Result<Swept, Trouble> {
        match Page::from(cursor) {
            Page::Records(cursor) => self.sweep_records(connection, cursor).await,
            Page::Stranded(ms) => self.sweep_stranded(connection, ms).await,
            Page::Rest => self.sweep_rest(connection).await,
        }
    }

    async fn sweep_records(&self, connection: &mut MultiplexedConnection, cursor: u64) -> Result<Swept, Trouble> {
        let names = &*self.0;
        let mut cmd = RECORDS.invoke(2, 3, 128);
        cmd.arg(names.keys.stream()).arg(&names.attempts);
        cmd.arg(names.keys.group()).arg(cursor).arg(millis(REMEMBERED));
        let [next, records] = two(self.run(connection, &RECORDS, cmd).await?)?;
        let next = number(&next).ok_or_else(|| odd("sweep", &next))?;
        let records = number(&records).ok_or_else(|| odd("sweep", &records))?;
        let page = if next == 0 { Page::Stranded(0) } else { Page::Records(next) };
        Ok(Swept { cursor: page.cursor(), records, ..Swept::default() })
    }

    async fn sweep_stranded(&self, connection: &mut MultiplexedConnection, ms: u64) -> Result<Swept, Trouble> {
        let names = &*self.0;
        let mut cmd = STRANDED.invoke(2, 3, 128);
        cmd.arg(names.keys.stream()).arg(&names.delayed);
        cmd.arg(names.keys.group()).arg(ms).arg(PAGE);
        let [next, stranded] = two(self.run(connection, &STRANDED, cmd).await?)?;
        let stranded = number(&stranded).ok_or_else(|| odd("sweep", &stranded))?;
        let page = match next {
            Value::Int(-1) => Page::Rest,
            next => Page::Stranded(number(&next).ok_or_else(|| odd("sweep", &next))?),
        };
        Ok(Swept { cursor: page.cursor(), stranded, ..Swept::default() })
    }

    /// Stale consumers, and the trim.
    async fn sweep_rest(&self, connection: &mut MultiplexedConnection) -> Result<Swept, Trouble> {
        let names = &*self.0;
        let mut cmd = STALE.invoke(1, 3, 128);
        cmd.arg(names.keys.stream()).arg(names.keys.group()).arg(names.consumer.as_str());
        cmd.arg(millis(longest(names.config.stale_consumer)));
        let deleted = list(self.run(connection, &STALE, cmd).await?).unwrap_or_default();
        let name = |value| text(value).map(|name| name.into()).ok_or_else(|| odd("sweep", value));
        let consumers = deleted.iter().map(name).collect::<Result<_, _>>()?;
        let (trimmed, more) = match names.config.trim {
            true => self.trim_page(connection, 0).await?,
            false => (0, false),
        };
        let cursor = if more { Page::Rest.cursor() } else { 0 };
        Ok(Swept { cursor, trimmed, consumers, ..Swept::default() })
    }

    pub(super) async fn leave(&self, connection: &mut MultiplexedConnection) -> Result<bool, Trouble> {
        let mut cmd = LEAVE.invoke(1, 2, 128);
        cmd.arg(self.0.keys.stream()).arg(self.0.keys.group()).arg(self.0.consumer.as_str());
        let value = self.run(connection, &LEAVE, cmd).await?;
        number(&value).map(|n| n == 1).ok_or_else(|| odd("leave", &value))
    }
}

/// Where a sweep stands. In the cursor the last two bits say what is looked at, the others where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    /// Records, at HSCAN's cursor.
    Records(u64),
    /// What is parked, from the millisecond of its id on.
    Stranded(u64),
    /// What is done in one go.
    Rest,
}

impl Page {
    fn from(cursor: u64) -> Page {
        match cursor & 3 {
            0 => Page::Records(cursor >> 2),
            1 => Page::Stranded(cursor >> 2),
            _ => Page::Rest,
        }
    }

    fn cursor(self) -> u64 {
        // What does not fit is not looked at: no hash is that large, no time that late.
        match self {
            Page::Records(at) if at >> 62 == 0 => at << 2,
            Page::Stranded(at) if at >> 62 == 0 => at << 2 | 1,
            Page::Records(_) => 1,
            Page::Stranded(_) | Page::Rest => 2,
        }
    }
}

fn two(value: Value) -> Result<[Value; 2], Trouble> {
    let parts = list(value).ok_or_else(|| Trouble::other("sweep: Redis answered no list"))?;
    parts.try_into().map_err(|parts| odd("sweep", &Value::Array(parts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_says_where_the_sweep_stands() {
        for page in [Page::Records(7), Page::Stranded(0), Page::Stranded(1_700_000_000_000), Page::Rest] {
            assert_eq!(Page::from(page.cursor()), page);
            assert_ne!(page.cursor(), 0, "only the end is 0");
        }
        assert_eq!(Page::from(0), Page::Records(0));
        assert_eq!(Page::from(Page::Records(u64::MAX).cursor()), Page::Stranded(0));
        assert_eq!(Page::from(Page::Stranded(u64::MAX).cursor()), Page::Rest);
    }
}
