//! `kept`: a message without a live run is started while a worker has room: after a crash within `reclaim_idle` and a few
//! seconds, after a lost answer or a reconnect at once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use streamkeeper::Time;

use super::{
    Court, Promise, View,
    ledger::{Message, State},
};

/// A message that is new, or in the hands of a worker with room: a second, and the way.
const AT_ONCE: Duration = Duration::from_secs(2);
/// After that long without an answer a connection is given up, beyond the time for which a read waits.
const CALL: Duration = Duration::from_secs(1);
/// What a crash costs beyond `reclaim_idle`: two seconds, and two more if the reclaimer has died as well.
const RECLAIM: Duration = Duration::from_secs(4);
/// What it costs that the reclaimer has died, beyond how long a new one holds back.
const ROLE: Duration = Duration::from_secs(4);
/// What was parked and has lost its time is found by who clears away: in two rounds, and as many pages.
const STRANDED: Duration = Duration::from_secs(10);

/// What waited too long.
#[derive(Default)]
pub(super) struct Kept {
    late: BTreeMap<Arc<str>, Time>,
}

impl Promise for Kept {
    fn name(&self) -> &'static str {
        "kept"
    }

    fn look(&mut self, at: Time, view: &View, court: &mut Court<'_>) {
        for (entry, message) in &view.ledger.messages {
            let Some((limit, room, where_it_is)) = waits(entry, message, view) else { continue };
            let since = message.since.max(room).max(view.ledger.altered);
            let late = since <= at && at.since(since) > limit + view.fleet.trip;
            if late && self.late.insert(entry.clone(), message.since) != Some(message.since) {
                let waited = at.since(since).as_secs_f64();
                court.delay(format!(
                    "{entry} is {where_it_is}, and has waited for {waited:.3} s while a worker has room"
                ));
            }
        }
    }
}

/// How long a message may wait, since when somebody has had room for it, and where it stands. `None`: it does not wait.
fn waits(entry: &str, message: &Message, view: &View) -> Option<(Duration, Time, String)> {
    // What has lost its payload cannot run.
    if message.removed {
        return None;
    }
    let alone = message.record.crashed > 0;
    let any_room = || view.fleet.any_room(alone);
    match message.state {
        State::Unread => {
            // A reader whose connection died while it had no room sees that by its first question.
            let block = view.fleet.setups().map(|setup| setup.block_ms).max().unwrap_or(2_000);
            Some((AT_ONCE + Duration::from_millis(block) + CALL, any_room(), "unread".to_owned()))
        }
        State::Pending if message.is_parked() => {
            if message.due_ms.is_some() {
                return None;
            }
            let rounds = view.fleet.setups().map(|setup| setup.sweep_ms).max().unwrap_or(60_000) * 2;
            let limit = Duration::from_millis(rounds) + STRANDED + view.fleet.longest_idle();
            Some((limit, any_room(), "parked without a time".to_owned()))
        }
        State::Pending => {
            let holder = view.ledger.holder(message);
            let alive = |who| view.fleet.lives(who);
            if view.ledger.runs_of(entry).any(|run| Some(run.who) == holder && alive(run.who)) {
                return None;
            }
            let owner = message.owner.as_deref().unwrap_or("nobody");
            let own_room = holder.filter(|who| alive(*who)).map(|who| view.fleet.room(who, alone));
            match own_room {
                Some(room) if room <= any_room() => Some((AT_ONCE, room, format!("in the hands of {owner}"))),
                _ => {
                    let idle = view.fleet.longest_idle();
                    let limit = idle + RECLAIM + AT_ONCE;
                    // Who becomes the reclaimer holds back for a while first.
                    let held_back = view.fleet.reclaimer_lost + ROLE + idle / 4;
                    let room = any_room().max(held_back - idle);
                    Some((limit, room, format!("pending under {owner}")))
                }
            }
        }
        State::Acked | State::Gone => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use crate::facts::Fact;

    const P: &str = "kept";

    fn later(facts: &[Fact], ms: u64) -> Vec<Fact> {
        [facts.to_vec(), vec![timed(ms, note())]].concat()
    }

    #[test]
    fn new_messages_are_read_at_once() {
        let facts = each_ms(&[started(0), ready(0), entered(1)]);
        good_timed(P, &later(&facts, 4_500));
        bad_timed(P, &later(&facts, 6_000));
        good_timed(P, &later(&facts[..1], 6_000));
        let read = [timed(100, delivered(0, &[1])), timed(110, began(0, 1, 1))];
        good_timed(P, &later(&[facts.clone(), read.to_vec()].concat(), 60_000));
        bad_timed(P, &later(&[facts.clone(), read[..1].to_vec()].concat(), 3_000));
        good_timed(P, &later(&[facts, vec![timed(50, paused(0, 3_000))]].concat(), 6_000));
    }

    #[test]
    fn what_has_run_is_settled_at_once() {
        let begins = [started(0), ready(0), entered(1), delivered(0, &[1]), began(0, 1, 1), ended(0, 1, 1, "done")];
        let facts = each_ms(&begins);
        bad_timed(P, &later(&facts, 3_000));
        good_timed(P, &later(&[facts, vec![timed(10, acked(0, &[1]))]].concat(), 3_000));
    }

    #[test]
    fn what_the_dead_leave_behind_is_started_in_time() {
        let begins = [started(0), ready(0), started(1), ready(1), entered(1), delivered(0, &[1]), began(0, 1, 1)];
        let facts = [each_ms(&begins), vec![timed(1_000, crashed(0))]].concat();
        good_timed(P, &later(&facts, 8_000));
        bad_timed(P, &later(&facts, 12_000));
        let taken = [timed(6_000, claimed(1, "~delayed", 1, false)), timed(6_000, due(1, 1, 6_000))];
        good_timed(P, &later(&[facts.clone(), taken.to_vec()].concat(), 12_000));
        let started = [timed(6_100, claimed(1, "w1", 1, true)), timed(6_100, began_again(1, 2, 1, 2))];
        good_timed(P, &later(&[facts, taken.to_vec(), started.to_vec()].concat(), 60_000));
    }

    #[test]
    fn what_is_parked_without_a_time_is_found() {
        let begins = [started(0), ready(0), entered(1), delivered(0, &[1]), began(0, 1, 1), ended(0, 1, 1, "failed")];
        let facts = [each_ms(&begins), vec![timed(10, claimed(0, "~delayed", 1, false))]].concat();
        good_timed(P, &later(&facts, 20_000));
        bad_timed(P, &later(&facts, 60_000));
    }
}
