//! The questions that the machine asks Redis, and the answers: the protocol, as data. `docs/protocol.md` has it in
//! prose, `io/src/lua/` is what executes it.

use std::{sync::Arc, time::Duration};

use crate::id::{Attempt, EntryId, Identity, StreamName, Token};

/// How many ownerships one call ends, at most: what every server takes in one script call.
pub const MOST_ENDED: usize = 480;

/// How a ring of the doorbell begins that says how many consumers of a crowd are to look: `heirs=32 1700000000000-0`.
pub const HEIRS: &str = "heirs=";

/// A call to Redis. Each is answered exactly once, by an [`Answer`] of the same name or by a
/// [`Trouble`](crate::trouble::Trouble).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Look at the server, create the group at 0 if it is missing, and switch on expiry notifications if they can be.
    Prepare,
    /// Where the fleet stands with this server (5.8).
    Epoch(EpochCall),
    /// Ask whether the subscriber's connection is alive.
    Ping,
    /// Wait for one new announcement, on the reader's connection.
    Read {
        /// At most that many.
        count: usize,
        /// At most that long.
        block: Duration,
    },
    /// Take new announcements without waiting (5.1).
    Take {
        /// At most that many.
        count: usize,
        /// No more than this consumer's fair share of all announcements, of which it holds so many already.
        share: Option<usize>,
    },
    /// Read the announcements behind these ids.
    Look(Vec<EntryId>),
    /// List what is pending under this consumer's name.
    Mine {
        /// Behind this id.
        after: Option<EntryId>,
        /// At most that many.
        count: usize,
    },
    /// Own (5.2).
    Acquire(AcquireCall),
    /// Keep (5.3).
    Renew(RenewCall),
    /// Finish for ever (5.6).
    Done(Vec<DoneItem>),
    /// Give back (5.6).
    Release(Vec<ReleaseItem>),
    /// Touch leases that were released, so that Redis announces their expiry, and ring the doorbell for them.
    Hint(Vec<(StreamName, EntryId)>),
    /// Ring the doorbell.
    Ring {
        /// These are orphans.
        entries: Vec<EntryId>,
        /// How many consumers of a crowd are to look at them; `None`: as many as usual.
        heirs: Option<u32>,
    },
    /// Be the reaper, and list what has been idle for too long (5.4).
    Reap {
        /// Behind this id.
        after: Option<EntryId>,
        /// At most that many.
        count: usize,
        /// This consumer can take so many by itself: none, if its application claims by hand. Somebody with more than
        /// twice the room is reaper in its place.
        room: usize,
    },
    /// Set a malformed announcement aside.
    Bury {
        /// Which.
        entry: EntryId,
        /// What is wrong with it.
        error: Box<str>,
    },
    /// Acknowledge announcements whose payload was trimmed, if they have been idle for this long.
    Forget {
        /// Which.
        entries: Vec<EntryId>,
        /// How long.
        idle: Duration,
    },
    /// Delete consumers of the group that have nothing pending and were not heard of for an hour.
    Clean,
}

/// Asks where the fleet stands, or settles.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EpochCall {
    /// If the wait is over: the wait that was observed and the server that it was observed on.
    pub settle: Option<(Arc<str>, Identity)>,
    /// How long that wait was sat out: not enough if a longer ttl has come to light meanwhile.
    pub waited: Duration,
    /// The longest ttl that this consumer has ever heard of in the fleet; the server may have forgotten it.
    pub longest_ttl: Duration,
    /// A number to make a new wait from, should one be needed: `wait:<nonce>`.
    pub nonce: u64,
    /// This consumer owns a stream that has lived for 20 ttl: the service works in principle.
    pub lived: bool,
    /// This consumer has never seen the service: if there is none yet, it need not wait.
    pub fresh: bool,
}

/// Where the fleet stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EpochAnswer {
    /// The server that answered.
    pub identity: Identity,
    /// `None`: the fleet has settled on this server. Otherwise the wait that stands.
    pub wait: Option<Arc<str>>,
    /// The longest ttl in use.
    pub longest_ttl: Duration,
    /// How many live consumers there were when they were last counted; 0 if nobody could.
    pub consumers: u32,
}

/// Asks for ownership of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcquireCall {
    /// What to own.
    pub items: Vec<AcquireItem>,
    /// The server that the caller believes to talk to.
    pub identity: Identity,
    /// The highest token that the caller knows.
    pub floor: Token,
}

/// Asks for ownership of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcquireItem {
    /// The announcement.
    pub entry: EntryId,
    /// The stream, from the announcement's own payload.
    pub stream: StreamName,
    /// This try.
    pub attempt: Attempt,
    /// Another announcement of the stream that the record may name.
    pub other: Option<EntryId>,
    /// It was handed to this consumer just now, for the first time: unless its stream has a record or a lease, there is
    /// nothing to look at.
    pub fresh: bool,
}

/// What became of one [`AcquireItem`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Acquired {
    /// It is owned.
    Granted(Grant),
    /// It is not pending: finished, or set aside.
    Gone,
    /// It is pending, but its payload was trimmed away.
    Trimmed,
    /// It is owned by somebody, or not to be owned yet, for so long.
    Held(Duration),
    /// The stream is owned under another announcement, for so long.
    Busy(Duration),
    /// The record names this other announcement: ask again and pass it.
    Other(EntryId),
    /// It killed its owners too often and was set aside, with this many takeovers.
    SetAside(u32),
    /// It cannot be judged: a key of a wrong type.
    Broken(Box<str>),
}

/// An ownership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Its fencing token.
    pub token: Token,
    /// Somebody has owned this announcement before, or taken it and died.
    pub takeover: bool,
    /// How many ownerships in a row ended in a crash.
    pub takeovers: u32,
    /// How many times in a row its handler failed.
    pub failures: u32,
    /// How often Redis has delivered it.
    pub deliveries: u64,
}

/// Asks for the renewal of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RenewCall {
    /// The leases; shared, since the machine keeps the call until it is answered.
    pub items: Arc<[RenewItem]>,
    /// The wait during which a lost lease may be created again (5.8).
    pub recreate: Option<Arc<str>>,
}

/// One lease to renew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RenewItem {
    /// The announcement.
    pub entry: EntryId,
    /// The stream.
    pub stream: StreamName,
    /// The ownership.
    pub attempt: Attempt,
    /// Its token.
    pub token: Token,
}

/// What became of a [`RenewCall`]: only what did not simply go well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Renewed {
    /// Index into the call's items, and what happened to it. Items that are not here were renewed.
    pub exceptions: Vec<(usize, RenewException)>,
    /// The group or the LBS is gone: the leases were renewed, their entries could not be. The text of the error.
    pub group_lost: Option<Box<str>>,
}

/// What can happen to a lease instead of a plain renewal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RenewException {
    /// It is not ours: somebody else's (the value of the lease key), or nobody's.
    Lost(Option<Box<str>>),
    /// Renewed; the entry was no longer pending and has been taken back.
    TakenBack,
    /// Renewed after it had been lost with the server's memory.
    Recreated,
    /// The entry is no longer in the LBS. The lease stands until it is released or lapses: this may not be heard.
    Gone,
    /// It cannot be judged: a key of a wrong type. Not renewed.
    Broken(Box<str>),
}

/// One stream to finish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DoneItem {
    /// The announcement.
    pub entry: EntryId,
    /// The stream.
    pub stream: StreamName,
    /// The ownership.
    pub attempt: Attempt,
    /// The server that granted it.
    pub identity: Identity,
}

/// What became of a [`DoneItem`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Finished {
    /// It is finished.
    Done,
    /// It is not there any more: finished earlier, or removed.
    Gone,
    /// Somebody else owns it or may: nothing changed.
    Fenced,
    /// It cannot be judged: a key of a wrong type. Nothing changed.
    Broken(Box<str>),
}

/// One stream to give back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReleaseItem {
    /// The announcement.
    pub entry: EntryId,
    /// The stream.
    pub stream: StreamName,
    /// The ownership.
    pub attempt: Attempt,
    /// The handler failed.
    pub failure: Option<Failure>,
}

/// A handler's failure, for the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What it said.
    pub error: Box<str>,
    /// Failures in a row, this one included.
    pub failures: u32,
    /// The stream is not to be handed out for so long.
    pub pause: Duration,
    /// It failed too often: set it aside instead.
    pub set_aside: bool,
}

/// What became of a [`ReleaseItem`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Released {
    /// It was given back.
    Released,
    /// It was set aside.
    SetAside,
    /// It was not ours any more: nothing changed.
    Fenced,
    /// It cannot be judged: a key of a wrong type. Nothing changed, unless it was to be set aside and could not be: then it
    /// was given back.
    Broken(Box<str>),
}

/// The fields of an LBS entry, as they are.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// An LBS entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// Its id.
    pub entry: EntryId,
    /// Its fields; `None` if it was trimmed away.
    pub fields: Option<Fields>,
}

/// Who shares the service's streams at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fleet {
    /// Announcements that nobody has finished.
    pub announced: u64,
    /// Live consumers, this one included; in a crowd, as they were last counted.
    pub consumers: u32,
    /// How many of them have a smaller name than this one; 0 in a crowd, where nobody goes by it.
    pub rank: u32,
}

/// What is known of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Which one it is.
    pub identity: Identity,
    /// Its version, such as `7.0.15`.
    pub version: Box<str>,
    /// The group was there already and its last delivered id is beyond entries that nobody has pending: entries that
    /// were announced before it was created will not be handed out.
    pub skipped: u64,
    /// Redis announces the expiry of leases.
    pub expiry_notifications: bool,
    /// What weakens a promise, in words.
    pub warnings: Vec<Box<str>>,
}

/// An entry that the reaper found idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Idle {
    /// The entry.
    pub entry: EntryId,
    /// How long nobody has touched it.
    pub idle: Duration,
}

/// What Redis answers to a [`Call`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// To [`Call::Prepare`].
    Prepared(Server),
    /// To [`Call::Epoch`].
    Epoch(EpochAnswer),
    /// To [`Call::Ping`].
    Pong,
    /// To [`Call::Read`]: what came, nothing if nothing came in time.
    Read(Vec<Delivery>),
    /// To [`Call::Take`].
    Taken {
        /// What was taken.
        deliveries: Vec<Delivery>,
        /// Nothing was taken since our share is taken; others' is not.
        more: bool,
    },
    /// To [`Call::Look`]: those of the entries that are pending.
    Looked {
        /// Who shares.
        fleet: Fleet,
        /// What the entries say, and how long nobody has touched them.
        deliveries: Vec<(Delivery, Duration)>,
    },
    /// To [`Call::Mine`]: ids in order; fewer than asked for at the end.
    Mine(Vec<EntryId>),
    /// To [`Call::Acquire`]: one each, in order.
    Acquired(Vec<Acquired>),
    /// To [`Call::Acquire`]: nothing was done, the server is not the one that the fleet has settled on.
    EpochDiffers,
    /// To [`Call::Renew`].
    Renewed(Renewed),
    /// To [`Call::Done`]: one each, in order.
    Done(Vec<Finished>),
    /// To [`Call::Release`]: one each, in order.
    Released(Vec<Released>),
    /// To [`Call::Hint`].
    Hinted,
    /// To [`Call::Ring`].
    Rung,
    /// To [`Call::Reap`]: this consumer is the reaper.
    Reaped {
        /// Idle entries in order; fewer than asked for at the end.
        idle: Vec<Idle>,
        /// Announcements that nobody has finished.
        announced: u64,
    },
    /// To [`Call::Reap`]: somebody else is the reaper, for so long at least.
    ReaperIs(Duration),
    /// To [`Call::Bury`]: whether it was still there.
    Buried(bool),
    /// To [`Call::Forget`]: those that were acknowledged.
    Forgotten(Vec<EntryId>),
    /// To [`Call::Clean`]: the consumers that were deleted.
    Cleaned(Vec<Box<str>>),
}

impl Call {
    /// Its name: a label for meters and logs, and the same as that of the [`Answer`] to it.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Prepare => "prepare",
            Call::Epoch(_) => "epoch",
            Call::Ping => "ping",
            Call::Read { .. } => "read",
            Call::Take { .. } => "take",
            Call::Look(_) => "look",
            Call::Mine { .. } => "mine",
            Call::Acquire(_) => "acquire",
            Call::Renew(_) => "renew",
            Call::Done(_) => "done",
            Call::Release(_) => "release",
            Call::Hint(_) => "hint",
            Call::Ring { .. } => "ring",
            Call::Reap { .. } => "reap",
            Call::Bury { .. } => "bury",
            Call::Forget { .. } => "forget",
            Call::Clean => "clean",
        }
    }
}

impl Answer {
    /// The name of the call that it answers.
    pub fn name(&self) -> &'static str {
        match self {
            Answer::Prepared(_) => "prepare",
            Answer::Epoch(_) => "epoch",
            Answer::Pong => "ping",
            Answer::Read(_) => "read",
            Answer::Taken { .. } => "take",
            Answer::Looked { .. } => "look",
            Answer::Mine(_) => "mine",
            Answer::Acquired(_) | Answer::EpochDiffers => "acquire",
            Answer::Renewed(_) => "renew",
            Answer::Done(_) => "done",
            Answer::Released(_) => "release",
            Answer::Hinted => "hint",
            Answer::Rung => "ring",
            Answer::Reaped { .. } | Answer::ReaperIs(_) => "reap",
            Answer::Buried(_) => "bury",
            Answer::Forgotten(_) => "forget",
            Answer::Cleaned(_) => "clean",
        }
    }
}
