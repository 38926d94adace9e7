//! Who owned which stream when, and when nobody did: read from the facts of a run, for pictures and figures.

mod fold;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use serde::Serialize;
use streamkeeper::Time;

use crate::facts::{Fact, Owned, Who};

/// A run, as spans instead of moments.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// When the run ended.
    pub end: Time,
    /// The processes, in the order of their starts.
    pub lives: Vec<Life>,
    /// The ownerships, in the order of their beginnings.
    pub ownerships: Vec<Ownership>,
    /// The times in which a stream that had been owned, and was not finished, had no owner; in the order of their ends.
    pub gaps: Vec<Gap>,
    /// How long each stream waited for its first owner; in the order of their ends.
    pub firsts: Vec<First>,
    /// Lasting faults, and pauses.
    pub bands: Vec<Band>,
    /// Moments worth a word.
    pub marks: Vec<Mark>,
}

/// One process of a consumer.
#[derive(Clone, Debug)]
pub struct Life {
    /// Which.
    pub who: Who,
    /// Its consumer's id.
    pub id: Arc<str>,
    /// Its `lease_ttl`.
    pub ttl: Duration,
    /// A Go peer.
    pub go: bool,
    /// When it was started.
    pub from: Time,
    /// When it ended, or the run did.
    pub until: Time,
    /// How it ended: `crash`, `stopped`, `terminated`, or `running` at the end.
    pub how: &'static str,
}

/// An ownership, as the owner's application knew it.
#[derive(Clone, Debug)]
pub struct Ownership {
    /// Whose.
    pub who: Who,
    /// Of what.
    pub owned: Owned,
    /// Somebody had owned it before.
    pub takeover: bool,
    /// When the application heard of it.
    pub from: Time,
    /// Until when the stream had an owner by it: earlier than `until` if the owner stood still, and never came back to
    /// it in time.
    pub useful_until: Time,
    /// When the application heard of its end, or its process died, or the run ended.
    pub until: Time,
    /// How it ended: the label of its end, `crash`, `stopped`, or `owned` at the end.
    pub how: &'static str,
}

/// Why a stream lost its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Its owner's process died.
    Crash,
    /// Its owner stood still for longer than its lease.
    Pause,
    /// Its owner could not renew in time, or the lease was taken or lost: by a partition, by Redis.
    Lost,
    /// Its owner gave it back.
    Release,
    /// Its handler failed: it is handed out again after a pause, on purpose.
    Failure,
}

impl Cause {
    /// Nobody wished it.
    pub fn is_unplanned(self) -> bool {
        matches!(self, Cause::Crash | Cause::Pause | Cause::Lost)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Crash => "owner crashed",
            Cause::Pause => "owner stood still",
            Cause::Lost => "lease lost",
            Cause::Release => "handed over",
            Cause::Failure => "handler failed",
        })
    }
}

/// A time without an owner.
#[derive(Clone, Debug)]
pub struct Gap {
    /// The stream.
    pub stream: Arc<str>,
    /// From when.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// Why.
    pub cause: Cause,
    /// The ownership before it: an index in [`Timeline::ownerships`].
    pub before: usize,
    /// The ownership after it, if somebody owned the stream again before the run ended.
    pub after: Option<usize>,
}

impl Gap {
    /// How long.
    pub fn span(&self) -> Duration {
        self.until.since(self.from)
    }
}

/// The wait for a stream's first owner.
#[derive(Clone, Debug)]
pub struct First {
    /// The stream.
    pub stream: Arc<str>,
    /// When it was announced.
    pub from: Time,
    /// When it was owned, or the run ended.
    pub until: Time,
    /// It was owned before the run ended.
    pub owned: bool,
}

/// A fault that lasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The consumer that it befell; otherwise Redis.
    pub consumer: Option<usize>,
    /// Its kind, such as `pause` or `redis failover`.
    pub kind: &'static str,
    /// The action's text.
    pub text: String,
    /// From when.
    pub from: Time,
    /// Until when.
    pub until: Time,
}

/// A moment worth a word.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// The consumer that it befell; otherwise Redis.
    pub consumer: Option<usize>,
    /// What happened, in few words.
    pub text: String,
    /// When.
    pub at: Time,
}

impl Timeline {
    /// Reads a run that ended then.
    pub fn of(facts: &[Fact], end: Time) -> Timeline {
        fold::fold(facts, end)
    }

    /// The names of the streams, in the order in which they were first owned.
    pub fn streams(&self) -> Vec<Arc<str>> {
        let mut seen = BTreeSet::new();
        let names = self.ownerships.iter().map(|ownership| &ownership.owned.stream);
        names.filter(|name| seen.insert(Arc::clone(name))).cloned().collect()
    }
}
