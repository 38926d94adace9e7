//! Runs that fail, and runs that take their process along.

use std::time::Duration;

use streamkeeper_core::{
    messages::{
        Answer, Event, Link, Outcome,
        call::{Fenced, Reason, Reclaimed},
        config::DeadFailure,
    },
    trouble::Trouble,
};

use super::{
    story::{Story, entry, ms},
    words::rejected,
};

#[test]
fn a_retry() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(110).fails(1, "no").at(1_500).fails(1, "no").at(4_000).succeeds(1).at(4_100);
    s.ends("retry", "It is put aside, is due after the backoff's pause, and blocks nobody meanwhile.");
}

#[test]
fn the_workers_own_pause() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(110).ran(1, Outcome::Failed { error: "busy".into(), pause: Some(ms(300)) }).at(500);
    s.ends("own_pause", "A worker may say when it wants it again.");
    let mut s = Story::started(|_| {});
    let rests = |pause| Outcome::Failed { error: "busy".into(), pause: Some(pause) };
    s.sends(&[1, 2]).at(110).ran(1, rests(ms(3 * 86_400_000))).ran(2, rests(Duration::MAX)).at(120);
    s.ends("own_pause_of_days", "As long as it likes, up to a year.");
}

#[test]
fn the_last_attempt() {
    let mut s = Story::started(|s| s.max_attempts = 2);
    s.sends(&[1]).at(110).fails(1, "no").at(1_500).fails(1, "never").at(1_550).ran(1, rejected("")).at(1_600);
    s.ends("last_attempt", "That it is dying is written down first: whatever happens, only process_dead is called.");
}

#[test]
fn process_dead_takes_care() {
    let mut s = Story::started(|s| s.max_attempts = 1);
    s.sends(&[1]).at(110).fails(1, "no").at(150).succeeds(1).at(160);
    s.ends("dead_acked", "An ack of process_dead: the application has taken care, nothing is buried.");
}

#[test]
fn process_dead_fails() {
    let mut s = Story::started(|s| s.max_attempts = 1);
    s.sends(&[1]).at(110).fails(1, "no").at(150).fails(1, "no mail").at(2_500);
    s.ends("dead_kept", "It is kept, and process_dead is called again after the backoff's pause.");
    let mut s = Story::started(|s| (s.max_attempts, s.dead_failure) = (1, DeadFailure::Bury));
    s.sends(&[1]).at(110).fails(1, "no").at(150).fails(1, "no mail").at(160);
    s.ends("dead_buried_anyway", "Or it is buried all the same, with what went wrong first.");
}

#[test]
fn a_worker_that_decides() {
    let mut s = Story::started(|_| {});
    s.sends(&[1, 2]).at(110).ran(1, rejected("no such order")).ran(2, Outcome::Drop).at(120);
    s.ends("decided", "Dead is buried at once, without process_dead; drop is acknowledged.");
}

#[test]
fn a_failure_is_counted_once() {
    let mut s = Story::started(|_| {});
    s.by_hand("park").told("due").sends(&[1]).at(110).fails(1, "no").at(120).unanswered("park").told("park").at(160);
    s.event(Event::Connected(Link::Commands)).at(200);
    s.ends("park_unanswered", "The answer was lost: it is asked again, and the server knows this delivery's failure.");
}

#[test]
fn a_burial_is_not_answered() {
    let mut s = Story::started(|_| {});
    s.by_hand("bury").sends(&[1]).at(110).ran(1, rejected("no")).at(120).unanswered("bury").told("bury").at(160);
    s.event(Event::Connected(Link::Commands)).at(200);
    s.ends("bury_unanswered", "Gone means that the first one arrived.");
}

#[test]
fn what_seemed_gone_is_delivered_again() {
    let mut s = Story::started(|_| {});
    s.by_hand("bury").told("fetch").sends(&[1]).at(110).forgotten(1).fails(1, "no").at(120).goes("bury").at(1_000);
    s.ends("gone_and_back", "It has failed once, and more is allowed: it is not buried from memory, but run again.");
}

#[test]
fn what_cannot_be_judged() {
    let mut s = Story::started(|_| {});
    s.by_hand("park").sends(&[1, 2]).at(110).fails(1, "no").at(120);
    s.answer("park", Answer::Parked(vec![Fenced::Broken("WRONGTYPE".into())])).succeeds(2).told("park").at(1_200);
    s.ends("broken", "It is remarked, tried again after a second, and holds up nobody.");
}

#[test]
fn a_first_crash() {
    let mut s = Story::started(|_| {});
    s.is_due(1, |r| r.crashed = 1).sends(&[2]).at(400);
    s.ends(
        "crashed_once",
        "Its process died, with whatever was in flight. From now on its run is marked before it starts.",
    );
}

#[test]
fn suspects() {
    let mut s = Story::started(|_| {});
    s.is_due(1, |r| r.crashed = 2).is_due(2, |r| r.crashed = 2).sends(&[3]).at(400).succeeds(1).at(410);
    s.ends("suspects", "One at a time, and the next one not before Redis knows of the last one's success.");
}

#[test]
fn suspects_of_one_key() {
    let mut s = Story::started(|s| s.ordered_by = Some("key".into()));
    s.sends_keyed(1, "a").at(110).is_due_keyed(2, "a", |r| r.crashed = 2).at(400);
    s.is_due_keyed(3, "b", |r| r.crashed = 2).is_due_keyed(4, "a", |r| r.crashed = 2).at(800);
    s.succeeds(3).at(810).succeeds(1).at(820).succeeds(2).at(830).succeeds(4).at(840);
    s.ends(
        "suspects_of_one_key",
        "Whose turn it is does not wait for its key: who has that may wait for the turn, and neither would ever run.",
    );
}

#[test]
fn more_suspects_than_may_wait() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (2, 2));
    s.is_due(1, |r| r.crashed = 2)
        .is_due(2, |r| r.crashed = 2)
        .is_due(3, |r| r.crashed = 2)
        .is_due(4, |_| {})
        .at(1_600);
    s.ends("many_suspects", "One waits for its turn; more are put aside, and leave room for those that harm nobody.");
}

#[test]
fn attempts_that_were_used_up_elsewhere() {
    let mut s = Story::started(|s| s.max_attempts = 3);
    s.is_due(1, |r| r.failed = 3).at(400);
    s.ends("used_up", "Its failures were counted when more were allowed: only process_dead is called for it.");
}

#[test]
fn a_poisonous_message() {
    let mut s = Story::started(|_| {});
    s.sends(&[2]).at(110).succeeds(2).at(120).is_due(1, |r| r.crashed = 3).at(400).ran(1, rejected("")).at(410);
    s.ends("condemned", "It has killed three processes, and another message succeeded: it is not run again.");
    let mut s = Story::started(|_| {});
    s.is_due(1, |r| r.crashed = 3).at(400).succeeds(1).at(410);
    s.ends("not_condemned", "Where nothing succeeds, it is not the message: it gets another chance.");
}

#[test]
fn a_poisonous_process_dead() {
    let mut s = Story::started(|_| {});
    s.is_due(1, |r| (r.failed, r.crashed, r.dying) = (5, 1, Some(Reason::Failed))).at(400);
    s.ends("dying_and_crashed", "Its process_dead is marked too.");
    let mut s = Story::started(|_| {});
    s.is_due(1, |r| (r.crashed, r.dying, r.buried_alive) = (2, Some(Reason::Failed), true)).at(400);
    s.ends("buried_alive", "Its process_dead has killed a process: it is buried without that.");
}

#[test]
fn suspects_of_process_dead() {
    let mut s = Story::started(|_| {});
    let dying = |r: &mut super::group::Record| (r.failed, r.crashed, r.dying) = (5, 1, Some(Reason::Failed));
    s.is_due(1, dying).is_due(2, dying).at(400).ran(1, rejected("no mail")).at(410);
    s.ends("suspects_dying", "Who was being buried when its process died is a suspect, and takes its turn.");
    let mut s = Story::started(|_| {});
    let dying = |r: &mut super::group::Record| (r.failed, r.dying) = (5, Some(Reason::Failed));
    s.is_due(1, |r| r.crashed = 1).is_due(2, |r| r.crashed = 1).is_due(3, dying).is_due(4, dying).at(400);
    s.ends(
        "no_suspects",
        "One crash may be a neighbour's, and who dies has harmed nobody yet: they run beside each other.",
    );
}

#[test]
fn a_suspect_that_waits_and_is_lost() {
    let mut s = Story::started(|_| {});
    s.is_due(1, |r| r.crashed = 2).is_due(2, |r| r.crashed = 2).at(400).another_takes(2);
    s.at(8_900).breaks(&[Link::Commands]).at(9_100).event(Event::Connected(Link::Commands)).at(9_110);
    s.succeeds(1).at(9_120).is_due(3, |r| r.crashed = 2).at(9_500);
    s.ends("suspect_lost", "It is nobody's turn, and the next one does not wait for that.");
}

#[test]
fn a_suspect_that_waits_and_comes_again_as_none() {
    let mut s = Story::started(|_| {});
    s.is_due(1, |r| r.crashed = 2).is_due(2, |r| r.crashed = 2).at(400).fails_over_without(2);
    s.at(800).connects().at(810).event(Event::Pause(true)).sends(&[2]).at(820).succeeds(1).at(830);
    s.event(Event::Pause(false)).at(840);
    s.ends("suspect_forgotten", "This server knows nothing of its crashes: it is a message like others.");
}

#[test]
fn without_limits() {
    let mut s = Story::started(|s| (s.max_attempts, s.max_crashes) = (0, 0));
    s.sends(&[2]).at(110).succeeds(2).at(120).is_due(1, |r| (r.failed, r.crashed) = (50, 50)).at(400);
    s.fails(1, "no").at(420);
    s.ends("no_limits", "It is tried again for ever.");
}

#[test]
fn what_process_dead_says() {
    let mut s = Story::started(|s| s.max_attempts = 1);
    s.sends(&[1]).at(110).fails(1, "no").at(150).ran(1, rejected("no mail")).at(160);
    s.ends("dead_says", "Its own words are buried with the message, for the reason for which it dies.");
}

#[test]
fn a_reclaim_is_refused() {
    let mut s = Story::started(|_| {});
    s.by_hand("reclaim").at(8_600).refused("reclaim", Trouble::from_reply("LOADING", "loading")).at(9_500);
    assert_eq!(s.under_way("reclaim"), 0, "it comes again with the next round");
    s.at(9_610);
    assert_eq!(s.under_way("reclaim"), 1);
}

#[test]
fn who_reclaims() {
    let mut s = Story::started(|s| s.concurrency = 1);
    s.by_hand("reclaim").at(8_600);
    s.answer("reclaim", Answer::ReclaimerIs(ms(700))).at(9_600);
    let moved = vec![(entry(7), 1)];
    s.told("due").answer("reclaim", Answer::Reclaimed(Reclaimed { now_ms: 9_600, moved, more: true })).at(9_610);
    s.answer("reclaim", Answer::Reclaimed(Reclaimed { now_ms: 9_610, ..Reclaimed::default() })).at(10_500);
    s.sends(&[1]).at(20_000);
    s.ends("reclaimer", "Not before the living could refresh; at once again if there is more; with no slot free, too.");
}

#[test]
fn a_step_of_the_clock() {
    let mut s = Story::started(|_| {});
    s.at(8_600).by_hand("reclaim").at(10_000);
    s.answer("reclaim", Answer::Reclaimed(Reclaimed { now_ms: 70_000, ..Reclaimed::default() })).at(18_900);
    s.ends("clock_step", "Everything looks idle after a step: nothing is reclaimed for a while.");
}

#[test]
fn a_standstill_of_everybody() {
    let mut s = Story::started(|_| {});
    s.told("reclaim").at(9_600).frozen_until(18_000).at(27_000);
    s.ends(
        "reclaimer_stood_still",
        "The others may have stood still, too: nothing is reclaimed before they can refresh.",
    );
}

#[test]
fn a_refused_call() {
    let mut s = Story::started(|_| {});
    s.by_hand("ack").sends(&[1]).at(110).succeeds(1).refused("ack", Trouble::from_reply("LOADING", "loading"));
    s.at(150).refused("ack", Trouble::from_reply("LOADING", "loading")).told("ack").at(400);
    s.by_hand("ack").sends(&[2]).at(410).succeeds(2).refused("ack", Trouble::from_reply("LOADING", "loading"));
    s.told("ack").at(800);
    s.ends("refused", "It is asked again, after a pause that grows, until it goes well.");
}
