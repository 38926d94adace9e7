//! What the application reads: the machine's notifications, with the lease in `Added`.

use streamkeeper_core::{
    id::{EntryId, StreamName, Token},
    streams::notification::{ClaimLost, LostReason, Report, SetAside},
    trouble::Trouble,
};

use crate::lease::Lease;

/// A fact for the application.
///
/// For each stream it reads [`Added`](Notification::Added), then exactly one of [`Done`](Notification::Done),
/// [`Released`](Notification::Released) and [`Disowned`](Notification::Disowned), before the next `Added`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notification {
    /// The consumer is connected and takes streams; of several partitions, from those that it reaches.
    Ready,
    /// A stream is owned now.
    Added(Lease),
    /// A stream has lost its owner (manual mode): claim it if you want it.
    Expired {
        /// Its announcement: what [`Client::claim`](crate::Client::claim) asks for, in a service with partitions together
        /// with the partition.
        entry: EntryId,
        /// The stream.
        stream: StreamName,
        /// The partition that it lives in; 0 in a service without any.
        partition: u32,
    },
    /// A claim was not granted: somebody else was faster, mostly.
    ClaimLost {
        /// Its announcement.
        entry: EntryId,
        /// The stream, if it is known.
        stream: Option<StreamName>,
        /// Why.
        why: ClaimLost,
        /// The partition that was asked; 0 in a service without any.
        partition: u32,
    },
    /// A stream is not owned any more, and not by the application's wish: stop working on it.
    Disowned {
        /// Its announcement.
        entry: EntryId,
        /// The stream.
        stream: StreamName,
        /// The token that is worth nothing now.
        token: Token,
        /// Why.
        reason: LostReason,
        /// The partition of its announcement; 0 in a service without any.
        partition: u32,
    },
    /// A stream is finished for ever.
    Done {
        /// Its announcement.
        entry: EntryId,
        /// The stream.
        stream: StreamName,
        /// Its token.
        token: Token,
        /// The partition of its announcement; 0 in a service without any.
        partition: u32,
    },
    /// A stream was given back.
    Released {
        /// Its announcement.
        entry: EntryId,
        /// The stream.
        stream: StreamName,
        /// Its token.
        token: Token,
        /// The partition of its announcement; 0 in a service without any.
        partition: u32,
    },
    /// An announcement was set aside: `streamkeeper dead` lists it and puts it back.
    Rejected {
        /// The announcement.
        entry: EntryId,
        /// The stream, if it has one.
        stream: Option<StreamName>,
        /// Why.
        reason: SetAside,
        /// In words.
        error: Box<str>,
        /// The partition of its announcement; 0 in a service without any.
        partition: u32,
    },
    /// The consumer has ended for good, not by wish: nothing can go on. The last notification.
    Terminated(Trouble),
    /// The consumer has stopped by wish. The last notification.
    Stopped(Report),
}
