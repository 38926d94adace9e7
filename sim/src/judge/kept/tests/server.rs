//! What the server does: it begins, forgets, refuses, and its clock steps.

use super::{super::super::histories::*, P, then};
use crate::{facts::What, plan::Topology};

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
fn a_service_that_was_announced_to_before_anybody_came_is_waited_for() {
    let plan = plan(1);
    let cut = |announced_ms, ms| {
        let mut facts = vec![
            timed(0, started(0)),
            timed(announced_ms, struck_as("announce", "announce s")),
            timed(10, ready(0)),
            timed(15, announced("s", 1)),
            timed(2_000, struck_as("redis disconnect", "redis disconnect")),
            timed(ms, note()),
        ];
        facts.sort_by_key(|fact| fact.at);
        facts
    };
    good_timed(P, &plan, &cut(5, 9_400));
    bad_timed(P, &plan, &cut(5, 9_900));
    bad_timed(P, &plan, &cut(12, 6_900));
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
fn who_was_about_to_be_ready_when_the_fleet_settled_knows_within_a_heartbeat() {
    let mut plan = plan(2);
    plan.consumers[0].capacity = 1;
    let settled = |started_ms, ms| {
        let mut facts = then(&[
            (10_050, crashed(1)),
            (10_100, redis_up("nothing")),
            (10_200, announced("t", 2)),
            (started_ms, started(1)),
            (17_000, granted("c0#2", "s", 1, 9)),
            (17_100, ready(1)),
            (17_500, renewed("c0", &[1])),
            (ms, note()),
        ]);
        facts.sort_by_key(|fact| fact.at);
        facts
    };
    good_timed(P, &plan, &settled(16_990, 18_400));
    bad_timed(P, &plan, &settled(16_990, 18_900));
    // Who starts later is told at once.
    bad_timed(P, &plan, &settled(17_010, 18_400));
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
fn an_end_may_be_forgotten() {
    let plan = plan(2);
    let ended = |forgot, more: &[(u64, What)]| {
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
fn a_pause_is_kept_by_the_clock_of_redis() {
    let plan = plan(2);
    let failed = |end, steps: &[(u64, &str)], ms| {
        let mut all = Vec::new();
        for failure in 0..3 {
            let at = 10_010 + 10 * failure;
            all.push((at, asked(0, "s", 1, 5 + failure, "fail")));
            all.push((at + 1, given_back(&format!("c0#{}", failure + 1), "s", 1)));
            all.push((at + 2, granted(&format!("c0#{}", failure + 2), "s", 1, 6 + failure)));
        }
        // The fourth pause: 8 s, and a quarter more.
        all.extend([(10_100, asked(0, "s", 1, 8, end)), (10_101, given_back("c0#4", "s", 1)), (ms, note())]);
        all.extend(steps.iter().map(|(at, step)| (*at, struck_as("redis clock", step))));
        all.sort_by_key(|(at, _)| *at);
        then(&all)
    };
    let back = (11_000, "redis clock -6s");
    good_timed(P, &plan, &failed("fail", &[back], 26_500));
    bad_timed(P, &plan, &failed("fail", &[back], 26_800));
    // What was set right is no later than the fleet is well again.
    let right = [back, (12_000, "redis clock +6s")];
    good_timed(P, &plan, &failed("fail", &right, 24_400));
    bad_timed(P, &plan, &failed("fail", &right, 24_700));
    // Neither what stepped before the pause, nor what has no pause.
    let before = (10_050, "redis clock -6s");
    good_timed(P, &plan, &failed("fail", &[before], 23_400));
    bad_timed(P, &plan, &failed("fail", &[before], 23_700));
    bad_timed(P, &plan, &failed("release", &[back], 24_700));
}

#[test]
fn what_crashes_is_left_alone_by_the_clock_of_redis() {
    let mut plan = plan(2);
    plan.consumers.iter_mut().for_each(|consumer| consumer.max_takeovers = 2);
    let crashes = |step, ms| {
        let struck = struck_as("redis clock", step);
        then(&[(13_100, granted("c1#1", "s", 1, 9)), (13_200, crashed(1)), (17_000, struck), (ms, note())])
    };
    good_timed(P, &plan, &crashes("redis clock -9s", 88_400));
    bad_timed(P, &plan, &crashes("redis clock -9s", 88_800));
    good_timed(P, &plan, &crashes("redis clock -1s", 80_400));
    bad_timed(P, &plan, &crashes("redis clock -1s", 80_800));
}

#[test]
fn a_server_that_may_not_say_who_it_is_is_waited_for_once_it_may() {
    let plan = plan(2);
    let refused = |restarted: bool, ms| {
        let mut all = vec![
            (10_100, struck_as("redis refuse noperm", "redis refuse noperm 5s")),
            (10_300, struck_as("redis refuse noperm", "redis refuse noperm 1s")),
            (11_000, announced("t", 2)),
            (11_300, over("redis refuse noperm")),
            (12_000, granted("c1#1", "t", 2, 9)),
            (15_100, over("redis refuse noperm")),
            (16_000, struck_as("partition", "partition c1 1s")),
            (17_000, crashed(0)),
            (ms, note()),
        ];
        if restarted {
            all.insert(1, (10_200, redis_up("nothing")));
        }
        then(&all)
    };
    // Nobody could know it for another one before.
    good_timed(P, &plan, &refused(true, 25_400));
    bad_timed(P, &plan, &refused(true, 25_800));
    good_timed(P, &plan, &refused(false, 22_400));
    bad_timed(P, &plan, &refused(false, 22_800));
    // What is granted later shows that the fleet has settled.
    let settled = |ms| {
        let mut facts = refused(true, 17_001);
        facts.extend([timed(18_000, announced("u", 3)), timed(18_500, granted("c1#2", "u", 3, 10)), timed(ms, note())]);
        facts
    };
    good_timed(P, &plan, &settled(22_400));
    bad_timed(P, &plan, &settled(22_800));
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

#[test]
fn a_lease_may_outlive_its_announcement_where_a_node_forgets_half_of_a_slot() {
    let plan = plan(1);
    let back = |moving: bool| {
        let mut more = vec![(11_000, struck_as("redis crash", "redis crash 0s")), (11_100, redis_up("all"))];
        if moving {
            more.insert(0, (10_900, struck_as("redis move-slot", "redis move-slot 1s")));
        }
        more.extend([(11_200, given_back("c0#1", "s", 1)), (30_000, note())]);
        then(&more)
    };
    good_timed(P, &plan, &back(true));
    bad_timed(P, &plan, &back(false));
}

#[test]
fn a_node_of_a_cluster_serves_two_seconds_after_it_was_started_again() {
    let crashed = |topology, ms| {
        let mut plan = plan(2);
        plan.servers.topology = topology;
        let struck = struck_as("redis crash", "redis crash 0s");
        let history = [(10_100, crashed(0)), (11_000, struck), (11_000, redis_up("nothing")), (ms, note())];
        (plan, then(&history))
    };
    for (topology, later_ms) in [(Topology::One, 0), (Topology::Cluster, 2_000)] {
        let (plan, good) = crashed(topology, 18_400 + later_ms);
        good_timed(P, &plan, &good);
        let (plan, bad) = crashed(topology, 19_400 + later_ms);
        bad_timed(P, &plan, &bad);
    }
}
