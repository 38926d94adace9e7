//! The server of a drawn plan.

use super::dice::Dice;
use crate::plan::{Persistence, RedisPlan};

pub(super) fn draw(dice: &mut Dice) -> RedisPlan {
    let every_ms = dice.scaled(500, 20_000);
    RedisPlan {
        persistence: match dice.between(0, 9) {
            0..=1 => Persistence::None,
            2..=3 => Persistence::Rdb { every_ms },
            4..=6 => Persistence::Aof,
            _ => Persistence::AofAlways,
        },
        hz: dice.pick(&[1, 10, 10, 10, 100]),
        notify: dice.pick(&["", "", "", "KEx", "AKE", "Ex", "Kg$", "Elsh"]).to_owned(),
        config_allowed: dice.chance(80),
        replica_lag_ms: if dice.chance(50) { dice.scaled(1, 3_000) } else { 0 },
        // Enough of them, and the expiry of a lease is noticed only by somebody who looks.
        other_keys: if dice.chance(30) { dice.scaled(100, 4_000) as usize } else { 0 },
        uptime_s: if dice.chance(12) { dice.between(0, 12) } else { 3_600 },
    }
}
