//! `twice`: whether a seed runs the same way in two processes.

use std::{
    io::{BufRead, BufReader, Lines, Write, stdout},
    process::{Child, ChildStdout, Command, Stdio},
};

use streamkeeper_sim::{plan::Profile, world::Net};

use super::{
    Run,
    campaign::{Job, Source},
    exit::Exit,
    quiet, say,
    seeds::Seeds,
    trace,
};

/// Runs each seed in two processes, and fails with the first line in which their traces differ.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which seeds.
    #[arg(long, value_name = "A..B", default_value = "0..20")]
    seeds: Seeds,
    /// The profile that the seeds are drawn with.
    #[arg(long, default_value_t)]
    profile: Profile,
    /// Which engine: the shell on a network, which is events (ours, fast) or turmoil; or core, the machines alone.
    #[arg(long, visible_alias = "engine", default_value_t)]
    net: Net,
}

/// Prints the traces of seeds, for `twice`.
#[derive(clap::Args)]
pub(crate) struct TracesArgs {
    #[arg(long)]
    seeds: Seeds,
    #[arg(long, default_value_t)]
    profile: Profile,
    #[arg(long, visible_alias = "engine", default_value_t)]
    net: Net,
    /// Runs this one first, in silence: what it leaves behind in the process must not matter.
    #[arg(long)]
    after: Option<u64>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, String> {
        let to = self.seeds.to.ok_or("seeds without an end")?;
        let mut one = self.process(None)?;
        let mut other = self.process(Some(to))?;
        let difference = compare(lines(&mut one)?, lines(&mut other)?);
        // Whatever is left to say is of no interest once they differ.
        if difference.is_some() {
            let _ = (one.kill(), other.kill());
        }
        let ended = [one, other].into_iter().map(|mut child| child.wait());
        let good = ended.into_iter().all(|status| status.is_ok_and(|status| status.success()));
        match difference {
            Some(difference) => {
                say(&difference);
                Ok(Exit::NotDeterministic)
            }
            None if !good => Err("a process that ran the seeds has failed".to_owned()),
            None => {
                say(format_args!("{} seeds ran the same way twice", to - self.seeds.from));
                Ok(Exit::Ok)
            }
        }
    }

    fn process(&self, after: Option<u64>) -> Result<Child, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("traces").args(["--seeds", &self.seeds.to_string()]);
        command.args(["--profile", &self.profile.to_string(), "--net", &self.net.to_string()]);
        if let Some(after) = after {
            command.args(["--after", &after.to_string()]);
        }
        command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())
    }
}

fn lines(child: &mut Child) -> Result<Lines<BufReader<ChildStdout>>, String> {
    child.stdout.take().map(|out| BufReader::new(out).lines()).ok_or_else(|| "no output".to_owned())
}

/// The first difference, in words.
fn compare<E>(
    mut one: impl Iterator<Item = Result<String, E>>,
    mut other: impl Iterator<Item = Result<String, E>>,
) -> Option<String> {
    let mut number = 0;
    let mut seed = String::new();
    loop {
        let ends = || "(the end)".to_owned();
        match (one.next().and_then(Result::ok), other.next().and_then(Result::ok)) {
            (None, None) => return None,
            (Some(a), Some(b)) if a == b => {
                number += 1;
                if a.starts_with(SEED) {
                    (seed, number) = (a, 0);
                }
            }
            (a, b) => {
                let (a, b) = (a.unwrap_or_else(ends), b.unwrap_or_else(ends));
                return Some(format!("{seed}, line {}, differs:\n  {a}\n  {b}", number + 1));
            }
        }
    }
}

const SEED: &str = "seed ";

impl TracesArgs {
    pub(crate) fn run(self, run: Run) -> Result<Exit, String> {
        let to = self.seeds.to.ok_or("seeds without an end")?;
        let outcome = |seed| {
            let job = Job { source: Source::Seed(seed, self.profile), net: self.net };
            job.check()?;
            Ok::<_, String>(quiet::run(run, &job.plan(), self.net))
        };
        if let Some(after) = self.after {
            outcome(after)?;
        }
        let mut out = stdout().lock();
        for seed in self.seeds.from..to {
            let mut text = format!("{SEED}{seed}\n");
            for line in trace::lines(&outcome(seed)?) {
                text.push_str(&line);
                text.push('\n');
            }
            out.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
        }
        Ok(Exit::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(one: &[&str], other: &[&str]) -> Option<String> {
        let lines = |lines: &[&str]| lines.iter().map(|line| Ok::<String, ()>((*line).to_owned())).collect::<Vec<_>>();
        compare(lines(one).into_iter(), lines(other).into_iter())
    }

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(difference(&["seed 1", "a", "seed 2", "b"], &["seed 1", "a", "seed 2", "b"]), None);
        let different = difference(&["seed 1", "a", "seed 2", "b", "c"], &["seed 1", "a", "seed 2", "b", "d", "e"]);
        assert_eq!(different.as_deref(), Some("seed 2, line 2, differs:\n  c\n  d"));
        let shorter = difference(&["seed 1", "a"], &["seed 1"]);
        assert_eq!(shorter.as_deref(), Some("seed 1, line 1, differs:\n  a\n  (the end)"));
    }
}
