//! The judges of work on owned streams: one promise each. They hear the facts of a run in order, and see how everything
//! stood just before each.

mod answered;
mod commits;
mod effects;
#[cfg(test)]
mod histories;
mod order;
mod progress;
mod skipped;
mod truth;

use std::time::Duration;

use streamkeeper::Time;

use self::truth::Truth;
use crate::{
    facts::Fact,
    judge::{Judge, Kind, Violation},
    plan::Plan,
};

/// The promises, by name, in the order in which they are judged.
pub const PROMISES: [&str; 6] =
    ["entries-in-order", "none-skipped", "commits-monotonic", "effects-once", "commits-answered", "entries-flow"];

/// How often what does not happen is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// One promise.
trait Promise {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Hears what happens next.
    fn hear(&mut self, fact: &Fact, truth: &Truth, court: &mut Court<'_>) {
        let _ = (fact, truth, court);
    }

    /// Looks for what does not happen, every now and then, and at the end.
    fn look(&mut self, at: Time, truth: &Truth, court: &mut Court<'_>) {
        let _ = (at, truth, court);
    }
}

/// Where a judge says that its promise is broken.
struct Court<'a> {
    promise: &'static str,
    at: Time,
    verdicts: &'a mut Vec<Violation>,
}

impl Court<'_> {
    /// Something happened that must never happen.
    fn harm(&mut self, how: String) {
        self.verdicts.push(Violation { promise: self.promise, kind: Kind::Safety, at: self.at, how });
    }

    /// Something did not happen in time.
    fn delay(&mut self, how: String) {
        self.verdicts.push(Violation { promise: self.promise, kind: Kind::Liveness, at: self.at, how });
    }
}

/// All of them.
pub struct Judges {
    truth: Truth,
    promises: Vec<Box<dyn Promise>>,
    next_look: Time,
}

impl Judges {
    /// The judges of a run.
    pub fn new(plan: &Plan) -> Judges {
        Judges {
            truth: Truth::default(),
            promises: vec![
                Box::new(order::Order),
                Box::new(skipped::Skipped),
                Box::new(commits::Commits),
                Box::new(effects::Effects),
                Box::new(answered::Answered::default()),
                Box::new(progress::Progress::new(plan)),
            ],
            next_look: Time::ZERO,
        }
    }

    fn look(&mut self, at: Time, verdicts: &mut Vec<Violation>) {
        for promise in &mut self.promises {
            let mut court = Court { promise: promise.name(), at, verdicts };
            promise.look(at, &self.truth, &mut court);
        }
    }
}

impl Judge for Judges {
    fn hear(&mut self, fact: &Fact, verdicts: &mut Vec<Violation>) {
        if fact.at >= self.next_look {
            self.look(fact.at, verdicts);
            self.next_look = fact.at + LOOK;
        }
        for promise in &mut self.promises {
            let mut court = Court { promise: promise.name(), at: fact.at, verdicts };
            promise.hear(fact, &self.truth, &mut court);
        }
        self.truth.hear(fact);
    }

    fn end(&mut self, at: Time, verdicts: &mut Vec<Violation>) {
        self.look(at, verdicts);
    }
}
