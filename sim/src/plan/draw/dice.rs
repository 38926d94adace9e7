//! Randomness with the seed and a concern of its own.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// The dice of one concern.
pub(super) struct Dice(SmallRng);

impl Dice {
    pub(super) fn new(seed: u64, concern: &str) -> Dice {
        // FNV-1a: any mixture will do, if it is the same everywhere and for ever.
        let mixed = concern
            .bytes()
            .chain(seed.to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Dice(SmallRng::seed_from_u64(mixed))
    }

    /// True in so many of a hundred cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// Both ends included.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0.random_range(least..=most.max(least))
    }

    /// Both ends included, small numbers as likely as great ones: each doubling has the same chance. `least` is not 0.
    pub(super) fn scaled(&mut self, least: u64, most: u64) -> u64 {
        let doublings = u64::from((most / least.max(1)).max(1).ilog2());
        let low = least << self.between(0, doublings);
        self.between(low, most.min(low.saturating_mul(2)))
    }

    /// Both ends included.
    pub(super) fn signed(&mut self, most: i32) -> i32 {
        self.0.random_range(-most..=most)
    }

    /// One of these.
    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())].clone()
    }

    /// A time before this one.
    pub(super) fn time(&mut self, before: Duration) -> Duration {
        Duration::from_millis(self.between(0, super::super::millis(before)))
    }

    /// How long something lasts that is to be held against a lease: shorter than a heartbeat, about as long as the
    /// lease is trusted, or longer.
    pub(super) fn length_ms(&mut self, ttl_ms: u64) -> u64 {
        match self.between(0, 9) {
            0..=1 => self.scaled(5, ttl_ms / 3),
            2..=3 => self.between(ttl_ms / 3, ttl_ms),
            4..=6 => self.between(ttl_ms * 85 / 100, ttl_ms * 115 / 100),
            7..=8 => self.between(ttl_ms, ttl_ms * 3),
            _ => self.between(ttl_ms * 2, ttl_ms * 5),
        }
    }
}
