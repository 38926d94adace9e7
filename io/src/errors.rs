//! What can go wrong, as types: each names the key, consumer, stream or setting, and what to do.

use std::{io, path::PathBuf, time::Duration};

use streamkeeper_core::{
    config::ConfigError,
    id::{EntryId, IdError, StreamName},
    partitions::PartitionsError,
    streams::notification::{ClaimLost, LostReason},
    trouble::{Trouble, TroubleKind},
};
use thiserror::Error as ThisError;

use crate::links::on_demand::Failed;

/// Why a client cannot be started, or has ended.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// A URL that cannot be used. It is shown without its password.
    #[error("the Redis URL `{url}` cannot be used: {why}")]
    Url {
        /// The URL, redacted.
        url: String,
        /// Why.
        why: String,
    },
    /// A certificate or key that cannot be used.
    #[error("the TLS file `{}` cannot be used: {why}", file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A name that cannot be one.
    #[error(transparent)]
    Name(#[from] IdError),
    /// Settings that do not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Partitions that cannot be.
    #[error(transparent)]
    Partitions(#[from] PartitionsError),
    /// No server was reached in time.
    #[error(
        "service `{service}`: no server answered within {within:?} ({trouble}): check that {server} is up and reachable"
    )]
    Unreachable {
        /// The service.
        service: String,
        /// The server, without secrets.
        server: String,
        /// How long it was tried.
        within: Duration,
        /// What happened last.
        trouble: Trouble,
    },
    /// The server refuses something that the protocol needs.
    #[error(
        "service `{service}`: the server refuses: {trouble}. Give the user the rights in docs/operations.md, or another user or password in the URL"
    )]
    Refused {
        /// The service.
        service: String,
        /// What it said: names the command or key.
        trouble: Trouble,
    },
    /// A key of the protocol holds something else.
    #[error(
        "service `{service}`: one of its keys is of another type: {trouble}. Remove or rename that key, or choose another service name"
    )]
    WrongType {
        /// The service.
        service: String,
        /// What the server said.
        trouble: Trouble,
    },
    /// The setup cannot work: a server that is too old, a cluster with plain keys.
    #[error("service `{service}`: this setup cannot work: {trouble}")]
    Unsupported {
        /// The service.
        service: String,
        /// What is wrong.
        trouble: Trouble,
    },
    /// The consumer has ended for good, and not by wish.
    #[error("service `{service}`: the consumer has ended: {trouble}. Start it anew")]
    Terminated {
        /// The service.
        service: String,
        /// Why.
        trouble: Trouble,
    },
    /// The consumer was told to stop before it had started.
    #[error("service `{service}`: the consumer was told to stop")]
    Stopped {
        /// The service.
        service: String,
    },
    /// The operating system gave no thread, runtime or randomness.
    #[error("the operating system refuses a thread, a runtime or randomness: {0}")]
    System(#[from] io::Error),
}

impl Error {
    /// The error that a trouble is, when nothing can go on because of it.
    pub(crate) fn fatal(service: &str, trouble: Trouble) -> Error {
        let service = service.to_owned();
        match trouble.kind {
            TroubleKind::Refused => Error::Refused { service, trouble },
            TroubleKind::WrongType => Error::WrongType { service, trouble },
            TroubleKind::Unsupported => Error::Unsupported { service, trouble },
            _ => Error::Terminated { service, trouble },
        }
    }
}

/// Why a claim was not granted. Losing the race is the normal case.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum ClaimError {
    /// The announcement was not granted.
    #[error("announcement {entry} was not granted ({}): {}", why.label(), claim_advice(why))]
    Lost {
        /// The announcement.
        entry: EntryId,
        /// Why.
        why: ClaimLost,
    },
    /// The client has stopped.
    #[error("announcement {entry} cannot be claimed: the client has stopped")]
    Stopped {
        /// The announcement.
        entry: EntryId,
    },
}

fn claim_advice(why: &ClaimLost) -> &'static str {
    match why {
        ClaimLost::Held(_) => "another consumer was faster, nothing is to be done",
        ClaimLost::Gone => "it is finished, nothing is to be done",
        ClaimLost::SetAside => "it was set aside, `streamkeeper dead` shows why",
        ClaimLost::Owned => "this consumer owns it already, use that lease",
        ClaimLost::Full => "raise the capacity, or finish a stream first",
        ClaimLost::Unavailable => "Redis could not be asked, it will be offered again",
        ClaimLost::Broken(_) => "one of its keys is of a wrong type, remove that key",
    }
}

/// Why a stream could not be finished or given back.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum FinishError {
    /// The ownership had ended before, or ended unanswered.
    #[error("stream `{stream}`: the ownership has ended ({}): {}", reason.label(), finish_advice(reason))]
    Disowned {
        /// The stream.
        stream: StreamName,
        /// How it ended.
        reason: LostReason,
    },
    /// It was given back before, not finished.
    #[error("stream `{stream}` was given back before: its next owner finishes it")]
    Released {
        /// The stream.
        stream: StreamName,
    },
    /// It was finished before, not given back.
    #[error("stream `{stream}` was finished before: there is nothing to give back")]
    Done {
        /// The stream.
        stream: StreamName,
    },
    /// This consumer does not own a stream of that name.
    #[error("stream `{stream}` is not owned by this consumer: see `streams_owned()`")]
    NotOwned {
        /// The name.
        stream: String,
    },
}

fn finish_advice(reason: &LostReason) -> &'static str {
    match reason {
        LostReason::Unknown(_) => "Redis did not answer in time, it may have happened or will be handed out again",
        _ => "another owner has it or will have it, discard what was not fenced by the token",
    }
}

/// Why something could not be announced or asked.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum AskError {
    /// A name that cannot be one, or an info that is no JSON.
    #[error("`{text}` cannot be announced: {why}")]
    Malformed {
        /// The name or info.
        text: String,
        /// Why not.
        why: String,
    },
    /// The server could not be reached: nothing was sent.
    #[error("the server could not be reached: {0}. Nothing was changed")]
    Unreachable(Trouble),
    /// The connection broke before the answer: it may have happened or not. Announce with an idempotency key to be
    /// able to repeat it.
    #[error("the server did not answer: {0}. It may have happened or not: repeat it only with an idempotency key")]
    Unanswered(Trouble),
    /// The server said no.
    #[error("the server refuses: {0}")]
    Refused(Trouble),
    /// Partitions that cannot be. Nothing was changed.
    #[error(transparent)]
    Partitions(#[from] PartitionsError),
}

impl From<Failed> for AskError {
    fn from(failed: Failed) -> AskError {
        match failed {
            Failed::Connecting(trouble) if trouble.kind == TroubleKind::Connection => AskError::Unreachable(trouble),
            Failed::Answered(trouble) if trouble.kind == TroubleKind::Connection => AskError::Unanswered(trouble),
            Failed::Connecting(trouble) | Failed::Answered(trouble) => AskError::Refused(trouble),
        }
    }
}
