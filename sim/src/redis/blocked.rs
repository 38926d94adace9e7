//! Who waits: for entries of a stream, or for replicas.

use bytes::Bytes;

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
    ForReplicas { until_ms: Option<u64> },
}

impl Waiting {
    pub(crate) fn until_ms(&self) -> Option<u64> {
        match self {
            Waiting::ForStreams { until_ms, .. } | Waiting::ForReplicas { until_ms } => *until_ms,
        }
    }
}

const DEMOTED: &str = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

/// WAIT: there are no replicas that acknowledge anything.
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
    if replicas <= 0 || call.nested {
        return Some(Reply::Int(0));
    }
    let until_ms = (ms > 0).then(|| redis.cx.now_ms.saturating_add(ms));
    redis.suspend(call.conn, Waiting::ForReplicas { until_ms });
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

    /// Serves those who wait for keys that have changed, in the order in which they came.
    pub(crate) fn wake_waiting(&mut self) {
        while self.everything_changed || !self.changed.is_empty() {
            let everything = std::mem::take(&mut self.everything_changed);
            let changed = std::mem::take(&mut self.changed);
            for conn in self.waiting.clone() {
                let waiting = self.connections.get(&conn).and_then(|connection| connection.waiting.clone());
                let Some(Waiting::ForStreams { db, keys, again, .. }) = waiting else { continue };
                let concerns = |key: &&Bytes| everything || changed.iter().any(|at| at.0 == db && at.1 == **key);
                for key in keys.iter().filter(concerns) {
                    if let Some(reply) = self.try_again(db, &again, key) {
                        if let Some(Ok(spec)) = data::find(&again) {
                            self.touched(conn, None, spec, &again, &reply);
                        }
                        self.unblock(conn, &reply);
                        break;
                    }
                }
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
            if let Some(reply) = over.map(Waiting::in_vain) {
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
