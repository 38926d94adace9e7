//! `cover`: whether everything that must happen sometimes does.

use streamkeeper_sim::{plan::Profile, world::Net};

use super::{Run, exit::Exit, run, say, seeds::Seeds};

/// Runs many seeds, and fails if something that must happen sometimes never did.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which seeds.
    #[arg(long, value_name = "A..B", default_value = "0..500")]
    seeds: Seeds,
    /// The profile that the seeds are drawn with.
    #[arg(long, default_value_t)]
    profile: Profile,
    /// Which engine: the shell on a network, which is events (ours, fast) or turmoil; or core, the machines alone.
    #[arg(long, visible_alias = "engine", default_value_t)]
    net: Net,
    /// How many threads. Default: as many as there are cores.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// The last line is one JSON object.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self, run: Run) -> Result<Exit, String> {
        let (summary, exit) = run::Args::of(self.seeds, self.profile, self.net, self.jobs, self.json).campaign(run)?;
        say(&summary);
        say(format_args!("sometimes   in so many of {} runs", summary.seeds));
        for (name, runs) in &summary.sometimes {
            say(format_args!("  {runs:>8}  {name}"));
        }
        let never = summary.never();
        for name in &never {
            say(format_args!("never: {name}"));
        }
        if self.json {
            say(serde_json::to_string(&summary).map_err(|error| error.to_string())?);
        }
        let covered = !summary.sometimes.is_empty() && never.is_empty();
        Ok(exit.worse(if covered { Exit::Ok } else { Exit::NotCovered }))
    }
}
