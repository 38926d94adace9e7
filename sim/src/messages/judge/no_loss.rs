//! `no-loss`: a message that was sent has been acknowledged after a run that succeeded, or stands in the dead letter
//! stream, or is still pending, planned or unread; nothing but a human hand removes it.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Court, Promise, View,
    ledger::{State, place},
};
use crate::{
    facts::{Fact, Forgot, What},
    messages::facts::{Said, Stock},
};

/// What was sent.
#[derive(Default)]
pub(super) struct NoLoss {
    /// Every entry that has ever stood in the stream.
    entered: BTreeSet<Arc<str>>,
    /// Every message that has ever stood in the stream, by its number.
    arrived: BTreeSet<u64>,
    /// The same, and what was planned.
    known: BTreeSet<u64>,
    /// Those whose loss was told, or that went by hand.
    excused: BTreeSet<Arc<str>>,
}

impl Promise for NoLoss {
    fn name(&self) -> &'static str {
        "no-loss"
    }

    fn hear(&mut self, fact: &Fact, view: &View, court: &mut Court<'_>) {
        let What::Message(said) = &fact.what else { return };
        match said {
            Said::Entered { entry, number } => {
                self.entered.insert(entry.clone());
                self.known.extend(number);
                self.arrived.extend(number);
            }
            Said::Scheduled { id, .. } => self.known.extend(number_of(id)),
            Said::Unscheduled { id } if number_of(id).is_none_or(|number| !self.arrived.contains(&number)) => {
                court.harm(format!("{id} is not planned any more, and never came into the stream"));
            }
            Said::Sent { number, entry: Some(entry), .. } if !self.entered.contains(entry) => {
                court.harm(format!(
                    "the producer of message {number} was told that it is {entry}, which never stood there"
                ));
            }
            Said::Sent { number, entry: None, .. } if !self.known.contains(number) => {
                court.harm(format!("the producer of message {number} was told that it is planned, and it never was"));
            }
            Said::Acked { entries, script, .. } => {
                for entry in entries {
                    self.acked(entry, *script, view, court);
                }
            }
            Said::Removed { by: Some(who), entries } => {
                for entry in entries {
                    let Some(message) = view.ledger.messages.get(entry) else { continue };
                    // What has succeeded may be forgotten by Redis as delivered, and is still done.
                    if matches!(message.state, State::Unread | State::Pending) && !message.done {
                        court.harm(format!("{who} has removed {entry}, which is {}", named(message.state)));
                    }
                }
            }
            Said::Grouped { after } => {
                for (entry, message) in &view.ledger.messages {
                    let open = matches!(message.state, State::Unread | State::Pending) && !message.removed;
                    if open && place(entry) <= place(after) && place(after) > (0, 0) {
                        court.harm(format!("the group was created behind {after}, and {entry} before it is not done"));
                    }
                }
            }
            Said::Dismissed { by: Some(who), consumer, pending } if *pending > 0 => {
                court.harm(format!("{who} has deleted the consumer {consumer} with {pending} messages pending"));
            }
            Said::Stands(stock) => self.stands(stock, view, court),
            _ => {}
        }
    }
}

impl NoLoss {
    fn acked(&mut self, entry: &Arc<str>, script: Option<&str>, view: &View, court: &mut Court<'_>) {
        let Some(message) = view.ledger.messages.get(entry) else { return };
        let pending = message.state == State::Pending;
        let rightly = message.done || message.buried > 0 || message.removed;
        if pending && !rightly {
            let by = script.unwrap_or("XACK");
            court.harm(format!("{entry} was acknowledged by {by}, and no run of it has succeeded"));
        }
    }

    fn stands(&mut self, stock: &Stock, view: &View, court: &mut Court<'_>) {
        let stands: BTreeSet<&Arc<str>> = stock.stream.iter().map(|(entry, _)| entry).collect();
        let pending: BTreeSet<&Arc<str>> = stock.pending.iter().map(|(entry, ..)| entry).collect();
        let read = stock.read.as_deref().map(place);
        let forgotten = matches!(view.ledger.forgot, Some(Forgot::Latest | Forgot::All));
        let excused = stock.why == "hand" || (stock.why == "up" && forgotten);
        for (entry, message) in &view.ledger.messages {
            let open = matches!(message.state, State::Unread | State::Pending);
            let unread = stands.contains(entry) && read.is_none_or(|read| place(entry) > read);
            if !open || pending.contains(entry) || unread || message.buried > 0 || message.removed {
                continue;
            }
            if excused {
                self.excused.insert(entry.clone());
            } else if self.excused.insert(entry.clone()) {
                let state = named(message.state);
                court.harm(format!("{entry} was {state}, and is neither pending nor unread nor done any more"));
            }
        }
        let planned: BTreeSet<&Arc<str>> = stock.scheduled.iter().map(|(id, _)| id).collect();
        let entered: BTreeSet<u64> = view.ledger.messages.values().filter_map(|message| message.number).collect();
        for id in view.ledger.scheduled.keys().filter(|id| !planned.contains(id)) {
            let arrived = number_of(id).is_some_and(|number| entered.contains(&number));
            if !arrived && !excused {
                court.harm(format!(
                    "{id} was planned for later, and neither stands in the stream nor is planned any more"
                ));
            }
        }
    }
}

fn named(state: State) -> &'static str {
    match state {
        State::Unread => "unread",
        State::Pending => "pending",
        State::Acked => "acknowledged",
        State::Gone => "gone",
    }
}

/// The number of a message in the id under which the simulation plans it.
pub(in crate::messages) fn number_of(id: &str) -> Option<u64> {
    id.strip_prefix('m')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "no-loss";

    #[test]
    fn a_message_is_acknowledged_after_a_run_that_succeeded() {
        let begins = [entered(1), delivered(0, &[1]), began(0, 1, 1)];
        good(P, &[&begins[..], &[ended(0, 1, 1, "done"), acked(0, &[1]), stands("end", &[1], &[], Some(1))]].concat());
        bad(P, &[&begins[..], &[acked(0, &[1])]].concat());
        bad(P, &[&begins[..], &[ended(0, 1, 1, "failed"), acked(0, &[1])]].concat());
        good(P, &[&begins[..], &[ended(0, 1, 1, "rejected"), buried(0, 1, "rejected"), acked(0, &[1])]].concat());
    }

    #[test]
    fn what_is_not_done_stands_somewhere() {
        let begins = [entered(1), entered(2), delivered(0, &[1])];
        good(P, &[&begins[..], &[stands("end", &[1, 2], &[1], Some(1))]].concat());
        bad(P, &[&begins[..], &[stands("end", &[1, 2], &[], Some(1))]].concat());
        bad(P, &[&begins[..], &[stands("end", &[1, 2], &[1], Some(2))]].concat());
        bad(P, &[&begins[..], &[stands("end", &[1], &[1], Some(1))]].concat());
        good(P, &[&begins[..], &[stands("end", &[1, 2], &[], None)]].concat());
    }

    #[test]
    fn what_redis_forgets_or_a_hand_takes_is_excused() {
        let begins = [entered(1), delivered(0, &[1])];
        good(P, &[&begins[..], &[redis_up("latest"), stands("up", &[], &[], None)]].concat());
        bad(P, &[&begins[..], &[redis_up("nothing"), stands("up", &[], &[], None)]].concat());
        good(P, &[&begins[..], &[stands("hand", &[], &[], None), stands("end", &[], &[], None)]].concat());
    }

    #[test]
    fn what_was_told_to_producers_is_true() {
        good(P, &[entered(1), sent(1)]);
        bad(P, &[sent(1)]);
        good(P, &[scheduled(1, 50), sent_later(1)]);
        bad(P, &[sent_later(1)]);
        good(P, &[scheduled(1, 50), entered(1), unscheduled(1)]);
        bad(P, &[scheduled(1, 50), unscheduled(1)]);
    }

    #[test]
    fn nothing_is_removed_before_its_end() {
        let begins = [entered(1), delivered(0, &[1])];
        bad(P, &[&begins[..], &[removed(Some(0), &[1])]].concat());
        good(P, &[&begins[..], &[removed(None, &[1])]].concat());
        let done = [began(0, 1, 1), ended(0, 1, 1, "done"), acked(0, &[1]), removed(Some(0), &[1])];
        good(P, &[&begins[..], &done].concat());
        let forgotten =
            [began(0, 1, 1), ended(0, 1, 1, "done"), stands("hand", &[1], &[], None), removed(Some(0), &[1])];
        good(P, &[&begins[..], &forgotten].concat());
        bad(P, &[&begins[..], &[dismissed(Some(0), "w0", 1)]].concat());
        bad(P, &[&begins[..], &[grouped(1)]].concat());
        good(P, &[&begins[..], &[grouped(0)]].concat());
    }
}
