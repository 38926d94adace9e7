//! What is announced in a drawn plan, and when.

use std::time::Duration;

use super::dice::Dice;
use crate::plan::{Action, App, ConsumerPlan, Plan, Timed};

/// Some streams at the beginning, single ones and bursts throughout, a few of them twice or malformed. Nothing in the
/// second half of the calm, in which everything is finished.
pub(super) fn draw(seed: u64, plan: &Plan) -> Vec<Timed> {
    let mut dice = Dice::new(seed, "announcements");
    let last = plan.heal_at + plan.calm / 4;
    let mut next = 1;
    let mut actions = Vec::new();
    let early = dice.time(Duration::from_secs(2));
    actions.push(Timed { at: early, action: announce(&mut next, dice.scaled(1, 32)) });
    if dice.chance(4) {
        let burst = dice.scaled(50, 300);
        actions.push(Timed { at: dice.time(plan.heal_at), action: announce(&mut next, burst) });
    }
    for _ in 0..dice.scaled(1, 24) - 1 {
        let count = if dice.chance(15) { dice.scaled(2, 16) } else { 1 };
        actions.push(Timed { at: dice.time(last), action: announce(&mut next, count) });
    }
    for _ in 0..if dice.chance(35) { dice.scaled(1, 6) } else { 0 } {
        actions.extend(again(&mut dice, next, last));
    }
    for _ in 0..if dice.chance(30) { dice.scaled(1, 4) } else { 0 } {
        actions
            .push(Timed { at: dice.time(plan.heal_at), action: Action::Malformed { kind: dice.between(0, 15) as u8 } });
    }
    actions
}

fn announce(next: &mut u64, count: u64) -> Action {
    let from = *next;
    *next += count;
    Action::Announce { prefix: "orders-".to_owned(), from, count }
}

/// A stream that is announced once more, or for the first time here and properly later: both happen.
fn again(dice: &mut Dice, next: u64, last: Duration) -> Vec<Timed> {
    let action = Action::Announce { prefix: "orders-".to_owned(), from: dice.between(1, next - 1), count: 1 };
    let at = dice.time(last);
    let twice = dice.chance(30).then(|| Timed { at, action: action.clone() });
    twice.into_iter().chain([Timed { at, action }]).collect()
}

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
