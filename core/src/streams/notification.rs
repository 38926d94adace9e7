//! What the application is told.

use std::time::Duration;

use crate::{
    id::{Attempt, EntryId, StreamName, Token},
    time::Time,
    trouble::Trouble,
};

/// A fact for the application. For each stream it sees `Added`, then exactly one of `Done`, `Released` and `Disowned`,
/// before the next `Added`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Notification {
    /// The consumer is connected and takes streams.
    Ready,
    /// A stream is owned now.
    Added(Added),
    /// A stream has lost its owner (manual mode): claim it if you want it.
    Expired {
        /// Its announcement.
        entry: EntryId,
        /// The stream.
        stream: StreamName,
    },
    /// A claim was not granted: somebody else was faster, mostly.
    ClaimLost {
        /// Its announcement.
        entry: EntryId,
        /// The stream, if it is known.
        stream: Option<StreamName>,
        /// Why.
        why: ClaimLost,
    },
    /// A stream is not owned any more, and not by the application's wish.
    Disowned {
        /// Its announcement.
        entry: EntryId,
        /// The stream.
        stream: StreamName,
        /// The token that is worth nothing now.
        token: Token,
        /// Why.
        reason: LostReason,
    },
    /// A stream is finished for ever.
    Done {
        /// Its announcement.
        entry: EntryId,
        /// The stream.
        stream: StreamName,
        /// Its token.
        token: Token,
    },
    /// A stream was given back.
    Released {
        /// Its announcement.
        entry: EntryId,
        /// The stream.
        stream: StreamName,
        /// Its token.
        token: Token,
    },
    /// An announcement was set aside: it stands in `S-dead` now.
    Rejected {
        /// The announcement.
        entry: EntryId,
        /// The stream, if it has one.
        stream: Option<StreamName>,
        /// Why.
        reason: SetAside,
        /// In words.
        error: Box<str>,
    },
    /// The consumer has stopped for good, not by wish: nothing can go on.
    Terminated(Trouble),
    /// The consumer has stopped by wish.
    Stopped(Report),
}

/// A new ownership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Added {
    /// The announcement.
    pub entry: EntryId,
    /// The stream.
    pub stream: StreamName,
    /// The fencing token.
    pub token: Token,
    /// The ownership as it stands in the lease.
    pub attempt: Attempt,
    /// What the announcer added: JSON text.
    pub info: Option<Box<str>>,
    /// Somebody has owned this announcement before, or taken it and died.
    pub takeover: bool,
    /// How many ownerships in a row ended in a crash.
    pub takeovers: u32,
    /// How many times in a row its handler failed.
    pub failures: u32,
    /// How often Redis has delivered the announcement.
    pub deliveries: u64,
    /// Trusted until then, unless extended.
    pub valid_until: Time,
}

/// Why an ownership ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LostReason {
    /// It was not renewed in time, noticed so long after its end.
    Expired(Duration),
    /// Somebody else holds the lease: the value of its key.
    Taken(Box<str>),
    /// This process or machine stood still for so long.
    Paused(Duration),
    /// Redis has not answered for so long.
    Unreachable(Duration),
    /// The announcement is gone from the LBS: finished or removed by somebody else.
    Gone,
    /// The lease is gone from Redis before its time: evicted, deleted, forgotten.
    Vanished,
    /// Done was refused: the ownership had ended before.
    Fenced,
    /// Done or release was not answered in time: it may have happened or not.
    Unknown(super::event::End),
}

impl LostReason {
    /// The reason as one word: a label for meters and logs.
    pub fn label(&self) -> &'static str {
        match self {
            LostReason::Expired(_) => "expired",
            LostReason::Taken(_) => "taken",
            LostReason::Paused(_) => "paused",
            LostReason::Unreachable(_) => "unreachable",
            LostReason::Gone => "gone",
            LostReason::Vanished => "vanished",
            LostReason::Fenced => "fenced",
            LostReason::Unknown(_) => "unknown",
        }
    }
}

/// Why a claim was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimLost {
    /// Somebody owns it, for so long at least.
    Held(Duration),
    /// It is finished, or not pending.
    Gone,
    /// It was set aside.
    SetAside,
    /// This consumer owns it already.
    Owned,
    /// This consumer has no capacity left.
    Full,
    /// Redis could not be asked, or the consumer is stopping.
    Unavailable,
    /// It cannot be judged: a key of a wrong type.
    Broken(Box<str>),
}

impl ClaimLost {
    /// The reason as one word.
    pub fn label(&self) -> &'static str {
        match self {
            ClaimLost::Held(_) => "held",
            ClaimLost::Gone => "gone",
            ClaimLost::SetAside => "set-aside",
            ClaimLost::Owned => "owned",
            ClaimLost::Full => "full",
            ClaimLost::Unavailable => "unavailable",
            ClaimLost::Broken(_) => "broken",
        }
    }
}

/// Why an announcement was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetAside {
    /// It is not an announcement.
    Malformed,
    /// Its owners crashed too often in a row.
    CrashLoop,
    /// Its handler failed too often in a row.
    Failed,
}

impl SetAside {
    /// The reason as it stands in `S-dead`.
    pub fn label(self) -> &'static str {
        match self {
            SetAside::Malformed => "malformed",
            SetAside::CrashLoop => "crash-loop",
            SetAside::Failed => "failed",
        }
    }
}

/// What became of everything that was owned when the consumer was told to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// Finished for ever.
    pub done: usize,
    /// Given back.
    pub released: usize,
    /// Lost before they could be given back.
    pub disowned: usize,
    /// Not answered for in time: they end by themselves within a ttl.
    pub unanswered: usize,
}
