//! A run that broke a promise: said, made small, written down, with the command that shows it again.

use std::{fmt, fs, io, path::Path};

use serde::Serialize;
use streamkeeper_sim::{
    plan,
    world::{Net, Outcome},
};

use super::{
    Run,
    campaign::{Digest, Job},
    quiet,
};

/// What a run broke first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Failure {
    /// The seed, or the plan's name.
    pub(crate) run: String,
    /// The promise, or `panic`.
    pub(crate) promise: String,
    /// When, and whom it befell, and how.
    pub(crate) how: String,
    /// Where the shrunk plan was written to.
    pub(crate) plan: Option<String>,
    /// What shows it again.
    pub(crate) replay: String,
}

impl Failure {
    /// What became of a run, if it failed.
    pub(crate) fn of(job: &Job, digest: &Digest) -> Option<Failure> {
        let (promise, how) = worst(&digest.violations, &digest.panics)?;
        let seed = match &job.source {
            super::campaign::Source::Seed(seed, profile) => format!("{seed} --profile {profile}"),
            super::campaign::Source::Text(path, _) => path.display().to_string(),
        };
        let replay = format!("{} replay {seed}{} --trace", program(), job.options());
        Some(Failure { run: job.name(), promise, how, plan: None, replay })
    }

    /// Makes the plan as small as so many tries allow, and writes it into this folder.
    pub(crate) fn shrink(&mut self, run: Run, job: &Job, tries: usize, folder: &Path) -> io::Result<()> {
        let whole = job.plan();
        let promise = self.promise.clone();
        let small = plan::shrink(&whole, tries, |plan| broke(&quiet::run(run, plan, job.net), &promise));
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}-{promise}.plan.txt", self.run));
        let outcome = quiet::run(run, &small, job.net);
        let how = worst(&outcome.violations, &outcome.panics).map_or_else(String::new, |(_, how)| how);
        let about = format!(
            "# From {}, {} {}: {} of {} actions, {} of {} consumers.\n# {}\n",
            self.run,
            if job.net == Net::Core { "engine" } else { "network" },
            job.net,
            small.actions.len(),
            whole.actions.len(),
            small.consumers.len(),
            whole.consumers.len(),
            how.replace('\n', " ")
        );
        fs::write(&path, format!("{about}{small}"))?;
        let path = path.display().to_string();
        self.replay = format!("{} replay {path}{} --trace", program(), job.options());
        self.plan = Some(path);
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.run, self.how)?;
        if let Some(plan) = &self.plan {
            write!(f, "\n  plan    {plan}")?;
        }
        write!(f, "\n  replay  {}", self.replay)
    }
}

/// A run broke this promise (or panicked).
pub(crate) fn broke(outcome: &Outcome, promise: &str) -> bool {
    match promise {
        PANIC => !outcome.panics.is_empty(),
        _ => outcome.violations.iter().any(|violation| violation.promise == promise),
    }
}

const PANIC: &str = "panic";

/// The promise that was broken first among those of the worst kind, and how.
fn worst(violations: &[streamkeeper_sim::judge::Violation], panics: &[String]) -> Option<(String, String)> {
    if let Some(panic) = panics.first() {
        return Some((PANIC.to_owned(), format!("panicked: {panic}")));
    }
    let first = violations.iter().min_by_key(|violation| (violation.kind, violation.at))?;
    Some((first.promise.to_owned(), first.to_string()))
}

/// As the user has started this program: `cargo sim`, or its own name.
fn program() -> &'static str {
    if std::env::var_os("CARGO").is_some() { "cargo sim" } else { "streamkeeper-sim" }
}
