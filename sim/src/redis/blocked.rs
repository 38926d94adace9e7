//! Who waits: for entries of a stream, or for replicas.

use bytes::Bytes;
use streamkeeper::Time;

use super::{
    Redis,
    commands::Call,
    connection::ConnId,
    data::{self, Done, number::integer},
    reply::Reply,
    session::NOT_AN_INTEGER,
};

/// What a connection waits for, and until when by the wall clock, which may step.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    ForStreams { db: usize, keys: Vec<Bytes>, again: Vec<Bytes>, until_ms: Option<u64> },
    ForReplicas { until_ms: Option<u64>, acknowledged: Time },
}

impl Waiting {
    pub(crate) fn until_ms(&self) -> Option<u64> {
        match self {
            Waiting::ForStreams { until_ms, .. } | Waiting::ForReplicas { until_ms, .. } => *until_ms,
        }
    }
}

const DEMOTED: &str = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

/// WAIT: a replica, if there is one, acknowledges what was written when it has arrived there.
pub(crate) fn wait(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    if redis.is_replica() {
        return Some(Reply::error(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
             configured to be writable (which is not the default) writes to replicas are just local and are not \
             propagated.",
        ));
    }
    let (Some(replicas), Some(ms)) = (integer(&call.args[1]), integer(&call.args[2])) else {
        return Some(Reply::error(NOT_AN_INTEGER));
    };
    let Ok(ms) = u64::try_from(ms) else { return Some(Reply::error("ERR timeout is negative")) };
    let has = i64::try_from(redis.replicas()).unwrap_or(i64::MAX);
    if replicas <= 0 || call.nested {
        return Some(Reply::Int(if redis.lag().is_zero() { has } else { 0 }));
    }
    let acknowledged = redis.now + redis.lag();
    let enough = (replicas <= has).then(|| redis.cx.now_ms.saturating_add(redis.settings.replica_lag_ms));
    let patience = (ms > 0).then(|| redis.cx.now_ms.saturating_add(ms));
    let until_ms = [enough, patience].into_iter().flatten().min();
    redis.suspend(call.conn, Waiting::ForReplicas { until_ms, acknowledged });
    None
}

impl Redis {
    pub(crate) fn wait_for_streams(&mut self, call: &Call<'_>, keys: Vec<Bytes>, ms: u64, again: Vec<Bytes>) {
        let until_ms = (ms > 0).then(|| self.cx.now_ms.saturating_add(ms));
        self.suspend(call.conn, Waiting::ForStreams { db: call.db, keys, again, until_ms });
    }

    fn suspend(&mut self, conn: ConnId, waiting: Waiting) {
        self.connection(conn).waiting = Some(waiting);
        self.waiting.push(conn);
    }

    /// Serves those who wait for keys that have changed: key by key as they changed, and for each in the order in which
    /// they came.
    pub(crate) fn wake_waiting(&mut self) {
        while self.everything_changed || !self.changed.is_empty() {
            let mut changed = std::mem::take(&mut self.changed);
            if std::mem::take(&mut self.everything_changed) {
                changed.extend(self.waiting.iter().flat_map(|conn| self.waited_for(*conn)));
            }
            for (at, ready) in changed.iter().enumerate() {
                if !changed[..at].contains(ready) {
                    self.serve(ready.0, &ready.1);
                }
            }
        }
    }

    /// The keys that somebody waits for.
    fn waited_for(&self, conn: ConnId) -> Vec<(usize, Bytes)> {
        match self.connections.get(&conn).and_then(|connection| connection.waiting.as_ref()) {
            Some(Waiting::ForStreams { db, keys, .. }) => keys.iter().map(|key| (*db, key.clone())).collect(),
            _ => Vec::new(),
        }
    }

    /// Serves those who wait for this key.
    fn serve(&mut self, ready: usize, key: &Bytes) {
        for conn in self.waiting.clone() {
            let waiting = self.connections.get(&conn).and_then(|connection| connection.waiting.as_ref());
            let Some(Waiting::ForStreams { db, keys, again, .. }) = waiting else { continue };
            if *db != ready || !keys.contains(key) {
                continue;
            }
            let again = again.clone();
            if let Some(reply) = self.try_again(ready, &again, key) {
                if let Some(Ok(spec)) = data::find(&again) {
                    self.touched(conn, None, spec, &again, &reply);
                }
                self.unblock(conn, &reply);
            }
        }
    }

    /// What somebody who waits is to be answered since this key has changed, if anything.
    fn try_again(&mut self, db: usize, again: &[Bytes], key: &Bytes) -> Option<Reply> {
        let dirty = self.cx.dirty;
        let done = data::wake(&mut self.dbs[db], &mut self.cx, again, key);
        self.publish_events(db);
        if self.cx.dirty != dirty {
            self.history.write(self.now, self.cx.now_us, db, again.to_vec());
        }
        match done {
            Done::Block { .. } => None,
            Done::Reply(reply) => Some(reply),
        }
    }

    /// Ends the waiting of those whose time is over.
    pub(crate) fn end_waits(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        for conn in self.waiting.clone() {
            let waiting = self.connections.get(&conn).and_then(|connection| connection.waiting.as_ref());
            let over = waiting.filter(|waiting| waiting.until_ms().is_some_and(|until| until < self.cx.now_ms));
            let over = over.cloned();
            if let Some(reply) = over.map(|waiting| waiting.ends(self)) {
                self.unblock(conn, &reply);
            }
        }
    }

    /// Answers somebody who waits, and goes on with what else has arrived from there.
    pub(crate) fn unblock(&mut self, conn: ConnId, reply: &Reply) {
        self.waiting.retain(|waiting| *waiting != conn);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.waiting = None;
        if connection.loses {
            self.lose(conn);
        } else {
            self.answer(conn, reply);
            self.resumed.push_back(conn);
        }
    }

    /// The server has become a replica: whoever waits is answered and cut off.
    pub(crate) fn send_waiting_away(&mut self) {
        for conn in std::mem::take(&mut self.waiting) {
            self.unblock(conn, &Reply::error(DEMOTED));
            self.kill(conn);
        }
    }
}
