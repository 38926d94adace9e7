//! Pauses between tries, and the machine's own dice. Seeded: the same seed gives the same machine.

use std::time::Duration;

/// Random numbers without a source of randomness: splitmix64 over a seed. Not for secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A span from zero up to, but without, `limit`.
    pub(crate) fn below(&mut self, limit: Duration) -> Duration {
        match u64::try_from(limit.as_micros()).unwrap_or(u64::MAX) {
            0 => Duration::ZERO,
            micros => {
                let span = Duration::from_micros(self.roll() % micros);
                assert!(span < limit, "a span of {span:?} is not below {limit:?}");
                span
            }
        }
    }
}

/// The pause after `failures` failures in a row: doubles from `base` up to `limit`, give or take a quarter.
pub(crate) fn pause(failures: u32, base: Duration, limit: Duration, dice: &mut Dice) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let full = base.saturating_mul(1 << doublings).min(limit);
    let span = (full - full / 4).saturating_add(dice.below(full / 2));
    assert!(span <= full.saturating_add(full / 4), "a pause of {span:?} is longer than five quarters of {full:?}");
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_spread() {
        let (base, limit) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut dice = Dice::new(1);
        for (failures, full) in [(0, 100), (1, 100), (2, 200), (3, 400), (6, 2_000), (u32::MAX, 2_000)] {
            let full = Duration::from_millis(full);
            for _ in 0..100 {
                let got = pause(failures, base, limit, &mut dice);
                assert!(got >= full * 3 / 4 && got <= full * 5 / 4, "{failures}: {got:?}");
            }
        }
    }

    #[test]
    fn the_same_seed_rolls_the_same() {
        let rolls = |seed| (0..4).map(|_| ()).scan(Dice::new(seed), |d, ()| Some(d.roll())).collect::<Vec<_>>();
        assert_eq!(rolls(7), rolls(7));
        assert_ne!(rolls(7), rolls(8));
        assert_eq!(Dice::new(7).below(Duration::ZERO), Duration::ZERO);
    }
}
