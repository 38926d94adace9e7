//! How a stream of messages and a group on it stand: what an operator asks first.

use redis::{Cmd, Value, aio::MultiplexedConnection};
use serde::Serialize;
use streamkeeper_core::{
    messages::keys::DELAYED,
    trouble::{Trouble, TroubleKind},
};

use super::{
    Calls,
    value::{bytes, entry_id, field, list, number, pairs, text},
};
use crate::wire::{start, troubles::trouble};

/// How a stream of messages and a group on it stand, and what of the server weakens a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The stream.
    pub stream: Box<str>,
    /// The group.
    pub group: Box<str>,
    /// Whether the group is there: the first consumer creates it.
    pub created: bool,
    /// Entries in the stream, those that are done with included.
    pub length: u64,
    /// Messages that the group has not read yet; `None` if the server cannot tell and they are too many to count.
    pub unread: Option<u64>,
    /// Messages that consumers hold.
    pub in_flight: u64,
    /// The consumers of the group.
    pub consumers: Vec<Holder>,
    /// Messages that wait for a retry, or were given back or reclaimed.
    pub parked: u64,
    /// In how many milliseconds the next of them is due; 0 if it is overdue.
    pub next_due_ms: Option<u64>,
    /// Messages that were sent with a delay and are not in the stream yet.
    pub scheduled: u64,
    /// In how many milliseconds the next of them is due; 0 if it is overdue.
    pub next_scheduled_ms: Option<u64>,
    /// Dead letters.
    pub dead: u64,
    /// Messages with which something went wrong and that are not done with.
    pub records: u64,
    /// Who looks for what is idle.
    pub reclaimer: Option<Box<str>>,
    /// The server's clock: milliseconds since 1970.
    pub now_ms: u64,
    /// The server's version, such as `7.0.15`.
    pub version: Box<str>,
    /// `master` or `slave`.
    pub role: Box<str>,
    /// Its `maxmemory-policy`.
    pub maxmemory_policy: Box<str>,
    /// Whether it writes an append-only file.
    pub append_only: bool,
    /// What weakens a promise, in words.
    pub warnings: Vec<Box<str>>,
}

/// A consumer of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Holder {
    /// Its name.
    pub consumer: Box<str>,
    /// How many messages it holds.
    pub in_flight: u64,
    /// How long ago it was heard of, in milliseconds.
    pub idle_ms: u64,
}

/// What XINFO GROUPS says of the group.
struct Group {
    unread: Option<u64>,
    delivered: Option<streamkeeper_core::id::EntryId>,
}

/// How many unread messages are counted where the server does not tell.
const COUNTED: usize = 1_000;

impl Calls {
    /// How the stream and the group stand.
    pub(crate) async fn status(&self, connection: &mut MultiplexedConnection) -> Result<Status, Trouble> {
        let result = self.ask_status(connection).await;
        result.map_err(|trouble| super::troubles::advise(trouble, &self.0.keys))
    }

    async fn ask_status(&self, connection: &mut MultiplexedConnection) -> Result<Status, Trouble> {
        let (names, keys) = (&*self.0, &self.0.keys);
        let mut pipe = redis::pipe();
        pipe.cmd("TIME").cmd("XLEN").arg(keys.stream()).cmd("XLEN").arg(&names.dead).cmd("HLEN").arg(&names.attempts);
        for zset in [&names.delayed, &names.scheduled] {
            pipe.cmd("ZCARD").arg(zset).cmd("ZRANGE").arg(zset).arg(0).arg(0).arg("WITHSCORES");
        }
        pipe.cmd("GET").arg(&names.reclaimer);
        let answers = connection.send_packed_commands(&pipe, 0, pipe.len()).await.map_err(|e| trouble(&e))?;
        let answers = answers.into_iter().map(|value| match value {
            Value::ServerError(error) => Err(trouble(&error.into())),
            value => Ok(value),
        });
        let answers: [Value; 9] = answers.collect::<Result<Vec<_>, _>>()?.try_into().map_err(|_| too_few())?;
        let [time, length, dead, records, parked, next_due, scheduled, next_scheduled, reclaimer] = answers;
        let count = |value: &Value| number(value).unwrap_or(0);
        let time: Vec<u64> = list(time).unwrap_or_default().iter().filter_map(number).collect();
        let now_ms = time.first().unwrap_or(&0) * 1_000 + time.get(1).unwrap_or(&0) / 1_000;
        let group = self.about_group(connection).await?;
        let mut consumers = self.holders(connection).await?;
        let waiting = consumers.iter().position(|holder| &*holder.consumer == DELAYED).map(|at| consumers.remove(at));
        let mut status = Status {
            stream: keys.stream().into(),
            group: keys.group().into(),
            created: group.is_some(),
            length: count(&length),
            unread: match group {
                Some(Group { unread: None, delivered }) => self.count_unread(connection, delivered).await?,
                Some(Group { unread, .. }) => unread,
                None => Some(count(&length)),
            },
            in_flight: consumers.iter().map(|holder| holder.in_flight).sum(),
            consumers,
            parked: waiting.map_or_else(|| count(&parked), |waiting| waiting.in_flight),
            next_due_ms: score(next_due).map(|due| due.saturating_sub(now_ms)),
            scheduled: count(&scheduled),
            next_scheduled_ms: score(next_scheduled).map(|due| due.saturating_sub(now_ms)),
            dead: count(&dead),
            records: count(&records),
            reclaimer: text(&reclaimer).map(Into::into),
            now_ms,
            version: "unknown".into(),
            role: "unknown".into(),
            maxmemory_policy: "unknown".into(),
            append_only: false,
            warnings: Vec::new(),
        };
        match self.info(connection).await? {
            Some(info) => {
                let get = |name| Box::<str>::from(info.get(name).unwrap_or("unknown"));
                status.version = info.version().into();
                status.role = get("role");
                status.maxmemory_policy = get("maxmemory_policy");
                status.append_only = info.get("aof_enabled") == Some("1");
                status.warnings.extend(info.warnings());
                status.warnings.extend(self.persistence(connection, &info).await?);
            }
            None => status.warnings.push("INFO is refused: the server's settings are unknown".into()),
        }
        Ok(status)
    }

    /// What the stream says of the group; `None` if there is none.
    async fn about_group(&self, connection: &mut MultiplexedConnection) -> Result<Option<Group>, Trouble> {
        let keys = &self.0.keys;
        let mut cmd = redis::cmd("XINFO");
        cmd.arg("GROUPS").arg(keys.stream());
        let groups = self.or_nothing(connection, &cmd).await?;
        let mut groups = groups.into_iter().filter_map(pairs);
        let ours = groups.find(|group| field(group, "name").and_then(bytes) == Some(keys.group().as_bytes()));
        Ok(ours.map(|group| Group {
            unread: field(&group, "lag").and_then(number),
            delivered: field(&group, "last-delivered-id").and_then(entry_id),
        }))
    }

    /// Counts what is unread where the server cannot tell: Redis before 7, or after messages were deleted.
    async fn count_unread(
        &self,
        connection: &mut MultiplexedConnection,
        delivered: Option<streamkeeper_core::id::EntryId>,
    ) -> Result<Option<u64>, Trouble> {
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(self.0.keys.stream()).arg(start(delivered)).arg("+").arg("COUNT").arg(COUNTED);
        let unread = self.or_nothing(connection, &cmd).await?.len();
        Ok((unread < COUNTED).then_some(unread as u64))
    }

    async fn holders(&self, connection: &mut MultiplexedConnection) -> Result<Vec<Holder>, Trouble> {
        let mut cmd = redis::cmd("XINFO");
        cmd.arg("CONSUMERS").arg(self.0.keys.stream()).arg(self.0.keys.group());
        let one = |value| {
            let about = pairs(value)?;
            Some(Holder {
                consumer: text(field(&about, "name")?)?.into(),
                in_flight: number(field(&about, "pending")?)?,
                idle_ms: number(field(&about, "idle")?)?,
            })
        };
        Ok(self.or_nothing(connection, &cmd).await?.into_iter().filter_map(one).collect())
    }

    /// A list; nothing where stream or group are not there yet.
    async fn or_nothing(&self, connection: &mut MultiplexedConnection, cmd: &Cmd) -> Result<Vec<Value>, Trouble> {
        match self.send(connection, cmd).await {
            Ok(value) => Ok(list(value).unwrap_or_default()),
            Err(trouble) if trouble.kind == TroubleKind::GroupLost => Ok(Vec::new()),
            Err(trouble) => Err(trouble),
        }
    }
}

/// The score of the first member of a sorted set.
fn score(first: Value) -> Option<u64> {
    let mut parts = list(first)?;
    // In pairs in RESP3, by turns in RESP2.
    if let Some(Value::Array(pair)) = parts.first_mut() {
        parts = std::mem::take(pair);
    }
    match parts.get(1)? {
        Value::Double(score) => Some(score.max(0.0) as u64),
        other => text(other)?.parse::<f64>().ok().map(|score| score.max(0.0) as u64),
    }
}

fn too_few() -> Trouble {
    Trouble::other("status: Redis answered fewer questions than were asked")
}
