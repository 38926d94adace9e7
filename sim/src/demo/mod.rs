//! The main job, live and without any set-up: a Redis in this process, three consumers as real processes, a stream of
//! work; one consumer is killed, one stands still, one is cut off, one is told to stop. In the end nothing is lost and
//! nothing was owned by two.

mod consumer;
mod drama;
mod fleet;
mod lines;
mod outcome;
mod proxy;
mod server;
mod stories;
#[cfg(test)]
mod tests;
mod view;
mod work;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    consumer::{Consumer, consume},
    outcome::Outcome,
};
use crate::{
    plan::{ConsumerPlan, Plan},
    report::Report,
};

/// How long a lease lives in the demo: as short as it may be.
const LEASE_TTL: Duration = Duration::from_secs(2);
/// The consumers.
const NAMES: [&str; 3] = ["worker-a", "worker-b", "worker-c"];

/// How the demo is run.
#[derive(Clone, Debug)]
pub struct Demo {
    /// A real server, instead of the embedded one.
    pub redis: Option<String>,
    /// Where the report is written to.
    pub report: PathBuf,
    /// This program: its hidden command `demo-consumer` calls [`consume`].
    pub program: PathBuf,
    /// A table that is drawn again and again, instead of lines.
    pub live: bool,
}

/// Runs the demo. It prints what happens, and takes about 20 seconds.
///
/// # Errors
/// There is no Redis, no socket, no process to be had.
pub async fn run(demo: &Demo) -> io::Result<Outcome> {
    let server = server::Server::start(demo.redis.as_deref()).await?;
    let mut stage = drama::Stage::build(demo, &server).await?;
    let played = stage.play().await;
    stage.dismiss().await;
    let cleaned = server.clean(stage.service()).await;
    let outcome = played?;
    cleaned?;
    report(&stage, &server, &outcome, &demo.report)?;
    Ok(outcome)
}

fn report(stage: &drama::Stage, server: &server::Server, outcome: &Outcome, path: &Path) -> io::Result<()> {
    let plan = plan(stage.end());
    let facts = stage.facts();
    let violations = outcome.violations(streamkeeper::Time::ZERO + stage.end());
    let about = format!(
        "{:.1} s of real time, 3 consumers as processes, ttl {} s. Redis: {}.",
        stage.end().as_secs_f64(),
        LEASE_TTL.as_secs(),
        server.describe()
    );
    let report = Report::new(&plan, &facts, &violations).titled("Streamkeeper, live").about(about);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, report.html())
}

/// What the report says of the consumers.
fn plan(end: Duration) -> Plan {
    let ttl_ms = crate::facts::millis(LEASE_TTL);
    let consumer = |name: &str| ConsumerPlan { name: name.to_owned(), ttl_ms, ..ConsumerPlan::default() };
    Plan { consumers: NAMES.map(consumer).to_vec(), heal_at: end, calm: Duration::ZERO, ..Plan::default() }
}
