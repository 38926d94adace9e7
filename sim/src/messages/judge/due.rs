//! `due`: a retry or a delayed message starts not before its time, and soon after it while a worker has room.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper::Time;

use super::{Court, Promise, View, ledger::PARKED, no_loss::number_of};
use crate::{
    facts::{Fact, What, Who},
    messages::facts::{How, Said},
};

/// How soon after its time a message is taken, if the fleet asks as often as it does by default.
const SOON: Duration = Duration::from_millis(500);
/// Redis counts time in milliseconds.
const GRAIN: Duration = Duration::from_millis(2);

/// What was late.
#[derive(Default)]
pub(super) struct Due {
    late: BTreeMap<Arc<str>, Time>,
    /// What was put aside after a failure, in the same instant, and by whom.
    failed: BTreeMap<Arc<str>, (Time, Who)>,
    /// Numbers of what was planned, and until when that was to wait.
    planned: BTreeMap<u64, Arc<str>>,
    arrived: BTreeSet<u64>,
}

impl Promise for Due {
    fn name(&self) -> &'static str {
        "due"
    }

    fn hear(&mut self, fact: &Fact, view: &View, court: &mut Court<'_>) {
        let What::Message(said) = &fact.what else { return };
        match said {
            Said::Claimed { to, by, entries, .. } => {
                for entry in entries {
                    let Some(message) = view.ledger.messages.get(entry) else { continue };
                    if &**to != PARKED
                        && message.is_parked()
                        && let Some(due) = message.due.filter(|due| court.at + GRAIN < *due)
                    {
                        let early = due.since(court.at).as_millis();
                        court.harm(format!("{entry} is taken by {to} {early} ms before its time"));
                    }
                    let failed = matches!(message.ended, Some(How::Failed | How::Panicked))
                        && message.record.counted != message.deliveries
                        && view.ledger.altered < message.delivered
                        && !message.anew;
                    if &**to == PARKED
                        && failed
                        && view.ledger.holder(message) == *by
                        && let Some(by) = by
                    {
                        self.failed.insert(entry.clone(), (court.at, *by));
                    }
                }
            }
            Said::Due { entry, due, .. } => self.backed_off(entry, *due, view, court),
            Said::Scheduled { id, .. } => drop(number_of(id).map(|number| self.planned.insert(number, id.clone()))),
            Said::Entered { entry, number: Some(number) } => {
                let first = self.arrived.insert(*number);
                let due = self.planned.get(number).and_then(|id| view.ledger.scheduled.get(id));
                if let Some(due) = due.filter(|due| first && court.at + GRAIN < **due) {
                    let early = due.since(court.at).as_millis();
                    court.harm(format!("{entry} comes into the stream {early} ms before its time"));
                }
            }
            _ => {}
        }
    }

    fn look(&mut self, at: Time, view: &View, court: &mut Court<'_>) {
        let asks = view.fleet.setups().map(|setup| setup.due_ms).max().unwrap_or(250);
        let soon = SOON.max(Duration::from_millis(asks * 2)) + view.fleet.trip + view.fleet.tick;
        let mut judge = |id: &Arc<str>, due: Time, since: Time, alone: bool, late: &mut BTreeMap<Arc<str>, Time>| {
            let since = due.max(since).max(view.fleet.any_room(alone)).max(view.ledger.altered);
            if since <= at && at.since(since) > soon && late.insert(id.clone(), due) != Some(due) {
                let waits = at.since(due).as_millis();
                court.delay(format!("{id} has been due for {waits} ms while a worker has room"));
            }
        };
        for (entry, message) in
            view.ledger.messages.iter().filter(|(_, message)| message.is_parked() && !message.removed)
        {
            if let Some(due) = message.due {
                judge(entry, due, message.since, message.record.crashed > 0, &mut self.late);
            }
        }
        for (id, due) in &view.ledger.scheduled {
            judge(id, *due, *due, false, &mut self.late);
        }
    }
}

impl Due {
    /// A pause after a failure is no shorter than the shortest, and no longer than the longest.
    fn backed_off(&mut self, entry: &Arc<str>, due: Time, view: &View, court: &mut Court<'_>) {
        let Some((at, who)) = self.failed.remove(entry) else { return };
        let Some(setup) = view.fleet.setup(who.consumer).filter(|_| at == court.at) else { return };
        let (base_ms, limit_ms) = setup.backoff_ms;
        let jitter = u64::from(setup.jitter_percent);
        let least = Duration::from_millis(base_ms * (100 - jitter) / 100);
        let most = Duration::from_millis(limit_ms * (100 + jitter) / 100);
        let pause = due.since(at);
        if pause + GRAIN < least || pause > most + GRAIN {
            court.harm(format!("{entry} has failed, and is due after {pause:?}: not between {least:?} and {most:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use crate::facts::Fact;

    const P: &str = "due";

    /// A message that has failed once and is due at this time.
    fn parked(due_ms: u64) -> Vec<Fact> {
        let mut facts = each_ms(&[started(0), ready(0), entered(1), delivered(0, &[1]), began(0, 1, 1)]);
        facts.push(timed(10, ended(0, 1, 1, "failed")));
        facts.push(timed(10, claimed(0, "~delayed", 1, false)));
        facts.push(timed(10, due(0, 1, due_ms)));
        facts
    }

    #[test]
    fn what_is_parked_is_taken_in_time_and_not_before() {
        let take = |ms| vec![timed(ms, claimed(0, "w0", 1, true)), timed(ms + 1, began(0, 2, 1))];
        good_timed(P, &[parked(1_010), take(1_010)].concat());
        good_timed(P, &[parked(1_010), take(1_500)].concat());
        bad_timed(P, &[parked(1_010), take(1_000)].concat());
        bad_timed(P, &[parked(1_010), take(2_500)].concat());
        bad_timed(P, &parked(20));
        bad_timed(P, &parked(100_000));
    }

    #[test]
    fn who_has_no_room_takes_nothing() {
        let full = vec![
            timed(500, entered(2)),
            timed(500, entered(3)),
            timed(500, delivered(0, &[2, 3])),
            timed(501, began(0, 2, 2)),
            timed(501, began(0, 3, 3)),
        ];
        good_timed(P, &[parked(1_010), full.clone(), vec![timed(5_000, note())]].concat());
        bad_timed(P, &[parked(1_010), full[..4].to_vec(), vec![timed(5_000, note())]].concat());
        good_timed(P, &[parked(1_010), vec![timed(900, paused(0, 3_000)), timed(3_800, note())]].concat());
        good_timed(P, &[parked(1_010), vec![timed(900, crashed(0)), timed(5_000, note())]].concat());
    }

    #[test]
    fn what_is_planned_comes_in_time_and_not_before() {
        let begins = each_ms(&[started(0), ready(0), scheduled(1, 1_000)]);
        let comes = |ms| vec![timed(ms, entered(1)), timed(ms, unscheduled(1))];
        good_timed(P, &[begins.clone(), comes(1_100)].concat());
        bad_timed(P, &[begins.clone(), comes(900)].concat());
        bad_timed(P, &[begins.clone(), comes(2_000)].concat());
        bad_timed(P, &[begins, vec![timed(2_000, note())]].concat());
    }
}
