//! The simulated Redis, in virtual time: waiting costs nothing.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    plan::{Persistence, RedisFault, RedisPlan},
    redis::{ConnId, Output, Redis, Version},
};
use streamkeeper::Time;

use super::{
    sequence::Sequence,
    side::{Got, Side},
    value::Value,
};

/// How long a command is on its way.
const TRAVEL: Duration = Duration::from_micros(100);

/// A simulated server with its clients.
pub struct Simulated {
    plan: RedisPlan,
    version: Version,
    redis: Redis,
    now: Time,
    clients: BTreeMap<String, Wire>,
}

struct Wire {
    conn: ConnId,
    bytes: Vec<u8>,
    closed: bool,
}

impl Simulated {
    /// The server that a sequence asks for.
    pub fn of(sequence: &Sequence) -> Self {
        Simulated::start(&sequence.settings, sequence.version)
    }

    /// One that was started a while ago, as the real ones were.
    pub fn start(settings: &[(String, String)], version: Version) -> Self {
        let is = |name: &str, value: &str| settings.iter().any(|(n, v)| n == name && v == value);
        let snapshots = settings.iter().any(|(name, _)| name == "save");
        let persistence = match () {
            () if is("appendonly", "yes") => Persistence::AofAlways,
            () if snapshots => Persistence::Rdb { every_ms: 3_600_000 },
            () => Persistence::None,
        };
        let plan = RedisPlan {
            persistence,
            hz: 10,
            notify: String::new(),
            config_allowed: true,
            replica_lag_ms: 0,
            other_keys: 0,
            uptime_s: 0,
        };
        let now = Time::from_micros(0);
        Self { redis: started(&plan, version, now), plan, version, now, clients: BTreeMap::new() }
    }

    fn deliver(&mut self) {
        while let Some(output) = self.redis.poll() {
            let (conn, bytes) = match output {
                Output::Send(conn, bytes) => (conn, Some(bytes)),
                Output::Close(conn) => (conn, None),
                Output::Executed(_) | Output::Touched(_) | Output::AnswerLost(_) => continue,
            };
            // One that has hung up is not told.
            let Some(wire) = self.clients.values_mut().find(|wire| wire.conn == conn) else { continue };
            match bytes {
                Some(bytes) => wire.bytes.extend(bytes),
                None => wire.closed = true,
            }
        }
    }

    /// Lets time pass until the server has something to do, but not beyond the end. Whether it had.
    fn step(&mut self, end: Time) -> bool {
        let due = self.redis.wake_at().filter(|at| *at <= end);
        self.now = self.now.max(due.unwrap_or(end));
        self.redis.tick(self.now);
        self.deliver();
        due.is_some()
    }
}

impl Side for Simulated {
    fn send(&mut self, client: &str, bytes: &[u8]) {
        self.wait(TRAVEL);
        if !self.clients.contains_key(client) {
            let conn = self.redis.accept(self.now);
            self.clients.insert(client.to_owned(), Wire { conn, bytes: Vec::new(), closed: false });
        }
        let conn = self.clients[client].conn;
        self.redis.receive(conn, bytes, self.now);
        self.deliver();
    }

    fn read(&mut self, client: &str, within: Duration) -> Got {
        let end = self.now + within;
        loop {
            let Some(wire) = self.clients.get_mut(client) else { return Got::Closed };
            if let Some((value, taken)) = Value::parse(&wire.bytes) {
                wire.bytes.drain(..taken);
                return Got::Value(value);
            }
            if wire.closed {
                return Got::Closed;
            }
            if self.now >= end {
                return Got::Nothing;
            }
            self.step(end);
        }
    }

    fn settle(&mut self) {}

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
    }

    fn restart(&mut self) {
        self.redis.inject(&RedisFault::Crash { ms: 10 }, self.now);
        self.deliver();
        self.clients.clear();
        self.wait(Duration::from_millis(20));
    }

    fn hang_up(&mut self, client: &str) {
        if let Some(wire) = self.clients.remove(client) {
            self.redis.hang_up(wire.conn, self.now);
            self.deliver();
        }
    }

    fn reset(&mut self) {
        self.redis = started(&self.plan, self.version, self.now);
        self.clients.clear();
    }
}

fn started(plan: &RedisPlan, version: Version, now: Time) -> Redis {
    let mut redis = Redis::new(plan, 1, now);
    redis.play(version);
    redis
}
