//! What the machine is told, and what it tells.

use std::{fmt, sync::Arc, time::Duration};

use super::call::{Answer, Call, Entry, Record, Start, Write};
use crate::{
    id::{Attempt, CallId, EntryId, StreamName},
    link::Link,
    time::Time,
    trouble::Trouble,
};

/// A fact for the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Nothing but that time has passed: the wake-up that the machine asked for.
    Timeout,
    /// A connection that [`Command::Connect`] asked for is there.
    Connected(Link),
    /// A connection could not be made, or broke. Calls on it that were not answered are answered with their own
    /// trouble, before or after this.
    Disconnected(Link, Trouble),
    /// An answer to a call.
    Answered(CallId, Result<Answer, Trouble>),
    /// A stream is owned whose position or entries are wanted from now on. An [`OwnedId`] is used once.
    Owned(Owned),
    /// The ownership has ended, however. What was not committed is answered; what is under way is not repeated.
    Lost(OwnedId),
    /// The application reads the stream's entries, with room for so many; if it was reading before, anew from what was
    /// committed, as soon as commits that were wished before are answered.
    Read {
        /// Which.
        id: OwnedId,
        /// Where it begins if nothing was ever committed.
        start: Start,
        /// How many entries it has room for.
        room: usize,
    },
    /// The application has taken entries in: there is room for so many more.
    Room(OwnedId, usize),
    /// The application reads the stream's entries no more.
    Closed(OwnedId),
    /// Nothing has come for a while, and who reads wants to be told whether there is nothing: answered with
    /// [`Output::Nothing`] by a look that begins from now on. Not answered if something comes instead.
    Look(OwnedId),
    /// The application has worked on everything up to a position, or wants something written.
    Commit(Commit),
    /// An entry could not be decoded.
    Undecodable {
        /// Of which stream.
        id: OwnedId,
        /// The entry.
        entry: Entry,
        /// What is wrong with it.
        error: Box<str>,
    },
    /// Answer what can be answered until this instant, and end.
    Shutdown(Time),
}

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Drop this connection if there is one, and make a new one.
    Connect(Link),
    /// Drop this connection.
    Disconnect(Link),
    /// Execute a call, and answer it.
    Call(CallId, Call),
}

/// One ownership of a stream, for as long as it lasts.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnedId(pub u64);

impl fmt::Debug for OwnedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "owned {}", self.0)
    }
}

/// An owned stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owned {
    /// Which ownership.
    pub id: OwnedId,
    /// The announcement.
    pub entry: EntryId,
    /// The stream.
    pub stream: StreamName,
    /// The ownership as it stands in the lease.
    pub attempt: Attempt,
}

/// The application's wish to have something written. Wishes are taken up in order, one at a time for each stream; one that
/// fails does not keep a later one back, so who must not pass over anything awaits each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Commit {
    /// Of which stream.
    pub id: OwnedId,
    /// Whom to answer.
    pub ticket: Ticket,
    /// How many [`Delivery::RolledBack`] of this ownership the application had taken in when it wished this. A wish from
    /// before the last one is answered with [`CommitEnd::RolledBack`]: what it builds upon is forgotten.
    pub rollbacks: u32,
    /// Everything up to here was worked on; `None`: the position stays. Without writes, either, it is answered once no
    /// entry waits to be set aside.
    pub to: Option<EntryId>,
    /// The application's own writes; none: a commit of a position alone, which may be answered together with a later one
    /// of the same stream. Writes with a position are made only if it is greater than what was committed.
    pub writes: Arc<[Write]>,
}

/// Who waits for a commit's answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ticket {}", self.0)
    }
}

/// How a commit ended. Each ticket is answered exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CommitEnd {
    /// It stands in Redis.
    Done,
    /// A later position was committed already, or, for a commit with writes, this one. Nothing changed.
    Behind(EntryId),
    /// Redis has forgotten commits with writes (a restart or failover that lost data), or somebody's hand wrote: this
    /// stands there. Nothing changed; whoever reads is taken back to it.
    RolledBack(Record),
    /// Another consumer owns the stream. Nothing changed.
    Fenced,
    /// The ownership ended before it was asked for, or before anything was sent. Nothing changed.
    Lost,
    /// The ownership ended, the machine stopped, or a key of ours became unusable, before it was known: it stands in Redis or
    /// not. Where the ownership goes on, the next commit tells.
    Unknown,
    /// One of the writes cannot be made: which, and why. Nothing changed.
    Rejected(usize, Box<str>),
    /// A key of ours cannot be used: what is wrong. Nothing changed.
    Broken(Box<str>),
}

/// What a reader of a stream is told, in order. [`Delivery::Opened`] and [`Delivery::RolledBack`] are told of every
/// ownership, whether anybody reads or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// It is open: what was committed before, if anything ever. Told as the ownership begins, and whenever reading begins
    /// ([`Event::Read`]): what follows is counted from there.
    Opened(Option<Record>),
    /// The next entries; never none.
    Entries(Vec<Entry>),
    /// Entries behind this position were trimmed or deleted before they were read.
    Gap {
        /// What was read before.
        after: EntryId,
        /// What comes next; `None`: nothing is there for now.
        next: Option<EntryId>,
        /// How many there were, at most; `None`: the server does not tell.
        missing: Option<u64>,
    },
    /// The stream was deleted and created anew, or Redis has forgotten entries: its last id is smaller than what was read,
    /// or it counts fewer entries than were read, or it was gone for a while. What comes next has a greater id than what
    /// was read.
    Rewound {
        /// What was read before.
        after: EntryId,
        /// The last id now.
        last: EntryId,
    },
    /// Redis has forgotten commits with writes: everything behind this position comes again.
    RolledBack(EntryId),
    /// The stream cannot be read for now: a key of a wrong type, a record that cannot be read. Said once; tried again every
    /// few seconds.
    Broken(Box<str>),
}

/// What [`Machine::poll`](super::Machine::poll) answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// To be done.
    Command(Command),
    /// For who reads this stream.
    Deliver(OwnedId, Delivery),
    /// A look that [`Event::Look`] asked for has found nothing behind what was delivered.
    Nothing(OwnedId),
    /// For who waits.
    Committed(Ticket, CommitEnd),
    /// An entry that could not be decoded stands in `S-dead-entries`.
    SetAside(OwnedId, EntryId),
    /// For logs and meters.
    Remark(Remark),
    /// Nothing more for now: wait for an event, at most until this instant.
    Wait(Option<Time>),
}

/// Something that logs and meters may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Remark {
    /// A connection is lost, and tried again after this pause.
    LinkDown {
        /// Which.
        link: Link,
        /// Why.
        trouble: Trouble,
        /// The pause.
        pause: Duration,
    },
    /// A call was refused; what it was about is tried again.
    CallFailed {
        /// Its name.
        call: &'static str,
        /// Why.
        trouble: Trouble,
    },
    /// An answer came to no known question.
    StrayAnswer(CallId),
    /// The server is known.
    Prepared(super::call::Server),
    /// A wait cannot be ended by CLIENT UNBLOCK: what is opened is read a moment later. Said once.
    CannotWake,
    /// A stream cannot be read, committed or set aside: what is wrong with its keys.
    Broken(StreamName, Box<str>),
}
