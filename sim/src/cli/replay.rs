//! `replay`: one run, once more.

use std::path::Path;

use streamkeeper_sim::{plan::Profile, world::Net};
use tracing_subscriber::EnvFilter;

use super::{
    Run,
    campaign::{Digest, Job, Source},
    exit::Exit,
    failure::Failure,
    kept, quiet, say, trace,
};

/// Runs one seed, or one plan, and says what happened.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The seed, or a file such as plan.txt.
    #[arg(value_name = "SEED|PLAN")]
    pub(crate) what: String,
    /// The profile that the seed is drawn with.
    #[arg(long, default_value_t)]
    pub(crate) profile: Profile,
    /// Which engine: the shell on a network, which is events (ours, fast) or turmoil; or core, the machines alone.
    #[arg(long, visible_alias = "engine", default_value_t)]
    pub(crate) net: Net,
    /// Prints everything that happened.
    #[arg(long)]
    trace: bool,
    /// Prints the plan, and does not run it.
    #[arg(long, conflicts_with_all = ["trace", "log"])]
    plan: bool,
    /// Prints what the consumers log, as it happens, on standard error. The directives are those of `RUST_LOG`; without
    /// any, all that each consumer's machine hears and wants.
    #[arg(long, value_name = "DIRECTIVES", num_args = 0..=1, default_missing_value = "streamkeeper=trace")]
    log: Option<String>,
}

impl Args {
    pub(crate) fn run(self, run: Run) -> Result<Exit, String> {
        let job = job(&self.what, self.profile, self.net)?;
        if self.plan {
            say(job.plan().to_string().trim_end());
            return Ok(Exit::Ok);
        }
        if let Some(directives) = self.log {
            if self.net == Net::Core {
                return Err("--log: the engine `core` has no shell that logs; leave out --engine".to_owned());
            }
            let filter = EnvFilter::try_new(&directives).map_err(|error| format!("--log `{directives}`: {error}"))?;
            // Simulated instants are in the lines themselves.
            let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).without_time();
            lines.with_writer(std::io::stderr).init();
        }
        let outcome = quiet::run(run, &job.plan(), self.net);
        if self.trace {
            trace::lines(&outcome).iter().for_each(say);
        } else {
            outcome.panics.iter().for_each(|panic| say(format_args!("panicked: {panic}")));
            outcome.violations.iter().for_each(say);
        }
        let digest = Digest::from(outcome);
        let struck: u64 = digest.faults.values().sum();
        let simulated_s = digest.simulated_us as f64 / 1e6;
        say(format_args!(
            "{}: {simulated_s:.0} s simulated, {struck} faults, {} takeovers",
            job.name(),
            digest.takeovers
        ));
        match Failure::of(&job, &digest) {
            Some(failure) => say(failure),
            None => say("every promise was kept"),
        }
        Ok(digest.worst.into())
    }
}

/// What is to be run: a seed if it is a number, else a file.
pub(crate) fn job(what: &str, profile: Profile, net: Net) -> Result<Job, String> {
    let source = match what.parse() {
        Ok(seed) => Source::Seed(seed, profile),
        Err(_) => kept::source(Path::new(what))?,
    };
    let job = Job { source, net };
    job.check()?;
    Ok(job)
}
