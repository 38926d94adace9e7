//! A server as a value among others, for whoever explores what may become of it: commands without connections, without
//! chance and without a past, and a digest of all that decides what it will answer.

use std::hash::{Hash, Hasher};

use bytes::Bytes;
use rand::{SeedableRng, rngs::SmallRng};
use streamkeeper::Time;

use super::{
    ConnId, Redis,
    connection::OPERATOR,
    data::{Context, Db},
    down::Down,
    history::History,
    node::Node,
    reply::Reply,
};
use crate::plan::{Persistence, RedisPlan};

/// With what a server comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory<'a> {
    /// Nothing.
    Nothing,
    /// What that earlier self had: it loads its snapshot.
    Snapshot(&'a Redis),
    /// What that earlier self had: a replica that had followed until then takes its place.
    Replica(&'a Redis),
}

impl Redis {
    /// A server that has been up for a day, with nothing in it. It remembers no past, so that copies are cheap: it cannot
    /// crash or fail over by itself.
    pub(crate) fn of_yesterday(seed: u64) -> Redis {
        let settings = RedisPlan {
            persistence: Persistence::None,
            hz: 10,
            notify: String::new(),
            config_allowed: true,
            replica_lag_ms: 0,
            other_keys: 0,
            uptime_s: 86_400,
        };
        Redis { history: History::none(), ..Redis::new(&settings, seed, Time::ZERO) }
    }

    /// Executes a command at this time, whatever the users and limits. One that would wait answers as after its time.
    pub(crate) fn execute_at(&mut self, args: Vec<Bytes>, now: Time) -> Reply {
        self.advance(now);
        self.set_clock();
        let reply = self.operate(&args);
        self.settle();
        reply
    }

    /// Chance begins anew, from this: what was drawn before leaves no trace.
    pub(crate) fn shuffle(&mut self, seed: u64) {
        self.rng = SmallRng::seed_from_u64(seed);
        self.cx = Context { dirty: self.cx.dirty, version: self.cx.version, ..Context::new(self.cx.now_us, seed) };
    }

    /// Looks for lapsed keys, as it does several times a second.
    pub(crate) fn look_for_lapsed(&mut self, now: Time) {
        self.advance(now);
        self.cycle();
        self.settle();
    }

    /// It ends and is there again at once, as another process, with this in its memory. All connections are gone.
    pub(crate) fn start_again(&mut self, memory: Memory<'_>, now: Time) {
        self.advance(now);
        self.disconnect_all();
        let (dbs, replaced): (Vec<Db>, bool) = match memory {
            Memory::Nothing => (self.dbs.iter().map(|_| Db::new(self.seed)).collect(), false),
            Memory::Snapshot(earlier) => (earlier.dbs.clone(), false),
            Memory::Replica(earlier) => (earlier.dbs.clone(), true),
        };
        let mut node = Node::new(&mut self.rng, self.node.started_ms);
        if replaced {
            node.earlier = Some((self.node.replid.clone(), 1));
        }
        self.come_up(Down { since: now, until: now, dbs, node, restarted: !replaced });
        self.history = History::none();
    }

    /// Subscribes somebody to these channels and to a pattern: what is published comes out for that connection.
    pub(crate) fn listen(&mut self, pattern: &str, channel: &str, now: Time) -> ConnId {
        let conn = self.accept(now);
        let word = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        self.request(conn, vec![word("PSUBSCRIBE"), word(pattern)]);
        self.request(conn, vec![word("SUBSCRIBE"), word(channel)]);
        self.settle();
        while self.poll().is_some() {}
        conn
    }

    /// All that decides what it will answer, the time and its connections apart.
    pub(crate) fn digest(&self, into: &mut impl Hasher) {
        for (number, db) in self.dbs.iter().enumerate().filter(|(_, db)| !db.is_empty()) {
            number.hash(into);
            db.digest(into);
        }
        (&self.node.run_id, &self.node.replid, &self.node.earlier, self.node.started_ms).hash(into);
        (self.stepped_us, self.config.notify, self.connections[&OPERATOR].db).hash(into);
    }
}
