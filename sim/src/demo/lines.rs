//! What a consumer's process says to the demo: a JSON object a line.

use serde::{Deserialize, Serialize};
use streamkeeper::Time;

use crate::facts::{Owned, What, Who};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// By the system's clock, which all processes share and which counts on while one stands still: microseconds.
    pub(super) at_us: u64,
    #[serde(flatten)]
    pub(super) said: Said,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "said")]
pub(super) enum Said {
    /// The client runs, under this id.
    Ready { id: String },
    /// A stream is owned, until then by the owner's own clock.
    Added { stream: String, entry: String, token: u64, takeover: bool, until_us: u64 },
    /// An ownership has ended.
    Ended { stream: String, entry: String, token: u64, how: String },
    /// A step of work was written to the ledger.
    Wrote { stream: String, entry: String, token: u64 },
    /// The ledger refused a step: its token was too old.
    Refused { stream: String },
    /// What is owned at this instant, and until when by the owner's own clock, unless its lease is extended.
    Holds { leases: Vec<Held> },
    /// The client has stopped by wish.
    Stopped,
    /// It has ended, not by wish.
    Terminated { why: String },
}

/// A lease that an owner trusts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) stream: String,
    pub(super) token: u64,
    pub(super) until_us: u64,
}

impl Said {
    /// As a fact, where it is one.
    pub(super) fn fact(&self, who: Who) -> Option<What> {
        Some(match self {
            Said::Ready { .. } => What::Ready { who },
            Said::Added { stream, entry, token, takeover, .. } => {
                What::Added { who, owned: owned(stream, entry, *token), takeover: *takeover }
            }
            Said::Ended { stream, entry, token, how } => {
                What::Ended { who, owned: owned(stream, entry, *token), how: label(how) }
            }
            Said::Wrote { stream, entry, token } => What::Worked { who, owned: owned(stream, entry, *token) },
            Said::Stopped => What::Stopped { who },
            Said::Terminated { why } => What::Terminated { who, why: why.clone() },
            Said::Refused { .. } | Said::Holds { .. } => return None,
        })
    }
}

fn owned(stream: &str, entry: &str, token: u64) -> Owned {
    Owned { stream: stream.into(), entry: entry.into(), token }
}

/// A label that has gone through a pipe.
fn label(how: &str) -> &'static str {
    const LABELS: [&str; 9] =
        ["done", "released", "expired", "taken", "paused", "unreachable", "gone", "vanished", "fenced"];
    LABELS.into_iter().find(|label| *label == how).unwrap_or("unknown")
}

/// The time of a line, counted from the demo's beginning.
pub(super) fn since(origin: Time, at_us: u64) -> Time {
    Time::ZERO + Time::from_micros(at_us).since(origin)
}
