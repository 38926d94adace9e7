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
    late: BTreeMap<Arc<str>, u64>,
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
        let shows = |due_ms| view.ledger.clock.shows(due_ms);
        let at = court.at;
        let early = |due_ms| Some(shows(due_ms)).filter(|due| at + GRAIN < *due).map(|due| due.since(at).as_millis());
        match said {
            Said::Claimed { to, by, entries, .. } => {
                for entry in entries {
                    let Some(message) = view.ledger.messages.get(entry) else { continue };
                    if &**to != PARKED
                        && message.is_parked()
                        && let Some(early) = message.due_ms.and_then(early)
                    {
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
                        self.failed.insert(entry.clone(), (at, *by));
                    }
                }
            }
            Said::Due { entry, due_ms, .. } => self.backed_off(entry, shows(*due_ms), view, court),
            Said::Scheduled { id, .. } => drop(number_of(id).map(|number| self.planned.insert(number, id.clone()))),
            Said::Entered { entry, number: Some(number) } => {
                let first = self.arrived.insert(*number);
                let due_ms = self.planned.get(number).and_then(|id| view.ledger.scheduled.get(id)).copied();
                if let Some(early) = due_ms.and_then(early).filter(|_| first) {
                    court.harm(format!("{entry} comes into the stream {early} ms before its time"));
                }
            }
            _ => {}
        }
    }

    fn look(&mut self, at: Time, view: &View, court: &mut Court<'_>) {
        let asks = view.fleet.setups().map(|setup| setup.due_ms).max().unwrap_or(250);
        let soon = SOON.max(Duration::from_millis(asks * 2)) + view.fleet.trip + view.fleet.tick;
        let mut judge = |id: &Arc<str>, due_ms: u64, since: Time, alone: bool, late: &mut BTreeMap<Arc<str>, u64>| {
            let due = view.ledger.clock.shows(due_ms);
            let since = due.max(since).max(view.fleet.any_room(alone)).max(view.ledger.altered);
            if since <= at && at.since(since) > soon && late.insert(id.clone(), due_ms) != Some(due_ms) {
                let waits = at.since(due).as_millis();
                court.delay(format!("{id} has been due for {waits} ms while a worker has room"));
            }
        };
        for (entry, message) in
            view.ledger.messages.iter().filter(|(_, message)| message.is_parked() && !message.removed)
        {
            if let Some(due_ms) = message.due_ms {
                judge(entry, due_ms, message.since, message.record.crashed > 0, &mut self.late);
            }
        }
        for (id, due_ms) in &view.ledger.scheduled {
            judge(id, *due_ms, Time::ZERO, false, &mut self.late);
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

    /// Two more messages come at this time, and the worker, which has no room for more, begins this delivery of them.
    fn full(ms: u64, deliveries: u64) -> Vec<Fact> {
        let mut facts = vec![timed(ms, entered(2)), timed(ms, entered(3)), timed(ms, delivered(0, &[2, 3]))];
        facts.extend([2, 3].map(|number| timed(ms + 1, began_again(0, number, number, deliveries))));
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
        let full = full(500, 1);
        good_timed(P, &[parked(1_010), full.clone(), vec![timed(5_000, note())]].concat());
        bad_timed(P, &[parked(1_010), full[..4].to_vec(), vec![timed(5_000, note())]].concat());
        good_timed(P, &[parked(1_010), vec![timed(900, paused(0, 3_000)), timed(3_800, note())]].concat());
        good_timed(P, &[parked(1_010), vec![timed(900, crashed(0)), timed(5_000, note())]].concat());
    }

    #[test]
    fn who_starts_on_a_slow_host_is_slow() {
        let again = vec![timed(900, crashed(0)), timed(910, started(0)), timed(920, ready(0)), timed(5_000, note())];
        let slow = vec![timed(600, struck_as("slow", "slow c0 by 110ms for 8s"))];
        bad_timed(P, &[parked(1_010), again.clone()].concat());
        good_timed(P, &[parked(1_010), slow, again].concat());
    }

    #[test]
    fn who_was_struck_while_it_started_is_not_well_as_soon_as_it_is_ready() {
        let begins = |ms| vec![timed(ms, started(0)), timed(ms + 2, scheduled(1, 1_000))];
        let stalled = vec![timed(1_500, struck_as("stall", "stall c0 900ms out"))];
        let ready = vec![timed(1_502, ready(0)), timed(2_450, note())];
        good_timed(P, &[begins(1_490), stalled.clone(), ready.clone()].concat());
        bad_timed(P, &[begins(1_490), ready.clone()].concat());
        bad_timed(P, &[begins(1_490), stalled, ready, vec![timed(9_000, note())]].concat());
    }

    #[test]
    fn redis_s_clock_says_when() {
        let begins = each_ms(&[started(0), ready(0), scheduled(1, 40_000)]);
        let step = |ms, by: &str| timed(ms, struck_as("redis clock", &format!("redis clock {by}")));
        let comes = |ms| vec![timed(ms, entered(1)), timed(ms, unscheduled(1))];
        let forward = [begins.clone(), vec![step(100, "+2h")]].concat();
        good_timed(P, &[forward.clone(), comes(200)].concat());
        let back = [forward, vec![step(200, "-60s"), step(300, "-7140s")]].concat();
        bad_timed(P, &[back.clone(), comes(39_900)].concat());
        good_timed(P, &[back, comes(40_100)].concat());
        let later = [begins, vec![step(100, "-60s")]].concat();
        bad_timed(P, &[later.clone(), comes(99_000)].concat());
        good_timed(P, &[later.clone(), comes(100_100)].concat());
        bad_timed(P, &[later, comes(104_000)].concat());
        let taken = vec![timed(200, claimed(0, "w0", 1, true))];
        good_timed(P, &[parked(8_010), vec![step(100, "+2h")], taken.clone()].concat());
        bad_timed(P, &[parked(8_010), vec![step(100, "+2h"), step(150, "-2h")], taken].concat());
    }

    #[test]
    fn who_was_cut_off_while_it_was_full_sees_that_when_it_has_room_again() {
        let cut_off = vec![timed(600, struck_as("partition", "partition c0 66ms in"))];
        let free = vec![timed(9_000, ended(0, 2, 2, "done")), timed(9_000, acked(0, &[2]))];
        let begins = [parked(1_010), full(500, 1)].concat();
        bad_timed(P, &[begins.clone(), free.clone(), vec![timed(10_100, note())]].concat());
        let cut_off = [begins, cut_off, free].concat();
        good_timed(P, &[cut_off.clone(), vec![timed(10_100, note())]].concat());
        bad_timed(P, &[cut_off, vec![timed(14_000, note())]].concat());
    }

    #[test]
    fn who_is_full_as_soon_as_it_is_back_sees_later_that_it_was_cut_off() {
        let away = vec![timed(100, paused(0, 1_000)), timed(1_100, resumed(0))];
        let free = vec![timed(5_500, ended(0, 2, 2, "done")), timed(5_500, acked(0, &[2])), timed(6_600, note())];
        good_timed(P, &[parked(1_010), away.clone(), full(1_200, 2), free.clone()].concat());
        // What is new, its reader brought.
        bad_timed(P, &[parked(1_010), away, full(1_200, 1), free].concat());
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
