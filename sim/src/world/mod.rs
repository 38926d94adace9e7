//! One run: a plan on a stage, recorded as facts and judged.

mod application;
mod checkpoints;
mod consumer;
mod deeds;
mod director;
mod go;
mod lasting;
mod outcome;
mod producer;
mod scene;
mod seeds;
mod server;
pub mod sometimes;
mod stories;
mod trace;
mod witness;

pub use outcome::{Net, Outcome};

use crate::{judge, plan::Plan};

/// The name of the simulated service.
pub const SERVICE: &str = "simulated";

/// Runs a plan, and judges what happened.
pub fn run(plan: &Plan, net: Net) -> Outcome {
    let _ = net;
    let (facts, end) = (Vec::new(), streamkeeper::Time::ZERO);
    let violations = judge::judge(plan, &facts, end);
    Outcome { facts, end, violations, panics: Vec::new(), sometimes: std::collections::BTreeMap::new() }
}
