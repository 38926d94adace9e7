//! Look at the server, create the group, switch on expiry notifications.

use redis::{Value, aio::ConnectionLike};
use streamkeeper_core::{
    id::Identity,
    streams::call::Server,
    trouble::{Trouble, TroubleKind},
};

use super::{
    Calls, start,
    value::{bytes, delivery, entry_id, field, list, number, pairs, text},
};
use crate::wire::{info::Info, troubles::refused};

impl Calls {
    /// INFO; `None` if this user may not ask.
    pub(super) async fn info(&self, connection: &mut impl ConnectionLike) -> Result<Option<Info>, Trouble> {
        match self.send(connection, &redis::cmd("INFO")).await {
            Ok(value) => Ok(text(&value).map(|text| Info::new(text.into_owned()))),
            Err(trouble) if refused(&trouble) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    pub(super) async fn prepare(&self, connection: &mut impl ConnectionLike) -> Result<Server, Trouble> {
        let names = &*self.0;
        let mut warnings = Vec::new();
        let (mut identity, mut version) = (Identity::new(""), Box::from("unknown"));
        match self.info(connection).await? {
            Some(info) => {
                info.check_version()?;
                if info.get("role") == Some("slave") {
                    return Err(Trouble {
                        kind: TroubleKind::WrongServer,
                        message: "READONLY this server is a replica: its primary is needed".into(),
                    });
                }
                if info.get("cluster_enabled") == Some("1") && names.tag.is_empty() {
                    return Err(Trouble::unsupported(format_args!(
                        "this is a Redis Cluster, and in the plain layout the keys of the service `{}` lie in \
                         different slots: use `Builder::hash_tagged` (`--hash-tagged`)",
                        names.keys.service()
                    )));
                }
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
        let skipped = self.group(connection).await?;
        self.rights(connection).await?;
        let expiry_notifications = match self.notifications(connection).await? {
            Ok(()) => true,
            Err(warning) => {
                warnings.push(warning);
                false
            }
        };
        Ok(Server { identity, version, skipped, expiry_notifications, warnings })
    }

    /// Makes sure that what will be sent later, scripts included, is not refused to this user: better said at start than
    /// at every announcement. Each command is sent so that it changes nothing: to a group without a name, for an entry
    /// that nobody has.
    async fn rights(&self, connection: &mut impl ConnectionLike) -> Result<(), Trouble> {
        let names = &*self.0;
        let (lbs, me) = (names.lbs.as_str(), names.consumer.as_str());
        let harmless: [&[&str]; 7] = [
            &["XREADGROUP", "GROUP", "", me, "STREAMS", lbs, ">"],
            &["XCLAIM", lbs, "", me, "0", "0-1"],
            &["XPENDING", lbs, ""],
            &["XACK", lbs, "", "0-1"],
            &["XDEL", lbs, "0-1"],
            &["XRANGE", lbs, "0-1", "0-1"],
            &["EVAL", "return 1", "1", lbs], // with a key: some servers refuse scripts without any
        ];
        for words in harmless {
            match self.send(connection, redis::cmd(words[0]).arg(&words[1..])).await {
                Err(trouble) if trouble.kind == TroubleKind::Refused => return Err(trouble),
                _ => {} // such as NOGROUP; a connection that broke breaks the next call
            }
        }
        Ok(())
    }

    /// Whether a restart of Redis forgets everything, in words.
    pub(super) async fn persistence(
        &self,
        connection: &mut impl ConnectionLike,
        info: &Info,
    ) -> Result<Option<Box<str>>, Trouble> {
        if info.get("aof_enabled") != Some("0") {
            return Ok(None);
        }
        match self.setting(connection, "save").await? {
            Ok(save) if save.is_empty() => Ok(Some(
                "Redis keeps nothing on disk: a restart forgets every announcement; set appendonly yes, or save".into(),
            )),
            _ => Ok(None),
        }
    }

    /// One setting of the server; `Err` if this user may not ask.
    pub(super) async fn setting(
        &self,
        connection: &mut impl ConnectionLike,
        name: &str,
    ) -> Result<Result<String, Trouble>, Trouble> {
        let mut cmd = redis::cmd("CONFIG");
        cmd.arg("GET").arg(name);
        match self.send(connection, &cmd).await {
            Ok(value) => {
                let pairs = pairs(value).unwrap_or_default();
                let found = field(&pairs, name).and_then(text).map(|text| text.into_owned());
                Ok(found.ok_or_else(|| Trouble::other(format_args!("Redis does not tell its setting {name}"))))
            }
            Err(trouble) if refused(&trouble) => Ok(Err(trouble)),
            Err(trouble) => Err(trouble),
        }
    }

    /// Makes sure that the group is there. Answers how many entries it will not hand out.
    async fn group(&self, connection: &mut impl ConnectionLike) -> Result<u64, Trouble> {
        let names = &*self.0;
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&names.lbs).arg(&names.group).arg("0").arg("MKSTREAM");
        match self.send(connection, &create).await {
            Ok(_) => Ok(0),
            Err(trouble) if trouble.message.starts_with("BUSYGROUP") => {
                Ok(self.skipped(connection).await?.unwrap_or(0))
            }
            // Out of memory, Redis does not say that the group is there already.
            Err(trouble) if trouble.kind == TroubleKind::OutOfMemory => self.skipped(connection).await?.ok_or(trouble),
            Err(trouble) if trouble.kind == TroubleKind::WrongType => {
                let message = format!("WRONGTYPE the key `{}` holds something else than a stream", names.lbs);
                Err(Trouble { kind: trouble.kind, message: message.into() })
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// How many entries a group that was there already will not hand out: those that it counts as delivered, and that
    /// are not pending. `None` if there is no group.
    async fn skipped(&self, connection: &mut impl ConnectionLike) -> Result<Option<u64>, Trouble> {
        let names = &*self.0;
        let length = self.send(connection, redis::cmd("XLEN").arg(&names.lbs)).await?;
        let groups = match self.send(connection, redis::cmd("XINFO").arg("GROUPS").arg(&names.lbs)).await {
            Ok(groups) => list(groups).unwrap_or_default(),
            Err(trouble) if trouble.kind == TroubleKind::Refused => return Ok(Some(0)),
            Err(trouble) if trouble.kind == TroubleKind::GroupLost => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        let mut groups = groups.into_iter().filter_map(pairs);
        let ours = groups.find(|group| field(group, "name").and_then(bytes) == Some(names.group.as_bytes()));
        let Some(group) = ours else { return Ok(None) };
        let undelivered = match field(&group, "lag").and_then(number) {
            Some(lag) => Some(lag),
            None => self.undelivered(connection, &group).await?,
        };
        let pending = field(&group, "pending").and_then(number).unwrap_or(0);
        let length = number(&length).unwrap_or(0);
        Ok(Some(undelivered.map_or(0, |n| length.saturating_sub(pending).saturating_sub(n))))
    }

    /// How many entries are still to be handed out, counted, where the server cannot tell (Redis before 7, a group that
    /// was not created at 0); `None` if the oldest entry is accounted for, or if they are too many to count.
    async fn undelivered(
        &self,
        connection: &mut impl ConnectionLike,
        group: &[(Value, Value)],
    ) -> Result<Option<u64>, Trouble> {
        const COUNTED: usize = 1_000;
        let (names, last) = (&*self.0, field(group, "last-delivered-id").and_then(entry_id).unwrap_or_default());
        let mut range = redis::cmd("XRANGE");
        range.arg(&names.lbs).arg("-").arg(last.to_string()).arg("COUNT").arg(1);
        let oldest = list(self.send(connection, &range).await?).unwrap_or_default().pop().and_then(delivery);
        let Some(oldest) = oldest else { return Ok(None) };
        let (mut pending, id) = (redis::cmd("XPENDING"), oldest.entry.to_string());
        pending.arg(&names.lbs).arg(&names.group).arg(&id).arg(&id).arg(1);
        if list(self.send(connection, &pending).await?).is_some_and(|list| !list.is_empty()) {
            return Ok(None);
        }
        let mut range = redis::cmd("XRANGE");
        range.arg(&names.lbs).arg(start(Some(last))).arg("+").arg("COUNT").arg(COUNTED);
        let rest = list(self.send(connection, &range).await?).unwrap_or_default().len();
        Ok((rest < COUNTED).then_some(rest as u64))
    }

    /// Makes sure that Redis announces expiries, or says why it does not.
    async fn notifications(&self, connection: &mut impl ConnectionLike) -> Result<Result<(), Box<str>>, Trouble> {
        const SETTING: &str = "notify-keyspace-events";
        let set = match self.setting(connection, SETTING).await? {
            Ok(flags) => match merge_flags(&flags) {
                None => return Ok(Ok(())),
                Some(merged) => {
                    let mut cmd = redis::cmd("CONFIG");
                    cmd.arg("SET").arg(SETTING).arg(merged);
                    self.send(connection, &cmd).await.map(|_| ())
                }
            },
            Err(trouble) => Err(trouble),
        };
        match set {
            Ok(()) => Ok(Ok(())),
            Err(trouble) if refused(&trouble) => Ok(Err(format!(
                "expiry notifications cannot be switched on ({trouble}): orphans are found by looking; set the \
                 server's {SETTING} to include K and x by hand"
            )
            .into())),
            Err(trouble) => Err(trouble),
        }
    }
}

/// The flags of `notify-keyspace-events` that announce the expiry of keys by the key's channel, added to those that
/// are set; `None` if they are. A flag is never dropped: others may need it. (Redis does not print `n` where `A` is
/// set: then it cannot be kept.)
pub(super) fn merge_flags(current: &str) -> Option<String> {
    let (keyspace, expired) = (current.contains('K'), current.contains(['x', 'A']));
    if keyspace && expired {
        return None;
    }
    let mut merged = current.to_owned();
    if !keyspace {
        merged.push('K');
    }
    if !expired {
        merged.push('x');
    }
    Some(merged)
}

/// Whether these flags announce the expiry of keys by the key's channel.
pub(super) fn announces_expiry(flags: &str) -> bool {
    merge_flags(flags).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_added_and_never_dropped() {
        for (current, merged) in [
            ("", Some("Kx")),
            ("xE", Some("xEK")),
            ("gE", Some("gEKx")),
            ("AE", Some("AEK")),
            ("K", Some("Kx")),
            ("g$lshzxetdmnE", Some("g$lshzxetdmnEK")),
            ("xKE", None),
            ("AK", None),
            ("xK", None),
        ] {
            assert_eq!(merge_flags(current).as_deref(), merged, "{current}");
            assert!(announces_expiry(merged.unwrap_or(current)));
        }
    }
}
