//! What happened in a run, in the order in which it happened: the one record that judges, tables and pictures are made
//! from. Times are true simulated times, which nobody inside the simulation can see.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use streamkeeper::Time;

use crate::{entries, messages::facts::Said};

/// One process of one consumer: the place in the plan's list of consumers, and how often it has been started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Who {
    /// The index in [`Plan::consumers`](crate::plan::Plan::consumers).
    pub consumer: usize,
    /// 0 for the first start.
    pub life: u32,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.consumer)?;
        if self.life > 0 { write!(f, "/{}", self.life) } else { Ok(()) }
    }
}

/// An ownership, as an application or Redis knows it. The entry is the text of an LBS id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Owned {
    /// The data stream.
    pub stream: Arc<str>,
    /// Its announcement.
    pub entry: Arc<str>,
    /// The fencing token.
    pub token: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum What {
    /// A producer was told that its announcement stands.
    Announced {
        /// The data stream.
        stream: Arc<str>,
        /// Its announcement.
        entry: Arc<str>,
    },
    /// A producer got no answer: it is announced or not.
    AnnounceUnknown {
        /// The data stream.
        stream: Arc<str>,
    },
    /// A process was started.
    Started {
        /// Which.
        who: Who,
        /// The consumer's id, as it stands in Redis.
        id: Arc<str>,
        /// Its `lease_ttl`; of a worker its `reclaim_idle`.
        ttl_ms: u64,
        /// How many streams it owns at most; of a worker how many runs it has at once.
        capacity: usize,
        /// It claims orphans by itself.
        automatic: bool,
        /// A Go peer, with the Go library's protocol and its defects.
        go: bool,
    },
    /// Its client is connected and takes streams.
    Ready {
        /// Which.
        who: Who,
    },
    /// Its client could not be started, or ended, not by wish.
    Terminated {
        /// Which.
        who: Who,
        /// Why.
        why: String,
    },
    /// It was told to give everything back and stop.
    Draining {
        /// Which.
        who: Who,
    },
    /// It has stopped, by wish.
    Stopped {
        /// Which.
        who: Who,
    },
    /// It was killed: nothing it believed matters any more.
    Crashed {
        /// Which.
        who: Who,
    },
    /// It stands still: a GC, SIGSTOP, a suspended machine.
    Paused {
        /// Which.
        who: Who,
        /// For so long.
        ms: u64,
    },
    /// It goes on.
    Resumed {
        /// Which.
        who: Who,
    },
    /// Its application heard that it owns a stream.
    Added {
        /// Which.
        who: Who,
        /// What.
        owned: Owned,
        /// Somebody has owned it before.
        takeover: bool,
    },
    /// Its application heard that an ownership has ended, and how: `done`, `released`, or a reason.
    Ended {
        /// Which.
        who: Who,
        /// What.
        owned: Owned,
        /// The label: `done`, `released`, `expired`, `taken`, `paused`, `unreachable`, `gone`, `vanished`, `fenced`,
        /// `unknown`.
        how: &'static str,
    },
    /// Its application heard that an announcement was set aside.
    Rejected {
        /// Which.
        who: Who,
        /// The announcement.
        entry: Arc<str>,
        /// `malformed`, `crash-loop` or `failed`.
        why: &'static str,
    },
    /// Its application works on a stream, its lease being valid by its own clock: two of these for one stream by two
    /// at the same instant break `exclusive`. Probed by the world, and only reported while it is not alone.
    Believes {
        /// Which.
        who: Who,
        /// What.
        owned: Owned,
    },
    /// Its application asked to end an ownership: `done`, `release` or `fail`.
    Asked {
        /// Which.
        who: Who,
        /// What.
        owned: Owned,
        /// What for.
        end: &'static str,
    },
    /// A handler of the plan's application began to work on a stream, or did a piece of work on it.
    Worked {
        /// Which.
        who: Who,
        /// What.
        owned: Owned,
    },
    /// Redis granted a lease: its own word, seen as its script ran.
    Granted {
        /// The consumer's id and its attempt, as in the lease.
        value: Arc<str>,
        /// What.
        owned: Owned,
    },
    /// Redis extended leases of this consumer: a heartbeat.
    Renewed {
        /// The consumer's id.
        consumer: Arc<str>,
        /// The announcements whose leases were extended.
        entries: Vec<Arc<str>>,
    },
    /// Somebody moved pending announcements to the own name by a command, as Go peers do before they lock: they look as
    /// fresh as after a heartbeat, whoever owns them.
    Claimed {
        /// Which.
        entries: Vec<Arc<str>>,
    },
    /// Redis finished a stream for ever, for this lease value.
    Finished {
        /// The consumer's id and its attempt.
        value: Arc<str>,
        /// The stream.
        stream: Arc<str>,
        /// Its announcement.
        entry: Arc<str>,
    },
    /// Redis took a stream back, unfinished, from this lease value.
    GivenBack {
        /// The consumer's id and its attempt.
        value: Arc<str>,
        /// The stream.
        stream: Arc<str>,
        /// Its announcement.
        entry: Arc<str>,
    },
    /// Redis moved an announcement to `S-dead`.
    SetAside {
        /// The announcement.
        entry: Arc<str>,
        /// `malformed`, `crash-loop` or `failed`.
        why: Arc<str>,
    },
    /// A fault or an operation of the plan struck: the action's text.
    Struck {
        /// The action, as the plan writes it.
        action: String,
        /// Its kind: the first word or words, such as `pause` or `redis failover`.
        kind: &'static str,
        /// The consumer that it befell.
        consumer: Option<usize>,
        /// For how long, if it lasts.
        ms: Option<u64>,
    },
    /// A lasting fault is over.
    Over {
        /// Its kind.
        kind: &'static str,
        /// The consumer that it befell.
        consumer: Option<usize>,
    },
    /// Redis runs again, after a crash or a failover.
    RedisUp {
        /// It has forgotten acknowledged writes, as far as the plan can tell: everything, the latest, or nothing.
        forgot: Forgot,
    },
    /// The faults are over: from here on everything must recover.
    Healed,
    /// Something happened to messages.
    Message(Said),
    /// Something happened to the entries of data streams.
    Entry(entries::facts::Said),
    /// Part of a scenario's or a test's own story.
    Note {
        /// The text.
        text: String,
    },
}

/// What a server that came back has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forgot {
    /// Nothing.
    Nothing,
    /// The latest writes.
    Latest,
    /// Everything.
    All,
}

/// A fact, and when.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fact {
    /// Microseconds of true simulated time.
    #[serde(serialize_with = "micros", rename = "at_us")]
    pub at: Time,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

pub(crate) fn micros<S: serde::Serializer>(at: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(at.as_micros())
}

/// The record of a run. Cheap to clone; its clones are one record. Handlers, hosts and the world all write to it.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<Vec<Fact>>>);

impl Record {
    /// Adds a fact.
    pub fn write(&self, at: Time, what: What) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Fact { at, what });
    }

    /// The facts from this index on.
    pub fn since(&self, index: usize) -> Vec<Fact> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[index..].to_vec()
    }

    /// How many facts there are.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Nothing has happened yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A `Duration` as whole milliseconds.
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
