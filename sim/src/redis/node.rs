//! Who this server is: what changes when it restarts or is replaced.

use rand::{Rng, rngs::SmallRng};

use super::{Redis, commands::Call, data::number::integer, reply::Reply};

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) run_id: String,
    /// The history of the data that it continues.
    pub(crate) replid: String,
    /// The history that it continued before, and up to where.
    pub(crate) earlier: Option<(String, u64)>,
    /// By the wall clock.
    pub(crate) started_ms: u64,
    /// The primary that it was told to follow: its host and port. Nothing ever comes from there.
    pub(crate) follows: Option<(String, i64)>,
}

impl Node {
    pub(crate) fn new(rng: &mut SmallRng, started_ms: u64) -> Node {
        Node { run_id: id(rng), replid: id(rng), earlier: None, started_ms, follows: None }
    }
}

/// REPLICAOF: a primary of another address, or NO ONE.
pub(crate) fn replicaof(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    if call.is(1, "NO") && call.is(2, "ONE") {
        if redis.node.follows.take().is_some() && !redis.is_replica() {
            redis.begin_history();
        }
        return Some(Reply::ok());
    }
    let Some(port) = integer(&call.args[2]).filter(|port| (0..=65535).contains(port)) else {
        return Some(Reply::error("ERR Invalid master port"));
    };
    let primary = Some((call.text(1), port));
    if redis.node.follows == primary {
        return Some(Reply::status("OK Already connected to specified master"));
    }
    redis.node.follows = primary;
    redis.send_waiting_away();
    Some(Reply::ok())
}

impl Redis {
    /// A replica has become a primary: what it writes from now on is nobody else's history.
    pub(crate) fn begin_history(&mut self) {
        let earlier = std::mem::replace(&mut self.node.replid, id(&mut self.rng));
        self.node.earlier = Some((earlier, 1));
    }
}

/// 40 hexadecimal digits.
fn id(rng: &mut SmallRng) -> String {
    (0..40).map(|_| char::from_digit(rng.random_range(0..16), 16).unwrap_or('0')).collect()
}
