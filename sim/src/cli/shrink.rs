//! `shrink`: a failing seed's plan, made small.

use std::path::PathBuf;

use streamkeeper_sim::{plan::Profile, world::Net};

use super::{Run, campaign::Digest, exit::Exit, failure::Failure, quiet, replay::job, say};

/// Makes the plan of a failing seed as small as possible and writes it down.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The seed, or a file such as plan.txt.
    #[arg(value_name = "SEED|PLAN")]
    what: String,
    /// The profile that the seed is drawn with.
    #[arg(long, default_value_t)]
    profile: Profile,
    /// Which engine: the shell on a network, which is events (ours, fast) or turmoil; or core, the machines alone.
    #[arg(long, visible_alias = "engine", default_value_t)]
    net: Net,
    /// How many plans are tried at most.
    #[arg(long, default_value_t = 2_000)]
    tries: usize,
    /// Where the plan is written to.
    #[arg(long, value_name = "FOLDER", default_value = "target/sim")]
    plans: PathBuf,
}

impl Args {
    pub(crate) fn run(self, run: Run) -> Result<Exit, String> {
        let job = job(&self.what, self.profile, self.net)?;
        let digest = Digest::from(quiet::run(run, &job.plan(), self.net));
        let Some(mut failure) = Failure::of(&job, &digest) else {
            say(format_args!("{}: every promise was kept, there is nothing to shrink", job.name()));
            return Ok(Exit::Ok);
        };
        let shrunk = failure.shrink(run, &job, self.tries, &self.plans);
        shrunk.map_err(|error| format!("{}: {error}", self.plans.display()))?;
        say(&failure);
        Ok(digest.worst.into())
    }
}
