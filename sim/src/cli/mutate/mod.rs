//! `mutate`: does anybody notice a change of a script?

mod one;
mod report;
mod script_tests;
pub(crate) mod server;

use std::{
    io::{IsTerminal, Read, stderr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use streamkeeper_sim::mutate::{Known, Mutant, files, mutants};

use self::{
    report::{Report, Verdict},
    script_tests::ScriptTests,
};
use super::{exit::Exit, say};

/// Changes the Lua scripts in one place at a time, and asks whether anybody notices.
///
/// Judged by the recorded sequences of the conformance suite, the tests of the calls on the simulated server, every life
/// of a small cluster with one fault, and seeds: in this order, until the first one notices. To be run in the repository.
/// Those that survive are to be listed in `sim/survivors.txt`, with the reason; one that is not ends it with 4.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these files of `io/src/lua`, such as `acquire` or `messages/due`; `messages/` are all of that folder.
    #[arg(long, value_name = "NAME")]
    script: Vec<String>,
    /// How many mutants are judged at a time. Default: one per core.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// How many seeds of each profile that uses the script.
    #[arg(long, value_name = "N", default_value_t = 10)]
    seeds: u64,
    /// Only every n-th mutant.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Without the tests of the calls: `cargo test` is not run.
    #[arg(long)]
    no_tests: bool,
    /// Without exploring.
    #[arg(long)]
    no_explore: bool,
    /// The summary as JSON, too, with every mutant.
    #[arg(long)]
    json: bool,
    /// Judges this one, in this process.
    #[arg(long, hide = true)]
    one: Option<String>,
    /// Where it stands which test uses which script.
    #[arg(long, hide = true)]
    tests: Option<PathBuf>,
}

/// Nobody who notices nothing takes as long as this.
const PATIENCE: Duration = Duration::from_secs(1_200);

impl Args {
    pub(crate) fn run(self) -> Result<Exit, String> {
        if let Some(name) = &self.one {
            let tests = self.tests.as_deref().map(ScriptTests::read).transpose()?;
            say(one::judge(&one::named(name)?, tests.as_ref(), !self.no_explore, self.seeds).line()?);
            return Ok(Exit::Ok);
        }
        let (begun, known) = (Instant::now(), Known::read()?);
        let (viable, unviable) = self.mutants()?;
        let folder = tempfile()?;
        let tests = folder.join("tests.json");
        if !self.no_tests {
            ScriptTests::measured(&folder)?.write(&tests)?;
        }
        let mut report = Report::new(unviable);
        self.judge(&viable, &tests, &known, |verdict| report.add(verdict));
        let _ = std::fs::remove_dir_all(&folder);
        report.wall = begun.elapsed();
        say(&report);
        if self.json {
            say(serde_json::to_string(&report).map_err(|error| error.to_string())?);
        }
        Ok(if report.news() == 0 { Exit::Ok } else { Exit::NotCovered })
    }

    /// The mutants that are Lua, and the others.
    fn mutants(&self) -> Result<(Vec<Mutant>, Vec<Mutant>), String> {
        let wanted = |file: &String| {
            let is = |name: &String| file == name || name.ends_with('/') && file.starts_with(name.as_str());
            self.script.is_empty() || self.script.iter().any(is)
        };
        let mut all = Vec::new();
        for file in files()?.into_iter().filter(wanted) {
            all.extend(mutants(&file)?);
        }
        if all.is_empty() {
            return Err(format!("there is no script {}: io/src/lua has them", self.script.join(", ")));
        }
        let every = usize::try_from(self.every).unwrap_or(usize::MAX);
        Ok(all.into_iter().step_by(every).partition(Mutant::is_viable))
    }

    /// Judges each in a process of its own, which is ended if it takes too long.
    fn judge(&self, mutants: &[Mutant], tests: &Path, known: &Known, mut heard: impl FnMut(Verdict)) {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let bar = bar(mutants.len() as u64);
        let left = Mutex::new(mutants.iter());
        let (done, results) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..self.jobs.unwrap_or(cores).max(1) {
                let (left, done) = (&left, done.clone());
                scope.spawn(move || {
                    loop {
                        let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(mutant) = next else { break };
                        if done.send(self.apart(mutant, tests)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(done);
            let mut news = 0;
            for verdict in results {
                let verdict = verdict.explained(known);
                if verdict.is_news() {
                    news += 1;
                    bar.suspend(|| say(&verdict));
                }
                bar.set_message(format!("{news} survived that are not listed"));
                bar.inc(1);
                heard(verdict);
            }
        });
        bar.finish_and_clear();
    }

    fn apart(&self, mutant: &Mutant, tests: &Path) -> Verdict {
        let verdict = |by: &str, how: String| Verdict::new(mutant, Some(by.to_owned()), how);
        match self.said(mutant, tests) {
            Ok(Some(line)) => Verdict::read(&line)
                .unwrap_or_else(|_| verdict("crash", "the process that ran it ended early".to_owned())),
            Ok(None) => verdict("time", format!("it took longer than {} s", PATIENCE.as_secs())),
            Err(error) => verdict("crash", error.to_string()),
        }
    }

    /// What the process of a mutant says; nothing if it was ended.
    fn said(&self, mutant: &Mutant, tests: &Path) -> std::io::Result<Option<String>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["mutate", "--one", &mutant.to_string(), "--seeds", &self.seeds.to_string()]);
        if self.no_explore {
            command.arg("--no-explore");
        }
        if !self.no_tests {
            command.arg("--tests").arg(tests);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        if !ends(&mut child, PATIENCE)? {
            return Ok(None);
        }
        let mut said = String::new();
        if let Some(mut out) = child.stdout.take() {
            out.read_to_string(&mut said)?;
        }
        Ok(Some(said))
    }
}

/// Waits for a process; one that takes longer is ended. Whether it ended by itself.
fn ends(child: &mut std::process::Child, within: Duration) -> std::io::Result<bool> {
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > within {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(true)
}

/// A folder of one's own.
fn tempfile() -> Result<PathBuf, String> {
    let folder = std::env::temp_dir().join(format!("streamkeeper-mutate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Where there is a terminal.
fn bar(length: u64) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template("{wide_bar} {pos}/{len} mutants, {msg}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
