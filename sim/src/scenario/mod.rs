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

    /// The plan of this seed.
    pub fn plan(&self, seed: u64) -> Plan {
        Plan { seed, ..self.plan.clone() }
    }
}
