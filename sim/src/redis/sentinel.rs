//! A sentinel: a server without data that says which server is the primary. It has been told so, and tells everybody who
//! listens when it is told otherwise; how sentinels agree among themselves is none of its business.

use bytes::Bytes;

use super::{Redis, commands::Call, reply::Reply};

/// What a sentinel knows.
#[derive(Clone, Debug)]
pub(crate) struct Sentinel {
    /// What it calls the primary.
    pub(crate) name: String,
    /// Host and port of the primary.
    pub(crate) primary: (String, u16),
    /// Grows with every failover.
    pub(crate) epoch: u64,
    /// Host and port of the other sentinels.
    pub(crate) others: Vec<(String, u16)>,
}

/// What it executes; everything else is unknown to it.
const COMMANDS: [&str; 9] =
    ["auth", "client", "hello", "ping", "psubscribe", "role", "sentinel", "subscribe", "unsubscribe"];

/// SENTINEL GET-MASTER-ADDR-BY-NAME.
pub(crate) fn get_master_addr_by_name(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let known = redis.sentinel.as_ref().filter(|known| known.name == call.text(2));
    Some(known.map_or(Reply::NilArray, |known| {
        let (host, port) = known.primary.clone();
        Reply::Array(vec![Reply::bulk(host), Reply::bulk(port.to_string())])
    }))
}

/// SENTINEL MASTER.
pub(crate) fn master(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let known = redis.sentinel.as_ref().filter(|known| known.name == call.text(2));
    Some(known.map_or_else(no_such_master, |known| {
        let (host, port) = known.primary.clone();
        let fields = [
            ("name", known.name.clone()),
            ("ip", host),
            ("port", port.to_string()),
            ("flags", "master".to_owned()),
            ("num-other-sentinels", known.others.len().to_string()),
            ("quorum", "2".to_owned()),
            ("config-epoch", known.epoch.to_string()),
        ];
        Reply::Map(fields.map(|(name, value)| (Reply::bulk(name), Reply::bulk(value))).into())
    }))
}

/// SENTINEL SENTINELS.
pub(crate) fn sentinels(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let known = redis.sentinel.as_ref().filter(|known| known.name == call.text(2));
    Some(known.map_or_else(no_such_master, |known| {
        let others = known.others.iter().map(|(host, port)| {
            let fields = [("name", host.clone()), ("ip", host.clone()), ("port", port.to_string())];
            Reply::Map(fields.map(|(name, value)| (Reply::bulk(name), Reply::bulk(value))).into())
        });
        Reply::Array(others.collect())
    }))
}

fn no_such_master() -> Reply {
    Reply::error("ERR No such master with that name")
}

impl Redis {
    /// Makes it a sentinel.
    pub(crate) fn watch_over(&mut self, knows: Sentinel) {
        self.sentinel = Some(knows);
    }

    /// The epoch of what a sentinel knows.
    pub(crate) fn watched_epoch(&self) -> Option<u64> {
        self.sentinel.as_ref().map(|known| known.epoch)
    }

    /// A sentinel is told that another server is the primary. It publishes that.
    pub(crate) fn switch_master(&mut self, primary: (String, u16), epoch: u64) {
        let Some(known) = &mut self.sentinel else { return };
        let (from, to) = (std::mem::replace(&mut known.primary, primary.clone()), primary);
        known.epoch = epoch;
        let said = format!("{} {} {} {} {}", known.name, from.0, from.1, to.0, to.1);
        self.publish_message(&Bytes::from_static(b"+switch-master"), &said.into());
        self.settle();
    }

    /// Whether this command is one of those that a server of this kind knows.
    pub(crate) fn is_of_its_kind(&self, name: &str) -> bool {
        let group = name.split('|').next().unwrap_or(name);
        match self.sentinel {
            Some(_) => COMMANDS.contains(&group),
            None => group != "sentinel",
        }
    }
}
