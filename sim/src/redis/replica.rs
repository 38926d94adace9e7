//! A primary and the replica that follows it: what has arrived there, and what becomes of both when they change roles.

use std::time::Duration;

use bytes::Bytes;
use streamkeeper::Time;

use super::{Redis, data::Db, history::History};

/// A replica, as its primary knows it.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// Where it is.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Since when nothing arrives there.
    pub(crate) detached: Option<Time>,
}

/// What a replica takes over from its primary.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    dbs: Vec<Db>,
    /// The history of the data that it continues.
    replid: String,
    /// Keys of a wrong type, and when they are deleted again.
    planted: Vec<(Bytes, Time)>,
}

impl Redis {
    /// A replica follows from now on, or none does.
    pub(crate) fn has_follower(&mut self, follower: Option<Follower>) {
        self.follower = follower;
    }

    /// Whether a replica follows and hears.
    pub(crate) fn replicas(&self) -> u64 {
        self.follower.as_ref().map_or(0, |follower| u64::from(follower.detached.is_none()))
    }

    /// From now on nothing arrives at the replica; or everything does.
    pub(crate) fn detach(&mut self, on: bool) {
        let now = self.now;
        if let Some(follower) = &mut self.follower {
            follower.detached = if on { follower.detached.or(Some(now)) } else { None };
        }
    }

    /// What has arrived at the replica by now: not the latest writes, and none since this server went down.
    pub(crate) fn received(&self) -> Received {
        let detached = self.follower.as_ref().and_then(|follower| follower.detached);
        let until = [detached, self.faults.down_since()].into_iter().flatten().min().unwrap_or(self.now);
        let dbs = self.history.replayed(until - self.lag());
        Received { dbs, ..self.whole() }
    }

    /// Everything that it has: what arrives in the end.
    pub(crate) fn whole(&self) -> Received {
        let planted = self.faults.planted(self.now);
        Received { dbs: self.dbs.clone(), replid: self.node.replid.clone(), planted }
    }

    /// How long a write takes to the replica.
    pub(crate) fn lag(&self) -> Duration {
        Duration::from_millis(self.settings.replica_lag_ms)
    }

    /// A replica is promoted, with what it had received.
    pub(crate) fn promote(&mut self, received: Received) {
        self.take_over(received);
        (self.node.follows, self.is_linked) = (None, false);
        self.faults.has_joined();
        self.begin_history();
    }

    /// It follows another server from now on, and what it had is gone. Who was connected is cut off, as sentinels
    /// do it. If it did not run, it does now.
    pub(crate) fn follow(&mut self, host: String, port: u16, received: Received) {
        self.rise();
        self.take_over(received);
        self.faults.has_joined();
        self.follower = None;
        (self.node.follows, self.is_linked) = (Some((host, i64::from(port))), true);
    }

    /// Whether it follows another server. One that only refuses commands as a replica would keeps its own data.
    pub(crate) fn follows(&self) -> bool {
        self.node.follows.is_some()
    }

    /// What a replica would show now.
    pub(crate) fn refresh(&mut self, received: Received) {
        self.dbs = received.dbs;
    }

    fn take_over(&mut self, received: Received) {
        self.disconnect_all();
        self.dbs = received.dbs;
        self.node.replid = received.replid;
        received.planted.into_iter().for_each(|(key, until)| self.faults.plant(key, until));
        self.history = History::new(self.dbs.clone(), self.now);
        self.set_clock();
        self.next_cycle = self.cycle_after_now();
    }
}
