//! Plans with workers and messages. They have dice of their own, and share the faults with those of streams.

use std::time::Duration;

use super::{
    Profile,
    dice::Dice,
    faults::{self, Feature, Fleet},
    recovery, redis,
};
use crate::plan::{
    Action, ConsumerPlan, Does, Plan, RedisFault, Sending, Servers, Timed, Way, WorkerPlan, drift::DRAWN_DRIFT_PPM,
};

/// The plan of a seed: 60 simulated seconds, mostly the last third of them without faults.
pub(super) fn draw(seed: u64, profile: Profile) -> Plan {
    let mut dice = Dice::new(seed, "run");
    let consumers = workers(seed);
    let idle_ms = consumers.iter().filter_map(|consumer| consumer.worker.as_ref()).map(|worker| worker.idle_ms).max();
    // Long enough to connect again, to wait for what is idle, to hold back after an outage, and for a round of clearing.
    let calm_ms = dice.between(20_000, 25_000).max(idle_ms.unwrap_or(0) * 2 + 15_000);
    let mut plan = Plan {
        seed,
        latency_us: dice.pick(&[(200, 1_000), (200, 1_000), (50, 200), (1_000, 3_000), (100, 8_000)]),
        redis: redis::draw(&mut Dice::new(seed, "redis")),
        servers: Servers::default(),
        consumers,
        actions: Vec::new(),
        heal_at: Duration::from_millis(60_000 - calm_ms),
        calm: Duration::from_millis(calm_ms),
        finish: false,
    };
    plan.actions.extend(work(seed, &plan));
    let fleet = Fleet { size: plan.consumers.len() as u64, ttl_ms: idle_ms.unwrap_or(4_000), streams: 1 };
    let mut late = |dice: &mut Dice, at: Duration, _| {
        let at = at.saturating_sub(Duration::from_millis(5)) + Duration::from_millis(dice.between(0, 25));
        Timed { at, action: Action::Send(sending(dice)) }
    };
    plan.actions.extend(faults::draw_from(&FEATURES, seed, profile, &plan, &fleet, &mut late));
    plan.actions.extend(recovery(&plan, &mut Dice::new(seed, "recovery")));
    plan.actions.sort_by_key(|timed| timed.at);
    super::end_in_time(&mut plan);
    plan
}

/// Those at the end are what nobody should do to a stream: the promises are weaker there, so they are rare.
const FEATURES: [Feature; 31] = [
    Feature { name: "crash", percent: 45, most: 8, strike: faults::crash },
    Feature { name: "drain", percent: 30, most: 6, strike: faults::drain },
    Feature { name: "late start", percent: 60, most: 6, strike: faults::start },
    Feature { name: "pause", percent: 40, most: 8, strike: faults::pause },
    Feature { name: "pause at a point", percent: 40, most: 10, strike: faults::pause_at_a_point },
    Feature {
        name: "suspend",
        percent: 15,
        most: 4,
        strike: |d, f| faults::now(Action::Suspend { consumer: f.one(d), ms: f.length_ms(d) }),
    },
    Feature { name: "partition", percent: 25, most: 5, strike: |d, f| faults::partition(d, f, Way::Both) },
    Feature { name: "partition out", percent: 20, most: 5, strike: |d, f| faults::partition(d, f, Way::Out) },
    Feature { name: "partition in", percent: 20, most: 5, strike: |d, f| faults::partition(d, f, Way::In) },
    Feature { name: "zone", percent: 10, most: 2, strike: faults::zone },
    Feature { name: "stall", percent: 20, most: 6, strike: |d, f| faults::stall(d, f, Way::Both) },
    Feature { name: "stall out", percent: 15, most: 6, strike: |d, f| faults::stall(d, f, Way::Out) },
    Feature { name: "stall in", percent: 15, most: 6, strike: |d, f| faults::stall(d, f, Way::In) },
    Feature { name: "reset", percent: 25, most: 12, strike: |d, f| faults::now(Action::Reset { consumer: f.one(d) }) },
    Feature { name: "slow", percent: 15, most: 4, strike: faults::slow },
    Feature { name: "lost answer", percent: 55, most: 24, strike: lose_answers },
    Feature {
        name: "lost send",
        percent: 30,
        most: 10,
        strike: |d, _| faults::now(Action::LoseSend { after: d.scaled(1, 8) as u32 - 1 }),
    },
    Feature {
        name: "redis crash",
        percent: 20,
        most: 3,
        strike: |d, f| faults::redis(RedisFault::Crash { ms: f.down_ms(d) }),
    },
    Feature {
        name: "redis restart",
        percent: 12,
        most: 3,
        strike: |d, f| faults::redis(RedisFault::Restart { ms: f.down_ms(d) }),
    },
    Feature {
        name: "failover",
        percent: 20,
        most: 3,
        strike: |d, f| faults::redis(RedisFault::Failover { ms: f.down_ms(d) }),
    },
    Feature {
        name: "redis stall",
        percent: 18,
        most: 4,
        strike: |d, f| faults::redis(RedisFault::Stall { ms: f.length_ms(d) }),
    },
    Feature { name: "refuse", percent: 45, most: 8, strike: faults::refuse },
    Feature { name: "disconnect", percent: 18, most: 6, strike: |_, _| faults::redis(RedisFault::Disconnect) },
    Feature { name: "forget scripts", percent: 15, most: 5, strike: |_, _| faults::redis(RedisFault::ForgetScripts) },
    Feature { name: "clock", percent: 10, most: 2, strike: faults::clock },
    Feature { name: "group", percent: 9, most: 3, strike: group },
    Feature { name: "records", percent: 12, most: 4, strike: records },
    Feature {
        name: "unpark",
        percent: 12,
        most: 8,
        strike: |d, _| faults::redis(RedisFault::Unpark { nth: d.between(0, 31) }),
    },
    Feature { name: "stream", percent: 8, most: 2, strike: stream },
    Feature {
        name: "evict",
        percent: 10,
        most: 8,
        strike: |d, _| faults::redis(RedisFault::Evict { nth: d.between(0, 31) }),
    },
    Feature {
        name: "wrong type",
        percent: 6,
        most: 2,
        strike: |d, f| faults::redis(RedisFault::WrongType { nth: d.between(0, 31), ms: f.length_ms(d) }),
    },
];

/// One; or one soon, and then some of those by which the consumer, just connected again, finds out what it has missed.
fn lose_answers(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    if dice.chance(50) {
        return faults::lose_answer(dice, fleet);
    }
    let consumer = fleet.one(dice);
    let lose = |after: u64| Action::LoseAnswer { consumer, after: after as u32 };
    let mut strike = faults::now(lose(dice.between(0, 3)));
    let mut at_ms = 0;
    for _ in 0..dice.between(1, 4) {
        at_ms += dice.between(15, 120);
        strike.push((at_ms, lose(dice.between(0, 8))));
    }
    strike
}

/// The group is destroyed, set back, or loses a member.
fn group(dice: &mut Dice, fleet: &Fleet) -> Vec<(u64, Action)> {
    let consumer = fleet.one(dice);
    let faults = [RedisFault::DestroyGroup, RedisFault::DestroyGroup, RedisFault::Redeliver];
    let member = RedisFault::DeleteConsumer { consumer };
    faults::redis(if dice.chance(20) { member } else { dice.pick(&faults) })
}

fn records(dice: &mut Dice, _: &Fleet) -> Vec<(u64, Action)> {
    faults::redis(dice.pick(&[RedisFault::DeleteAttempts, RedisFault::DeleteDelayed]))
}

fn stream(dice: &mut Dice, _: &Fleet) -> Vec<(u64, Action)> {
    let trim = RedisFault::Trim { left: dice.between(0, 8) };
    faults::redis(dice.pick(&[RedisFault::DeleteLbs, RedisFault::FlushAll, trim.clone(), trim]))
}

/// The workers. The first is there from the beginning: somebody must be able to keep what is promised.
fn workers(seed: u64) -> Vec<ConsumerPlan> {
    let mut dice = Dice::new(seed, "workers");
    let settings = settings(&mut dice);
    let (clocks_differ, absent_percent) = (dice.chance(50), dice.pick(&[0, 0, 20, 60]));
    let size = dice.pick(&[1, 2, 2, 3, 3, 3, 4, 4, 5, 6]);
    let mut worker = |index: usize| ConsumerPlan {
        name: format!("work-{index}"),
        joins: index == 0 || !dice.chance(absent_percent),
        drift_ppm: if clocks_differ { dice.signed(DRAWN_DRIFT_PPM) } else { 0 },
        worker: Some(settings.clone()),
        ..ConsumerPlan::default()
    };
    (0..size).map(&mut worker).collect()
}

/// The settings of a group: every member has the same.
fn settings(dice: &mut Dice) -> WorkerPlan {
    let idle_ms = dice.pick(&[2_000, 3_000, 4_000, 4_000, 6_000, 10_000]);
    let base_ms = dice.scaled(50, 3_000);
    let concurrency = dice.pick(&[1, 2, 4, 8, 16, 16, 64]);
    let rate = |dice: &mut Dice| (dice.scaled(2, 50) as u32, dice.pick(&[100, 1_000, 1_000, 5_000]));
    WorkerPlan {
        concurrency,
        prefetch: dice.pick(&[0, 1, concurrency, concurrency, concurrency]),
        batch: dice.pick(&[1, 3, 100, 1_000, 1_000]),
        block_ms: dice.pick(&[100, 500, 2_000]),
        idle_ms,
        reclaim_ms: dice.pick(&[200, 1_000, 1_000]).min(idle_ms / 3),
        due_ms: dice.pick(&[100, 250, 250, 250]),
        ack_delay_ms: dice.pick(&[0, 5, 5, 50]),
        sweep_ms: dice.pick(&[1_000, 3_000, 5_000]),
        max_attempts: dice.pick(&[1, 2, 3, 3, 5, 0]),
        max_crashes: dice.pick(&[3, 3, 3, 5, 0]),
        backoff_ms: (base_ms, base_ms * dice.pick(&[1, 4, 8])),
        factor: dice.pick(&[1, 2, 2, 3]),
        jitter_percent: dice.pick(&[0, 20, 20, 100]),
        timeout_ms: if dice.chance(60) { Some(dice.scaled(500, 8_000)) } else { None },
        rate: dice.chance(12).then(|| rate(dice)),
        group_rate: dice.chance(12).then(|| rate(dice)),
        processed_ms: dice.chance(15).then(|| dice.scaled(1_000, 30_000)),
        deletes: dice.chance(25),
        trims: dice.chance(30),
        buries: dice.chance(40),
        ordered: dice.chance(15),
    }
}

/// Some messages at the beginning, single ones and bursts throughout; nothing in most of the calm.
fn work(seed: u64, plan: &Plan) -> Vec<Timed> {
    let mut dice = Dice::new(seed, "messages");
    let last = plan.heal_at + plan.calm / 8;
    let early = dice.time(Duration::from_secs(2));
    let first = Sending { count: dice.scaled(1, 64), takes_ms: dice.scaled(1, 1_000), ..Sending::default() };
    let mut actions = vec![Timed { at: early, action: Action::Send(first) }];
    for _ in 0..dice.scaled(4, 40) {
        actions.push(Timed { at: dice.time(last), action: Action::Send(sending(&mut dice)) });
    }
    actions
}

/// Half of what is sent is ordinary.
fn sending(dice: &mut Dice) -> Sending {
    let times = dice.pick(&[0, 1, 1, 2, 3, 6]);
    let does = match dice.between(0, 99) {
        0..50 => Does::Succeeds,
        50..65 => Does::Fails(times),
        65..70 => Does::Panics(times),
        70..74 => Does::Crashes(times),
        74..77 => Does::Hangs,
        77..82 => Does::Rejects,
        82..85 => Does::Drops,
        85..91 => Does::Broken,
        91..95 => Does::DeadFails(times),
        95..98 => Does::DeadAcks,
        _ => Does::DeadCrashes(times),
    };
    let ordinary = matches!(does, Does::Succeeds | Does::Fails(_));
    Sending {
        count: if ordinary { dice.scaled(1, 24) } else { dice.scaled(1, 3) },
        does,
        takes_ms: if dice.chance(50) { dice.scaled(1, 9_000) } else { 0 },
        delay_ms: if dice.chance(15) { dice.scaled(20, 9_000) } else { 0 },
        once: dice.chance(12).then(|| dice.between(1, 6)),
        key: dice.chance(20).then(|| dice.between(1, 4)),
    }
}
