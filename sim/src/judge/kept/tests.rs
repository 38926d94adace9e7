use super::super::histories::*;
use crate::facts::Fact;

const P: &str = "kept";

/// Two consumers; the first owns a stream, and sends its last heartbeat after 10 s.
fn one_owner() -> Vec<Fact> {
    let mut facts = vec![timed(0, started(0)), timed(0, started(1)), timed(10, ready(0)), timed(10, ready(1))];
    facts.push(timed(15, announced("s", 1)));
    facts.push(timed(20, granted("c0#1", "s", 1, 5)));
    facts.extend((1..=10).map(|s| timed(s * 1_000, renewed("c0", &[1]))));
    facts
}

/// What follows, and somebody who looks at these times.
fn then(more: &[(u64, crate::facts::What)]) -> Vec<Fact> {
    let mut facts = one_owner();
    facts.extend(more.iter().map(|(ms, what)| timed(*ms, what.clone())));
    facts
}

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
fn the_wait_for_a_new_server_begins_with_whoever_comes_first() {
    let plan = plan(2);
    let late = |ms| {
        then(&[
            (10_100, crashed(0)),
            (10_200, crashed(1)),
            (11_000, redis_up("latest")),
            (11_100, announced("s", 1)),
            (30_000, started(1)),
            (30_010, ready(1)),
            (ms, note()),
        ])
    };
    good_timed(P, &plan, &late(33_400));
    bad_timed(P, &plan, &late(33_900));
}

#[test]
fn a_clock_that_was_set_back_is_not_healed() {
    let plan = plan(2);
    let back = |ms| {
        let struck = struck_as("redis clock", "redis clock -60s");
        then(&[(10_100, crashed(0)), (11_000, struck), (15_000, healed()), (ms, note())])
    };
    good_timed(P, &plan, &back(74_000));
    bad_timed(P, &plan, &back(76_000));
}

#[test]
fn a_heartbeat_shows_that_a_doubtful_announcement_is_there() {
    let plan = plan(2);
    let doubted = |more: &[(u64, crate::facts::What)]| {
        let mut all = vec![(10_100, struck_as("redis delete-consumer", "redis delete-consumer c1"))];
        all.extend_from_slice(more);
        then(&all)
    };
    good_timed(P, &plan, &doubted(&[(40_000, note())]));
    bad_timed(P, &plan, &doubted(&[(11_000, renewed("c0", &[1])), (40_000, note())]));
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
fn a_wait_that_is_cut_off_begins_anew() {
    let plan = plan(2);
    let cut = |ms| {
        then(&[
            (10_100, crashed(0)),
            (11_000, redis_up("nothing")),
            (12_000, struck_as("partition", "partition c1 10s")),
            (ms, note()),
        ])
    };
    good_timed(P, &plan, &cut(29_400));
    bad_timed(P, &plan, &cut(29_900));
    // Once the fleet has settled, nobody waits any more.
    let settled = |ms| {
        let mut facts = cut(12_100);
        facts.push(timed(15_500, announced("t", 2)));
        facts.push(timed(16_000, granted("c1#1", "t", 2, 9)));
        facts.push(timed(ms, note()));
        facts
    };
    good_timed(P, &plan, &settled(26_400));
    bad_timed(P, &plan, &settled(26_900));
}

#[test]
fn a_server_that_has_just_begun_is_waited_for() {
    let mut plan = plan(1);
    plan.redis.uptime_s = 1;
    let cut = |ms| {
        vec![
            timed(0, started(0)),
            timed(10, ready(0)),
            timed(15, announced("s", 1)),
            timed(2_000, struck_as("redis disconnect", "redis disconnect")),
            timed(ms, note()),
        ]
    };
    good_timed(P, &plan, &cut(9_400));
    bad_timed(P, &plan, &cut(9_900));
    plan.redis.uptime_s = 3_600;
    bad_timed(P, &plan, &cut(6_900));
}

#[test]
fn what_strikes_a_server_outlives_its_restart() {
    let plan = plan(2);
    let refused = |ms| {
        then(&[
            (10_100, crashed(0)),
            (11_000, struck_as("redis refuse", "redis refuse readonly 20s")),
            (12_000, redis_up("nothing")),
            (ms, note()),
        ])
    };
    good_timed(P, &plan, &refused(41_400));
    bad_timed(P, &plan, &refused(41_900));
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
fn what_is_handed_out_anew_looks_fresh() {
    let plan = plan(2);
    let again = |end: crate::facts::What, ms| {
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
fn an_id_may_be_given_away_twice() {
    let plan = plan(2);
    let twice = |more: &[(u64, crate::facts::What)]| {
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
fn a_redis_that_forgets_may_count_an_end_as_a_crash() {
    let mut plan = plan(2);
    plan.consumers.iter_mut().for_each(|consumer| consumer.max_takeovers = 2);
    let ended = |forgot, ms| {
        then(&[
            (10_100, crashed(0)),
            (13_400, granted("c1#1", "s", 1, 9)),
            (14_100, given_back("c1#1", "s", 1)),
            (14_200, redis_up(forgot)),
            (ms, note()),
        ])
    };
    good_timed(P, &plan, &ended("latest", 78_000));
    bad_timed(P, &plan, &ended("latest", 82_000));
    bad_timed(P, &plan, &ended("nothing", 23_000));
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
fn steps_of_the_clock_add_up() {
    let plan = plan(2);
    let steps = |steps: &[&str], ms| {
        let mut all = vec![(10_100, crashed(0))];
        all.extend(steps.iter().zip(11_000..).map(|(step, ms)| (ms, struck_as("redis clock", step))));
        all.extend([(15_000, healed()), (ms, note())]);
        then(&all)
    };
    let back = ["redis clock -20s", "redis clock -5s"];
    good_timed(P, &plan, &steps(&back, 39_300));
    bad_timed(P, &plan, &steps(&back, 39_800));
    let there_and_back = ["redis clock -20s", "redis clock +20s"];
    good_timed(P, &plan, &steps(&there_and_back, 34_300));
    bad_timed(P, &plan, &steps(&there_and_back, 34_800));
}

#[test]
fn an_end_may_be_forgotten() {
    let plan = plan(2);
    let ended = |forgot, more: &[(u64, crate::facts::What)]| {
        let mut all = vec![
            (10_100, announced("s", 2)),
            (10_200, granted("c1#1", "s", 1, 9)),
            (10_300, finished("c1#1", "s", 1)),
            (10_400, redis_up(forgot)),
        ];
        all.extend_from_slice(more);
        then(&all)
    };
    // The owner before it has not noticed, and keeps its lease; the other announcement waits for it.
    let kept: Vec<_> = (11..=20).map(|s| (s * 1_000, renewed("c0", &[1]))).collect();
    good_timed(P, &plan, &ended("latest", &kept));
    bad_timed(P, &plan, &ended("nothing", &kept));
    let mut lost = kept;
    lost.push((24_000, note()));
    bad_timed(P, &plan, &ended("latest", &lost));
}

#[test]
fn once_the_fleet_has_settled_everybody_knows_within_a_heartbeat() {
    let plan = plan(2);
    let settled = |ms| {
        then(&[
            (10_100, redis_up("nothing")),
            (10_200, announced("t", 2)),
            (17_000, granted("c0#2", "s", 1, 9)),
            (17_500, renewed("c0", &[1])),
            (ms, note()),
        ])
    };
    good_timed(P, &plan, &settled(18_400));
    bad_timed(P, &plan, &settled(18_900));
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
fn what_stood_under_a_wrong_type_is_left_alone_for_a_while_whatever_is_healed() {
    let plan = plan(2);
    let struck = (10_100, struck_as("redis wrong-type", "redis wrong-type 0 3s"));
    let over = (13_100, healed());
    let later = |ms| {
        then(&[
            (10_050, crashed(0)),
            struck.clone(),
            over.clone(),
            (ms, granted("c1#1", "s", 1, 9)),
            (ms + 500, note()),
        ])
    };
    good_timed(P, &plan, &later(24_000));
    bad_timed(P, &plan, &later(32_000));
}
