//! How a service stands: what an operator asks first.

use std::time::Duration;

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    announcement::Announcement,
    id::{EntryId, StreamName},
    streams::call::Delivery,
    trouble::{Trouble, TroubleKind},
};

use super::{
    Calls, Features, millis,
    prepare::announces_expiry,
    value::{delivery, entry_id, field, list, number, pairs, text},
};

/// How a service stands, and what of the server weakens a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Announcements that nobody has finished.
    pub announced: u64,
    /// The consumers of the group.
    pub consumers: Vec<Owner>,
    /// Announcements that were handed out, and that nobody has kept for longer than a ttl; at most 1,000 are listed.
    pub orphans: Vec<Orphan>,
    /// Announcements that were set aside.
    pub set_aside: u64,
    /// Who looks for orphans.
    pub reaper: Option<Box<str>>,
    /// The fleet has settled on this server; `false` during the wait after a restart or failover.
    pub settled: bool,
    /// The longest ttl in use.
    pub longest_ttl: Duration,
    /// Which server it is: `redis`, `valkey`, `dragonfly`, `kvrocks`, `garnet` or `upstash`; `unknown` if it does not tell.
    pub server: Box<str>,
    /// The server's version, such as `7.0.15` or `valkey 9.1.2`.
    pub version: Box<str>,
    /// `master` or `slave`.
    pub role: Box<str>,
    /// Whether it belongs to a cluster.
    pub cluster: bool,
    /// Its `maxmemory-policy`.
    pub maxmemory_policy: Box<str>,
    /// Whether it writes an append-only file.
    pub append_only: bool,
    /// Its `notify-keyspace-events`, if it may be asked.
    pub notify_flags: Option<Box<str>>,
    /// What of the server is used, and what is done without.
    pub features: Features,
    /// What weakens a promise, in words.
    pub warnings: Vec<Box<str>>,
    /// Each partition by itself, in order; empty in a service without any.
    pub partitions: Vec<PartitionStatus>,
}

/// How one partition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionStatus {
    /// Announcements that nobody has finished.
    pub announced: u64,
    /// How many of them nobody has kept for longer than a ttl; at most 1,000 are counted.
    pub orphans: usize,
    /// Announcements that were set aside.
    pub set_aside: u64,
    /// Consumers of its group.
    pub consumers: usize,
    /// The fleet has settled on its server.
    pub settled: bool,
    /// Streams, at most, that live here until they are finished though their home is a newer partition.
    pub staying: u64,
    /// The numbers of partitions for which it has told its streams apart, such as `4 8`; `None` if nobody has announced
    /// anything here.
    pub told_apart: Option<Box<str>>,
}

/// A consumer of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// Its name.
    pub consumer: Box<str>,
    /// How many announcements are pending under its name: what it owns, and what it has been handed and not yet owns.
    pub pending: u64,
    /// How long ago it was heard of.
    pub idle: Duration,
}

/// An announcement without a live owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Orphan {
    /// The partition that it lives in; 0 in a service without any.
    pub partition: u32,
    /// The announcement.
    pub entry: EntryId,
    /// The stream, if it can be read.
    pub stream: Option<StreamName>,
    /// How long nobody has touched it; of one that was given back: how long ago that was.
    pub idle: Duration,
    /// Its last owner did not die, but gave it back.
    pub released: bool,
}

/// So much older than it is looks what is given back, so that it is taken at once (`release.lua`).
const RELEASED_IDLE: Duration = Duration::from_secs(3_600);

/// How many orphans are listed.
const ORPHANS: usize = 1_000;

impl Calls {
    /// How the service stands.
    pub(crate) async fn status(&self, connection: &mut MultiplexedConnection) -> Result<Status, Trouble> {
        let result = self.ask_status(connection).await;
        result.map_err(|trouble| super::troubles::advise(trouble, &self.0.keys))
    }

    async fn ask_status(&self, connection: &mut MultiplexedConnection) -> Result<Status, Trouble> {
        let names = &*self.0;
        let announced = self.send(connection, redis::cmd("XLEN").arg(&names.lbs)).await?;
        let set_aside = self.send(connection, redis::cmd("XLEN").arg(&names.dead)).await?;
        let reaper = self.send(connection, redis::cmd("GET").arg(&names.reaper)).await?;
        let mut hmget = redis::cmd("HMGET");
        hmget.arg(&names.epoch).arg("id").arg("ttl");
        let epoch = list(self.send(connection, &hmget).await?).unwrap_or_default();
        let settled = epoch.first().and_then(text).is_some_and(|id| !id.starts_with("wait:"));
        let longest = epoch.get(1).and_then(number).map(Duration::from_millis).unwrap_or_default();
        let longest_ttl = longest.max(names.config.lease_ttl);
        let mut status = Status {
            announced: number(&announced).unwrap_or(0),
            consumers: self.consumers(connection).await?,
            orphans: self.orphans(connection, longest_ttl).await?,
            set_aside: number(&set_aside).unwrap_or(0),
            reaper: text(&reaper).map(|name| name.split('#').next().unwrap_or_default().into()),
            settled,
            longest_ttl,
            server: "unknown".into(),
            version: "unknown".into(),
            role: "unknown".into(),
            cluster: false,
            maxmemory_policy: "unknown".into(),
            append_only: false,
            notify_flags: None,
            features: Features::default(),
            warnings: Vec::new(),
            partitions: Vec::new(),
        };
        let info = self.info(connection).await?;
        match &info {
            Some(info) => {
                status.server = info.server().into();
                let get = |name| Box::<str>::from(info.get(name).unwrap_or("unknown"));
                status.version = info.version().into();
                status.role = get("role");
                status.cluster = info.get("cluster_enabled") == Some("1");
                status.maxmemory_policy = get("maxmemory_policy");
                status.append_only = info.get("aof_enabled") == Some("1");
                status.warnings.extend(info.warnings());
                status.warnings.extend(info.unguarded_primary());
                status.warnings.extend(self.persistence(connection, info).await?);
            }
            None => status.warnings.push("INFO is refused: the server's settings are unknown".into()),
        }
        match self.setting(connection, "notify-keyspace-events").await? {
            Ok(flags) => {
                if !announces_expiry(&flags) {
                    status.warnings.push(
                        format!("notify-keyspace-events is `{flags}`, without K or x: orphans are found by looking")
                            .into(),
                    );
                }
                status.notify_flags = Some(flags.into());
            }
            Err(trouble) => status.warnings.push(format!("notify-keyspace-events cannot be read ({trouble})").into()),
        }
        if let Ok(Ok(seconds @ 1..)) = self.setting(connection, "timeout").await?.map(|text| text.parse::<u64>())
            && Duration::from_secs(seconds) <= longest_ttl
        {
            status.warnings.push(
                format!(
                    "timeout is {seconds} s, and leases live {longest_ttl:?}: idle connections are closed; set it to 0"
                )
                .into(),
            );
        }
        status.features = self.features(connection, info.as_ref(), status.notify_flags.as_deref()).await?;
        Ok(status)
    }

    async fn consumers(&self, connection: &mut MultiplexedConnection) -> Result<Vec<Owner>, Trouble> {
        let mut cmd = redis::cmd("XINFO");
        cmd.arg("CONSUMERS").arg(&self.0.lbs).arg(&self.0.group);
        let consumers = match self.send(connection, &cmd).await {
            Ok(value) => list(value).unwrap_or_default(),
            // A service that nobody has used yet.
            Err(trouble) if trouble.kind == TroubleKind::GroupLost => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        let one = |value| {
            let about = pairs(value)?;
            Some(Owner {
                consumer: text(field(&about, "name")?)?.into(),
                pending: number(field(&about, "pending")?)?,
                idle: Duration::from_millis(number(field(&about, "idle")?)?),
            })
        };
        Ok(consumers.into_iter().filter_map(one).collect())
    }

    async fn orphans(&self, connection: &mut MultiplexedConnection, ttl: Duration) -> Result<Vec<Orphan>, Trouble> {
        let names = &*self.0;
        let mut cmd = redis::cmd("XPENDING");
        cmd.arg(&names.lbs).arg(&names.group).arg("IDLE").arg(millis(ttl)).arg("-").arg("+").arg(ORPHANS);
        let pending = match self.send(connection, &cmd).await {
            Ok(value) => list(value).unwrap_or_default(),
            Err(trouble) if trouble.kind == TroubleKind::GroupLost => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        let one = |value: Value| {
            let parts = list(value)?;
            Some((entry_id(parts.first()?)?, Duration::from_millis(number(parts.get(2)?)?)))
        };
        let idle: Vec<_> = pending.into_iter().filter_map(one).collect();
        let mut ranges = redis::pipe();
        for (entry, _) in &idle {
            ranges.cmd("XRANGE").arg(&names.lbs).arg(entry.to_string()).arg(entry.to_string());
        }
        let payloads = self.pipeline(connection, &ranges).await?;
        let mut orphans: Vec<_> = idle
            .into_iter()
            .zip(payloads)
            .map(|((entry, idle), found)| Orphan {
                partition: names.partition.unwrap_or(0),
                entry,
                stream: stream_of(found),
                idle,
                released: false,
            })
            .collect();
        // Go peers do not keep their entries fresh: those whose lease stands are owned.
        let (mut exists, mut buffer) = (redis::pipe(), String::new());
        for orphan in &orphans {
            match &orphan.stream {
                Some(stream) => exists.cmd("EXISTS").arg(names.lease(&mut buffer, stream, orphan.entry)),
                None => exists.cmd("ECHO").arg("0"),
            };
        }
        let mut owned = self.pipeline(connection, &exists).await?.into_iter();
        orphans.retain(|_| owned.next().as_ref().and_then(number) != Some(1));
        self.tell_released(connection, &mut orphans).await?;
        Ok(orphans)
    }

    /// Their records say which of them were given back.
    async fn tell_released(
        &self,
        connection: &mut MultiplexedConnection,
        orphans: &mut [Orphan],
    ) -> Result<(), Trouble> {
        let mut named: Vec<&mut Orphan> = orphans.iter_mut().filter(|orphan| orphan.stream.is_some()).collect();
        if named.is_empty() {
            return Ok(());
        }
        let mut hmget = redis::cmd("HMGET");
        hmget.arg(&self.0.fences);
        for orphan in &named {
            hmget.arg(orphan.stream.as_ref().map(StreamName::as_str));
        }
        let records = list(self.send(connection, &hmget).await?).unwrap_or_default();
        for (orphan, record) in named.iter_mut().zip(&records) {
            if text(record).is_some_and(|record| says_released(&record, orphan.entry)) {
                orphan.released = true;
                orphan.idle = orphan.idle.checked_sub(RELEASED_IDLE).unwrap_or(orphan.idle);
            }
        }
        Ok(())
    }

    async fn pipeline(
        &self,
        connection: &mut MultiplexedConnection,
        pipe: &redis::Pipeline,
    ) -> Result<Vec<Value>, Trouble> {
        if pipe.is_empty() {
            return Ok(Vec::new());
        }
        connection.send_packed_commands(pipe, 0, pipe.len()).await.map_err(|e| super::trouble(&e))
    }
}

/// Whether a record of `S-fences` says that the owner of this announcement gave it back:
/// `<token> <entry> <ttl> <gained> <released> …`.
fn says_released(record: &str, entry: EntryId) -> bool {
    let mut parts = record.split(' ');
    parts.nth(1).and_then(|text| text.parse().ok()) == Some(entry) && parts.nth(2) == Some("1")
}

/// The stream that the first entry of a range names.
fn stream_of(range: Value) -> Option<StreamName> {
    let Delivery { fields, .. } = delivery(list(range)?.into_iter().next()?)?;
    let fields = fields?;
    let announcement = Announcement::parse(fields.iter().map(|(name, value)| (&**name, &**value)));
    announcement.ok().map(|announcement| announcement.stream)
}
