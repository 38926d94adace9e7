//! `replay`: one run, once more.

use std::path::Path;

use streamkeeper_sim::{plan::Profile, world::Net};

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
    /// On which network: events or turmoil.
    #[arg(long, default_value_t)]
    pub(crate) net: Net,
    /// Prints everything that happened.
    #[arg(long)]
    trace: bool,
    /// Prints the plan, and does not run it.
    #[arg(long, conflicts_with = "trace")]
    plan: bool,
}

impl Args {
    pub(crate) fn run(self, run: Run) -> Result<Exit, String> {
        let job = job(&self.what, self.profile, self.net)?;
        if self.plan {
            say(job.plan().to_string().trim_end());
            return Ok(Exit::Ok);
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
    Ok(Job { source, net })
}
