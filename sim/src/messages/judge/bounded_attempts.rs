//! `bounded-attempts`: a message has at most `max_attempts` runs that failed, each counted once, and a bounded number that
//! crashed their process; a poison message does not bury its neighbours.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use streamkeeper::Time;

use super::{
    Court, Promise, View,
    ledger::{Message, PARKED},
};
use crate::{
    facts::{Fact, What, Who},
    messages::facts::{How, Record, Said, Stage},
};

/// How soon a process uses what it has learnt.
const LEARNT: Duration = Duration::from_secs(1);

/// What is to be counted.
#[derive(Default)]
pub(super) struct BoundedAttempts {
    /// Put aside after a failure of this delivery: to be counted before it is taken again.
    uncounted: BTreeMap<Arc<str>, u64>,
    altered: Time,
}

impl Promise for BoundedAttempts {
    fn name(&self) -> &'static str {
        "bounded-attempts"
    }

    fn hear(&mut self, fact: &Fact, view: &View, court: &mut Court<'_>) {
        if self.altered != view.ledger.altered {
            self.altered = view.ledger.altered;
            self.uncounted.clear();
        }
        let What::Message(said) = &fact.what else { return };
        match said {
            Said::Recorded { entry, record, .. } => {
                if let Some(message) = view.ledger.messages.get(entry) {
                    self.recorded(entry, message, record, court);
                }
            }
            Said::Claimed { by, to, entries, counted, .. } => {
                for entry in entries {
                    if let Some(message) = view.ledger.messages.get(entry) {
                        self.claimed(entry, message, (*by, to, *counted), view, court);
                    }
                }
            }
            Said::Began { who, entry, stage: Stage::Process | Stage::Broken, .. } => {
                if let Some(message) = view.ledger.messages.get(entry) {
                    began(*who, entry, message, view, court);
                }
            }
            Said::Buried { by: Some(who), entry, reason, .. } => {
                if let Some(message) = view.ledger.messages.get(entry) {
                    buried(*who, entry, message, reason, view, court);
                }
            }
            _ => {}
        }
    }
}

impl BoundedAttempts {
    fn recorded(&mut self, entry: &Arc<str>, message: &Message, record: &Record, court: &mut Court<'_>) {
        let before = &message.record;
        if record.failed > before.failed + 1 || record.crashed > before.crashed + 1 {
            court.harm(format!("{entry}: more than one failure or crash is counted at once: {before:?}, {record:?}"));
        }
        if record.failed > before.failed && record.failed > message.failures {
            let (failed, runs) = (record.failed, message.failures);
            court.harm(format!("{entry}: {failed} failures are counted, and only {runs} runs have failed"));
        }
        if self.uncounted.get(entry) == Some(&record.counted) {
            self.uncounted.remove(entry);
        }
    }

    fn claimed(
        &mut self,
        entry: &Arc<str>,
        message: &Message,
        (by, to, counted): (Option<Who>, &Arc<str>, bool),
        view: &View,
        court: &mut Court<'_>,
    ) {
        let by_holder = by.is_some() && view.ledger.holder(message) == by;
        if &**to == PARKED && by_holder && matches!(message.ended, Some(How::Failed | How::Panicked)) {
            // A last failure is counted as the message begins to die, and what is called for the dead has no count.
            let known = view.ledger.altered < message.delivered && !message.anew;
            if message.record.counted != message.deliveries && !message.record.dying && known {
                self.uncounted.insert(entry.clone(), message.deliveries);
            }
        }
        if counted && let Some(delivery) = self.uncounted.remove(entry) {
            court.harm(format!("{entry} is taken again, and the failure of its delivery {delivery} was never counted"));
        }
    }
}

fn began(who: Who, entry: &str, message: &Message, view: &View, court: &mut Court<'_>) {
    let Some(setup) = view.fleet.setup(who.consumer) else { return };
    // Whoever holds another delivery of it does not know better.
    if view.ledger.holder(message) != Some(who) {
        return;
    }
    let record = &message.record;
    if record.dying && !message.anew {
        court.harm(format!("{who} runs {entry}, whose end is decided"));
    }
    // Who reads what was delivered anew does not know what is written down about it; and fails it once more.
    let known = !message.anew || message.deliveries > 2;
    if setup.max_attempts > 0 && record.failed >= setup.max_attempts && known {
        court.harm(format!("{who} runs {entry}, which has failed {} times", record.failed));
    }
    let learnt =
        view.ledger.successes.get(&who).is_some_and(|(at, other)| **other != *entry && *at + LEARNT <= court.at);
    let known = !message.anew || message.deliveries > 1;
    if setup.max_crashes > 0 && record.crashed >= setup.max_crashes && learnt && known {
        court.harm(format!("{who} runs {entry}, which has crashed {} processes, and others succeed", record.crashed));
    }
}

fn buried(who: Who, entry: &str, message: &Message, reason: &str, view: &View, court: &mut Court<'_>) {
    let Some(setup) = view.fleet.setup(who.consumer) else { return };
    let record = &message.record;
    match reason {
        // What was deleted by hand, its holder knew.
        // and where deliveries were counted anew, one may have been taken for an earlier one.
        "failed"
            if record.failed + u32::from(message.anew) < setup.max_attempts
                && view.ledger.altered <= message.came
                && !message.removed =>
        {
            let (failed, most) = (record.failed, setup.max_attempts);
            court.harm(format!("{entry} is buried after {failed} failures, and {most} are allowed"));
        }
        "crashed"
            if (record.crashed < setup.max_crashes && view.ledger.altered <= message.delivered)
                || message.reclaimed < setup.max_crashes =>
        {
            let (crashed, reclaimed) = (record.crashed, message.reclaimed);
            court.harm(format!("{entry} is buried for {crashed} crashes, and was reclaimed {reclaimed} times"));
        }
        "crashed" if !view.ledger.successes.values().any(|(_, other)| **other != *entry) => {
            court.harm(format!("{entry} is buried for its crashes, and nothing else has ever succeeded"));
        }
        "rejected" if !message.rejected => {
            court.harm(format!("{entry} is buried as rejected, and no run has rejected it"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use crate::facts::What;

    const P: &str = "bounded-attempts";

    /// So many runs that fail and are counted, by a worker with three attempts.
    fn failures(times: u32) -> Vec<What> {
        let mut facts = vec![started(0), ready(0), entered(1), delivered(0, &[1])];
        for run in 1..=times {
            let run = u64::from(run);
            facts.extend([began_again(0, run, 1, run), ended(0, run, 1, "failed")]);
            facts.extend([
                claimed(0, "~delayed", 1, false),
                recorded(1, run as u32, run, 0),
                claimed(0, "w0", 1, true),
            ]);
        }
        facts
    }

    #[test]
    fn a_message_fails_so_often_and_not_more_often() {
        good(P, &failures(3));
        bad(P, &[failures(3), vec![began_again(0, 4, 1, 4)]].concat());
        good(P, &[failures(2), vec![began_again(0, 3, 1, 3)]].concat());
        bad(P, &[failures(2), vec![buried(0, 1, "failed")]].concat());
        good(P, &[failures(3), vec![buried(0, 1, "failed")]].concat());
    }

    #[test]
    fn a_failure_is_counted_once_and_once_only() {
        let once = failures(1);
        bad(P, &[once.clone(), vec![recorded(1, 2, 2, 0)]].concat());
        let run = [began_again(0, 2, 1, 2), ended(0, 2, 1, "failed"), claimed(0, "~delayed", 1, false)];
        bad(P, &[once.clone(), run.to_vec(), vec![claimed(0, "w0", 1, true)]].concat());
        good(P, &[once.clone(), run.to_vec(), vec![recorded(1, 2, 2, 0), claimed(0, "w0", 1, true)]].concat());
        good(P, &[once, run.to_vec(), vec![stands("hand", &[1], &[1], Some(1)), claimed(0, "w0", 1, true)]].concat());
    }

    #[test]
    fn crashes_are_counted_and_believed() {
        let mut facts = vec![started(0), ready(0), started(1), ready(1), entered(1), entered(2), delivered(0, &[1, 2])];
        facts.extend([began(0, 1, 2), ended(0, 1, 2, "done"), acked(0, &[2])]);
        let mut crashes = Vec::new();
        for crash in 1..=3 {
            crashes.extend([crashed(0), claimed(1, "~delayed", 1, false), recorded(1, 0, 0, crash)]);
            crashes.extend([started(0), ready(0), claimed(0, "w0", 1, true)]);
        }
        good(P, &[facts.clone(), crashes.clone(), vec![buried(0, 1, "crashed")]].concat());
        bad(P, &[facts.clone(), crashes[..12].to_vec(), vec![buried(0, 1, "crashed")]].concat());
        bad(P, &[facts[..7].to_vec(), crashes.clone(), vec![buried(0, 1, "crashed")]].concat());
        bad(P, &[facts.clone(), vec![buried(0, 1, "rejected")]].concat());
        // What is written down about it was deleted, after its holder had read that, and before.
        let deleted = || vec![stands("hand", &[1], &[1], Some(1)), recorded(1, 0, 0, 0)];
        let buried = || vec![buried(0, 1, "crashed")];
        good(P, &[facts.clone(), crashes.clone(), deleted(), buried()].concat());
        bad(P, &[facts.clone(), crashes[..17].to_vec(), deleted(), crashes[17..].to_vec(), buried()].concat());
        bad(P, &[facts, crashes, vec![recorded(1, 0, 0, 0)], buried()].concat());
    }
}
