//! Failover scenarios that people write by hand, for their own settings: who takes part, what strikes when, and what is
//! expected. "With a ttl of 10 s, how long is a stream without an owner?" "Does my GC pause hurt?"

mod bad;
mod builtin;
mod expect;
mod file;
mod findings;
mod read;
mod span;
#[cfg(test)]
mod tests;

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::plan::Plan;

pub use self::{
    bad::Bad,
    builtin::{BuiltIn, built_in},
    expect::{Expectation, Figure, Limit, Rank, Streams},
    findings::{Findings, Missed, OneRun},
};

/// A scenario that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The file's name, without its ending.
    pub name: String,
    /// What happens, and which question is answered.
    pub about: String,
    /// How many seeds it is run with.
    pub seeds: u64,
    /// The plan of seed 0; the other seeds differ in nothing but the seed.
    pub plan: Plan,
    /// What is expected of each run.
    pub expectations: Vec<Expectation>,
}

impl Scenario {
    /// Reads a scenario. What is `set` goes over what the file says: a setting, a name of its `[with]`, `streams`,
    /// `seeds` or `lasts`.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn read(file: &str, text: &str, set: &[(String, String)]) -> Result<Scenario, Bad> {
        read::read(file, text, set)
    }

    /// The plan of this seed. Everything happens up to a heartbeat later than the file says, by chance: so that over many
    /// seeds it strikes at any moment between two heartbeats, as in life.
    pub fn plan(&self, seed: u64) -> Plan {
        let (mut plan, shift) = (self.plan.clone(), self.shift(seed));
        plan.seed = seed;
        plan.heal_at = plan.heal_at.saturating_add(shift);
        plan.actions.iter_mut().for_each(|timed| timed.at = timed.at.saturating_add(shift));
        plan
    }

    /// By how much everything happens later in this seed.
    fn shift(&self, seed: u64) -> Duration {
        let heartbeat_ms = self.plan.consumers.iter().map(|consumer| consumer.heartbeat_ms).max().unwrap_or(0);
        Duration::from_millis(SmallRng::seed_from_u64(seed).random_range(0..=heartbeat_ms))
    }
}
