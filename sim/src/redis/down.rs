//! A server that does not run: what it will remember, and who it will be.

use std::time::Duration;

use streamkeeper::Time;

use crate::plan::Persistence;

use super::{
    Redis, acl::Users, config::Config, data::Db, history::History, info::Stats, node::Node, pubsub::Subscribers,
};

/// How long a node of a cluster that was started again refuses everything that has keys, so that it hears first who serves
/// its slots now. The constant of Redis has this name; seen on 7.0.15.
pub(crate) const CLUSTER_WRITABLE_DELAY: Duration = Duration::from_secs(2);

const NEVER: Time = Time::from_micros(u64::MAX);

/// A server that does not run, and how it comes back.
#[derive(Clone, Debug)]
pub(crate) struct Down {
    pub(crate) since: Time,
    pub(crate) until: Time,
    pub(crate) dbs: Vec<Db>,
    pub(crate) node: Node,
    /// It is the same process that was started again.
    pub(crate) restarted: bool,
}

impl Redis {
    /// What a crash leaves.
    pub(crate) fn remembered(&self) -> Vec<Db> {
        let now = self.now.as_micros();
        let latest = |period_us: u64| Time::from_micros(now - now % period_us.max(1));
        let snapshot = match self.settings.persistence {
            Persistence::None => None,
            Persistence::Rdb { every_ms } => {
                Some(latest(every_ms.saturating_mul(1000))).filter(|at| at.as_micros() > 0)
            }
            Persistence::Aof => return self.history.replayed(latest(1_000_000)),
            Persistence::AofAlways => return self.history.replayed(self.now),
        };
        match (snapshot, &self.saved) {
            (Some(at), Some((saved, _))) if at > *saved => self.history.as_of(at),
            (_, Some((_, dbs))) => dbs.clone(),
            (Some(at), None) => self.history.as_of(at),
            (None, None) => self.empty(),
        }
    }

    fn empty(&self) -> Vec<Db> {
        self.dbs.iter().map(|_| Db::new(self.seed)).collect()
    }

    /// It is killed, or ends in order, and is started again after so many milliseconds. If it does not run already, it
    /// only takes longer: nothing is remembered again.
    pub(crate) fn stop(&mut self, in_order: bool, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        if self.faults.stays_down(until) {
            return;
        }
        let dbs = if in_order { self.dbs.clone() } else { self.remembered() };
        let node = Node::new(&mut self.rng, 0);
        self.go_down(Down { since: self.now, until, dbs, node, restarted: true });
    }

    /// A replica is promoted, with what it had received when the primary was last there.
    pub(crate) fn fail_over(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        let since = self.faults.down_since().unwrap_or(self.now);
        if self.faults.is_failing_over() && self.faults.stays_down(until) {
            return;
        }
        let dbs = self.history.replayed(since - Duration::from_millis(self.settings.replica_lag_ms));
        let mut node = Node::new(&mut self.rng, self.node.started_ms);
        node.earlier = Some((self.node.replid.clone(), 1));
        self.go_down(Down { since, until, dbs, node, restarted: false });
    }

    /// SHUTDOWN: nobody starts it again.
    pub(crate) fn shut_down(&mut self) {
        let (dbs, node) = (self.dbs.clone(), self.node.clone());
        self.go_down(Down { since: self.now, until: NEVER, dbs, node, restarted: true });
    }

    /// Whether it was told to end, and nobody starts it again.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.faults.down_until() == Some(NEVER)
    }

    fn go_down(&mut self, down: Down) {
        self.disconnect_all();
        self.faults.take_down(down);
    }

    pub(crate) fn come_up(&mut self, down: Down) {
        self.dbs = down.dbs;
        self.node = down.node;
        self.config = Config::new(&self.settings);
        self.users = Users::default();
        self.looks_for_lapsed = true;
        self.scripts.clear();
        self.set_clock();
        if down.restarted {
            self.node.started_ms = self.cx.now_ms;
            self.stats = Stats::default();
            if !self.has_aof() {
                self.stats.lapsed_at_load = self.dbs.iter_mut().map(|db| db.drop_lapsed(self.cx.now_ms)).sum();
            }
        }
        self.next_cycle = self.cycle_after_now();
        self.history = History::new(self.dbs.clone(), self.now);
        self.faults.uproot_again(self.now);
        if down.restarted && self.cluster.is_some() {
            self.faults.rejoins(self.now + CLUSTER_WRITABLE_DELAY);
        }
    }

    pub(crate) fn disconnect_all(&mut self) {
        for conn in self.conns().collect::<Vec<_>>() {
            self.kill_now(conn);
        }
        self.subscribers = Subscribers::default();
        self.answered.clear();
    }

    pub(crate) fn is_down(&self) -> bool {
        self.faults.is_down()
    }

    pub(crate) fn has_aof(&self) -> bool {
        matches!(self.settings.persistence, Persistence::Aof | Persistence::AofAlways)
    }

    /// The wall clock at the latest snapshot, or at the start.
    pub(crate) fn last_save_ms(&self) -> u64 {
        match self.settings.persistence {
            Persistence::Rdb { every_ms } if every_ms > 0 => {
                let passed = self.now.as_micros() / 1000 / every_ms * every_ms;
                (self.wall_us() / 1000).saturating_sub(self.now.as_micros() / 1000 - passed)
            }
            _ => self.node.started_ms,
        }
    }

    /// From when on the past may be asked for.
    pub(crate) fn needed_since(&self) -> Time {
        let snapshot_ms = match self.settings.persistence {
            Persistence::Rdb { every_ms } => every_ms,
            _ => 1000,
        };
        let detached = self.follower.as_ref().and_then(|follower| follower.detached).unwrap_or(self.now);
        detached.min(self.now) - Duration::from_millis(snapshot_ms.max(self.settings.replica_lag_ms))
    }
}
