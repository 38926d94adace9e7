//! What can go wrong, as types: each names the stream, the token, the entry, and what to do.

use std::sync::Arc;

use streamkeeper_core::{
    id::{EntryId, StreamName, Token},
    time::Time,
};
use thiserror::Error as ThisError;

use super::entry::Fields;
use crate::lease::Lost;

/// What a reader is told in the place of entries. After most of these it goes on: [`is_last`](EntriesError::is_last).
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum EntriesError {
    /// The ownership has ended. The last item.
    #[error(
        "stream `{stream}`: the ownership with token {token} has ended ({}): stop working on it, its next owner begins at what was committed",
        lost.label()
    )]
    Lost {
        /// The stream.
        stream: StreamName,
        /// The token that is worth nothing now.
        token: Token,
        /// How it ended.
        lost: Lost,
    },
    /// The stream's entries were opened again, and are read there. The last item.
    #[error("stream `{stream}`: its entries are read by a later `open`: read them there, or keep one reader")]
    Replaced {
        /// The stream.
        stream: StreamName,
    },
    /// The stream cannot be read at all: nothing could be started. The last item.
    #[error("stream `{stream}` cannot be read: {why}")]
    Unavailable {
        /// The stream.
        stream: StreamName,
        /// Why not.
        why: Arc<str>,
    },
    /// The client is shutting down, and commits are the application's matter ([`Commits::Manual`](super::Commits)):
    /// nothing more is read. Commit and release until then. Said once.
    #[error("stream `{stream}`: the client is shutting down: commit what was worked on and release, until {until:?}")]
    Draining {
        /// The stream.
        stream: StreamName,
        /// Until when, by the client's clock.
        until: Time,
    },
    /// Entries were trimmed or deleted before they were read. What is left comes next.
    #[error(
        "stream `{stream}`: {} entries behind {after} were trimmed or deleted before they were read: trim only what was committed",
        missing.map_or_else(|| "some".to_owned(), |missing| missing.to_string())
    )]
    Gap {
        /// The stream.
        stream: StreamName,
        /// The last one that was read; `0-0`: none.
        after: EntryId,
        /// The next one there is; `None`: there is none for now.
        next: Option<EntryId>,
        /// How many are missing, at most; `None`: the server does not tell.
        missing: Option<u64>,
    },
    /// The stream was deleted and created anew, or Redis has forgotten entries. What has a greater id than what was read
    /// comes next; smaller ids are not read.
    #[error(
        "stream `{stream}` ends at {last}, before {after}, which was read already: it was deleted and created anew, or Redis has forgotten entries. Ids up to {after} are not read again"
    )]
    Rewound {
        /// The stream.
        stream: StreamName,
        /// The last one that was read.
        after: EntryId,
        /// The stream's last id now.
        last: EntryId,
    },
    /// Redis has forgotten commits with writes (a restart or failover that lost data), or somebody's hand wrote: the
    /// entries behind this position come again.
    #[error(
        "stream `{stream}`: Redis has forgotten commits: everything behind {to} comes again. Drop what was computed from later entries"
    )]
    RolledBack {
        /// The stream.
        stream: StreamName,
        /// What is committed now.
        to: EntryId,
    },
    /// The stream cannot be read for now. It is tried again every few seconds.
    #[error("stream `{stream}` cannot be read: {why}. It is tried again every few seconds")]
    Broken {
        /// The stream.
        stream: StreamName,
        /// What is wrong, and with which key.
        why: Box<str>,
    },
    /// An entry that the codec does not understand.
    #[error("entry {id} of stream `{stream}` cannot be decoded: {why}{}", if *set_aside { ". It is set aside to the service's `dead-entries`" } else { "" })]
    Undecodable {
        /// The stream.
        stream: StreamName,
        /// The entry.
        id: EntryId,
        /// What it says.
        fields: Fields,
        /// What the codec said.
        why: Box<str>,
        /// Whether it is being copied to `<service>-dead-entries`; no position at or beyond it is committed before that is done.
        set_aside: bool,
    },
    /// A commit that the reader made by itself was refused. What it was about is committed with the next one.
    #[error("an automatic commit was not made: {0}")]
    NotCommitted(#[source] CommitError),
}

impl EntriesError {
    /// Whether nothing comes behind it.
    pub fn is_last(&self) -> bool {
        matches!(self, EntriesError::Lost { .. } | EntriesError::Replaced { .. } | EntriesError::Unavailable { .. })
    }

    /// The error as one word: a label for meters and logs.
    pub fn label(&self) -> &'static str {
        match self {
            EntriesError::Lost { .. } => "lost",
            EntriesError::Replaced { .. } => "replaced",
            EntriesError::Unavailable { .. } => "unavailable",
            EntriesError::Draining { .. } => "draining",
            EntriesError::Gap { .. } => "gap",
            EntriesError::Rewound { .. } => "rewound",
            EntriesError::RolledBack { .. } => "rolled-back",
            EntriesError::Broken { .. } => "broken",
            EntriesError::Undecodable { .. } => "undecodable",
            EntriesError::NotCommitted(_) => "not-committed",
        }
    }
}

/// Why a commit was not made, or may not have been. Unless it says otherwise, nothing changed: neither the position nor
/// any of the writes.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum CommitError {
    /// The ownership had ended here before anything was sent.
    #[error("stream `{stream}`, token {token}: {} not made, the ownership has ended: drop what was computed, its next owner does it again", what(*id))]
    Lost {
        /// The stream.
        stream: StreamName,
        /// The token that is worth nothing now.
        token: Token,
        /// The position; `None`: a write without one.
        id: Option<EntryId>,
    },
    /// Another consumer owns the stream.
    #[error("stream `{stream}`, token {token}: {} fenced, another consumer owns the stream: drop what was computed", what(*id))]
    Fenced {
        /// The stream.
        stream: StreamName,
        /// The token that is worth nothing now.
        token: Token,
        /// The position; `None`: a write without one.
        id: Option<EntryId>,
    },
    /// A later position, or with writes the same one, was committed before.
    #[error("stream `{stream}`: {} not made, {committed} is committed already: nothing is to be done", what(*id))]
    Behind {
        /// The stream.
        stream: StreamName,
        /// The position.
        id: Option<EntryId>,
        /// What is committed.
        committed: EntryId,
    },
    /// Redis has forgotten commits with writes, or somebody's hand wrote.
    #[error(
        "stream `{stream}`: {} not made, Redis has forgotten commits and is at {committed}: read on from there, the entries come again",
        what(*id)
    )]
    RolledBack {
        /// The stream.
        stream: StreamName,
        /// The position.
        id: Option<EntryId>,
        /// What is committed now.
        committed: EntryId,
    },
    /// One of the writes cannot be made.
    #[error("stream `{stream}`: {} not made, its write {index} (counted from 0) cannot be: {why}", what(*id))]
    Rejected {
        /// The stream.
        stream: StreamName,
        /// The position.
        id: Option<EntryId>,
        /// Which, from 0 on.
        index: usize,
        /// Why, and with which key.
        why: Box<str>,
    },
    /// A key of the service cannot be used.
    #[error("stream `{stream}`: {} not made: {why}", what(*id))]
    Broken {
        /// The stream.
        stream: StreamName,
        /// The position.
        id: Option<EntryId>,
        /// What is wrong, and with which key.
        why: Box<str>,
    },
    /// A call was not answered, and then the ownership ended or a key could not be used: all of it was made, or nothing.
    /// A position tells which, to the next owner; of writes without one nobody can tell.
    #[error("stream `{stream}`, token {token}: {} made or not, no answer came{}", what(*id), if id.is_some() { ": the next owner's position tells" } else { "" })]
    Unknown {
        /// The stream.
        stream: StreamName,
        /// The token that is worth nothing now.
        token: Token,
        /// The position; `None`: a write without one.
        id: Option<EntryId>,
    },
    /// Nothing could be started to commit with.
    #[error("stream `{stream}`: nothing can be committed: {why}")]
    Unavailable {
        /// The stream.
        stream: StreamName,
        /// Why not.
        why: Arc<str>,
    },
}

fn what(id: Option<EntryId>) -> String {
    id.map_or_else(|| "the writes were".to_owned(), |id| format!("the commit of {id} was"))
}

impl CommitError {
    /// The error as one word: a label for meters and logs.
    pub fn label(&self) -> &'static str {
        match self {
            CommitError::Lost { .. } => "lost",
            CommitError::Fenced { .. } => "fenced",
            CommitError::Behind { .. } => "behind",
            CommitError::RolledBack { .. } => "rolled-back",
            CommitError::Rejected { .. } => "rejected",
            CommitError::Broken { .. } => "broken",
            CommitError::Unknown { .. } => "unknown",
            CommitError::Unavailable { .. } => "unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_what_they_are_about() {
        let (stream, token) = (StreamName::new("orders").unwrap(), Token(5));
        let id = Some(EntryId { ms: 7, seq: 1 });
        let fenced = CommitError::Fenced { stream: stream.clone(), token, id };
        insta::assert_snapshot!(fenced, @"stream `orders`, token 5: the commit of 7-1 was fenced, another consumer owns the stream: drop what was computed");
        let rejected = CommitError::Rejected { stream: stream.clone(), id: None, index: 2, why: "no hash".into() };
        insta::assert_snapshot!(rejected, @"stream `orders`: the writes were not made, its write 2 (counted from 0) cannot be: no hash");
        let gap = EntriesError::Gap { stream, after: EntryId { ms: 7, seq: 1 }, next: None, missing: Some(3) };
        insta::assert_snapshot!(gap, @"stream `orders`: 3 entries behind 7-1 were trimmed or deleted before they were read: trim only what was committed");
        assert!(!gap.is_last());
    }
}
