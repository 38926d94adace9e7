//! Hold messages: mark and refresh; and before a run, whether it may start.

use std::time::Duration;

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    id::EntryId,
    messages::call::{Answer, Fenced, Hold, Mark, MarkItem},
    trouble::Trouble,
};

use super::{
    BATCH, Calls,
    record::cut,
    script::{Lazy, script},
    settle::fenced,
    value::{list, number, odd},
};
use crate::wire::{entry_text, longest, millis};

pub(super) static MARK: Lazy = script!(messages + "mark.lua");
pub(super) static REFRESH: Lazy = script!(messages + "refresh.lua");
pub(super) static RATE: Lazy = script!(common + messages / "rate.lua");

impl Calls {
    pub(super) async fn mark(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[MarkItem],
    ) -> Result<Vec<Fenced>, Trouble> {
        let (names, mut buffer, mut all) = (&*self.0, String::new(), Vec::with_capacity(items.len()));
        for items in items.chunks(BATCH) {
            let mut cmd = MARK.invoke(2, 2 + 5 * items.len(), 256 + 256 * items.len());
            cmd.arg(names.keys.stream()).arg(&names.attempts);
            cmd.arg(names.keys.group()).arg(names.consumer.as_str());
            for MarkItem { hold, mark } in items {
                cmd.arg(entry_text(&mut buffer, hold.entry)).arg(hold.deliveries);
                match mark {
                    Mark::Started => cmd.arg("started").arg(0).arg(""),
                    Mark::Dying { reason, error: None } => cmd.arg(reason.label()).arg(0).arg(""),
                    Mark::Dying { reason, error: Some(error) } => cmd.arg(reason.label()).arg(1).arg(cut(error)),
                };
            }
            all.extend(fenced("mark", self.run(connection, &MARK, cmd).await?, items.len())?);
        }
        Ok(all)
    }

    pub(super) async fn refresh(
        &self,
        connection: &mut MultiplexedConnection,
        holds: &[Hold],
    ) -> Result<Vec<Fenced>, Trouble> {
        let (names, mut buffer, mut all) = (&*self.0, String::new(), Vec::with_capacity(holds.len()));
        for holds in holds.chunks(BATCH) {
            let mut cmd = REFRESH.invoke(2, 2 + 2 * holds.len(), 128 + 64 * holds.len());
            cmd.arg(names.keys.stream()).arg(&names.attempts);
            cmd.arg(names.keys.group()).arg(names.consumer.as_str());
            for hold in holds {
                cmd.arg(entry_text(&mut buffer, hold.entry)).arg(hold.deliveries);
            }
            all.extend(fenced("refresh", self.run(connection, &REFRESH, cmd).await?, holds.len())?);
        }
        Ok(all)
    }

    /// Whether messages with these keys are remembered as processed.
    pub(super) async fn check(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[(EntryId, Box<[u8]>)],
    ) -> Result<Vec<bool>, Trouble> {
        let mut all = Vec::with_capacity(items.len());
        for items in items.chunks(BATCH) {
            let mut cmd = redis::cmd("MGET");
            for (_, key) in items {
                cmd.arg(self.0.keys.done(key));
            }
            let marks = list(self.send(connection, &cmd).await?).unwrap_or_default();
            if marks.len() != items.len() {
                return Err(Trouble::other(format_args!("check: {} answers to {} keys", marks.len(), items.len())));
            }
            all.extend(marks.iter().map(|mark| *mark != Value::Nil));
        }
        Ok(all)
    }

    /// Asks for permits; without a limit all are granted.
    pub(super) async fn permits(&self, connection: &mut MultiplexedConnection, count: u32) -> Result<Answer, Trouble> {
        let Some(rate) = self.0.config.group_rate else {
            return Ok(Answer::Permits { granted: count, wait: Duration::ZERO });
        };
        let mut cmd = RATE.invoke(1, 3, 128);
        cmd.arg(&self.0.rate).arg(count).arg(rate.count).arg(millis(longest(rate.per)));
        let value = self.run(connection, &RATE, cmd).await?;
        let parts = list(value).ok_or_else(|| Trouble::other("permits: Redis answered no list"))?;
        match parts.iter().map(number).collect::<Option<Vec<_>>>().as_deref() {
            Some([granted, wait]) => {
                let granted = u32::try_from(*granted).unwrap_or(u32::MAX).min(count);
                Ok(Answer::Permits { granted, wait: Duration::from_millis(*wait) })
            }
            _ => Err(odd("permits", &Value::Array(parts))),
        }
    }
}
