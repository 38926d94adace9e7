//! What the machine is told, and what it tells.

use std::time::Duration;

use super::{call::Answer, call::Call, notification::Notification};
use crate::{
    id::{CallId, EntryId},
    link::Link,
    time::Time,
    trouble::Trouble,
};

/// How much of a capacity is taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Load {
    /// Streams that are owned, asked for or handed over, and as many as may come of what is being asked for.
    pub held: usize,
    /// Those among them that the application has.
    pub owned: usize,
}

/// A fact for the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Nothing but that time has passed: the wake-up that the machine asked for.
    Timeout,
    /// A connection that [`Command::Connect`] asked for is there. The subscriber's has subscribed.
    Connected(Link),
    /// A connection could not be made, or broke. Calls on it that were not answered are answered with their own
    /// trouble, before or after this.
    Disconnected(Link, Trouble),
    /// An answer to a call.
    Answered(CallId, Result<Answer, Trouble>),
    /// Redis says that this key has expired: a hint.
    KeyExpired(String),
    /// Somebody rang the doorbell: these may be orphans. A hint; text that is no list of ids is ignored.
    Doorbell(String),
    /// The application wants to own a stream that it was told has expired.
    Claim(EntryId),
    /// The application has finished a stream for ever.
    Done(EntryId),
    /// The application gives a stream back; with the error if its handler failed.
    Release(EntryId, Option<Box<str>>),
    /// The application gives a stream back, and nobody is to be handed it for so long.
    Rest(EntryId, Duration),
    /// The application is behind with reading its notifications (`true`), or has caught up.
    Backlogged(bool),
    /// So much of this consumer's capacity is taken up elsewhere: in the other partitions of its service.
    Elsewhere(Load),
    /// The client serves other partitions, and has begun without this one: it does not end for a trouble that cannot pass
    /// by itself, as at a start, but tries on until people have mended it.
    Begun,
    /// Take nothing more, and keep what is owned: the application is about to end it by itself, before a
    /// [`Shutdown`](Event::Shutdown).
    Drain,
    /// Stop: take nothing more, end every ownership this way, and report at this instant at the latest.
    Shutdown(End, Time),
}

/// How an ownership is ended by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// Finished for ever.
    Done,
    /// Given back, unfinished.
    Release,
}

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Drop this connection if there is one, and make a new one. The subscriber's also subscribes.
    Connect(Link),
    /// Drop this connection: the machine has stopped.
    Disconnect(Link),
    /// Ask Redis. [`Call::Read`] goes over the reader's connection, [`Call::Ping`] over the subscriber's, all others
    /// over the one for commands.
    Call(CallId, Call),
}

/// What [`Machine::poll`](super::Machine::poll) answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Do this.
    Command(Command),
    /// Tell the application this.
    Notification(Notification),
    /// These leases are trusted until that instant now.
    Extended {
        /// Until when.
        until: Time,
        /// Which.
        entries: Vec<EntryId>,
    },
    /// Write this down: it matters to nobody but people and meters.
    Remark(Remark),
    /// There is nothing to do until the next event, or until this instant.
    Wait(Option<Wake>),
}

/// When the machine wants a [`Event::Timeout`], and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wake {
    /// When.
    pub at: Time,
    /// What for.
    pub why: &'static str,
}

/// What people and meters may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Remark {
    /// A connection could not be made or broke; tried again after this pause.
    LinkDown {
        /// Which.
        link: Link,
        /// What happened.
        trouble: Trouble,
        /// When it is tried again.
        pause: Duration,
    },
    /// A call failed.
    CallFailed {
        /// Its name.
        call: &'static str,
        /// What happened.
        trouble: Trouble,
    },
    /// The server may have forgotten leases: nothing is acquired for this long.
    Quarantine(Duration),
    /// The fleet has settled on the server.
    Settled,
    /// What is known of the server; said after every connect.
    Server(super::call::Server),
    /// The driver was not heard of for this long: a pause of the process or the machine.
    Paused(Duration),
    /// A hint was dropped: it named an entry that is not pending, or another stream's.
    HintDropped,
    /// A notification of an expiry arrived.
    HintSeen,
    /// In a crowd: a hint was left to the heirs of what it named.
    HintLeft,
    /// An orphan was found by looking, not by a notification.
    NotificationMissed(EntryId),
    /// An answer came too late, twice, or to no question.
    StrayAnswer,
    /// So many announcements without an owner are known of.
    Orphans(usize),
    /// An orphan was taken over; so long after it became known.
    TakenOver(Duration),
    /// An entry under a lease was no longer pending and was taken back.
    TakenBack(EntryId),
    /// A lost lease was created again after the server forgot it.
    Recreated(EntryId),
    /// A key of a wrong type stands where one of ours should: this stream cannot be handled, its neighbours can.
    Broken {
        /// The entry.
        entry: EntryId,
        /// The error.
        error: Box<str>,
    },
    /// The group was recreated at 0.
    GroupRecreated,
    /// A grant came too late to be used and was given back.
    LateGrant(EntryId),
    /// Announcements without payload were acknowledged.
    Forgotten(Vec<EntryId>),
    /// Consumers that had not been heard of for an hour were deleted.
    Cleaned(Vec<Box<str>>),
}
