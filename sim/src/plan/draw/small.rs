//! Short lives of small fleets, for campaigns of very many: what goes wrong where many things are at work is for the other
//! profiles; what goes wrong between two consumers, a stream and a fault shows in a third of their time, or less.

use std::time::Duration;

use super::{Dice, Profile, faults, fleet, redis, work};
use crate::plan::{ConsumerPlan, Plan, Servers, Timed};

/// The shortest leases that are sensible: everything else is counted in them.
const TTL_MS: u64 = 2_000;

/// Up to three consumers, about four streams, some seconds of trouble.
pub(super) fn draw(seed: u64) -> Plan {
    let mut dice = Dice::new(seed, "small");
    let size = dice.pick(&[1, 2, 2, 2, 3]);
    let mut plan = Plan {
        seed,
        latency_us: dice.pick(&[(200, 1_000), (50, 200), (1_000, 3_000), (100, 8_000)]),
        redis: redis::draw(&mut Dice::new(seed, "redis")),
        servers: Servers::default(),
        consumers: fleet::draw(seed).into_iter().take(size).map(short_lived).collect(),
        actions: Vec::new(),
        heal_at: Duration::from_millis(dice.between(4_000, 8_000)),
        // To connect again, to wait for a ttl and to own again; and as long for that to be finished.
        calm: Duration::from_millis(TTL_MS * 7),
        finish: dice.chance(90),
    };
    plan.actions
        .push(Timed { at: dice.time(Duration::from_secs(1)), action: work::announce(&mut 1, dice.scaled(1, 4)) });
    let mut next = 5;
    for _ in 0..dice.between(0, 2) {
        plan.actions.push(Timed { at: dice.time(plan.heal_at), action: work::announce(&mut next, 1) });
    }
    let force = if dice.chance(70) { Profile::Calm } else { Profile::Swarm };
    plan.actions.extend(faults::draw(seed, force, &plan));
    plan
}

/// Its settings, with a short ttl and short work.
fn short_lived(mut consumer: ConsumerPlan) -> ConsumerPlan {
    consumer.ttl_ms = TTL_MS;
    // Longer than the margin, and not longer than a third of the ttl.
    consumer.heartbeat_ms = consumer.heartbeat_ms.clamp(TTL_MS / 10 + 11, TTL_MS / 3);
    consumer.app.work_ms = consumer.app.work_ms.map(|(least, most)| (least.min(200), most.min(2_000)));
    consumer.app.reads_every_ms = consumer.app.reads_every_ms.min(500);
    consumer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_plan_is_small_and_not_all_are_alike() {
        let plans: Vec<Plan> = (0..500).map(draw).collect();
        for plan in &plans {
            assert!(plan.consumers.len() <= 3, "{}", plan.seed);
            assert!(plan.heal_at + plan.calm <= Duration::from_secs(22), "{}", plan.seed);
        }
        let faults = |plan: &Plan| plan.actions.iter().filter(|timed| timed.action.is_fault()).count();
        assert!(plans.iter().any(|plan| faults(plan) == 1) && plans.iter().any(|plan| faults(plan) > 10));
        let few = plans.iter().filter(|plan| faults(plan) <= 6 && plan.announced() <= 12).count();
        assert!(few > 250, "{few} of 500 have few streams and faults");
    }
}
