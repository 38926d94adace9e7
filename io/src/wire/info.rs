//! What INFO tells of a server.

use streamkeeper_core::trouble::Trouble;

/// The oldest Redis that has what the protocol needs: `XPENDING … IDLE`, exclusive ranges.
const OLDEST: (u32, u32) = (6, 2);

/// Servers that are no Redis, and the line of INFO that has their own version.
const OTHERS: [(&str, &str); 5] = [
    ("valkey", "valkey_version"),
    ("dragonfly", "dragonfly_version"),
    ("kvrocks", "kvrocks_version"),
    ("garnet", "garnet_version"),
    ("upstash", "upstash_version"),
];

/// What INFO tells, as name and value by line.
pub(crate) struct Info(String);

impl Info {
    /// From the reply to INFO.
    pub(crate) fn new(text: String) -> Info {
        Info(text)
    }

    /// The value of one line.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
    }

    /// Which server this is, as the scripts make it; empty if it does not tell.
    pub(crate) fn identity(&self) -> String {
        match (self.get("run_id"), self.get("master_replid")) {
            (Some(run), Some(replid)) => format!("{run}:{replid}"),
            _ => String::new(),
        }
    }

    /// Which server it is.
    pub(crate) fn server(&self) -> &'static str {
        match self.own_version() {
            Some((server, _)) => server,
            None if self.get("redis_version").is_some() => "redis",
            None => "unknown",
        }
    }

    /// The version for people, such as `7.0.15` or `valkey 9.1.2`.
    pub(crate) fn version(&self) -> String {
        match self.own_version() {
            Some((server, version)) => format!("{server} {version}"),
            None => self.get("redis_version").unwrap_or("unknown").to_owned(),
        }
    }

    /// The name and version of a server that is no Redis, whatever Redis it says it is compatible with.
    fn own_version(&self) -> Option<(&'static str, &str)> {
        OTHERS.into_iter().find_map(|(server, line)| Some((server, self.get(line)?)))
    }

    /// The first number of the version; that of Redis which a Valkey is compatible with.
    pub(crate) fn major(&self) -> Option<u32> {
        self.get("redis_version")?.split('.').next()?.parse().ok()
    }

    /// Why the protocol cannot run on this server: it is too old.
    pub(crate) fn check_version(&self) -> Result<(), Trouble> {
        if !self.too_old() {
            return Ok(());
        }
        let as_redis = self.get("redis_version").unwrap_or_default();
        let what = match self.server() {
            "redis" => format!("Redis {as_redis} is"),
            _ => format!("{}, as old as Redis {as_redis}, is", self.version()),
        };
        let (major, minor) = OLDEST;
        Err(Trouble::unsupported(format_args!("{what} too old: Streamkeeper needs Redis {major}.{minor} or later")))
    }

    fn too_old(&self) -> bool {
        let version = self.get("redis_version").unwrap_or_default();
        let mut numbers = version.split('.').map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < OLDEST,
            _ => false,
        }
    }

    /// What of the server's settings weakens a promise, in words.
    pub(crate) fn warnings(&self) -> Vec<Box<str>> {
        let mut warnings = Vec::new();
        if let Some(policy) = self.get("maxmemory_policy").filter(|policy| *policy != "noeviction") {
            warnings.push(
                format!(
                    "maxmemory-policy is {policy}: Redis may evict keys, whole streams with them, when memory is \
                     short; set it to noeviction"
                )
                .into(),
            );
        }
        warnings
    }

    /// That a primary which is cut off goes on to serve whoever reaches it, in words. Only where `min-replicas-to-write` and
    /// `min-replicas-max-lag` are set does INFO count the replicas that are well.
    pub(crate) fn unguarded_primary(&self) -> Option<Box<str>> {
        let replicas = self.get("connected_slaves").filter(|count| *count != "0")?;
        let unguarded = self.get("role") == Some("master") && self.get("min_slaves_good_slaves").is_none();
        unguarded.then(|| {
            let what = "after a failover the former primary may go on granting leases; set min-replicas-to-write to 1";
            format!("connected replicas: {replicas}, and none is needed to write: {what}").into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_line_by_line() {
        let info = Info(
            "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\nrun_id:ab\r\n\
             # Replication\r\nrole:master\r\nmaster_replid:cd\r\nmaster_replid2:ef\r\nmaxmemory_policy:allkeys-lru\r\n"
                .to_owned(),
        );
        assert_eq!(info.identity(), "ab:cd");
        assert_eq!(info.version(), "valkey 9.1.2");
        assert_eq!(info.major(), Some(7));
        assert!(!info.too_old());
        assert_eq!(info.warnings().len(), 1);
        for (version, old) in [("5.0.7", true), ("6.0.16", true), ("6.2.0", false), ("7.0.15", false), ("odd", false)] {
            assert_eq!(Info(format!("redis_version:{version}")).too_old(), old, "{version}");
        }
        assert_eq!(Info(String::new()).identity(), "");
    }

    #[test]
    fn a_primary_with_replicas_that_nothing_stops_is_warned_of() {
        for (lines, warned) in [
            ("role:master\r\nconnected_slaves:0\r\n", false),
            ("role:master\r\nconnected_slaves:2\r\n", true),
            ("role:master\r\nconnected_slaves:2\r\nmin_slaves_good_slaves:2\r\n", false),
            ("role:slave\r\nconnected_slaves:1\r\n", false),
            ("", false),
        ] {
            assert_eq!(Info(lines.to_owned()).unguarded_primary().is_some(), warned, "{lines:?}");
        }
    }

    #[test]
    fn servers_are_told_apart_and_an_old_one_is_refused() {
        for (text, server, version, refused) in [
            ("redis_version:7.0.15", "redis", "7.0.15", ""),
            ("redis_version:6.0.16", "redis", "6.0.16", "Redis 6.0.16 is too old"),
            ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.3", "valkey", "valkey 8.1.3", ""),
            ("redis_version:7.4.0\r\ndragonfly_version:df-v1.40.1", "dragonfly", "dragonfly df-v1.40.1", ""),
            ("kvrocks_version:2.17.0\r\nredis_version:4.0.0", "kvrocks", "kvrocks 2.17.0", "as old as Redis 4.0.0"),
            ("garnet_version:1.1.9", "garnet", "garnet 1.1.9", ""),
            ("", "unknown", "unknown", ""),
        ] {
            let info = Info(text.to_owned());
            assert_eq!((info.server(), &*info.version()), (server, version));
            match info.check_version() {
                Ok(()) => assert_eq!(refused, "", "{text}"),
                Err(trouble) => {
                    let said = trouble.to_string();
                    assert!(!refused.is_empty() && said.contains(refused) && said.contains("6.2"), "{said}");
                }
            }
        }
    }
}
