//! A node of a cluster: which slots it believes are whose, and how it sends away whoever asks for another one's. What
//! nodes tell each other is none of its business: it is told. `ASKING` is not known here, since nobody says it.

use std::sync::Arc;

use bytes::Bytes;
use streamkeeper::Time;
use streamkeeper_core::keys::hash_tag;

use super::{
    Redis,
    blocked::Waiting,
    commands::{Call, Command},
    data::{number::integer, value::Value},
    history::History,
    reply::Reply,
    session::NOT_AN_INTEGER,
};

/// How many slots there are.
const SLOTS: u16 = 16_384;

/// What a node knows.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// Host and port of all nodes.
    pub(crate) nodes: Vec<(String, u16)>,
    /// Which of them it is.
    pub(crate) own: usize,
    /// The slot that is looked at.
    pub(crate) slot: u16,
    /// Whose it is, and all slots below it.
    pub(crate) serves: usize,
    /// The replica of that node.
    pub(crate) heir: Option<usize>,
    /// Whose the slots above it are.
    pub(crate) above: usize,
    /// Where the slot is moving: keys that are not here any more are there.
    pub(crate) moving_to: Option<usize>,
}

/// A key on its way to another node.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    key: Bytes,
    value: Arc<Value>,
    lapses_ms: Option<u64>,
    /// Until when it is of a wrong type, if it is.
    planted: Option<Time>,
}

impl Cluster {
    fn owner(&self, slot: u16) -> usize {
        if slot <= self.slot { self.serves } else { self.above }
    }
}

/// The slot of a key.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = std::str::from_utf8(key).ok().and_then(hash_tag);
    let hashed = tag.map_or(key, |tag| &tag.as_bytes()[1..tag.len() - 1]);
    let crc = hashed.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    });
    crc % SLOTS
}

/// CLUSTER SLOTS.
pub(crate) fn slots(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    let Some(cluster) = &redis.cluster else { return Some(disabled()) };
    let server = |number: usize| {
        let (host, port) = cluster.nodes[number].clone();
        Reply::Array(vec![
            Reply::bulk(host),
            Reply::Int(port.into()),
            Reply::bulk(id(number)),
            Reply::Array(Vec::new()),
        ])
    };
    let range = |from: u16, to: u16, servers: Vec<usize>| {
        let servers = servers.into_iter().map(server);
        Reply::Array([Reply::Int(from.into()), Reply::Int(to.into())].into_iter().chain(servers).collect())
    };
    let below = range(0, cluster.slot, [cluster.serves].into_iter().chain(cluster.heir).collect());
    let above = range(cluster.slot + 1, SLOTS - 1, vec![cluster.above]);
    Some(Reply::Array(vec![below, above]))
}

/// CLUSTER KEYSLOT.
pub(crate) fn keyslot(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    Some(if redis.cluster.is_some() { Reply::Int(slot_of(&call.args[2]).into()) } else { disabled() })
}

/// CLUSTER MYID.
pub(crate) fn myid(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    Some(redis.cluster.as_ref().map_or_else(disabled, |cluster| Reply::bulk(id(cluster.own))))
}

/// CLUSTER COUNTKEYSINSLOT.
pub(crate) fn countkeysinslot(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    if redis.cluster.is_none() {
        return Some(disabled());
    }
    let Some(slot) = integer(&call.args[2]) else { return Some(Reply::error(NOT_AN_INTEGER)) };
    let Some(slot) = u16::try_from(slot).ok().filter(|slot| *slot < SLOTS) else {
        return Some(Reply::error("ERR Invalid slot"));
    };
    let count = redis.dbs[0].keys().filter(|key| slot_of(key) == slot).count();
    Some(Reply::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// CLUSTER INFO.
pub(crate) fn info(redis: &mut Redis, _: &Call<'_>) -> Option<Reply> {
    let Some(cluster) = &redis.cluster else { return Some(disabled()) };
    let nodes = cluster.nodes.len();
    let state = if redis.faults.lacks_cluster() { "fail" } else { "ok" };
    let text = format!(
        "cluster_enabled:1\r\ncluster_state:{state}\r\ncluster_slots_assigned:16384\r\ncluster_known_nodes:{nodes}\r\n"
    );
    Some(Reply::Verbatim(text.into()))
}

fn disabled() -> Reply {
    Reply::error("ERR This instance has cluster support disabled")
}

/// 40 hexadecimal digits.
fn id(number: usize) -> String {
    format!("{number:040x}")
}

impl Redis {
    /// Makes it a node of a cluster, or tells it what has changed there. Whoever waits for keys that are not its own any
    /// more is sent to where they are.
    pub(crate) fn joins(&mut self, knows: Cluster) {
        self.cluster = Some(knows);
        for conn in self.waiting.clone() {
            let waiting = self.connections.get(&conn).and_then(|connection| connection.waiting.as_ref());
            let Some(Waiting::ForStreams { keys, .. }) = waiting else { continue };
            let keys = keys.clone();
            if let Some(moved) = keys.first().and_then(|key| self.moved(slot_of(key))) {
                self.unblock(conn, &Reply::Error(moved));
            }
        }
        self.settle();
    }

    /// Whether the keys of a command are this node's, and all of them here.
    pub(crate) fn has_slot_of(&mut self, command: Command, args: &[Bytes]) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let keys = command.keys(args);
        let Some(first) = keys.first() else { return Ok(()) };
        let slot = slot_of(first);
        if keys.iter().any(|key| slot_of(key) != slot) {
            self.remark("crossslot");
            return Err("CROSSSLOT Keys in request don't hash to the same slot".to_owned());
        }
        if let Some(moved) = self.moved(slot) {
            self.remark("moved");
            return Err(moved);
        }
        let Some(to) = cluster.moving_to.filter(|_| slot == cluster.slot) else { return Ok(()) };
        let (host, port) = cluster.nodes[to].clone();
        let here = keys.iter().filter(|key| self.dbs[0].has(key, self.cx.now_ms)).count();
        if here == keys.len() {
            return Ok(());
        }
        if here > 0 {
            self.remark("tryagain");
            return Err("TRYAGAIN Multiple keys request during rehashing of slot".to_owned());
        }
        self.remark("ask");
        Err(format!("ASK {slot} {host}:{port}"))
    }

    /// Keys of the slot leave: all of them, or every other one.
    pub(crate) fn give_keys(&mut self, all: bool) -> Vec<Carried> {
        self.set_clock();
        let slot = self.cluster.as_ref().map(|cluster| cluster.slot);
        let keys = self.dbs[0].keys().filter(|key| Some(slot_of(key)) == slot).cloned();
        let going: Vec<Bytes> = keys.enumerate().filter(|(nth, _)| all || nth % 2 == 1).map(|(_, key)| key).collect();
        let mut carried = Vec::new();
        for key in going {
            if let Some(entry) = self.dbs[0].remove(&key) {
                let planted = self.faults.pull_up(&key);
                carried.push(Carried { key, value: entry.value, lapses_ms: entry.lapses_ms, planted });
            }
        }
        self.history = History::new(self.dbs.clone(), self.now);
        carried
    }

    /// They arrive.
    pub(crate) fn take_keys(&mut self, carried: Vec<Carried>) {
        self.set_clock();
        for Carried { key, value, lapses_ms, planted } in carried {
            self.dbs[0].put(&key, value, lapses_ms);
            if let Some(until) = planted {
                self.faults.plant(key, until);
            }
        }
        self.history = History::new(self.dbs.clone(), self.now);
        self.next_cycle = self.cycle_after_now();
        self.everything_changed = true;
        self.wake_waiting();
        self.settle();
    }

    /// The error that sends somebody to the node whose slot it is, if it is not this one's.
    pub(crate) fn moved(&self, slot: u16) -> Option<String> {
        let cluster = self.cluster.as_ref()?;
        let owner = cluster.owner(slot);
        let (host, port) = &cluster.nodes[owner];
        (owner != cluster.own).then(|| format!("MOVED {slot} {host}:{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_a_real_server() {
        for (key, slot) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{foo}-input", 12_182),
            ("a{foo}b{bar}", 12_182),
            ("{}foo", 9_500),
            ("foo{", 7_673),
            ("{{foo}}", 13_308),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }
}
