//! What happens to entries: what applications read, commit and are told, and what Redis itself does to data streams,
//! positions and effects, whoever asked for it.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

use crate::facts::{Owned, Who};

/// The id of an entry of a data stream; ordered as in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64, pub u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Id, ()> {
        let (ms, seq) = text.split_once('-').ok_or(())?;
        Ok(Id(ms.parse().map_err(drop)?, seq.parse().map_err(drop)?))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What happened to entries.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "said")]
pub enum Said {
    /// An entry came into a data stream.
    Appended {
        /// The stream.
        stream: Arc<str>,
        /// The entry.
        id: Id,
    },
    /// Entries were trimmed or deleted.
    Removed {
        /// The stream.
        stream: Arc<str>,
        /// Everything before this one; `None`: everything.
        before: Option<Id>,
    },
    /// A position was written.
    Stored {
        /// Asked by this process; `None`: by hand.
        by: Option<Who>,
        /// The stream.
        stream: Arc<str>,
        /// The position.
        position: Id,
        /// The record names a commit with writes.
        marked: bool,
    },
    /// A position was deleted: the stream is finished.
    Dropped {
        /// The stream.
        stream: Arc<str>,
    },
    /// The effect of an entry was written once more.
    Effect {
        /// Asked by this process; `None`: by hand.
        by: Option<Who>,
        /// The stream.
        stream: Arc<str>,
        /// The entry.
        id: Id,
    },
    /// An application has begun to read a stream, behind this position.
    Opened {
        /// Which.
        who: Who,
        /// What.
        owned: Owned,
        /// The position.
        position: Id,
    },
    /// An application was given entries.
    Yielded {
        /// Which.
        who: Who,
        /// Of what.
        owned: Owned,
        /// In this order.
        ids: Vec<Id>,
    },
    /// An application was told of something else than entries.
    Told {
        /// Which.
        who: Who,
        /// Of what.
        owned: Owned,
        /// What: `gap`, `rewound`, `rolled-back`, `broken`, `undecodable`, `lost`.
        what: &'static str,
        /// Behind this entry; for `undecodable` this entry itself.
        id: Option<Id>,
    },
    /// An application reads a stream no more, though it may own it still.
    Closed {
        /// Which.
        who: Who,
        /// Of what.
        owned: Owned,
    },
    /// An application wants a position to be written.
    Asked {
        /// Which.
        who: Who,
        /// Of what.
        owned: Owned,
        /// Which commit of the run.
        commit: u64,
        /// The position.
        to: Id,
    },
    /// An application was told what became of a commit.
    Answered {
        /// Which.
        who: Who,
        /// Of what.
        owned: Owned,
        /// Which commit of the run.
        commit: u64,
        /// `done`, or what else.
        how: &'static str,
    },
    /// How everything stands in Redis.
    Stands(Stock),
}

/// How everything stands in Redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stock {
    /// Why it is asked: `up`, `hand`, `end`.
    pub why: &'static str,
    /// The entries of each data stream that is there.
    pub streams: Vec<(Arc<str>, Vec<Id>)>,
    /// The position of each stream that has one.
    pub positions: Vec<(Arc<str>, Id)>,
    /// How often the effect of each entry was written, by stream.
    pub effects: Vec<(Arc<str>, Effects)>,
}

/// How often the effect of each entry was written.
pub type Effects = Vec<(Id, u64)>;
