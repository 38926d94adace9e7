//! A run as data: who takes part, with which settings, and what happens when. A plan is drawn from a seed, written by
//! hand or shrunk from another one; the same plan always runs the same way.

mod draw;
mod promises;
mod settings;
mod shrink;
pub mod text;

use std::time::Duration;

pub use self::{
    draw::Profile,
    promises::{DRIFT_PPM, Excluded, Exclusion, SAFE_DRIFT_PPM},
    shrink::shrink,
};
use crate::facts::millis;

/// Everything that a run is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Seeds the network's delays, the consumers' dice and Redis's sampling.
    pub seed: u64,
    /// One way between two hosts, in microseconds, at least and at most.
    pub latency_us: (u64, u64),
    /// The server.
    pub redis: RedisPlan,
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
    /// How much faster its clock runs than true time, in parts per million. Within the margin: ±20,000.
    pub drift_ppm: i32,
    /// What its application does.
    pub app: App,
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

/// In which direction bytes do not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Neither.
    Both,
    /// From the consumer to Redis.
    Out,
    /// From Redis to the consumer.
    In,
}

/// What happens at a time of a plan: an operation or a fault. Lasting faults end by themselves.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Announce these streams, one announcement each.
    Announce {
        /// `prefix` and a number from `from` on.
        prefix: String,
        /// The first number.
        from: u64,
        /// How many.
        count: u64,
    },
    /// Announce something that is no announcement.
    Malformed {
        /// Which kind of malformed (any number).
        kind: u8,
    },
    /// Start a consumer that does not run: for the first time, or after a crash or a drain.
    Start {
        /// Which.
        consumer: usize,
        /// Under a name that nobody has had; otherwise under its own.
        renamed: bool,
    },
    /// Kill a consumer's process.
    Crash {
        /// Which.
        consumer: usize,
    },
    /// Tell a consumer to give everything back and stop.
    Drain {
        /// Which.
        consumer: usize,
        /// Within so many milliseconds.
        deadline_ms: u64,
    },
    /// A consumer's process stands still: GC, SIGSTOP. Its clock goes on.
    Pause {
        /// Which.
        consumer: usize,
        /// For so long.
        ms: u64,
        /// Not at once, but at the next such point.
        point: Point,
    },
    /// The consumer's machine is suspended: like a pause, and tokio's timers have not run either.
    Suspend {
        /// Which.
        consumer: usize,
        /// For so long.
        ms: u64,
    },
    /// No bytes pass; connections that stand are dead after it, as with a firewall that forgot them.
    Partition {
        /// Which.
        consumer: usize,
        /// In which direction.
        way: Way,
        /// For so long.
        ms: u64,
    },
    /// No bytes pass, and all arrive afterwards.
    Stall {
        /// Which.
        consumer: usize,
        /// In which direction.
        way: Way,
        /// For so long.
        ms: u64,
    },
    /// All connections of a consumer break.
    Reset {
        /// Which.
        consumer: usize,
    },
    /// Bytes take so much longer.
    Slow {
        /// Which.
        consumer: usize,
        /// In each direction.
        by_ms: u64,
        /// For so long.
        ms: u64,
    },
    /// What this consumer asks next is executed, but the answer never leaves: the connection breaks instead.
    LoseAnswer {
        /// Which.
        consumer: usize,
        /// How many of its calls, before that, are answered.
        after: u32,
    },
    /// The applications' wish for one stream, whoever owns it: `done`, `release` or `fail`.
    Wish {
        /// The stream's name.
        stream: String,
        /// The wish.
        end: Wish,
    },
    /// Something befalls Redis.
    Redis(RedisFault),
    /// Nothing: a word for the reader, shown in the report.
    Note(String),
}

/// Where a pause strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// At once, at whatever await the process stands.
    Now,
    /// When an answer of Redis has arrived and has not been looked at.
    Answer,
    /// When a stream was added and its handler has not begun.
    Handler,
    /// When a call has been sent.
    Call,
}

/// How an application wants an ownership to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Finish.
    Done,
    /// Give back.
    Release,
    /// Give back since the handler failed.
    Fail,
}

/// What befalls Redis. Those with `ms` end by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisFault {
    /// It is killed, and started again after a while; what it remembers is a matter of its persistence.
    Crash {
        /// Down for so long.
        ms: u64,
    },
    /// It restarts in order, and has forgotten nothing but its scripts and connections.
    Restart {
        /// Down for so long.
        ms: u64,
    },
    /// The replica is promoted, with what it had received.
    Failover {
        /// Nobody answers for so long.
        ms: u64,
    },
    /// Its wall clock steps: forward, or back if negative.
    ClockStep {
        /// By so much.
        by_ms: i64,
    },
    /// It stands still and answers afterwards: SIGSTOP, a fork, a slow disk.
    Stall {
        /// For so long.
        ms: u64,
    },
    /// Keyspace notifications and messages are lost.
    DropMessages {
        /// For so long.
        ms: u64,
    },
    /// They come late.
    DelayMessages {
        /// By so much.
        by_ms: u64,
        /// For so long.
        ms: u64,
    },
    /// They come twice.
    DoubleMessages {
        /// For so long.
        ms: u64,
    },
    /// `notify-keyspace-events` is set to nothing.
    ClearFlags,
    /// Every command is refused with this.
    Refuse {
        /// With which error.
        with: Refusal,
        /// For so long.
        ms: u64,
    },
    /// All connections break.
    Disconnect,
    /// SCRIPT FLUSH.
    ForgetScripts,
    /// XGROUP DESTROY.
    DestroyGroup,
    /// DEL of the LBS.
    DeleteLbs,
    /// XTRIM of the LBS to so many entries.
    Trim {
        /// How many are left.
        left: u64,
    },
    /// FLUSHALL.
    FlushAll,
    /// A lease key is deleted, by eviction or by hand: the n-th, in order, modulo their number.
    Evict {
        /// Which.
        nth: u64,
    },
    /// A consumer is deleted from the group together with what it has pending.
    DeleteConsumer {
        /// Which.
        consumer: usize,
    },
    /// The group's last delivered id is set back to 0, as after a restore: everything is delivered again.
    Redeliver,
    /// Something of another type stands where the n-th lease stood; deleted again after a while.
    WrongType {
        /// Which.
        nth: u64,
        /// For so long.
        ms: u64,
    },
}

/// How Redis refuses commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// `-LOADING`
    Loading,
    /// `-READONLY`, of writes.
    ReadOnly,
    /// `-MASTERDOWN`
    MasterDown,
    /// `-OOM`, of what takes memory.
    Oom,
    /// `-BUSY`
    Busy,
    /// `-MISCONF`, of writes.
    Misconf,
    /// `-NOREPLICAS`, of writes.
    NoReplicas,
    /// `-ERR max number of clients reached`, of new connections.
    MaxClients,
    /// `-NOPERM`, of CONFIG, INFO, PUBLISH and PSUBSCRIBE.
    NoPerm,
    /// `-TRYAGAIN`
    TryAgain,
    /// `-CLUSTERDOWN`
    ClusterDown,
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
}

impl Action {
    /// The consumer that it befalls, if it is one.
    pub fn consumer(&self) -> Option<usize> {
        match self {
            Action::Start { consumer, .. }
            | Action::Crash { consumer }
            | Action::Drain { consumer, .. }
            | Action::Pause { consumer, .. }
            | Action::Suspend { consumer, .. }
            | Action::Partition { consumer, .. }
            | Action::Stall { consumer, .. }
            | Action::Reset { consumer }
            | Action::Slow { consumer, .. }
            | Action::LoseAnswer { consumer, .. }
            | Action::Redis(RedisFault::DeleteConsumer { consumer }) => Some(*consumer),
            _ => None,
        }
    }

    /// How long it lasts, in milliseconds, if it does.
    pub fn ms(&self) -> Option<u64> {
        self.clone().ms_mut().copied()
    }

    fn ms_mut(&mut self) -> Option<&mut u64> {
        match self {
            Action::Pause { ms, .. }
            | Action::Suspend { ms, .. }
            | Action::Partition { ms, .. }
            | Action::Stall { ms, .. }
            | Action::Slow { ms, .. } => Some(ms),
            Action::Redis(fault) => fault.ms_mut(),
            _ => None,
        }
    }

    /// Something that goes wrong, and not something that is wished for.
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Action::Announce { .. }
                | Action::Start { .. }
                | Action::Drain { .. }
                | Action::Wish { .. }
                | Action::Note(_)
        )
    }
}

impl RedisFault {
    fn ms_mut(&mut self) -> Option<&mut u64> {
        match self {
            RedisFault::Crash { ms }
            | RedisFault::Restart { ms }
            | RedisFault::Failover { ms }
            | RedisFault::Stall { ms }
            | RedisFault::DropMessages { ms }
            | RedisFault::DelayMessages { ms, .. }
            | RedisFault::DoubleMessages { ms }
            | RedisFault::Refuse { ms, .. }
            | RedisFault::WrongType { ms, .. } => Some(ms),
            _ => None,
        }
    }
}
