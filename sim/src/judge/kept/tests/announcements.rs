//! What becomes of announcements: new ones, those handed out, in doubt, gone.

use super::{super::super::histories::*, P, then};
use crate::facts::What;

#[test]
fn a_new_announcement_is_taken_even_if_its_first_reader_dies() {
    let plan = plan(2);
    bad_timed(
        P,
        &plan,
        &then(&[
            (10_100, renewed("c0", &[1])),
            (10_200, announced("t", 2)),
            (13_000, renewed("c0", &[1])),
            (14_500, note()),
        ]),
    );
    good_timed(P, &plan, &then(&[(10_200, announced("t", 2)), (12_900, granted("c1#1", "t", 2, 9)), (13_200, note())]));
}

#[test]
fn what_was_handed_to_who_fell_out_looks_as_fresh_as_a_heartbeat() {
    let plan = plan(2);
    let handed = |ms| {
        vec![
            timed(0, started(0)),
            timed(1, started(1)),
            timed(10, ready(0)),
            timed(11, ready(1)),
            timed(1_000, paused(0, 20_000)),
            timed(1_001, paused(1, 20_000)),
            timed(2_000, announced("s", 1)),
            timed(21_000, resumed(0)),
            timed(21_001, resumed(1)),
            // Whatever it was handed in between.
            timed(24_500, crashed(0)),
            timed(ms, note()),
        ]
    };
    good_timed(P, &plan, &handed(28_000));
    bad_timed(P, &plan, &handed(28_400));
    // What has had an owner is not handed out any more.
    let owned = |ms| {
        let mut facts = handed(24_600);
        facts.insert(7, timed(2_010, granted("c1#1", "s", 1, 5)));
        facts.push(timed(ms, note()));
        facts
    };
    good_timed(P, &plan, &owned(25_400));
    bad_timed(P, &plan, &owned(25_900));
}

#[test]
fn what_is_handed_out_anew_looks_fresh() {
    let plan = plan(2);
    let again = |end: What, ms| {
        then(&[
            (10_100, end),
            (10_200, struck_as("redis destroy-group", "redis destroy-group")),
            (10_300, crashed(0)),
            (11_000, crashed(1)),
            (30_000, started(1)),
            (30_010, ready(1)),
            (ms, note()),
        ])
    };
    good_timed(P, &plan, &again(renewed("c0", &[1]), 33_400));
    bad_timed(P, &plan, &again(renewed("c0", &[1]), 33_900));
    bad_timed(P, &plan, &again(given_back("c0#1", "s", 1), 30_900));
}

#[test]
fn what_is_to_be_handed_out_anew_remains_so_when_it_is_taken() {
    let plan = plan(2);
    let again = |set_back: bool, ms| {
        let mut all = vec![(10_100, crashed(0))];
        all.extend(set_back.then(|| (10_200, struck_as("redis destroy-group", "redis destroy-group"))));
        let taken = (13_200, granted("c1#2", "s", 1, 9));
        all.extend([taken, (14_000, crashed(1)), (30_000, started(1)), (30_010, ready(1)), (ms, note())]);
        then(&all)
    };
    good_timed(P, &plan, &again(true, 33_400));
    bad_timed(P, &plan, &again(true, 33_900));
    bad_timed(P, &plan, &again(false, 30_900));
}

#[test]
fn a_heartbeat_shows_that_a_doubtful_announcement_is_there() {
    let plan = plan(2);
    let doubted = |more: &[(u64, What)]| {
        let mut all = vec![(10_100, struck_as("redis delete-consumer", "redis delete-consumer c1"))];
        all.extend_from_slice(more);
        then(&all)
    };
    good_timed(P, &plan, &doubted(&[(40_000, note())]));
    bad_timed(P, &plan, &doubted(&[(11_000, renewed("c0", &[1])), (40_000, note())]));
}

#[test]
fn what_is_given_back_in_doubt_is_there() {
    let plan = plan(2);
    let back = |ms| {
        then(&[
            (10_000, announced("t", 2)),
            (10_010, granted("c0#2", "t", 2, 9)),
            (10_100, redis_up("latest")),
            (10_200, given_back("c0#2", "t", 2)),
            (12_000, renewed("c0", &[1])),
            (14_000, renewed("c0", &[1])),
            (16_000, renewed("c0", &[1])),
            (18_000, renewed("c0", &[1])),
            (ms, note()),
        ])
    };
    bad_timed(P, &plan, &back(20_000));
}

#[test]
fn failures_are_counted_though_the_announcement_may_be_gone() {
    let plan = plan(2);
    let failing = |ms| {
        then(&[
            (10_050, struck_as("redis trim", "redis trim 4")),
            (10_100, asked(0, "s", 1, 5, "fail")),
            (10_200, given_back("c0#1", "s", 1)),
            (11_500, granted("c1#1", "s", 1, 9)),
            (11_600, asked(1, "s", 1, 9, "fail")),
            (11_700, given_back("c1#1", "s", 1)),
            (14_200, granted("c0#2", "s", 1, 10)),
            (14_300, asked(0, "s", 1, 10, "fail")),
            (14_400, given_back("c0#2", "s", 1)),
            (ms, note()),
        ])
    };
    good_timed(P, &plan, &failing(19_800));
    bad_timed(P, &plan, &failing(20_300));
}

#[test]
fn another_announcement_waits_for_the_owner_of_one_that_is_gone() {
    let plan = plan(2);
    let trimmed = || then(&[(10_100, struck_as("redis trim", "redis trim 0")), (13_200, announced("s", 2))]);
    let mut held = trimmed();
    held.extend((14..=20).map(|s| timed(s * 1_000, renewed("c0", &[1]))));
    good_timed(P, &plan, &held);
    held.push(timed(24_000, note()));
    bad_timed(P, &plan, &held);
    let mut free = trimmed();
    free.push(timed(17_500, note()));
    bad_timed(P, &plan, &free);
}

#[test]
fn an_answer_that_is_given_again_does_not_show_that_the_announcement_is_there() {
    let plan = plan(2);
    let again = |token, then_: &[(u64, What)]| {
        let mut all = vec![(10_100, struck_as("redis trim", "redis trim 0")), (10_200, granted("c0#1", "s", 1, token))];
        all.extend_from_slice(then_);
        then(&all)
    };
    let ends = [(11_000, ended(0, "s", 1, 5, "gone")), (11_001, given_back("c0#1", "s", 1)), (40_000, note())];
    good_timed(P, &plan, &again(5, &ends));
    bad_timed(P, &plan, &again(9, &ends));
    // While that lease stands, another announcement waits.
    let other = |ms| again(5, &[(13_200, announced("s", 2)), (13_500, granted("c0#1", "s", 1, 5)), (ms, note())]);
    good_timed(P, &plan, &other(16_900));
    bad_timed(P, &plan, &other(17_200));
}

#[test]
fn an_id_may_be_given_away_twice() {
    let plan = plan(2);
    let twice = |more: &[(u64, What)]| {
        let mut all = vec![(10_100, crashed(0)), (10_200, announced("t", 1))];
        all.extend_from_slice(more);
        then(&all)
    };
    let mut taken = twice(&[(12_000, granted("c1#1", "t", 1, 9))]);
    taken.extend((13..=20).map(|s| timed(s * 1_000, renewed("c1", &[1]))));
    good_timed(P, &plan, &taken);
    bad_timed(P, &plan, &twice(&[(20_000, note())]));
}

#[test]
fn what_is_told_just_after_redis_forgot_was_written_before() {
    let plan = plan(2);
    let told = |ms| {
        let mut all = vec![(10_100, redis_up("latest")), (ms, announced("t", 2))];
        all.extend((11..=30).map(|s| (s * 1_000, renewed("c0", &[1]))));
        then(&all)
    };
    good_timed(P, &plan, &told(10_101));
    bad_timed(P, &plan, &told(10_200));
}
