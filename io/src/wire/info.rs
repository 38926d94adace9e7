//! What INFO tells of a server.

/// The oldest Redis that has what the protocol needs: `XPENDING … IDLE`, exclusive ranges.
pub(crate) const OLDEST: (u32, u32) = (6, 2);

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

    /// The version for people, such as `7.0.15` or `valkey 9.1.2`.
    pub(crate) fn version(&self) -> String {
        match self.get("valkey_version") {
            Some(version) => format!("valkey {version}"),
            None => self.get("redis_version").unwrap_or("unknown").to_owned(),
        }
    }

    pub(crate) fn too_old(&self) -> bool {
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
        assert!(!info.too_old());
        assert_eq!(info.warnings().len(), 1);
        for (version, old) in [("5.0.7", true), ("6.0.16", true), ("6.2.0", false), ("7.0.15", false), ("odd", false)] {
            assert_eq!(Info(format!("redis_version:{version}")).too_old(), old, "{version}");
        }
        assert_eq!(Info(String::new()).identity(), "");
    }
}
