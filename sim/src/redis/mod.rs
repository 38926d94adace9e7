//! A Redis without a network or a clock: bytes and times in, bytes out. What it does and says is held against real
//! servers by the conformance suite; the faults that it can be told to have are those of real servers.
//!
//! ```text
//!   accept / receive / hang_up / tick (now)  ->  Redis  ->  poll(): Send | Close | Executed
//! ```

mod acl;
pub(crate) mod bare;
mod blocked;
mod client;
pub(crate) mod clock;
pub(crate) mod cluster;
mod commands;
mod config;
mod connection;
mod damage;
pub mod data;
mod debug;
mod down;
mod execute;
mod faults;
mod history;
mod info;
pub(crate) mod lua;
mod node;
mod pubsub;
pub(crate) mod replica;
pub mod reply;
pub(crate) mod resp;
mod script;
pub(crate) mod sentinel;
pub mod serve;
mod session;
#[cfg(test)]
mod tests;
mod touched;
mod transaction;
mod version;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::LazyLock,
};

use bytes::Bytes;
use rand::{SeedableRng, rngs::SmallRng};
use streamkeeper::Time;

use crate::plan::RedisPlan;
pub use connection::ConnId;
use connection::{Connection, OPERATOR};
use data::{Context, Db};
pub(crate) use down::CLUSTER_WRITABLE_DELAY;
use reply::Reply;
pub use touched::Touched;
pub use version::Version;

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Bytes for a connection.
    Send(ConnId, Bytes),
    /// The connection is closed by the server.
    Close(ConnId),
    /// A script ran, if [`Redis::observe`] was called.
    Executed(Executed),
    /// A command wrote to keys, if [`Redis::observe_keys`] was called.
    Touched(Touched),
    /// An answer to this connection was lost just now ([`Redis::lose_answer`]), if [`Redis::observe_keys`] was called.
    AnswerLost(ConnId),
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
    /// The replica that follows it.
    follower: Option<replica::Follower>,
    /// It is a node of a cluster.
    cluster: Option<cluster::Cluster>,
    /// As a replica, it hears its primary.
    is_linked: bool,
    /// It is no server for data, but a sentinel.
    sentinel: Option<sentinel::Sentinel>,
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
    observed: Option<&'static BTreeMap<String, &'static str>>,
    /// What those keys begin with whose changes somebody wants to hear of.
    observed_keys: Option<Bytes>,
    /// How often it has said something remarkable.
    remarks: BTreeMap<&'static str, u64>,
    out: VecDeque<Output>,
}

/// The names of our scripts by their hash: made once, since thousands of servers want to know.
static NAMES: LazyLock<BTreeMap<String, &'static str>> =
    LazyLock::new(|| streamkeeper::scripts().map(|(name, body)| (lua::hash(body.as_bytes()), name)).collect());

/// The number of logical databases.
const DATABASES: usize = 16;

impl Redis {
    /// A server that starts now, or has been started `uptime_s` before.
    pub fn new(settings: &RedisPlan, seed: u64, now: Time) -> Redis {
        let mut rng = SmallRng::seed_from_u64(seed);
        let wall_us = clock::EPOCH_US + now.as_micros();
        let started_ms = wall_us / 1000 - settings.uptime_s.saturating_mul(1000).min(wall_us / 1000);
        let dbs: Vec<Db> = (0..DATABASES).map(|_| Db::new(seed)).collect();
        let mut operator = Connection::new(now, true);
        operator.user = acl::OPERATOR.to_owned();
        let mut redis = Redis {
            node: node::Node::new(&mut rng, started_ms),
            follower: None,
            cluster: None,
            is_linked: false,
            sentinel: None,
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
            observed_keys: None,
            remarks: BTreeMap::new(),
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
        self.observed = Some(&NAMES);
    }

    /// How many consumers of groups it has listed since it started.
    pub(crate) fn listed(&self) -> u64 {
        self.cx.listed
    }

    /// How often it has said something remarkable.
    pub(crate) fn remarks(&self) -> &BTreeMap<&'static str, u64> {
        &self.remarks
    }

    /// It says something remarkable.
    fn remark(&mut self, what: &'static str) {
        *self.remarks.entry(what).or_default() += 1;
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

    /// Keys that have nothing to do with us, and that lapse long after the run.
    fn add_other_keys(&mut self) {
        for number in 0..self.settings.other_keys {
            let args =
                ["SET".to_owned(), format!("other:{number}"), "x".to_owned(), "EX".to_owned(), "864000".to_owned()];
            self.command(args);
        }
    }
}
