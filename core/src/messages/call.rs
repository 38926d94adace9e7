//! The questions that the machine asks Redis, and the answers: the protocol of the second half, as data.
//! `docs/messages.md` has it in prose, `io/src/lua/messages/` is what executes it.

use std::{sync::Arc, time::Duration};

use crate::id::{EntryId, Identity};

/// The fields of a message, as they stand in the stream. Shared, since the machine keeps a message until it has ended.
pub type Fields = Arc<[(Vec<u8>, Vec<u8>)]>;

/// A call to Redis. Each is answered exactly once, by an [`Answer`] of the same name or by a
/// [`Trouble`](crate::trouble::Trouble).
///
/// What changes a message is *fenced* by a [`Hold`]: it does nothing unless the message is pending under this
/// consumer's name with the delivery count that this run was given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Look at the server, and create the group if it is missing.
    Prepare,
    /// Wait for new messages, on the reader's connection.
    Read {
        /// At most that many.
        count: usize,
        /// At most that long.
        block: Duration,
    },
    /// List what is pending under this consumer's name.
    Mine {
        /// Behind this id.
        after: Option<EntryId>,
        /// At most that many.
        count: usize,
    },
    /// Take in messages that are pending under this consumer's name and that it does not hold: an answer was lost.
    /// Counts nothing.
    Fetch(Vec<EntryId>),
    /// Take what is due: retries and what was given back, up to `count`; and move messages that were sent with a delay
    /// into the stream.
    Due {
        /// At most that many.
        count: usize,
    },
    /// Write something into the records of messages that are held, fenced.
    Mark(Vec<MarkItem>),
    /// Whether messages with these keys were processed already.
    Check(Vec<(EntryId, Box<[u8]>)>),
    /// Ask for permits under the rate limit that the whole group shares.
    Permits {
        /// At most that many.
        count: u32,
    },
    /// Acknowledge messages whose run succeeded. Needs no fence: a success is a success, whoever holds the message now.
    Ack(Vec<AckItem>),
    /// Keep: the pending list's idle time is the heartbeat. Fenced.
    Refresh(Vec<Hold>),
    /// Put messages aside until they are due: after a failure, or given back. Fenced.
    Park(Vec<ParkItem>),
    /// Move messages to the dead letter stream. Fenced.
    Bury(Vec<BuryItem>),
    /// Be the reclaimer, and put what has been idle for too long among what is due.
    Reclaim,
    /// Clear away what nobody needs any more: records of messages that are gone, consumers that are stale; put what is
    /// parked without being due ever back among what is due; trim the stream if that is set. A page at a time.
    Sweep {
        /// Where the last page ended: the server's word.
        cursor: u64,
    },
    /// Delete this consumer's name if nothing is pending under it.
    Leave,
}

/// Which delivery of a message is held here: the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hold {
    /// The message.
    pub entry: EntryId,
    /// The delivery count that it was given with.
    pub deliveries: u64,
}

/// Something to write into a message's record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MarkItem {
    /// Which.
    pub hold: Hold,
    /// What.
    pub mark: Mark,
}

/// What is written into a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// This delivery's run begins: should it crash its process, that is this message's doing.
    Started,
    /// It failed (unless `error` is `None`) for the last time: only `process_dead` may be called for it from here on.
    Dying {
        /// Why.
        reason: Reason,
        /// What the last run said; counted as a failure, once for each delivery.
        error: Option<Box<str>>,
    },
}

/// A message to acknowledge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AckItem {
    /// Which.
    pub entry: EntryId,
    /// It has a record to be forgotten.
    pub recorded: bool,
    /// Under which key it is remembered as processed, if that is set.
    pub processed: Option<Box<[u8]>>,
}

/// A message to put aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParkItem {
    /// Which.
    pub hold: Hold,
    /// It is due after so long.
    pub delay: Duration,
    /// What the run said, if it failed; counted, once for each delivery. `None`: it is given back.
    pub failure: Option<Box<str>>,
}

/// A message to bury.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BuryItem {
    /// Which.
    pub hold: Hold,
    /// Why.
    pub reason: Reason,
    /// What the run, the decoder or we say. Not counted as a failure.
    pub error: Box<str>,
    /// Its fields, only if it is thought to be gone from the stream: then there is no fence but its record. If it is held
    /// after all, it is `Lost`: Redis has delivered it again.
    pub gone: Option<Fields>,
}

/// Why a message is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Its attempts are used up.
    Failed,
    /// It crashed its process too often.
    Crashed,
    /// It could not be decoded.
    Broken,
    /// The worker said so.
    Rejected,
}

impl Reason {
    /// The word for it: in Redis, for meters and logs.
    pub fn label(self) -> &'static str {
        match self {
            Reason::Failed => "failed",
            Reason::Crashed => "crashed",
            Reason::Broken => "broken",
            Reason::Rejected => "rejected",
        }
    }

    /// From its word.
    pub fn from_label(label: &str) -> Option<Reason> {
        [Reason::Failed, Reason::Crashed, Reason::Broken, Reason::Rejected].into_iter().find(|r| r.label() == label)
    }
}

/// A message that was handed to this consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// Which, and how often it has been delivered.
    pub hold: Hold,
    /// What it says; `None` if it was trimmed away meanwhile.
    pub fields: Option<Fields>,
    /// What went wrong with it earlier, if anything did.
    pub history: Option<History>,
}

/// What went wrong with a message: its record in `M:G:attempts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// Runs that failed.
    pub failed: u32,
    /// Runs that are counted as having crashed their process.
    pub crashed: u32,
    /// Its end is decided, for this reason.
    pub dying: Option<Reason>,
    /// Its `process_dead` has crashed a process: bury it without calling that again.
    pub buried_alive: bool,
    /// When something went wrong first, in Redis's milliseconds.
    pub first_ms: u64,
    /// When something went wrong last, in Redis's milliseconds.
    pub last_ms: u64,
    /// The last error, cut.
    pub error: Box<str>,
}

/// What is known of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Which one it is.
    pub identity: Identity,
    /// Its version, such as `7.0.15`.
    pub version: Box<str>,
    /// Its clock, in milliseconds.
    pub now_ms: u64,
    /// The group was not there and was created.
    pub created: bool,
    /// What weakens a promise, in words.
    pub warnings: Vec<Box<str>>,
}

/// What became of something fenced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fenced {
    /// It was done.
    Done,
    /// It is not ours any more, or not this delivery: nothing changed.
    Lost,
    /// It is not pending any more, or its payload is gone: trimmed, deleted, acknowledged or buried already.
    Gone,
    /// It cannot be judged: a key of a wrong type, an odd record. Nothing changed.
    Broken(Box<str>),
}

/// What the reclaimer did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reclaimed {
    /// The server's clock, in milliseconds.
    pub now_ms: u64,
    /// Messages that were put among what is due, and how often each has crashed its process.
    pub moved: Vec<(EntryId, u32)>,
    /// There is more: ask again at once.
    pub more: bool,
}

/// What was cleared away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Swept {
    /// Where to go on; 0 at the end.
    pub cursor: u64,
    /// Records of messages that are gone.
    pub records: u64,
    /// Parked messages that nothing would have made due.
    pub stranded: u64,
    /// Entries that every group is done with, and that were trimmed.
    pub trimmed: u64,
    /// Consumers that were deleted.
    pub consumers: Vec<Box<str>>,
}

/// What Redis answers to a [`Call`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// To [`Call::Prepare`].
    Prepared(Server),
    /// To [`Call::Read`]: what came, with their first delivery; nothing if nothing came in time.
    Read(Vec<(EntryId, Option<Fields>)>),
    /// To [`Call::Mine`]: in order; fewer than asked for at the end.
    Mine(Vec<Hold>),
    /// To [`Call::Fetch`]: those that are still pending under this consumer's name.
    Fetched(Vec<Delivery>),
    /// To [`Call::Due`].
    Due {
        /// What was taken.
        deliveries: Vec<Delivery>,
        /// When the next one is due: zero if there are more now, `None` if there is none.
        next: Option<Duration>,
        /// The server's clock, in milliseconds.
        now_ms: u64,
    },
    /// To [`Call::Mark`]: one each, in order.
    Marked(Vec<Fenced>),
    /// To [`Call::Check`]: one each, in order: `true` if it was processed.
    Checked(Vec<bool>),
    /// To [`Call::Permits`].
    Permits {
        /// How many were granted.
        granted: u32,
        /// After what time to ask for more.
        wait: Duration,
    },
    /// To [`Call::Ack`]: how many were still pending.
    Acked(u64),
    /// To [`Call::Refresh`]: one each, in order.
    Refreshed(Vec<Fenced>),
    /// To [`Call::Park`]: one each, in order.
    Parked(Vec<Fenced>),
    /// To [`Call::Bury`]: one each, in order.
    Buried(Vec<Fenced>),
    /// To [`Call::Reclaim`]: this consumer is the reclaimer.
    Reclaimed(Reclaimed),
    /// To [`Call::Reclaim`]: somebody else is, for so long at least.
    ReclaimerIs(Duration),
    /// To [`Call::Sweep`].
    Swept(Swept),
    /// To [`Call::Leave`]: whether the name was deleted.
    Left(bool),
}

impl Call {
    /// Its name: a label for meters and logs, and the same as that of the [`Answer`] to it.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Prepare => "prepare",
            Call::Read { .. } => "read",
            Call::Mine { .. } => "mine",
            Call::Fetch(_) => "fetch",
            Call::Due { .. } => "due",
            Call::Mark(_) => "mark",
            Call::Check(_) => "check",
            Call::Permits { .. } => "permits",
            Call::Ack(_) => "ack",
            Call::Refresh(_) => "refresh",
            Call::Park(_) => "park",
            Call::Bury(_) => "bury",
            Call::Reclaim => "reclaim",
            Call::Sweep { .. } => "sweep",
            Call::Leave => "leave",
        }
    }
}

impl Answer {
    /// The name of the call that it answers.
    pub fn name(&self) -> &'static str {
        match self {
            Answer::Prepared(_) => "prepare",
            Answer::Read(_) => "read",
            Answer::Mine(_) => "mine",
            Answer::Fetched(_) => "fetch",
            Answer::Due { .. } => "due",
            Answer::Marked(_) => "mark",
            Answer::Checked(_) => "check",
            Answer::Permits { .. } => "permits",
            Answer::Acked(_) => "ack",
            Answer::Refreshed(_) => "refresh",
            Answer::Parked(_) => "park",
            Answer::Buried(_) => "bury",
            Answer::Reclaimed(_) | Answer::ReclaimerIs(_) => "reclaim",
            Answer::Swept(_) => "sweep",
            Answer::Left(_) => "leave",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_known_by_its_word() {
        for reason in [Reason::Failed, Reason::Crashed, Reason::Broken, Reason::Rejected] {
            assert_eq!(Reason::from_label(reason.label()), Some(reason));
        }
        assert_eq!(Reason::from_label("Failed"), None);
    }
}
