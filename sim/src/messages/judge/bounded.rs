//! `bounded`: in flight, prefetch and records in Redis have limits or an end; a slow handler delays neither refreshes nor
//! others; who crashes processes runs alone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use streamkeeper::Time;

use super::{
    Court, Promise, View,
    fleet::NEVER,
    ledger::{Run, State},
};
use crate::{
    facts::{Fact, What, Who},
    messages::facts::{Said, Stock},
};

/// How long a record of a message that has ended may outlast two rounds of clearing.
const CLEARING: Duration = Duration::from_secs(15);

/// Messages whose silence was spoken of.
#[derive(Default)]
pub(super) struct Bounded {
    silent: BTreeMap<Arc<str>, Time>,
}

impl Promise for Bounded {
    fn name(&self) -> &'static str {
        "bounded"
    }

    fn hear(&mut self, fact: &Fact, view: &View, court: &mut Court<'_>) {
        let What::Message(said) = &fact.what else { return };
        match said {
            Said::Began { who, entry, deliveries, .. } => began(*who, entry, *deliveries, view, court),
            Said::Delivered { by: Some(who), consumer, entries, .. } => {
                held(*who, consumer, entries.len(), view, court);
            }
            Said::Claimed { by: Some(who), to, entries, counted: true, .. } => {
                held(*who, to, entries.len(), view, court);
            }
            Said::Stands(stock) if stock.why == "end" => records(stock, view, court),
            _ => {}
        }
    }

    fn look(&mut self, at: Time, view: &View, court: &mut Court<'_>) {
        for run in view.ledger.runs.values() {
            let Some(message) = view.ledger.messages.get(&run.entry) else { continue };
            let (well, confirmed) = (view.fleet.well(run.who), message.confirmed);
            let current = message.state == State::Pending
                && !message.removed
                && !run.lost
                && view.ledger.holder(message) == Some(run.who)
                && run.deliveries == message.deliveries;
            let limit = view.fleet.idle(run.who) * 3 / 4 + view.fleet.trip + Duration::from_millis(200);
            let silence = at.since(confirmed.max(well.min(at)));
            if current
                && well != NEVER
                && silence > limit
                && self.silent.insert(run.entry.clone(), confirmed) != Some(confirmed)
            {
                let (who, entry, silence) = (run.who, &run.entry, silence.as_secs_f64());
                court.delay(format!("{who} works on {entry} in peace, and has not refreshed it for {silence:.3} s"));
            }
        }
    }
}

fn began(who: Who, entry: &str, deliveries: u64, view: &View, court: &mut Court<'_>) {
    let Some(setup) = view.fleet.setup(who.consumer) else { return };
    let runs = view.fleet.runs(who) + 1;
    if runs > setup.concurrency {
        court.harm(format!("{who} has {runs} runs at once, and {} are allowed", setup.concurrency));
    }
    // Who was cut off does not know what has become of its messages since.
    let is_suspect = |entry: &str, deliveries: u64| {
        let message = view.ledger.messages.get(entry).filter(|message| view.ledger.holder(message) == Some(who));
        message.is_some_and(|message| message.is_suspect() && message.deliveries == deliveries)
    };
    let beside = |run: &&Run| run.who == who && *run.entry != *entry && is_suspect(&run.entry, run.deliveries);
    if let Some(other) = view.ledger.runs.values().find(beside).filter(|_| is_suspect(entry, deliveries)) {
        court.harm(format!("{who} runs {entry} and {} at once: both have crashed processes", other.entry));
    }
}

/// What is pending under a name, and has not ended, fits.
fn held(who: Who, consumer: &Arc<str>, more: usize, view: &View, court: &mut Court<'_>) {
    let Some(setup) = view.fleet.setup(who.consumer) else { return };
    let open = view.ledger.messages.values().filter(|message| {
        // What a hand has trimmed away is pending no more when its holder looks at it.
        let open = message.state == State::Pending && !message.removed;
        // What was processed already, and is remembered as that, only waits for the next round of acknowledgements.
        let skipped = message.done && setup.processed_ms.is_some();
        open && !skipped && message.owner.as_ref() == Some(consumer) && message.ended.is_none()
    });
    // What waits for its ordering key takes up no room.
    let behind = if setup.ordered { setup.batch } else { 0 };
    let (open, most) = (open.count() + more, setup.concurrency + setup.prefetch + behind);
    // Lost answers leave behind what was not asked for again.
    let well = view.fleet.well(who);
    let in_peace = well <= court.at && court.at.since(well) > view.fleet.idle(who);
    // What is being given back makes room before Redis has said that it is given back.
    if open > if in_peace { most * 2 } else { most * 4 } {
        court.harm(format!("{who} has {open} messages in hand, and {most} are allowed"));
    }
}

fn records(stock: &Stock, view: &View, court: &mut Court<'_>) {
    let rounds = view.fleet.setups().map(|setup| setup.sweep_ms).max().unwrap_or(60_000) * 2;
    let limit = Duration::from_millis(rounds) + CLEARING;
    let calm = view.fleet.any_well().max(view.ledger.altered);
    for (entry, _) in &stock.records {
        let Some(message) = view.ledger.messages.get(entry) else { continue };
        // Of what may have been buried from memory, something is kept for an hour.
        let ended = message.state == State::Acked && message.buried == 0 && !message.by_hand;
        let since = message.since.max(calm);
        if ended && since <= court.at && court.at.since(since) > limit {
            court.delay(format!("{entry} has ended, and what was written down about it is still there"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use crate::facts::{Fact, What};

    const P: &str = "bounded";

    #[test]
    fn runs_and_messages_in_hand_are_limited() {
        let mut facts = vec![started(0), ready(0)];
        facts.extend((1..=8).map(entered));
        facts.push(delivered(0, &[1, 2, 3, 4, 5, 6, 7, 8]));
        let later = |facts: &[What]| -> Vec<Fact> {
            facts.iter().enumerate().map(|(at, what)| timed(5_000 * u64::from(at > 1), what.clone())).collect()
        };
        good(P, &[&facts[..], &[began(0, 1, 1), began(0, 2, 2)]].concat());
        bad(P, &[&facts[..], &[began(0, 1, 1), began(0, 2, 2), began(0, 3, 3)]].concat());
        good(P, &[&facts[..], &[began(0, 1, 1), began(0, 2, 2), ended(0, 1, 1, "done"), began(0, 3, 3)]].concat());
        bad_timed(P, &later(&[&facts[..], &[entered(9), delivered(0, &[9])]].concat()));
        let acked = [began(0, 1, 1), ended(0, 1, 1, "done"), entered(9), delivered(0, &[9])];
        good_timed(P, &later(&[&facts[..], &acked].concat()));
        // What a hand has trimmed away is pending still, until its holder looks at it.
        let all = [1, 2, 3, 4, 5, 6, 7, 8];
        let looked_at = |left: &[u64]| {
            let hand = [stands("hand", left, &all, Some(8)), entered(9), delivered(0, &[9])];
            later(&[&facts[..], &hand].concat())
        };
        good_timed(P, &looked_at(&all[1..]));
        bad_timed(P, &looked_at(&all));
    }

    #[test]
    fn what_was_processed_takes_up_no_room_where_that_is_remembered() {
        let all = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let redelivered = |by: usize| -> Vec<Fact> {
            let mut whats = vec![started(by), ready(by)];
            whats.extend(all.map(entered));
            for n in all {
                whats.extend([delivered(by, &[n]), began(by, n, n), ended(by, n, n, "done"), acked(by, &[n])]);
            }
            whats.push(stands("hand", &all, &[], None));
            whats.extend(all.map(|n| delivered(by, &[n])));
            whats.into_iter().enumerate().map(|(at, what)| timed(5_000 * u64::from(at > 1), what)).collect()
        };
        good_timed(P, &redelivered(2));
        bad_timed(P, &redelivered(1));
    }

    #[test]
    fn who_crashes_processes_runs_alone() {
        let begins = [started(0), ready(0), entered(1), entered(2), delivered(0, &[1, 2])];
        let suspects = [recorded(1, 0, 0, 2), recorded(2, 0, 0, 2)];
        bad(P, &[&begins[..], &suspects, &[began(0, 1, 1), began(0, 2, 2)]].concat());
        good(P, &[&begins[..], &suspects, &[began(0, 1, 1), ended(0, 1, 1, "done"), began(0, 2, 2)]].concat());
        good(P, &[&begins[..], &suspects[..1], &[began(0, 1, 1), began(0, 2, 2)]].concat());
    }

    #[test]
    fn what_is_worked_on_is_refreshed() {
        let mut facts = each_ms(&[started(0), ready(0), entered(1), delivered(0, &[1]), began(0, 1, 1)]);
        facts.push(timed(2_000, claimed(0, "w0", 1, false)));
        good_timed(P, &[facts.clone(), vec![timed(4_500, note())]].concat());
        bad_timed(P, &[facts.clone(), vec![timed(6_000, note())]].concat());
        good_timed(P, &[facts.clone(), vec![timed(3_000, ended(0, 1, 1, "done")), timed(6_000, note())]].concat());
        good_timed(P, &[facts, vec![timed(3_000, paused(0, 2_000)), timed(6_000, note())]].concat());
    }

    #[test]
    fn what_is_lost_is_not_refreshed_though_redis_remembers_it_again() {
        let facts = each_ms(&[started(0), ready(0), entered(1), delivered(0, &[1]), began(0, 1, 1)]);
        let flushed = timed(100, stands("hand", &[], &[], None));
        let told = timed(101, told_lost(0, 1, 1));
        let remembered = timed(200, stands("up", &[1], &[1], Some(1)));
        let late = |facts: &[Fact]| [facts, &[timed(20_000, note())]].concat();
        good_timed(P, &late(&[&facts[..], &[flushed.clone(), told.clone(), remembered.clone()]].concat()));
        bad_timed(P, &late(&[&facts[..], &[flushed, remembered.clone()]].concat()));
        bad_timed(P, &late(&[&facts[..], &[told, remembered]].concat()));
    }

    #[test]
    fn records_come_to_an_end() {
        let facts = each_ms(&[started(0), ready(0), entered(1), delivered(0, &[1]), began(0, 1, 1)]);
        let ends = [timed(100, ended(0, 1, 1, "done")), timed(110, acked(0, &[1]))];
        let late = |ms, why| vec![timed(ms, stands_with_records(why, &[1]))];
        good_timed(P, &[facts.clone(), ends.to_vec(), late(20_000, "end")].concat());
        bad_timed(P, &[facts.clone(), ends.to_vec(), late(60_000, "end")].concat());
        good_timed(P, &[facts, ends.to_vec(), late(60_000, "hand")].concat());
    }
}
