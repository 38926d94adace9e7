//! `stale-harmless`: a run that was cut off can neither fail, delay, bury, give back nor refresh the message for anyone, a
//! later run in the same process included.

use std::{sync::Arc, time::Duration};

use super::{
    Court, Promise, View,
    ledger::{Message, PARKED, Run, State},
};
use crate::{
    facts::{Fact, What, Who},
    messages::facts::{Record, Said},
};

/// Redis counts time in milliseconds.
const GRAIN: Duration = Duration::from_millis(2);

/// Knows nothing of its own.
pub(super) struct StaleHarmless;

impl Promise for StaleHarmless {
    fn name(&self) -> &'static str {
        "stale-harmless"
    }

    fn hear(&mut self, fact: &Fact, view: &View, court: &mut Court<'_>) {
        let What::Message(said) = &fact.what else { return };
        match said {
            Said::Claimed { by: Some(by), to, entries, counted, .. } => {
                for entry in entries {
                    if let Some(message) = view.ledger.messages.get(entry) {
                        claimed((*by, to, *counted), entry, message, view, court);
                    }
                }
            }
            Said::Buried { by: Some(by), entry, .. } => {
                if let Some(message) = view.ledger.messages.get(entry) {
                    buried(*by, entry, message, view, court);
                }
            }
            Said::Recorded { by: Some(by), entry, record, .. } => {
                if let Some(message) = view.ledger.messages.get(entry) {
                    recorded(*by, entry, message, record, view, court);
                }
            }
            _ => {}
        }
    }
}

/// A message is put aside, refreshed, or taken in.
fn claimed(
    (by, to, counted): (Who, &Arc<str>, bool),
    entry: &str,
    message: &Message,
    view: &View,
    court: &mut Court<'_>,
) {
    if message.state != State::Pending {
        return;
    }
    let holder = view.ledger.holder(message);
    if &**to == PARKED {
        let idle = court.at.since(message.confirmed);
        // A step of the clock makes it look idle, and what comes up has been idle before.
        let stepped = view.ledger.altered >= message.confirmed;
        if holder == Some(by) {
            if let Some(run) = live_run(entry, message, view) {
                let began = run.began;
                court.harm(format!("{by} puts {entry} aside while its run, begun at {began:?}, has not ended"));
            }
        } else if !message.is_parked() && !stepped && idle + GRAIN < view.fleet.shortest_idle() {
            let owner = message.owner.as_deref().unwrap_or("nobody");
            court.harm(format!("{by} puts {entry} aside, which is {owner}'s since {} ms", idle.as_millis()));
        }
    } else if !counted && message.owner.as_ref() != Some(to) {
        let owner = message.owner.as_deref().unwrap_or("nobody");
        court.harm(format!("{by} refreshes {entry} for {to}, and it is {owner}'s"));
    }
}

/// The run of this delivery. One that began before it is of an earlier one, whatever its number: a Redis that has forgotten
/// that one counts anew.
fn live_run<'a>(entry: &'a str, message: &Message, view: &'a View) -> Option<&'a Run> {
    let is_of_it = |run: &&Run| view.ledger.altered < run.began && message.delivered <= run.began;
    view.ledger.current_run(entry, message).filter(is_of_it)
}

fn buried(by: Who, entry: &str, message: &Message, view: &View, court: &mut Court<'_>) {
    match message.state {
        State::Pending if view.ledger.holder(message) == Some(by) => {
            if live_run(entry, message, view).is_some() {
                court.harm(format!("{by} buries {entry} while its run has not ended"));
            }
        }
        State::Pending => {
            let owner = message.owner.as_deref().unwrap_or("nobody");
            court.harm(format!("{by} buries {entry}, and it is {owner}'s"));
        }
        State::Acked if !message.removed => court.harm(format!("{by} buries {entry}, which is acknowledged")),
        State::Acked | State::Gone | State::Unread => {}
    }
}

/// A failure or the decision to let it die is written down by its holder, or as it is put aside by who was.
fn recorded(by: Who, entry: &str, message: &Message, record: &Record, view: &View, court: &mut Court<'_>) {
    let fails = record.failed > message.record.failed || (record.dying && !message.record.dying);
    let of = |owner: Option<&Arc<str>>| owner.and_then(|owner| view.ledger.names.get(owner)).copied();
    let holds = of(message.owner.as_ref()) == Some(by);
    let held = message.is_parked() && message.since == court.at && of(message.former.as_ref()) == Some(by);
    if fails && message.state == State::Pending && !holds && !held {
        let owner = message.owner.as_deref().unwrap_or("nobody");
        court.harm(format!("{by} writes down a failure of {entry}, and it is {owner}'s"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use crate::facts::What;

    const P: &str = "stale-harmless";

    /// A message that worker 1 has taken from worker 0 after 10 s.
    fn taken(then: &[What]) -> Vec<crate::facts::Fact> {
        let begins = [started(0), ready(0), started(1), ready(1), entered(1), delivered(0, &[1]), began(0, 1, 1)];
        let mut facts = each_ms(&begins);
        facts.push(timed(10_000, claimed(1, "~delayed", 1, false)));
        facts.push(timed(10_100, claimed(1, "w1", 1, true)));
        facts.push(timed(10_110, began_again(1, 2, 1, 2)));
        facts.extend(then.iter().map(|what| timed(10_200, what.clone())));
        facts
    }

    #[test]
    fn what_is_idle_may_be_taken() {
        good_timed(P, &taken(&[]));
        good_timed(
            P,
            &taken(&[ended(1, 2, 1, "failed"), claimed(1, "~delayed", 1, false), recorded_by(1, 1, 1, 2, 0)]),
        );
        good_timed(P, &taken(&[claimed(1, "w1", 1, false)]));
    }

    #[test]
    fn who_was_cut_off_does_no_harm() {
        bad_timed(P, &taken(&[ended(0, 1, 1, "failed"), claimed(0, "~delayed", 1, false)]));
        bad_timed(P, &taken(&[ended(0, 1, 1, "failed"), buried(0, 1, "failed")]));
        bad_timed(P, &taken(&[claimed(0, "w0", 1, false)]));
        bad_timed(P, &taken(&[recorded_by(0, 1, 1, 1, 0)]));
        good_timed(P, &taken(&[ended(0, 1, 1, "done"), acked(0, &[1])]));
    }

    #[test]
    fn a_delivery_that_was_forgotten_has_the_number_of_the_one_after() {
        let begins = [started(0), ready(0), entered(1), delivered(0, &[1]), stands("up", &[1], &[], None)];
        let aside = claimed(0, "~delayed", 1, false);
        let mut facts = each_ms(&begins);
        facts.push(timed(100, began(0, 1, 1)));
        facts.push(timed(110, delivered(0, &[1])));
        good_timed(P, &[&facts[..], &[timed(120, aside.clone())]].concat());
        facts.push(timed(130, ended(0, 1, 1, "failed")));
        facts.push(timed(140, began(0, 2, 1)));
        bad_timed(P, &[&facts[..], &[timed(150, aside)]].concat());
    }

    #[test]
    fn an_earlier_run_of_the_same_process_does_no_harm() {
        bad_timed(P, &taken(&[claimed(1, "~delayed", 1, false)]));
        bad_timed(P, &taken(&[buried(1, 1, "failed")]));
        good_timed(P, &taken(&[ended(1, 2, 1, "rejected"), buried(1, 1, "rejected")]));
    }
}
