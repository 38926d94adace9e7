//! What the server knows of one connection.

use std::collections::BTreeSet;

use bytes::Bytes;
use streamkeeper::Time;

use super::{blocked::Waiting, resp::Requests};

/// A connection's number: the id that CLIENT ID answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// The operator's own: never listed, never refused.
pub(crate) const OPERATOR: ConnId = ConnId(0);

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) requests: Requests,
    /// Answers that are not sent yet.
    pub(crate) out: Vec<u8>,
    /// It is closed when the answers are sent.
    pub(crate) closing: bool,
    pub(crate) name: Bytes,
    pub(crate) user: String,
    pub(crate) authenticated: bool,
    pub(crate) resp3: bool,
    pub(crate) db: usize,
    pub(crate) since: Time,
    pub(crate) active: Time,
    /// Its latest command.
    pub(crate) last: &'static str,
    pub(crate) channels: BTreeSet<Bytes>,
    pub(crate) patterns: BTreeSet<Bytes>,
    /// The commands between MULTI and EXEC.
    pub(crate) queued: Option<Queued>,
    /// The watched keys, with the number of the latest change when they were first watched.
    pub(crate) watched: Vec<Watched>,
    pub(crate) waiting: Option<Waiting>,
    /// So many commands are answered yet; the answer to the next one is lost.
    pub(crate) answers_left: Option<u32>,
    /// The answer to the command that runs, or waits, is lost.
    pub(crate) loses: bool,
}

/// A transaction that is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queued {
    pub(crate) commands: Vec<Vec<Bytes>>,
    /// A command was refused: EXEC is, too.
    pub(crate) spoiled: bool,
}

/// A watched key.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) db: usize,
    pub(crate) key: Bytes,
    /// It had lapsed already, and was only not deleted yet.
    pub(crate) lapsed: bool,
    pub(crate) changed: bool,
}

impl Connection {
    pub(crate) fn new(now: Time, authenticated: bool) -> Connection {
        Connection {
            requests: Requests::default(),
            out: Vec::new(),
            closing: false,
            name: Bytes::new(),
            user: "default".to_owned(),
            authenticated,
            resp3: false,
            db: 0,
            since: now,
            active: now,
            last: "NULL",
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            queued: None,
            watched: Vec::new(),
            waiting: None,
            answers_left: None,
            loses: false,
        }
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }
}
