//! The keyspace: values, expiry, and the commands that read and write them. Knows nothing of connections.

use bytes::Bytes;

use super::reply::Reply;

/// A keyspace event, to be published if the flags say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// The class's letter in `notify-keyspace-events`: `g`, `$`, `h`, `t`, `x`, `e` …
    pub class: char,
    /// `expired`, `set`, `del`, `xadd` …
    pub name: &'static str,
    /// The key.
    pub key: Bytes,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// Answered.
    Reply(Reply),
    /// XREADGROUP or XREAD with BLOCK found nothing: to be executed again when one of these keys is written to, and to
    /// be answered with a missing list at the end.
    Block {
        /// The streams.
        keys: Vec<Bytes>,
        /// How long, in milliseconds; 0 is for ever.
        ms: u64,
    },
}
