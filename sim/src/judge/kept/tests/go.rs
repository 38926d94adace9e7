//! Beside Go peers.

use super::{super::super::histories::*, P, then};
use crate::facts::What;

#[test]
fn a_go_peer_that_believes_to_own_takes_its_lease_again() {
    let mut plan = plan(3);
    plan.consumers[2].go = true;
    let go = |ms, what| timed(ms, what);
    let revived = |end: Option<u64>, ms| {
        let mut facts = vec![go(0, started_go(2)), go(10, ready(2)), go(5, started(0)), go(6, started(1))];
        facts.extend([go(12, ready(0)), go(13, ready(1)), go(20, announced("s", 1)), go(30, added(2, "s", 1, 0))]);
        // Its lease has lapsed while it stood still or was cut off.
        facts.extend([go(8_000, granted("c0#1", "s", 1, 9)), go(8_100, asked(0, "s", 1, 9, "release"))]);
        facts.push(go(8_101, given_back("c0#1", "s", 1)));
        facts.extend(end.map(|ms| go(ms, ended(2, "s", 1, 0, "taken"))));
        facts.push(go(ms, note()));
        facts.sort_by_key(|fact| fact.at);
        facts
    };
    good_timed(P, &plan, &revived(None, 40_000));
    good_timed(P, &plan, &revived(Some(20_000), 23_400));
    bad_timed(P, &plan, &revived(Some(20_000), 23_900));
    let mut crashed_go = revived(None, 10_000);
    crashed_go.extend([timed(20_000, crashed(2)), timed(23_900, note())]);
    bad_timed(P, &plan, &crashed_go);
}

#[test]
fn what_a_go_peer_has_half_finished_may_be_gone() {
    let mut plan = plan(2);
    plan.consumers[1].go = true;
    let half = |how| {
        then(&[
            (10_100, added(1, "s", 1, 0)),
            (10_200, granted("c0#2", "s", 1, 9)),
            (10_300, ended(1, "s", 1, 0, how)),
            (30_000, note()),
        ])
    };
    good_timed(P, &plan, &half("unknown"));
    bad_timed(P, &plan, &half("taken"));
}

#[test]
fn what_a_go_peer_has_claimed_looks_as_fresh_as_a_heartbeat() {
    let mut plan = plan(3);
    plan.consumers[2].go = true;
    let half = |more: &[(u64, What)]| {
        let mut all = vec![(10_100, crashed(0))];
        all.extend_from_slice(more);
        then(&all)
    };
    good_timed(P, &plan, &half(&[(13_010, claimed(&[1])), (16_400, note())]));
    bad_timed(P, &plan, &half(&[(13_010, claimed(&[1])), (16_700, note())]));
    bad_timed(P, &plan, &half(&[(13_010, claimed(&[2])), (13_800, note())]));
}

#[test]
fn what_a_go_peer_was_finishing_as_it_ended_may_be_gone_at_any_time() {
    let mut plan = plan(2);
    plan.consumers[1].go = true;
    let left = |more: &[(u64, What)]| {
        let mut all = vec![(10_100, added(1, "s", 1, 0))];
        all.extend_from_slice(more);
        all.extend([(11_000, stopped(1)), (11_700, granted("c0#2", "s", 1, 9)), (30_000, note())]);
        then(&all)
    };
    let done = (10_300, asked(1, "s", 1, 0, "done"));
    good_timed(P, &plan, &left(std::slice::from_ref(&done)));
    bad_timed(P, &plan, &left(&[]));
    bad_timed(P, &plan, &left(&[done, (10_400, ended(1, "s", 1, 0, "taken"))]));
}
