//! A run as data: who takes part, with which settings, and what happens when. A plan is drawn from a seed, written by
//! hand or shrunk from another one; the same plan always runs the same way.

mod action;
mod draw;
mod drift;
mod fault;
mod reading;
mod settings;
mod shrink;
pub mod text;
mod topology;
mod worker;

use std::time::Duration;

pub use self::{
    action::{Action, Point, Way, Wish},
    draw::Profile,
    drift::SAFE_DRIFT_PPM,
    fault::{RedisFault, Refusal},
    reading::{Commits, Reading},
    shrink::shrink,
    topology::{ServerName, Servers, Topology},
    worker::{Does, ORDERED_BY, Sending, WorkerPlan},
};
use crate::facts::millis;

/// Everything that a run is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Seeds the network's delays, the consumers' dice and Redis's sampling.
    pub seed: u64,
    /// One way between two hosts, in microseconds, at least and at most.
    pub latency_us: (u64, u64),
    /// The server; of several, each.
    pub redis: RedisPlan,
    /// Which servers there are.
    pub servers: Servers,
    /// The consumers; an action names them by their index. Those with `joins: false` are started by `Action::Start`.
    pub consumers: Vec<ConsumerPlan>,
    /// What happens, in order of time.
    pub actions: Vec<Timed>,
    /// When the faults end: everything is healed, and must recover.
    pub heal_at: Duration,
    /// How long the run lasts after that.
    pub calm: Duration,
    /// In the calm, the applications finish everything that they own, and everything must end.
    pub finish: bool,
}

/// An action and its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// Since the beginning of the run.
    pub at: Duration,
    /// What happens.
    pub action: Action,
}

/// How the server is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisPlan {
    /// What survives a crash.
    pub persistence: Persistence,
    /// How many times a second expired keys are looked for.
    pub hz: u32,
    /// `notify-keyspace-events` at the start.
    pub notify: String,
    /// CONFIG is allowed.
    pub config_allowed: bool,
    /// How far the replica is behind, in milliseconds: what a failover loses.
    pub replica_lag_ms: u64,
    /// Volatile keys that have nothing to do with us, so that expired leases are found late.
    pub other_keys: usize,
    /// Started so long before the run that it is no newborn.
    pub uptime_s: u64,
}

/// What survives a crash of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing.
    None,
    /// A snapshot every so many milliseconds.
    Rdb {
        /// The interval.
        every_ms: u64,
    },
    /// A log that is synced every second.
    Aof,
    /// A log that is synced with every write.
    AofAlways,
}

/// One consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerPlan {
    /// Its name in the fleet.
    pub name: String,
    /// A Go peer instead of ours: it follows the Go library's protocol, defects included.
    pub go: bool,
    /// It takes part from the beginning.
    pub joins: bool,
    /// `lease_ttl`.
    pub ttl_ms: u64,
    /// `heartbeat`.
    pub heartbeat_ms: u64,
    /// `reap_interval`.
    pub reap_ms: u64,
    /// `claim_delay`.
    pub claim_delay_ms: u64,
    /// `heirs`.
    pub heirs: u32,
    /// `capacity`.
    pub capacity: usize,
    /// It claims by hand.
    pub manual: bool,
    /// `max_takeovers`.
    pub max_takeovers: u32,
    /// `max_failures`.
    pub max_failures: u32,
    /// `output_buffer`.
    pub output_buffer: usize,
    /// How much faster its clock runs than true time, in parts per million. Within the margin: [`SAFE_DRIFT_PPM`].
    pub drift_ppm: i32,
    /// What its application does.
    pub app: App,
    /// It works on messages, with these settings, instead of owning streams.
    pub worker: Option<WorkerPlan>,
}

/// What an application does with the streams that it owns.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Through `Client::run` with a handler, instead of reading notifications.
    pub runs: bool,
    /// How long it works on a stream before it ends its ownership, in milliseconds; `None`: it never does.
    pub work_ms: Option<(u64, u64)>,
    /// How the work ends, by weight: done, release, failure, panic, hang (never ends).
    pub ends: [u32; 5],
    /// How long it waits before reading each notification, in milliseconds.
    pub reads_every_ms: u64,
    /// It never reads its notifications.
    pub never_reads: bool,
    /// It reads the entries of what it owns, instead of merely taking its time.
    pub reading: Option<Reading>,
}

/// How the work on a stream ends: the places of [`App::ends`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Finished.
    Done,
    /// Given back.
    Release,
    /// Given back since it failed.
    Fail,
    /// The handler panics: a failure, too. An application without a handler fails.
    Panic,
    /// Never.
    Hang,
}

impl Plan {
    /// How many streams are announced, each of them counted as often as it is announced.
    pub fn announced(&self) -> u64 {
        let counts = self.actions.iter().map(|timed| match &timed.action {
            Action::Announce { count, .. } => *count,
            _ => 0,
        });
        counts.fold(0, u64::saturating_add)
    }

    /// It is about entries: somebody reads what it owns.
    pub fn has_readers(&self) -> bool {
        self.consumers.iter().any(|consumer| consumer.app.reading.is_some())
    }

    /// How much later than they are read entries are committed at the latest; `None`: not by themselves.
    pub(crate) fn commits_within(&self) -> Option<Duration> {
        let readings = self.consumers.iter().filter_map(|consumer| consumer.app.reading.as_ref());
        readings.map(Reading::commits_within).max().flatten().or((!self.has_readers()).then_some(Duration::ZERO))
    }

    /// It is about messages: somebody works on them.
    pub fn has_workers(&self) -> bool {
        self.consumers.iter().any(|consumer| consumer.worker.is_some())
    }
}
