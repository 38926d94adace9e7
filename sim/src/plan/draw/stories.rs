//! What chance would hardly ever bring about: plans with a plot. They last longer than others.

use std::time::Duration;

use super::dice::Dice;
use crate::plan::{Action, App, ConsumerPlan, Plan, RedisFault, Timed};

/// A stream whose owners crash again and again, in a service that otherwise works: some streams have lived for 20 ttl,
/// with an owner that has no room for more.
pub(super) fn crash_loop(plan: &mut Plan, dice: &mut Dice) {
    let streams = dice.between(1, 3);
    let (ttl_ms, max_takeovers) = (2_000, 2);
    let usual = ConsumerPlan {
        ttl_ms,
        heartbeat_ms: ttl_ms / 3,
        max_takeovers,
        app: App::default(),
        ..ConsumerPlan::default()
    };
    let steady = ConsumerPlan { name: "steady".to_owned(), capacity: streams as usize, ..usual.clone() };
    let victim = ConsumerPlan { name: "victim".to_owned(), joins: false, ..usual };
    plan.consumers = vec![steady, victim];
    plan.redis.uptime_s = 3_600;
    plan.heal_at = Duration::from_millis(ttl_ms * 20 + 15_000);
    plan.calm = Duration::from_secs(20);
    let mut at = |ms: u64, action| plan.actions.push(Timed { at: Duration::from_millis(ms), action });
    at(100, Action::Announce { prefix: "steady-".to_owned(), from: 1, count: streams });
    let poisoned_ms = ttl_ms * 20 - dice.between(0, 4_000);
    at(poisoned_ms, Action::Announce { prefix: "poison-".to_owned(), from: 1, count: 1 });
    at(poisoned_ms, Action::Start { consumer: 1, renamed: false });
    let mut crash_ms = poisoned_ms + dice.between(1_000, 2_000);
    for _ in 0..3 {
        at(crash_ms, Action::Crash { consumer: 1 });
        at(crash_ms + dice.between(10, 400), Action::Start { consumer: 1, renamed: false });
        // Its lease ends, a suspect is left alone for a second, and then it works for a while.
        crash_ms += ttl_ms + 1_000 + dice.between(1_000, 1_500);
    }
}

/// A consumer that has left for good, in a service that is old enough to clear it away: whoever looks for orphans does so
/// after a minute, once somebody has not been heard of for an hour.
pub(super) fn long_gone(plan: &mut Plan, dice: &mut Dice) {
    let app = App { work_ms: Some((500, 4_000)), ..App::default() };
    let steady = ConsumerPlan { name: "steady".to_owned(), app, ..ConsumerPlan::default() };
    plan.consumers = vec![steady.clone(), ConsumerPlan { name: "leaver".to_owned(), ..steady }];
    plan.heal_at = Duration::from_secs(64);
    plan.calm = Duration::from_secs(20);
    let mut at = |ms: u64, action| plan.actions.push(Timed { at: Duration::from_millis(ms), action });
    for from in 0..dice.between(4, 12) {
        at(dice.between(0, 60_000), Action::Announce { prefix: "orders-".to_owned(), from, count: 1 });
    }
    let leaves_ms = dice.between(2_000, 30_000);
    let leave = [Action::Crash { consumer: 1 }, Action::Drain { consumer: 1, deadline_ms: 1_000 }];
    at(leaves_ms, dice.pick(&leave));
    at(leaves_ms + dice.between(2_000, 10_000), Action::Start { consumer: 1, renamed: true });
    let step = RedisFault::ClockStep { by_ms: 7_200_000 };
    at(dice.between(leaves_ms + 6_000, 56_000), Action::Redis(step));
}

/// A consumer that claims from afar what a dead one has left behind, while entry after entry is trimmed away: what it has
/// looked at is gone when it asks for it.
pub(super) fn trimmed(plan: &mut Plan, dice: &mut Dice) {
    let streams = dice.between(12, 24);
    let far = ConsumerPlan { name: "far".to_owned(), ..ConsumerPlan::default() };
    plan.consumers = vec![far.clone(), ConsumerPlan { name: "victim".to_owned(), ..far.clone() }];
    let mut at = |ms: u64, action| plan.actions.push(Timed { at: Duration::from_millis(ms), action });
    at(500, Action::Announce { prefix: "orders-".to_owned(), from: 1, count: streams });
    let crash_ms = dice.between(5_000, 20_000);
    at(crash_ms, Action::Crash { consumer: 1 });
    let found_ms = crash_ms + far.ttl_ms - far.heartbeat_ms;
    at(found_ms - 500, Action::Slow { consumer: 0, by_ms: dice.between(150, 350), ms: 6_000 });
    let first_ms = found_ms + dice.between(300, 900);
    for step in 1..streams {
        at(first_ms + 100 * step, Action::Redis(RedisFault::Trim { left: streams - step }));
    }
}
