//! The judges: one promise of Streamkeeper each. They hear the facts of a run in order, keep their own truth, draw no
//! randomness and ask nobody.

mod bounded;
mod conditions;
mod exclusive;
mod fenced;
mod finished;
mod in_order;
mod isolated;
mod kept;

use std::fmt;

use serde::Serialize;
use streamkeeper::Time;

use crate::{entries, facts::Fact, messages, plan::Plan};

/// The promises, by name, in the order in which they are judged.
pub const PROMISES: [&str; 7] = ["exclusive", "fenced", "finished", "in-order", "isolated", "bounded", "kept"];

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

/// One judge for each promise; if the plan has workers, for each promise about messages; if it has readers,
/// those about entries besides.
pub fn judges(plan: &Plan) -> Vec<Box<dyn Judge>> {
    if plan.has_workers() {
        return vec![Box::new(messages::judge::Judges::new(plan))];
    }
    let mut judges: Vec<Box<dyn Judge>> = vec![
        Box::new(exclusive::Exclusive::new(plan)),
        Box::new(fenced::Fenced::new(plan)),
        Box::new(finished::Finished::default()),
        Box::new(in_order::InOrder::new(plan)),
        Box::new(isolated::Isolated::new(plan)),
        Box::new(bounded::Bounded::new(plan)),
        Box::new(kept::Kept::new(plan)),
    ];
    if plan.has_readers() {
        judges.push(Box::new(entries::judge::Judges::new(plan)));
    }
    judges
}

/// Judges a whole run at once: the violations in order of time.
pub fn judge(plan: &Plan, facts: &[Fact], end: Time) -> Vec<Violation> {
    let (mut judges, mut verdicts) = (judges(plan), Vec::new());
    for fact in facts {
        for judge in &mut judges {
            judge.hear(fact, &mut verdicts);
        }
    }
    for judge in &mut judges {
        judge.end(end, &mut verdicts);
    }
    verdicts.sort_by_key(|violation| violation.at);
    verdicts
}

#[cfg(test)]
mod histories;
