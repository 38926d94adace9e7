//! The test of the core's tests: `core/` is changed in one place at a time, and some test should notice.
//!
//! What may be changed is what [cargo-mutants](https://mutants.rs) lists. It would build the core anew for each change, which
//! takes ten times as long as the tests; here all changes are woven into one copy of the core, each behind a switch, and a
//! variable of the environment chooses one for a run.
//!
//! ```text
//!   cargo mutants --list ──▶ weave ──▶ one build ──▶ core's tests ──▶ survived
//!                               │           ╰── does not compile: taken out, and tried alone in the end
//!                               ╰── a copy of the repository, in target/core-mutants
//! ```
//!
//! Who may survive, and why: `tests/core-survivors.txt`. The figures: `docs/invariants.md`.
//!
//! ```sh
//! cargo install --locked cargo-mutants@27.1.0
//! cargo run --release -p streamkeeper-tests --bin core-mutants
//! ```

mod build;
mod copy;
mod judge;
mod list;
mod places;
mod run;
mod survivors;
mod weave;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use clap::Parser;

use self::{
    build::{Built, Refused},
    copy::Copy,
    judge::{Judges, Verdict},
    list::Mutant,
    survivors::Survivors,
};

/// Changes the core in one place at a time and asks whether its tests notice.
///
/// Ends with 4 if a mutant survives that tests/core-survivors.txt does not list.
#[derive(Parser)]
pub(crate) struct Args {
    /// Only mutants whose name contains one of these, such as `streams/claim.rs` or `with == in take`.
    wanted: Vec<String>,
    /// How many are judged at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Cases of each property.
    #[arg(long, default_value_t = 128)]
    cases: u32,
    /// Only every n-th mutant.
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Only those that cannot be woven in, and have to be built one by one.
    #[arg(long)]
    alone: bool,
    /// Seconds after which a run of one test binary counts as one that hangs.
    #[arg(long, default_value_t = 20)]
    patience_s: u64,
    /// All mutants and what became of each, as JSON, into this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("core-mutants: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, String> {
    let known = Survivors::read()?;
    let wanted = |mutant: &Mutant| args.wanted.is_empty() || args.wanted.iter().any(|text| mutant.name.contains(text));
    let all = list::listed()?;
    known.are_all_among(&all)?;
    let mutants: Vec<Mutant> = all.into_iter().filter(wanted).step_by(args.every.max(1)).collect();
    let copy = Copy::made()?;
    let (built, refused) = Built::of(&copy, &mutants)?;
    let judges = Judges::new(&built, args);
    let woven: Vec<&Mutant> = mutants.iter().filter(|mutant| !refused.contains_key(&mutant.id)).collect();
    let unlike = refused.values().filter(|refused| **refused == Refused::Types).count();
    let to_try = refused.len() - unlike;
    println!("{} mutants: {} woven into one build, {to_try} to be tried alone", mutants.len(), woven.len());
    judges.notice_nothing_by_themselves()?;
    let mut verdicts = if args.alone { Vec::new() } else { judges.judge(&woven, &known)? };
    verdicts.append(&mut alone(&copy, &mutants, &refused, args)?);
    let summary = Summary::of(&verdicts, &known);
    println!("{}", summary.text());
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&verdicts).map_err(|error| error.to_string())?;
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(if summary.unlisted == 0 { ExitCode::SUCCESS } else { ExitCode::from(4) })
}

/// What could not be woven in: most of it does not compile alone either.
fn alone(
    copy: &Copy,
    mutants: &[Mutant],
    refused: &BTreeMap<u32, Refused>,
    args: &Args,
) -> Result<Vec<Verdict>, String> {
    let bar = run::bar(refused.len() as u64);
    let mut verdicts = Vec::new();
    for mutant in mutants.iter().filter(|mutant| refused.contains_key(&mutant.id)) {
        bar.inc(1);
        let built = if refused[&mutant.id] == Refused::Types { None } else { Built::alone(copy, mutant)? };
        verdicts.push(match built {
            None => Verdict::unviable(mutant),
            Some(built) => Judges::new(&built, args).alone(mutant)?,
        });
    }
    bar.finish_and_clear();
    Ok(verdicts)
}

/// How many of what.
struct Summary {
    viable: usize,
    unviable: usize,
    by: BTreeMap<String, usize>,
    survived: usize,
    unlisted: usize,
}

impl Summary {
    fn of(verdicts: &[Verdict], known: &Survivors) -> Summary {
        let mut summary = Summary { viable: 0, unviable: 0, by: BTreeMap::new(), survived: 0, unlisted: 0 };
        for verdict in verdicts {
            match &verdict.by {
                _ if !verdict.viable => summary.unviable += 1,
                Some(by) => *summary.by.entry(by.clone()).or_default() += 1,
                None => {
                    summary.survived += 1;
                    let listed = known.has(&verdict.key);
                    summary.unlisted += usize::from(!listed);
                    println!("survived{}: {}", if listed { ", listed" } else { "" }, verdict.key);
                }
            }
        }
        summary.viable = verdicts.len() - summary.unviable;
        summary
    }

    fn text(&self) -> String {
        let caught = self.viable - self.survived;
        let share = 100.0 * caught as f64 / self.viable.max(1) as f64;
        let mut text = format!("{caught} of {} viable mutants caught: {share:.1} %\n", self.viable);
        for (by, number) in &self.by {
            text += &format!("{number:>10}  {by}\n");
        }
        text += &format!("{:>10}  survived, {} of them not listed\n", self.survived, self.unlisted);
        text + &format!("{:>10}  do not compile", self.unviable)
    }
}
