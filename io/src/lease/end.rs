//! How the application ends an ownership, and what that comes to if what it worked on could not be settled before.

use std::time::Duration;

use streamkeeper_core::{
    entries::event::CommitEnd,
    id::{EntryId, Token},
    streams::End,
};

/// The application wants to end an ownership. The token says which one: the entry may be owned anew meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct EndRequest {
    pub(crate) entry: EntryId,
    pub(crate) token: Token,
    pub(crate) end: Wish,
}

impl EndRequest {
    /// What is asked for once this is known of what was to be committed or set aside before: a stream of which an entry
    /// could not be set aside is not finished, or the entry would be lost. Its next owner reads it again.
    pub(crate) fn settled(self, end: &CommitEnd) -> EndRequest {
        let end = match (self.end, end) {
            (Wish::Done, CommitEnd::Broken(why)) => {
                Wish::Failed(format!("an entry that cannot be decoded could not be set aside: {why}").into())
            }
            (Wish::Done, CommitEnd::Lost | CommitEnd::Unknown) => Wish::Release,
            (wish, _) => wish,
        };
        EndRequest { end, ..self }
    }
}

/// How the application ends an ownership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// For ever.
    Done,
    /// Unfinished.
    Release,
    /// Unfinished, and nobody is to be handed it for so long.
    Rest(Duration),
    /// Unfinished, because of this error.
    Failed(Box<str>),
}

impl Wish {
    pub(super) fn end(&self) -> End {
        match self {
            Wish::Done => End::Done,
            Wish::Release | Wish::Rest(_) | Wish::Failed(_) => End::Release,
        }
    }
}
