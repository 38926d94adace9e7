//! When a stream is to be owned again, and when it is not.

use super::{super::super::histories::*, P, one_owner, then};

#[test]
fn a_takeover_comes_in_time() {
    let plan = plan(2);
    let taken = |ms| then(&[(10_100, crashed(0)), (ms, granted("c1#1", "s", 1, 9)), (ms + 500, note())]);
    good_timed(P, &plan, &taken(13_400));
    bad_timed(P, &plan, &taken(13_700));
    bad_timed(P, &plan, &then(&[(10_100, crashed(0)), (13_800, note())]));
    bad_timed(P, &plan, &then(&[(13_800, note())]));
}

#[test]
fn what_ends_needs_no_owner() {
    let plan = plan(2);
    good_timed(P, &plan, &then(&[(10_100, finished("c0#1", "s", 1)), (20_000, note())]));
    good_timed(P, &plan, &then(&[(10_100, set_aside(1, "failed")), (20_000, note())]));
    bad_timed(P, &plan, &then(&[(10_100, given_back("c0#1", "s", 1)), (20_000, note())]));
    good_timed(P, &plan, &then(&[(10_100, struck_as("redis trim", "redis trim 0")), (20_000, note())]));
    good_timed(P, &plan, &then(&[(10_100, redis_up("all")), (40_000, note())]));
}

#[test]
fn conditions_that_do_not_hold_excuse_and_begin_anew() {
    let plan = plan(2);
    let both = |ms| then(&[(10_100, crashed(0)), (11_000, struck_as("partition", "partition c1 5s")), (ms, note())]);
    good_timed(P, &plan, &both(20_400));
    bad_timed(P, &plan, &both(20_900));
    let stall = |ms| then(&[(10_100, crashed(0)), (11_000, struck_as("redis stall", "redis stall 5s")), (ms, note())]);
    good_timed(P, &plan, &stall(23_400));
    bad_timed(P, &plan, &stall(23_900));
    good_timed(P, &plan, &then(&[(10_100, crashed(0)), (10_200, crashed(1)), (40_000, note())]));
    let healed = |ms| {
        then(&[
            (10_100, crashed(0)),
            (11_000, struck_as("partition", "partition c1 60s")),
            (15_000, healed()),
            (ms, note()),
        ])
    };
    good_timed(P, &plan, &healed(19_400));
    bad_timed(P, &plan, &healed(19_800));
    let dropped = struck_as("redis drop-messages", "redis drop-messages 60s");
    bad_timed(P, &plan, &then(&[(10_000, dropped), (10_100, crashed(0)), (13_800, note())]));
}

#[test]
fn a_full_fleet_takes_nothing() {
    let mut plan = plan(2);
    plan.consumers[1].capacity = 1;
    good_timed(P, &plan, &then(&[(10_100, crashed(0)), (40_000, note())]));
    plan.consumers[1].capacity = 2;
    bad_timed(P, &plan, &then(&[(10_100, crashed(0)), (40_000, note())]));
    plan.consumers[1].manual = true;
    good_timed(P, &plan, &then(&[(10_100, crashed(0)), (40_000, note())]));
}

#[test]
fn what_struck_a_consumer_that_starts_may_concern_its_other_connections() {
    let plan = plan(2);
    let late = |ms| {
        then(&[
            (10_100, crashed(0)),
            (10_200, crashed(1)),
            (20_000, struck_as("partition", "partition c1 5s")),
            (20_500, started(1)),
            (25_010, ready(1)),
            (ms, note()),
        ])
    };
    good_timed(P, &plan, &late(29_400));
    bad_timed(P, &plan, &late(29_900));
}

#[test]
fn a_failure_has_its_pause() {
    let plan = plan(2);
    let failed =
        |ms| then(&[(10_100, asked(0, "s", 1, 5, "fail")), (10_200, given_back("c0#1", "s", 1)), (ms, note())]);
    good_timed(P, &plan, &failed(13_600));
    bad_timed(P, &plan, &failed(14_000));
    let again = |ms| {
        let mut facts = failed(10_300);
        let more = [
            (11_500, granted("c1#1", "s", 1, 9)),
            (11_600, asked(1, "s", 1, 9, "fail")),
            (11_700, given_back("c1#1", "s", 1)),
            (12_900, granted("c0#2", "s", 1, 10)),
            (13_000, asked(0, "s", 1, 10, "fail")),
            (13_100, given_back("c0#2", "s", 1)),
            (ms, note()),
        ];
        facts.extend(more.into_iter().map(|(ms, what)| timed(ms, what)));
        facts
    };
    good_timed(P, &plan, &again(18_500));
    bad_timed(P, &plan, &again(19_000));
}

#[test]
fn at_the_limit_of_crashes_a_stream_is_left_alone_for_longest() {
    let mut plan = plan(2);
    plan.consumers.iter_mut().for_each(|consumer| consumer.max_takeovers = 1);
    let crash = |ms| then(&[(10_100, crashed(0)), (ms, note())]);
    good_timed(P, &plan, &crash(70_000));
    bad_timed(P, &plan, &crash(78_000));
}

#[test]
fn in_the_end_everything_is_finished() {
    let mut plan = plan(2);
    (plan.heal_at, plan.calm) = (std::time::Duration::from_secs(4), std::time::Duration::from_secs(4));
    good_timed("finished", &plan, &one_owner());
    plan.finish = true;
    bad_timed("finished", &plan, &one_owner());
    good_timed("finished", &plan, &then(&[(10_000, finished("c0#1", "s", 1))]));
    good_timed("finished", &plan, &then(&[(10_000, granted("c1#1", "s", 1, 9))]));
    plan.calm = std::time::Duration::from_secs(8);
    good_timed("finished", &plan, &one_owner());
}

#[test]
fn what_is_given_back_by_whoever_was_granted_it_unseen_may_have_failed() {
    let plan = plan(2);
    let failed = |unseen: u64, ms| {
        // A former primary granted it, and nobody heard of that.
        let mut all = vec![(10_100, redis_up("latest"))];
        all.extend((0..unseen).map(|nth| (10_200 + nth, given_back("c0#9", "s", 1))));
        all.extend([(15_000, granted("c1#1", "s", 1, 9)), (15_100, given_back("c1#1", "s", 1)), (ms, note())]);
        then(&all)
    };
    good_timed(P, &plan, &failed(4, 35_500));
    bad_timed(P, &plan, &failed(4, 35_900));
    bad_timed(P, &plan, &failed(0, 35_500));
}
