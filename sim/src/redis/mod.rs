//! A Redis without a network or a clock: bytes and times in, bytes out. What it does and says is held against real
//! servers by the conformance suite; the faults that it can be told to have are those of real servers.
//!
//! ```text
//!   accept / receive / hang_up / tick (now)  ->  Redis  ->  poll(): Send | Close | Executed
//! ```

mod acl;
mod blocked;
mod client;
mod commands;
mod config;
mod connection;
pub mod data;
mod debug;
mod execute;
mod faults;
mod history;
mod info;
mod lua;
mod node;
mod pubsub;
pub mod reply;
mod resp;
mod script;
pub mod serve;
mod session;
#[cfg(test)]
mod tests;
mod transaction;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use rand::{SeedableRng, rngs::SmallRng};
use streamkeeper::Time;

use crate::plan::RedisPlan;
pub use connection::ConnId;
use connection::{Connection, OPERATOR};
use data::{Context, Db};
use reply::Reply;

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Bytes for a connection.
    Send(ConnId, Bytes),
    /// The connection is closed by the server.
    Close(ConnId),
    /// A script ran, if [`Redis::observe`] was called.
    Executed(Executed),
}

/// A script that ran to its end, and what it answered: the server's own word on what it granted.
#[derive(Clone, Debug, PartialEq)]
pub struct Executed {
    /// For whom.
    pub conn: ConnId,
    /// The whole command: EVAL or EVALSHA.
    pub args: Vec<Bytes>,
    /// The script, if it is one of Streamkeeper's: the name of its file, without `.lua`.
    pub script: Option<&'static str>,
    /// What it answered.
    pub reply: Reply,
    /// The answer gets lost ([`Redis::lose_answer`]).
    pub lost: bool,
    /// When.
    pub at: Time,
}

/// A server: all of its state.
#[derive(Clone, Debug)]
pub struct Redis {
    settings: RedisPlan,
    seed: u64,
    rng: SmallRng,
    now: Time,
    /// How far the wall clock has been stepped.
    stepped_us: i64,
    node: node::Node,
    config: config::Config,
    users: acl::Users,
    dbs: Vec<Db>,
    cx: Context,
    /// Bodies of scripts by their hash.
    scripts: BTreeMap<String, Bytes>,
    connections: BTreeMap<ConnId, Connection>,
    next_conn: u64,
    /// Those with answers to be sent, in the order in which they were answered.
    answered: Vec<ConnId>,
    subscribers: pubsub::Subscribers,
    /// Those who wait, in the order in which they came.
    waiting: Vec<ConnId>,
    /// Those who have just been served, and may have sent more meanwhile.
    resumed: VecDeque<ConnId>,
    /// Keys that changed since it was last looked who waits for them.
    changed: Vec<(usize, Bytes)>,
    /// Everything may have changed.
    everything_changed: bool,
    faults: faults::Faults,
    /// Lapsed keys are looked for; else they go when somebody meets them.
    looks_for_lapsed: bool,
    /// What SAVE has written, and when.
    saved: Option<(Time, Vec<Db>)>,
    history: history::History,
    /// The next time at which lapsed keys and timeouts are looked for.
    next_cycle: Time,
    stats: info::Stats,
    /// The names of scripts by their hash, if somebody wants to hear of them.
    observed: Option<BTreeMap<String, &'static str>>,
    out: VecDeque<Output>,
}

/// The number of logical databases.
const DATABASES: usize = 16;

/// The wall clock at the beginning: 2026-01-01, in microseconds.
const EPOCH_US: u64 = 1_767_225_600_000_000;

/// How many samples of 20 keys a cycle takes at most, 10 times a second: a quarter of the time.
const LOOPS_OF_TEN_HZ: u32 = 200;

impl Redis {
    /// A server that starts now, or has been started `uptime_s` before.
    pub fn new(settings: &RedisPlan, seed: u64, now: Time) -> Redis {
        let mut rng = SmallRng::seed_from_u64(seed);
        let wall_us = EPOCH_US + now.as_micros();
        let started_ms = wall_us / 1000 - settings.uptime_s.saturating_mul(1000).min(wall_us / 1000);
        let dbs: Vec<Db> = (0..DATABASES).map(|_| Db::new(seed)).collect();
        let mut operator = Connection::new(now, true);
        operator.user = acl::OPERATOR.to_owned();
        let mut redis = Redis {
            node: node::Node::new(&mut rng, started_ms),
            config: config::Config::new(settings),
            users: acl::Users::default(),
            cx: Context::new(wall_us, seed),
            scripts: BTreeMap::new(),
            connections: BTreeMap::from([(OPERATOR, operator)]),
            next_conn: 1,
            answered: Vec::new(),
            subscribers: pubsub::Subscribers::default(),
            waiting: Vec::new(),
            resumed: VecDeque::new(),
            changed: Vec::new(),
            everything_changed: false,
            faults: faults::Faults::default(),
            looks_for_lapsed: true,
            saved: None,
            history: history::History::new(dbs.clone(), now),
            next_cycle: now,
            stats: info::Stats::default(),
            observed: None,
            out: VecDeque::new(),
            settings: settings.clone(),
            seed,
            rng,
            now,
            stepped_us: 0,
            dbs,
        };
        redis.add_other_keys();
        redis
    }

    /// From now on [`Output::Executed`] tells of every script that runs to its end.
    pub fn observe(&mut self) {
        let names = streamkeeper::scripts().map(|(name, body)| (lua::hash(body.as_bytes()), name));
        self.observed = Some(names.collect());
    }

    /// Somebody connects.
    pub fn accept(&mut self, now: Time) -> ConnId {
        self.advance(now);
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.stats.connections += 1;
        if self.is_down() {
            self.out.push_back(Output::Close(conn));
            return conn;
        }
        if self.refuses_connections() {
            self.stats.rejected += 1;
            self.out.push_back(Output::Send(conn, Bytes::from_static(b"-ERR max number of clients reached\r\n")));
            self.out.push_back(Output::Close(conn));
            return conn;
        }
        self.connections.insert(conn, Connection::new(now, self.users.is_open()));
        conn
    }

    /// Bytes arrive on a connection; of one that is not there any more they are ignored.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8], now: Time) {
        self.advance(now);
        if self.stalls(conn, Some(bytes)) {
            return;
        }
        self.read(conn, bytes);
        self.settle();
    }

    /// The other side closes a connection.
    pub fn hang_up(&mut self, conn: ConnId, now: Time) {
        self.advance(now);
        if !self.stalls(conn, None) {
            self.drop_connection(conn);
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: Time) {
        self.advance(now);
        if self.is_down() || self.is_stalled() {
            return;
        }
        if now >= self.next_cycle {
            self.cycle();
        }
        self.settle();
    }

    /// When [`tick`](Redis::tick) is to be called next, if nothing else happens.
    pub fn wake_at(&self) -> Option<Time> {
        let cycle = || {
            let lapses = self.expires().then(|| self.dbs.iter().filter_map(Db::next_expiry_ms).min()).flatten();
            let ends = self.connections.values().filter_map(|c| c.waiting.as_ref()?.until_ms());
            let due = ends.chain(lapses).min()?;
            // Not again at the instant of the latest one: it may have left what has lapsed.
            Some(self.cycle_from(self.time_of(due + 1)).max(self.next_cycle))
        };
        let due = if self.is_down() || self.is_stalled() { None } else { cycle() };
        [due, self.faults.wake_at()].into_iter().flatten().min()
    }

    /// What came out, oldest first.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// A logical database.
    pub fn db(&self, number: usize) -> &Db {
        &self.dbs[number % DATABASES]
    }

    /// Executes the operator's own command on database 0, whatever the faults, the users and the limits. A command that
    /// would wait answers as after its time.
    pub fn command<A: Into<Bytes>>(&mut self, args: impl IntoIterator<Item = A>) -> Reply {
        let args: Vec<Bytes> = args.into_iter().map(Into::into).collect();
        self.set_clock();
        let reply = self.operate(&args);
        self.settle();
        reply
    }

    /// Sets the wall clock, in microseconds since 1970, of a server that is new: it is no step.
    pub fn set_wall(&mut self, wall_us: u64) {
        let behind_us = i64::try_from(i128::from(wall_us) - i128::from(self.wall_us())).unwrap_or_default();
        self.stepped_us = self.stepped_us.saturating_add(behind_us);
        self.node.started_ms = self.node.started_ms.saturating_add_signed(behind_us / 1000);
    }

    /// The wall clock, in microseconds since 1970.
    pub fn wall_us(&self) -> u64 {
        (EPOCH_US + self.now.as_micros()).saturating_add_signed(self.stepped_us)
    }

    /// Executes what a connection has sent, as far as it has arrived.
    fn read(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.requests.push(bytes);
        connection.active = self.now;
        self.go_on(conn);
    }

    /// Executes the requests that have arrived on a connection.
    fn go_on(&mut self, conn: ConnId) {
        while let Some(connection) = self.connections.get_mut(&conn) {
            if connection.closing || connection.waiting.is_some() {
                return;
            }
            match connection.requests.next(!connection.authenticated) {
                Ok(Some(args)) => {
                    self.set_clock();
                    self.request(conn, args);
                    self.wake_waiting();
                }
                Ok(None) => return,
                Err(error) => {
                    connection.closing = true;
                    self.answer(conn, &Reply::error(format!("ERR Protocol error: {error}")));
                }
            }
        }
    }

    /// Sends the answers, and closes what is to be closed.
    fn settle(&mut self) {
        self.set_clock();
        self.end_waits();
        while let Some(conn) = self.resumed.pop_front() {
            self.go_on(conn);
        }
        if self.history.is_long() {
            self.history.restart(self.dbs.clone(), self.now, self.needed_since());
        }
        for conn in std::mem::take(&mut self.answered) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            if !connection.out.is_empty() {
                self.stats.sent += connection.out.len() as u64;
                self.out.push_back(Output::Send(conn, std::mem::take(&mut connection.out).into()));
            }
            if connection.closing {
                self.kill_now(conn);
            }
        }
    }

    /// Writes an answer, or a push.
    fn answer(&mut self, conn: ConnId, reply: &Reply) {
        if matches!(reply, Reply::Error(_)) {
            self.stats.errors += 1;
        }
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.out.is_empty() {
            self.answered.push(conn);
        }
        resp::encode(reply, connection.resp3, &mut connection.out);
    }

    /// Writes the head of a list whose items are answered one by one.
    fn answer_list(&mut self, conn: ConnId, len: usize) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            if connection.out.is_empty() {
                self.answered.push(conn);
            }
            connection.out.extend_from_slice(format!("*{len}\r\n").as_bytes());
        }
    }

    /// The connection is closed when what was answered has been sent.
    fn kill(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.closing = true;
            self.answered.push(conn);
        }
    }

    fn kill_now(&mut self, conn: ConnId) {
        if conn != OPERATOR && self.connections.contains_key(&conn) {
            self.drop_connection(conn);
            self.out.push_back(Output::Close(conn));
        }
    }

    fn drop_connection(&mut self, conn: ConnId) {
        if conn == OPERATOR {
            return;
        }
        self.unsubscribe_all(conn);
        self.waiting.retain(|waiting| *waiting != conn);
        self.connections.remove(&conn);
    }

    fn connection(&mut self, conn: ConnId) -> &mut Connection {
        self.connections.entry(conn).or_insert_with(|| Connection::new(self.now, false))
    }

    /// One round of looking for lapsed keys, as Redis does `hz` times a second.
    fn cycle(&mut self) {
        self.next_cycle = self.cycle_after_now();
        if !self.expires() {
            return;
        }
        self.set_clock();
        let loops = LOOPS_OF_TEN_HZ * 10 / self.config.hz.max(1);
        for db in 0..self.dbs.len() {
            if self.dbs[db].volatile_len() > 0 {
                self.dbs[db].expire_cycle(&mut self.cx, self.config.effort, loops.max(1));
                self.publish_events(db);
            }
        }
        self.wake_waiting();
    }

    fn cycle_after_now(&self) -> Time {
        self.cycle_from(self.now + Duration::from_micros(1))
    }

    /// The first cycle at that time or after it.
    fn cycle_from(&self, at: Time) -> Time {
        let period = 1_000_000 / u64::from(self.config.hz.max(1));
        Time::from_micros(at.max(self.now).as_micros().div_ceil(period) * period)
    }

    fn set_clock(&mut self) {
        self.cx.set_now(self.wall_us());
        self.cx.expire_at_all = !self.is_replica();
    }

    /// The instant at which the wall clock will show this.
    fn time_of(&self, wall_ms: u64) -> Time {
        let micros = i128::from(wall_ms) * 1000 - i128::from(EPOCH_US) - i128::from(self.stepped_us);
        Time::from_micros(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
    }

    /// Keys that have nothing to do with us, and that lapse long after the run.
    fn add_other_keys(&mut self) {
        for number in 0..self.settings.other_keys {
            let args =
                ["SET".to_owned(), format!("other:{number}"), "x".to_owned(), "EX".to_owned(), "864000".to_owned()];
            self.command(args);
        }
    }
}
