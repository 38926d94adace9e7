//! What is announced in a drawn plan, and when.

use std::time::Duration;

use super::dice::Dice;
use crate::plan::{Action, Plan, Timed};

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

pub(super) fn announce(next: &mut u64, count: u64) -> Action {
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
