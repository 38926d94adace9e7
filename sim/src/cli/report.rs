//! `report`: one run as a page or a picture.

use std::{
    fs,
    path::{Path, PathBuf},
};

use streamkeeper_sim::{plan::Profile, report::Report, world::Net};

use super::{Run, exit::Exit, quiet, replay};

/// Shows one run as an HTML page: who owned which stream when, what struck whom, who took over.
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
    /// Where to write it. If the name ends in `.svg`, it is the picture alone. Default: target/sim/NAME.html
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, run: Run) -> Result<Exit, String> {
        let job = replay::job(&self.what, self.profile, self.net)?;
        let plan = job.plan();
        let outcome = quiet::run(run, &plan, self.net);
        let path = self.output.unwrap_or_else(|| Path::new(super::FOLDER).join(format!("{}.html", job.name())));
        let title = match self.what.parse::<u64>() {
            Ok(_) => format!("Seed {}", job.name()),
            Err(_) => job.name(),
        };
        write(&Report::new(&plan, &outcome.facts, &outcome.violations).titled(title), &path)?;
        outcome.panics.iter().for_each(|panic| println!("panicked: {panic}"));
        outcome.violations.iter().for_each(|violation| println!("{violation}"));
        println!("{}", path.display());
        Ok(outcome.worst().into())
    }
}

/// Writes a report, as a page or as a picture.
pub(crate) fn write(report: &Report<'_>, path: &Path) -> Result<(), String> {
    let picture = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg"));
    let text = if picture { report.svg() } else { report.html() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let written = folder.map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    written.map_err(|error| format!("{}: {error}", path.display()))
}
