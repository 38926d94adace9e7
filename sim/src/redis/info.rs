//! INFO and its like: what the server says about itself.

use std::fmt::{Display, Write as _};

use super::{Redis, commands::Call, reply::Reply};

/// What a server takes with no data.
const EMPTY_BYTES: u64 = 1_000_000;

/// How much was replicated: a server without replicas does not count it.
const OFFSET: i64 = 0;

/// What is counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) connections: u64,
    pub(crate) rejected: u64,
    pub(crate) commands: u64,
    pub(crate) sent: u64,
    pub(crate) errors: u64,
    pub(crate) expired: u64,
    pub(crate) evicted: u64,
    /// When the snapshot was loaded.
    pub(crate) lapsed_at_load: usize,
}

/// The sections that INFO shows if nobody asks for any, in order.
const SECTIONS: [&str; 8] =
    ["server", "clients", "memory", "persistence", "stats", "replication", "cluster", "keyspace"];

pub(crate) fn info(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let asked: Vec<String> = (1..call.args.len()).map(|at| call.text(at).to_lowercase()).collect();
    let every = asked.is_empty() || asked.iter().any(|name| ["all", "default", "everything"].contains(&&**name));
    let mut text = String::new();
    for section in SECTIONS {
        if every || asked.iter().any(|name| name == section) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            redis.write_section(section, &mut text);
        }
    }
    Some(Reply::Verbatim(text.into()))
}

pub(crate) fn time(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    let (seconds, micros) = (redis.cx.now_us / 1_000_000, redis.cx.now_us % 1_000_000);
    Some(Reply::Array(vec![Reply::bulk(seconds.to_string()), Reply::bulk(micros.to_string())]))
}

pub(crate) fn role(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    if let Some(sentinel) = &redis.sentinel {
        let watched = Reply::Array(vec![Reply::bulk(sentinel.name.clone())]);
        return Some(Reply::Array(vec![Reply::bulk("sentinel"), watched]));
    }
    Some(Reply::Array(if redis.is_replica() {
        redis.remark("a replica told its role");
        let (host, port) = redis.primary();
        let (state, offset) = if redis.has_link() { ("connected", OFFSET) } else { ("connect", -1) };
        vec![Reply::bulk("slave"), Reply::bulk(host), Reply::Int(port), Reply::bulk(state), Reply::Int(offset)]
    } else {
        let followers = redis.follower.iter().filter(|follower| follower.detached.is_none()).map(|follower| {
            let port = Reply::bulk(follower.port.to_string());
            Reply::Array(vec![Reply::bulk(follower.host.clone()), port, Reply::bulk(OFFSET.to_string())])
        });
        vec![Reply::bulk("master"), Reply::Int(OFFSET), Reply::Array(followers.collect())]
    }))
}

pub(crate) fn save(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    redis.saved = Some((redis.now, redis.dbs.clone()));
    Some(Reply::ok())
}

/// Done at once: nobody waits for the child process of a simulation.
pub(crate) fn bgsave(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    save(redis, call);
    Some(Reply::status("Background saving started"))
}

pub(crate) fn lastsave(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    Some(Reply::Int(i64::try_from(redis.last_save_ms() / 1000).unwrap_or(i64::MAX)))
}

/// Roughly what one key takes.
pub(crate) fn memory_usage(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let db = &redis.dbs[call.db];
    Some(if db.has(&call.args[2], redis.cx.now_ms) {
        Reply::Int(i64::try_from(db.memory() / db.len().max(1)).unwrap_or(i64::MAX))
    } else {
        Reply::Nil
    })
}

/// SLOWLOG GET and LEN: nothing is ever slow.
pub(crate) fn slowlog(_: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(if call.is(1, "LEN") { Reply::Int(0) } else { Reply::Array(Vec::new()) })
}

impl Redis {
    /// What the data take, and what goes with them.
    pub(crate) fn used_memory(&self) -> u64 {
        EMPTY_BYTES + self.dbs.iter().map(|db| db.memory() as u64).sum::<u64>()
    }

    /// What kind of server it is.
    pub(crate) fn mode(&self) -> &'static str {
        match (&self.sentinel, &self.cluster) {
            (Some(_), _) => "sentinel",
            (None, Some(_)) => "cluster",
            (None, None) => "standalone",
        }
    }

    /// Where a replica's primary is.
    fn primary(&self) -> (String, i64) {
        self.node.follows.clone().unwrap_or_else(|| ("127.0.0.1".to_owned(), 6380))
    }

    /// Whether a replica's primary answers. One that was told whom to follow by a client is alone in its world.
    fn has_link(&self) -> bool {
        (self.node.follows.is_none() || self.is_linked) && !self.faults.is_cut_off()
    }

    fn write_section(&self, section: &str, text: &mut String) {
        let title = section[..1].to_uppercase() + &section[1..];
        let _ = write!(text, "# {title}\r\n");
        let mut say = |name: &str, value: &dyn Display| {
            let _ = write!(text, "{name}:{value}\r\n"); // a String takes everything
        };
        match section {
            "server" => {
                let uptime = (self.wall_us() / 1000).saturating_sub(self.node.started_ms) / 1000;
                say("redis_version", &self.cx.version.number());
                say("redis_mode", &self.mode());
                say("os", &"simulated");
                say("arch_bits", &64);
                say("process_id", &1);
                say("run_id", &self.node.run_id);
                say("tcp_port", &self.config.value("port"));
                say("server_time_usec", &self.wall_us());
                say("uptime_in_seconds", &uptime);
                say("uptime_in_days", &(uptime / 86_400));
                say("hz", &self.config.hz);
                say("configured_hz", &self.config.value("hz"));
                say("executable", &"");
                say("config_file", &"");
            }
            "clients" => {
                let waiting = self.waiting.len();
                say("connected_clients", &self.conns().count());
                say("cluster_connections", &0);
                say("maxclients", &self.config.maxclients);
                say("blocked_clients", &waiting);
                say("tracking_clients", &0);
                say("clients_in_timeout_table", &waiting);
            }
            "memory" => {
                say("used_memory", &self.used_memory());
                say("used_memory_human", &format!("{:.2}M", self.used_memory() as f64 / (1 << 20) as f64));
                say("used_memory_rss", &self.used_memory());
                say("used_memory_peak", &self.used_memory());
                say("number_of_cached_scripts", &self.scripts.len());
                say("maxmemory", &self.config.maxmemory);
                say("maxmemory_human", &format!("{}B", self.config.maxmemory));
                say("maxmemory_policy", &self.config.maxmemory_policy);
            }
            "persistence" => {
                say("loading", &u8::from(self.faults.is_loading()));
                say("async_loading", &0);
                say("rdb_changes_since_last_save", &self.cx.dirty);
                say("rdb_bgsave_in_progress", &0);
                say("rdb_last_save_time", &(self.last_save_ms() / 1000));
                say("rdb_last_bgsave_status", &if self.faults.cannot_save() { "err" } else { "ok" });
                say("rdb_last_load_keys_expired", &self.stats.lapsed_at_load);
                say("aof_enabled", &u8::from(self.has_aof()));
                say("aof_last_write_status", &"ok");
            }
            "stats" => {
                let s = &self.stats;
                say("total_connections_received", &s.connections);
                say("total_commands_processed", &s.commands);
                say("total_net_output_bytes", &s.sent);
                say("rejected_connections", &s.rejected);
                say("expired_keys", &s.expired);
                say("evicted_keys", &s.evicted);
                say("pubsub_channels", &self.subscribers.channels());
                say("pubsub_patterns", &self.subscribers.patterns());
                say("total_error_replies", &s.errors);
            }
            "replication" => {
                let replica = self.is_replica();
                say("role", &if replica { "slave" } else { "master" });
                if replica {
                    let (host, port) = self.primary();
                    say("master_host", &host);
                    say("master_port", &port);
                    say("master_link_status", &if self.has_link() { "up" } else { "down" });
                    say("slave_read_only", &1);
                }
                let (replid2, offset2) = match &self.node.earlier {
                    Some((replid, offset)) => (replid.clone(), offset.to_string()),
                    None => ("0".repeat(40), "-1".to_owned()),
                };
                say("connected_slaves", &self.replicas());
                if let Some(follower) = self.follower.as_ref().filter(|follower| follower.detached.is_none()) {
                    let (host, port) = (&follower.host, follower.port);
                    say("slave0", &format!("ip={host},port={port},state=online,offset={OFFSET},lag=0"));
                }
                say("master_failover_state", &"no-failover");
                say("master_replid", &self.node.replid);
                say("master_replid2", &replid2);
                say("master_repl_offset", &OFFSET);
                say("second_repl_offset", &offset2);
                say("repl_backlog_active", &0);
            }
            "cluster" => say("cluster_enabled", &u8::from(self.cluster.is_some())),
            "keyspace" => {
                for (number, db) in self.dbs.iter().enumerate().filter(|(_, db)| !db.is_empty()) {
                    let value = format!("keys={},expires={},avg_ttl=0", db.len(), db.volatile_len());
                    say(&format!("db{number}"), &value);
                }
            }
            _ => {}
        }
    }
}
