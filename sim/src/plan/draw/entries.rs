//! Plans whose applications read the entries of what they own. They have dice of their own, and share fleet and faults with
//! those of ownership.

use std::time::Duration;

use super::{
    Profile,
    dice::Dice,
    faults::{self, Fleet},
    fleet, recovery, redis,
};
use crate::{
    entries::DATA,
    plan::{Action, Commits, ConsumerPlan, Plan, Reading, RedisFault, Servers, Timed},
};

/// The plan of a seed: 60 simulated seconds, mostly the last third of them without faults.
pub(super) fn draw(seed: u64, profile: Profile) -> Plan {
    let mut dice = Dice::new(seed, "run");
    let consumers = readers(seed);
    let longest_ttl_ms = consumers.iter().map(|consumer| consumer.ttl_ms).max().unwrap_or_default();
    // Long enough to connect again, to wait for a ttl (5.8) and to be owned again, and for what has come to be read.
    let calm_ms = dice.between(22_000, 27_000).max(longest_ttl_ms * 7 / 2 + 5_000);
    let mut plan = Plan {
        seed,
        latency_us: dice.pick(&[(200, 1_000), (200, 1_000), (50, 200), (1_000, 3_000), (100, 8_000)]),
        redis: redis::draw(&mut Dice::new(seed, "redis")),
        servers: Servers::default(),
        consumers,
        actions: Vec::new(),
        heal_at: Duration::from_millis(60_000 - calm_ms),
        calm: Duration::from_millis(calm_ms),
        finish: dice.chance(15),
    };
    let mut data = Dice::new(seed, "data");
    let streams = data.scaled(1, 24);
    plan.actions.extend(work(&mut data, streams, &plan));
    let size = plan.consumers.len() as u64;
    let ttl_ms = plan.consumers.iter().map(|consumer| consumer.ttl_ms).min().unwrap_or_default();
    let fleet = Fleet { size, ttl_ms, streams };
    let mut late = |dice: &mut Dice, at: Duration, _| {
        let at = at.saturating_sub(Duration::from_millis(5)) + Duration::from_millis(dice.between(0, 25));
        Timed { at, action: append(dice, streams) }
    };
    plan.actions.extend(faults::draw_from(&faults::FEATURES, seed, profile, &plan, &fleet, &mut late));
    plan.actions.extend(recovery(&plan, &mut Dice::new(seed, "recovery")));
    plan.actions.sort_by_key(|timed| timed.at);
    super::end_in_time(&mut plan);
    plan
}

/// A fleet of ours, all members of which read in the same way: what one commits with its effects, all do.
fn readers(seed: u64) -> Vec<ConsumerPlan> {
    let mut dice = Dice::new(seed, "readers");
    let batch = dice.pick(&[1, 3, 10, 100, 500]);
    let takes_ms = dice.pick(&[0, 1, 10, 100, 700]);
    let prefetch = batch * dice.pick(&[1, 2, 2, 5]);
    let reading = Reading {
        batch,
        prefetch,
        prefetch_total: prefetch * dice.pick(&[1, 3, 50, 50]),
        takes_ms: (takes_ms / 4, takes_ms),
        commits: match dice.between(0, 99) {
            0..20 => Commits::Batch,
            20..35 => Commits::Every(dice.scaled(50, 4_000)),
            35..55 => Commits::Hand,
            _ => Commits::Effects,
        },
    };
    let mut consumers = fleet::draw(seed);
    for consumer in &mut consumers {
        (consumer.go, consumer.manual, consumer.app.never_reads) = (false, false, false);
        consumer.app.reading = Some(reading.clone());
        // Who reads mostly goes on for as long as the stream is its own.
        consumer.app.work_ms = if dice.chance(70) { None } else { Some((500, dice.scaled(1_000, 30_000))) };
    }
    consumers
}

/// Streams are announced once; entries come before that, and throughout. Sometimes a stream is trimmed.
fn work(dice: &mut Dice, streams: u64, plan: &Plan) -> Vec<Timed> {
    let last = plan.heal_at + plan.calm / 4;
    let mut actions = Vec::new();
    let mut act = |at, action| actions.push(Timed { at, action });
    for number in 1..=streams {
        let action = Action::Announce { prefix: DATA.to_owned(), from: number, count: 1 };
        let before = if dice.chance(70) { Duration::from_secs(2) } else { plan.heal_at };
        act(dice.time(before), action);
    }
    for _ in 0..dice.scaled(4, 64) {
        act(dice.time(last), append(dice, streams));
    }
    for _ in 0..if dice.chance(30) { dice.scaled(1, 6) } else { 0 } {
        let trim = RedisFault::TrimData { nth: dice.between(0, 31), left: dice.scaled(1, 64) - 1 };
        act(dice.time(plan.heal_at), Action::Redis(trim));
    }
    actions
}

fn append(dice: &mut Dice, streams: u64) -> Action {
    let from = dice.between(1, streams);
    let count = if dice.chance(25) { dice.between(1, streams - from + 1) } else { 1 };
    Action::Append { prefix: DATA.to_owned(), from, count, entries: dice.scaled(1, 128) }
}
