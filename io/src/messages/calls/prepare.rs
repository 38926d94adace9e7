//! Look at the server, and create the group.

use std::sync::atomic::Ordering;

use redis::aio::MultiplexedConnection;
use streamkeeper_core::{
    id::Identity,
    keys::hash_tag,
    messages::{Keys, call::Server, config::Begin},
    trouble::{Trouble, TroubleKind},
};

use super::{
    Calls,
    value::{bytes, field, list, number, pairs, text},
};
use crate::wire::{info::Info, troubles::refused};

impl Calls {
    pub(super) async fn prepare(&self, connection: &mut MultiplexedConnection) -> Result<Server, Trouble> {
        let names = &*self.0;
        let mut warnings = Vec::new();
        let (mut identity, mut version) = (Identity::new(""), Box::from("unknown"));
        match self.info(connection).await? {
            Some(info) => {
                self.suits(&info)?;
                warnings.extend(info.warnings());
                warnings.extend(self.persistence(connection, &info).await?);
                identity = Identity::new(&info.identity());
                version = info.version().into();
            }
            None => warnings.push(
                "INFO is refused: a failover of Redis that keeps connections open goes unnoticed; allow it: \
                 ACL SETUSER <user> +info"
                    .into(),
            ),
        }
        let created = self.group(connection).await?;
        self.rights(connection).await?;
        names.prepared.store(true, Ordering::Relaxed);
        let time = self.send(connection, &redis::cmd("TIME")).await?;
        let parts = list(time).unwrap_or_default();
        let part = |i: usize| parts.get(i).and_then(number).ok_or_else(|| Trouble::other("TIME answered no time"));
        let now_ms = part(0)? * 1_000 + part(1)? / 1_000;
        names.told_ms.store(now_ms, Ordering::Relaxed);
        Ok(Server { identity, version, now_ms, created, warnings })
    }

    /// INFO; `None` if this user may not ask.
    pub(super) async fn info(&self, connection: &mut MultiplexedConnection) -> Result<Option<Info>, Trouble> {
        match self.send(connection, &redis::cmd("INFO")).await {
            Ok(value) => Ok(text(&value).map(|text| Info::new(text.into_owned()))),
            Err(trouble) if refused(&trouble) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Whether messages can be worked on at this server.
    fn suits(&self, info: &Info) -> Result<(), Trouble> {
        info.check_version()?;
        if info.get("role") == Some("slave") {
            return Err(Trouble {
                kind: TroubleKind::WrongServer,
                message: "READONLY this server is a replica: its primary is needed".into(),
            });
        }
        let keys = &self.0.keys;
        if info.get("cluster_enabled") == Some("1") && !share_a_slot(keys) {
            return Err(Trouble::unsupported(format_args!(
                "this is a Redis Cluster, and in the plain layout the keys of the stream `{}` lie in different slots: \
                 use the hash-tagged layout",
                keys.stream()
            )));
        }
        Ok(())
    }

    /// Whether a restart of Redis forgets everything, in words.
    pub(super) async fn persistence(
        &self,
        connection: &mut MultiplexedConnection,
        info: &Info,
    ) -> Result<Option<Box<str>>, Trouble> {
        if info.get("aof_enabled") != Some("0") {
            return Ok(None);
        }
        let mut cmd = redis::cmd("CONFIG");
        cmd.arg("GET").arg("save");
        let save = match self.send(connection, &cmd).await {
            Ok(value) => value,
            Err(trouble) if refused(&trouble) => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        let pairs = pairs(save).unwrap_or_default();
        let nothing = field(&pairs, "save").and_then(bytes).is_some_and(<[u8]>::is_empty);
        let warning = "Redis keeps nothing on disk: a restart forgets every message; set appendonly yes, or save";
        Ok(nothing.then(|| warning.into()))
    }

    /// Makes sure that the group is there. Answers whether it was created.
    async fn group(&self, connection: &mut MultiplexedConnection) -> Result<bool, Trouble> {
        let (names, keys) = (&*self.0, &self.0.keys);
        // A group that was there and is not any more was lost: what it held comes again, wherever it had begun.
        let begin = match names.config.begin {
            Begin::Newest if !names.prepared.load(Ordering::Relaxed) => "$",
            Begin::Newest | Begin::Oldest => "0",
        };
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(keys.stream()).arg(keys.group()).arg(begin).arg("MKSTREAM");
        match self.send(connection, &create).await {
            Ok(_) => Ok(true),
            Err(trouble) if trouble.message.starts_with("BUSYGROUP") => Ok(false),
            // Out of memory, Redis does not say that the group is there already.
            Err(trouble) if trouble.kind == TroubleKind::OutOfMemory => {
                if self.is_there(connection).await? {
                    Ok(false)
                } else {
                    Err(trouble)
                }
            }
            Err(trouble) if trouble.kind == TroubleKind::WrongType => {
                let message = format!("WRONGTYPE the key `{}` holds something else than a stream", keys.stream());
                Err(Trouble { kind: trouble.kind, message: message.into() })
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Whether the group is there, without trying to create it.
    async fn is_there(&self, connection: &mut MultiplexedConnection) -> Result<bool, Trouble> {
        let keys = &self.0.keys;
        match self.send(connection, redis::cmd("XPENDING").arg(keys.stream()).arg(keys.group())).await {
            Ok(_) => Ok(true),
            Err(trouble) if trouble.kind == TroubleKind::GroupLost => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// Makes sure that what will be sent later, scripts included, is not refused to this user: better said at start than
    /// at every message. Each command is sent so that it changes nothing: to a group without a name, for an entry that
    /// nobody has.
    async fn rights(&self, connection: &mut MultiplexedConnection) -> Result<(), Trouble> {
        let names = &*self.0;
        let (stream, me) = (names.keys.stream(), names.consumer.as_str());
        let harmless: [&[&str]; 10] = [
            &["XREADGROUP", "GROUP", "", me, "STREAMS", stream, ">"],
            &["XCLAIM", stream, "", me, "0", "0-1"],
            &["XPENDING", stream, ""],
            &["XACK", stream, "", "0-1"],
            &["XRANGE", stream, "0-1", "0-1"],
            &["HDEL", &names.attempts, ""],
            &["ZREM", &names.delayed, ""],
            &["XLEN", &names.dead],
            &["PTTL", &names.reclaimer],
            &["EVAL", "return 1", "0"],
        ];
        for words in harmless {
            match self.send(connection, redis::cmd(words[0]).arg(&words[1..])).await {
                Err(trouble) if trouble.kind == TroubleKind::Refused => return Err(trouble),
                Err(trouble) if trouble.kind.needs_new_connection() => return Err(trouble),
                _ => {} // such as NOGROUP
            }
        }
        Ok(())
    }
}

/// Whether all keys lie in one slot of a cluster.
fn share_a_slot(keys: &Keys) -> bool {
    let scheduled = keys.scheduled();
    match (hash_tag(keys.stream()), hash_tag(&scheduled)) {
        (Some(stream), Some(others)) => stream == others,
        (None, Some(others)) => others[1..others.len() - 1] == *keys.stream(),
        (_, None) => false,
    }
}
