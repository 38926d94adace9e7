//! What happens at a time of a plan. How it is written: [`text`](super::text).

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

use super::Sending;

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
    /// Send messages.
    Send(Sending),
    /// What the producer of messages asks next is executed, but the answer never leaves: the connection breaks instead.
    LoseSend {
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
    /// DEL of the hash in which failed attempts are counted.
    DeleteAttempts,
    /// DEL of the set of what is due when.
    DeleteDelayed,
    /// ZREM of the n-th, in order, of what is due when.
    Unpark {
        /// Which.
        nth: u64,
    },
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

impl Action {
    /// The consumer that it befalls, if it is one.
    pub fn consumer(&self) -> Option<usize> {
        self.clone().consumer_mut().copied()
    }

    pub(super) fn consumer_mut(&mut self) -> Option<&mut usize> {
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
            | Action::Redis(RedisFault::DeleteConsumer { consumer }) => Some(consumer),
            _ => None,
        }
    }

    /// How long it lasts, in milliseconds, if it does.
    pub fn ms(&self) -> Option<u64> {
        self.clone().ms_mut().copied()
    }

    pub(super) fn ms_mut(&mut self) -> Option<&mut u64> {
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
                | Action::Send(_)
                | Action::Start { .. }
                | Action::Drain { .. }
                | Action::Wish { .. }
                | Action::Note(_)
        )
    }
}

impl RedisFault {
    pub(super) fn ms_mut(&mut self) -> Option<&mut u64> {
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
