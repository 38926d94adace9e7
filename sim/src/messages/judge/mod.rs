//! The judges of the second half: one promise each. They hear the facts of a run in order, and see how everything stood
//! just before each.

mod bounded;
mod bounded_attempts;
mod clock;
mod dead_once;
mod due;
mod fleet;
#[cfg(test)]
mod histories;
mod kept;
pub(super) mod ledger;
mod no_loss;
mod one_live;
mod sent_once;
mod stale_harmless;

use std::time::Duration;

use streamkeeper::Time;

use self::{fleet::Fleet, ledger::Ledger};
pub(super) use self::{ledger::PARKED, no_loss::number_of};
use crate::{
    facts::Fact,
    judge::{Judge, Kind, Violation},
    plan::Plan,
};

/// The promises, by name, in the order in which they are judged.
pub const PROMISES: [&str; 9] =
    ["no-loss", "one-live", "bounded-attempts", "dead-once", "stale-harmless", "sent-once", "bounded", "due", "kept"];

/// How often what does not happen is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// How everything stands, just before a fact.
struct View {
    ledger: Ledger,
    fleet: Fleet,
}

/// One promise.
trait Promise {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Hears what happens next.
    fn hear(&mut self, fact: &Fact, view: &View, court: &mut Court<'_>) {
        let _ = (fact, view, court);
    }

    /// Looks for what does not happen, every now and then, and at the end.
    fn look(&mut self, at: Time, view: &View, court: &mut Court<'_>) {
        let _ = (at, view, court);
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
    view: View,
    promises: Vec<Box<dyn Promise>>,
    next_look: Time,
}

impl Judges {
    /// The judges of a run.
    pub fn new(plan: &Plan) -> Judges {
        Judges {
            view: View { ledger: Ledger::default(), fleet: Fleet::new(plan) },
            promises: vec![
                Box::new(no_loss::NoLoss::default()),
                Box::new(one_live::OneLive),
                Box::new(bounded_attempts::BoundedAttempts::default()),
                Box::new(dead_once::DeadOnce),
                Box::new(stale_harmless::StaleHarmless),
                Box::new(sent_once::SentOnce::default()),
                Box::new(bounded::Bounded::default()),
                Box::new(due::Due::default()),
                Box::new(kept::Kept::default()),
            ],
            next_look: Time::ZERO,
        }
    }

    fn look(&mut self, at: Time, verdicts: &mut Vec<Violation>) {
        for promise in &mut self.promises {
            let mut court = Court { promise: promise.name(), at, verdicts };
            promise.look(at, &self.view, &mut court);
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
            promise.hear(fact, &self.view, &mut court);
        }
        self.view.ledger.hear(fact);
        self.view.fleet.hear(fact);
    }

    fn end(&mut self, at: Time, verdicts: &mut Vec<Violation>) {
        self.look(at, verdicts);
    }
}
