//! What can go wrong, as types: each names the stream, the group, and what to do.

use std::{io, time::Duration};

use streamkeeper_core::{
    config::ConfigError,
    messages::NameError,
    trouble::{Trouble, TroubleKind},
};
use thiserror::Error as ThisError;

use crate::links::on_demand::Failed;

/// Why a consumer cannot be started, or has ended.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// A URL or a certificate that cannot be used.
    #[error(transparent)]
    Server(crate::Error),
    /// A name that cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Settings that do not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The same stream twice in one consumer.
    #[error("the stream `{stream}` is given twice to one consumer of the group `{group}`: name it once")]
    Twice {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
    },
    /// No server was reached in time.
    #[error(
        "stream `{stream}`, group `{group}`: no server answered within {within:?} ({trouble}): check that {server} is up and reachable"
    )]
    Unreachable {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
        /// The server, without secrets.
        server: String,
        /// How long it was tried.
        within: Duration,
        /// What happened last.
        trouble: Trouble,
    },
    /// The server refuses something that consuming needs.
    #[error(
        "stream `{stream}`, group `{group}`: the server refuses: {trouble}. Give the user the rights in docs/operations.md, or another user or password in the URL"
    )]
    Refused {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
        /// What it said: names the command or key.
        trouble: Trouble,
    },
    /// One of the keys holds something else.
    #[error(
        "stream `{stream}`, group `{group}`: one of its keys is of another type: {trouble}. Remove or rename that key, or choose another stream"
    )]
    WrongType {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
        /// What the server said.
        trouble: Trouble,
    },
    /// The setup cannot work: a server that is too old, a cluster with plain keys.
    #[error("stream `{stream}`, group `{group}`: this setup cannot work: {trouble}")]
    Unsupported {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
        /// What is wrong.
        trouble: Trouble,
    },
    /// The consumer has ended for good, and not by wish.
    #[error("stream `{stream}`, group `{group}`: the consumer has ended: {trouble}. Start it anew")]
    Terminated {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
        /// Why.
        trouble: Trouble,
    },
    /// The consumer was told to stop before it had started.
    #[error("stream `{stream}`, group `{group}`: the consumer was told to stop")]
    Stopped {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
    },
    /// The operating system gave no thread, runtime or randomness.
    #[error("the operating system refuses a thread, a runtime or randomness: {0}")]
    System(#[from] io::Error),
}

impl Error {
    /// The error that a trouble is, when nothing can go on because of it.
    pub(crate) fn fatal(stream: &str, group: &str, trouble: Trouble) -> Error {
        let (stream, group) = (stream.to_owned(), group.to_owned());
        match trouble.kind {
            TroubleKind::Refused => Error::Refused { stream, group, trouble },
            TroubleKind::WrongType => Error::WrongType { stream, group, trouble },
            TroubleKind::Unsupported => Error::Unsupported { stream, group, trouble },
            _ => Error::Terminated { stream, group, trouble },
        }
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Error {
        match error {
            crate::Error::System(error) => Error::System(error),
            error => Error::Server(error),
        }
    }
}

/// Why a message was not sent, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum SendError {
    /// The codec cannot write it.
    #[error("a message for the stream `{stream}` cannot be encoded: {why}. It was not sent")]
    Encode {
        /// The stream.
        stream: String,
        /// What the codec said.
        why: String,
    },
    /// Something said about it makes no sense.
    #[error("a message for the stream `{stream}` cannot be sent: {what} {why}")]
    Malformed {
        /// The stream.
        stream: String,
        /// What: names the field and its value.
        what: String,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// The server could not be reached: nothing was sent.
    #[error("stream `{stream}`: the server could not be reached: {trouble}. Nothing was sent")]
    Unreachable {
        /// The stream.
        stream: String,
        /// What happened.
        trouble: Trouble,
    },
    /// The connection broke before the answer: it was sent or not. A message with an idempotency key, or an id and a
    /// delay, may be sent again.
    #[error(
        "stream `{stream}`: the server did not answer: {trouble}. It may have been sent or not: repeat it only with `once`, or with an `id` and a `delay`"
    )]
    Unanswered {
        /// The stream.
        stream: String,
        /// What happened.
        trouble: Trouble,
    },
    /// The server said no: nothing was sent.
    #[error("stream `{stream}`: the server refuses: {trouble}. Nothing was sent")]
    Refused {
        /// The stream.
        stream: String,
        /// What it said.
        trouble: Trouble,
    },
}

impl SendError {
    pub(crate) fn of(stream: &str, failed: Failed) -> SendError {
        let stream = stream.to_owned();
        match failed {
            Failed::Connecting(trouble) if trouble.kind == TroubleKind::Connection => {
                SendError::Unreachable { stream, trouble }
            }
            Failed::Answered(trouble) if trouble.kind == TroubleKind::Connection => {
                SendError::Unanswered { stream, trouble }
            }
            Failed::Connecting(trouble) | Failed::Answered(trouble) => SendError::Refused { stream, trouble },
        }
    }

    /// The error as one word: a label for meters and logs.
    pub fn label(&self) -> &'static str {
        match self {
            SendError::Encode { .. } => "encode",
            SendError::Malformed { .. } => "malformed",
            SendError::Unreachable { .. } => "unreachable",
            SendError::Unanswered { .. } => "unanswered",
            SendError::Refused { .. } => "refused",
        }
    }
}
