//! `dead-once`: a buried message appears once in the dead letter stream, with its whole story; what is called for the dead
//! runs at least once, and nothing afterwards.

use super::{Court, Promise, View, ledger::State};
use crate::{
    facts::{Fact, What},
    messages::facts::Said,
};

/// Knows nothing of its own.
pub(super) struct DeadOnce;

impl Promise for DeadOnce {
    fn name(&self) -> &'static str {
        "dead-once"
    }

    fn hear(&mut self, fact: &Fact, view: &View, court: &mut Court<'_>) {
        let What::Message(said) = &fact.what else { return };
        match said {
            Said::Buried { entry, dead, reason, number, missing, .. } => {
                if !missing.is_empty() {
                    court.harm(format!("the dead letter {dead} of {entry} does not tell: {}", missing.join(", ")));
                }
                let Some(message) = view.ledger.messages.get(entry) else {
                    return court
                        .harm(format!("{dead} is the dead letter of {entry}, which never stood in the stream"));
                };
                if message.buried > 0 {
                    court.harm(format!("{entry} is buried a second time, as {dead}"));
                }
                if message.number.is_some() && message.number != *number {
                    court
                        .harm(format!("{entry} is message {:?}, its dead letter {dead} is {number:?}", message.number));
                }
                // What is not in the stream any more cannot be run again.
                let called = message.last_rites
                    || message.removed
                    || message.record.buried_alive
                    || !matches!(&**reason, "failed" | "crashed");
                if !called {
                    court.harm(format!("{entry} is buried ({reason}), and what is called for the dead never was"));
                }
            }
            Said::Began { who, entry, .. } => {
                let Some(message) = view.ledger.messages.get(entry) else { return };
                // A group that a hand has set back delivers to two what each of them may run.
                if message.buried > 0 && message.state == State::Acked && !message.anew {
                    court.harm(format!("{who} begins a run of {entry}, which is buried"));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "dead-once";

    #[test]
    fn the_dead_are_buried_once() {
        let begins = [entered(1), delivered(0, &[1]), began_dead(0, 1, 1), ended(0, 1, 1, "failed")];
        let buried_once = [&begins[..], &[buried(0, 1, "failed"), acked(0, &[1])]].concat();
        good(P, &buried_once);
        bad(P, &[&buried_once[..], &[buried(0, 1, "failed")]].concat());
        bad(P, &[&buried_once[..], &[began(0, 2, 1)]].concat());
        good(P, &[&buried_once[..], &[stands("hand", &[1], &[], None), began(0, 2, 1)]].concat());
        let twice = [entered(1), delivered(1, &[1])];
        good(P, &[&twice[..], &begins[1..], &buried_once[begins.len()..], &[began(1, 2, 1)]].concat());
    }

    #[test]
    fn who_was_handed_it_by_a_group_that_is_gone_may_not_know_of_its_burial() {
        let handed = [entered(1), delivered(1, &[1])];
        let gone = [stands("hand", &[1], &[], None), grouped(0)];
        let forgotten = [redis_up("latest"), stands("up", &[1], &[], Some(0))];
        let ends = [delivered(0, &[1]), buried(0, 1, "broken"), acked(0, &[1]), began(1, 2, 1)];
        good(P, &[&handed[..], &gone, &ends].concat());
        good(P, &[&handed[..], &gone[1..], &ends].concat());
        bad(P, &[&handed[..], &forgotten, &ends].concat());
        bad(P, &[&handed[..1], &gone, &ends].concat());
    }

    #[test]
    fn nobody_is_buried_without_last_rites_and_a_story() {
        let begins = [entered(1), delivered(0, &[1]), began(0, 1, 1), ended(0, 1, 1, "failed")];
        bad(P, &[&begins[..], &[buried(0, 1, "failed")]].concat());
        good(P, &[&begins[..], &[buried(0, 1, "broken")]].concat());
        bad(P, &[&begins[..], &[buried_without(0, 1, "broken", "error")]].concat());
        bad(P, &[buried(0, 1, "broken")]);
    }
}
