//! The judges: one promise of Streamkeeper each. They hear the facts of a run in order, keep their own truth, draw no
//! randomness and ask nobody.

use std::fmt;

use serde::Serialize;
use streamkeeper::Time;

use crate::{facts::Fact, plan::Plan};

/// Whether a broken promise does harm or only stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Something happened that must never happen.
    Safety,
    /// Something did not happen in time.
    Liveness,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// Its name.
    pub promise: &'static str,
    /// What kind.
    pub kind: Kind,
    /// When it was seen, in microseconds.
    #[serde(serialize_with = "crate::facts::micros", rename = "at_us")]
    pub at: Time,
    /// Whom it befell, and how.
    pub how: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s: `{}` is broken: {}", self.at.as_micros() as f64 / 1e6, self.promise, self.how)
    }
}

/// A judge of one promise.
pub trait Judge {
    /// Hears what happened next.
    fn hear(&mut self, fact: &Fact, verdicts: &mut Vec<Violation>);

    /// The run is over, at this time.
    fn end(&mut self, at: Time, verdicts: &mut Vec<Violation>);
}

/// Judges a whole run at once.
pub fn judge(plan: &Plan, facts: &[Fact], end: Time) -> Vec<Violation> {
    let _ = (plan, facts, end);
    Vec::new()
}
