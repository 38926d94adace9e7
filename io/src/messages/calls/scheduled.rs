//! Look after what was sent with a delay and is not in the stream yet.

use redis::{Value, aio::MultiplexedConnection};
use serde::Serialize;
use streamkeeper_core::{messages::call::Fields, trouble::Trouble};

use super::{
    BATCH, Calls,
    script::{Lazy, script},
    send::{marker, unpacked},
    serial,
    value::{bytes, list, number, text},
};

pub(super) static CANCEL: Lazy = script!(messages / "cancel.lua");

/// A message that was sent with a delay and is not due yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Scheduled {
    /// The id that its sender chose: what `cancel` takes.
    pub id: Box<str>,
    /// When it is due: milliseconds since 1970 by Redis's clock.
    pub due_ms: u64,
    /// What it says.
    #[serde(serialize_with = "serial::fields")]
    pub fields: Fields,
}

impl Calls {
    /// Lists what waits, in the order in which it is due: `count` of them behind the first `skip`.
    pub(crate) async fn scheduled(
        &self,
        connection: &mut MultiplexedConnection,
        skip: usize,
        count: usize,
    ) -> Result<Vec<Scheduled>, Trouble> {
        let names = &*self.0;
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut range = redis::cmd("ZRANGE");
        let most = i64::MAX.unsigned_abs();
        let place = |n: usize| u64::try_from(n).map_or(most, |n| n.min(most));
        range.arg(&names.scheduled).arg(place(skip)).arg(place(skip.saturating_add(count) - 1)).arg("WITHSCORES");
        let found = list(self.ask(connection, &range).await?).unwrap_or_default();
        let waiting = scored(&found).ok_or_else(|| Trouble::other("scheduled: Redis answered no times"))?;
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let mut bodies = Vec::with_capacity(waiting.len());
        for some in waiting.chunks(BATCH) {
            let mut hmget = redis::cmd("HMGET");
            hmget.arg(&names.bodies);
            for (id, _) in some {
                hmget.arg(*id);
            }
            let found = list(self.ask(connection, &hmget).await?).unwrap_or_default();
            if found.len() != some.len() {
                return Err(Trouble::other(format_args!("scheduled: {} bodies of {}", found.len(), some.len())));
            }
            bodies.extend(found);
        }
        let one = |((id, due_ms), body): ((&[u8], u64), &Value)| {
            // Without a body it was moved into the stream just now.
            let fields = unpacked(bytes(body)?);
            Some(Scheduled { id: String::from_utf8_lossy(id).into(), due_ms, fields })
        };
        Ok(waiting.into_iter().zip(&bodies).filter_map(one).collect())
    }

    /// Cancels messages that wait. For each: whether it did.
    pub(crate) async fn cancel(
        &self,
        connection: &mut MultiplexedConnection,
        ids: &[Box<str>],
    ) -> Result<Vec<bool>, Trouble> {
        let (names, mut all) = (&*self.0, Vec::with_capacity(ids.len()));
        for ids in ids.chunks(BATCH) {
            let mut cmd = CANCEL.invoke(2 + ids.len(), ids.len(), 256 + 64 * ids.len());
            cmd.arg(&names.scheduled).arg(&names.bodies);
            for id in ids {
                cmd.arg(names.keys.once(&marker(id)));
            }
            for id in ids {
                cmd.arg(&**id);
            }
            let answers = self.run(connection, &CANCEL, cmd).await;
            let answers = list(answers.map_err(|t| super::troubles::advise(t, &names.keys))?).unwrap_or_default();
            all.extend(answers.iter().map(|answer| number(answer) == Some(1)));
        }
        Ok(all)
    }
}

/// Members and scores: by turns in RESP2, in pairs in RESP3.
fn scored(found: &[Value]) -> Option<Vec<(&[u8], u64)>> {
    let score = |value: &Value| {
        let score: f64 = match value {
            Value::Double(score) => *score,
            other => text(other)?.parse().ok()?,
        };
        Some(score.max(0.0) as u64)
    };
    if let Some(Value::Array(_)) = found.first() {
        return found
            .iter()
            .map(|value| match value {
                Value::Array(parts) => Some((bytes(parts.first()?)?, score(parts.get(1)?)?)),
                _ => None,
            })
            .collect();
    }
    found.chunks(2).map(|pair| Some((bytes(pair.first()?)?, score(pair.get(1)?)?))).collect()
}
