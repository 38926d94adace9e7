//! What befalls Redis. How it is written: [`text`](super::text).

use super::{ServerName, Way};

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
    /// Where there are several servers: another one becomes the primary, with what it had received. The others hear of it
    /// each in its time. The former primary stops at once, and is back a little before it is told, as if nothing had
    /// happened.
    Switch {
        /// Until the former primary is told, and is a replica.
        ms: u64,
        /// Until the replica is promoted.
        after_ms: u64,
        /// From then on, until the last sentinel has heard of it; in a cluster, the last node.
        spread_ms: u64,
        /// The former primary does not stop, and takes writes until it is told at the end.
        alive: bool,
    },
    /// Where there are several servers: nobody reaches this one, or hears it, and connections are dead afterwards.
    Cut {
        /// Which.
        server: ServerName,
        /// In which direction: out is towards the server.
        way: Way,
        /// For so long.
        ms: u64,
    },
    /// Where there are several servers: this one stands still.
    Freeze {
        /// Which.
        server: ServerName,
        /// For so long.
        ms: u64,
    },
    /// Where there are several servers: this one is killed, and started again.
    Kill {
        /// Which.
        server: ServerName,
        /// Down for so long.
        ms: u64,
    },
    /// Where there are several servers: the replica hears nothing of the primary.
    Detach {
        /// For so long.
        ms: u64,
    },
    /// In a cluster: the slot moves to another node; until it has, it is half there.
    MoveSlot {
        /// For so long.
        ms: u64,
    },
    /// In a cluster: a node does not hear who serves the slot.
    Stale {
        /// Which.
        server: ServerName,
        /// For so long.
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
    /// XTRIM of the n-th data stream, in order, to so many entries.
    TrimData {
        /// Which.
        nth: u64,
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
            | RedisFault::WrongType { ms, .. }
            | RedisFault::Switch { ms, .. }
            | RedisFault::Cut { ms, .. }
            | RedisFault::Freeze { ms, .. }
            | RedisFault::Kill { ms, .. }
            | RedisFault::Detach { ms }
            | RedisFault::MoveSlot { ms }
            | RedisFault::Stale { ms, .. } => Some(ms),
            _ => None,
        }
    }
}
