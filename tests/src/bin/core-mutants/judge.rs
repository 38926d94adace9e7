//! Who notices a mutant.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Serialize;

use crate::{
    Args,
    build::Built,
    copy::root,
    list::Mutant,
    run::{Ended, bar, run},
    survivors::{Survivors, key},
};

/// What became of a mutant.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// What it is, without the number of its line.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) viable: bool,
    /// Who noticed; nobody: it survived.
    pub(crate) by: Option<String>,
}

impl Verdict {
    fn new(mutant: &Mutant, by: Option<String>) -> Verdict {
        Verdict { key: key(mutant), name: mutant.name.clone(), viable: true, by }
    }

    pub(crate) fn unviable(mutant: &Mutant) -> Verdict {
        Verdict { viable: false, ..Verdict::new(mutant, None) }
    }
}

/// The core's test binaries.
pub(crate) struct Judges<'b> {
    built: &'b Built,
    args: &'b Args,
}

impl<'b> Judges<'b> {
    pub(crate) fn new(built: &'b Built, args: &'b Args) -> Judges<'b> {
        Judges { built, args }
    }

    /// Without a mutant nobody must speak up: else every verdict would be worthless.
    pub(crate) fn notice_nothing_by_themselves(&self) -> Result<(), String> {
        let desk = Desk::new(&self.built.core, 0)?;
        match self.noticed(0, self.built.tests.keys().cloned().collect(), &desk)? {
            None => Ok(()),
            Some(by) => Err(format!("{by}, without any mutant: see {}", desk.log.display())),
        }
    }

    /// Judges them, several at a time.
    pub(crate) fn judge(&self, mutants: &[&Mutant], known: &Survivors) -> Result<Vec<Verdict>, String> {
        let (next, verdicts, bar) = (AtomicUsize::new(0), Mutex::new(Vec::new()), bar(mutants.len() as u64));
        let worker = |number: usize| -> Result<(), String> {
            let desk = Desk::new(&self.built.core, number)?;
            while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                let verdict = Verdict::new(mutant, self.noticed(mutant.id, self.order(mutant), &desk)?);
                if verdict.by.is_none() && !known.has(&verdict.key) {
                    bar.suspend(|| println!("survived: {}", mutant.name));
                }
                bar.inc(1);
                verdicts.lock().unwrap_or_else(PoisonError::into_inner).push((mutant.id, verdict));
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> =
                (1..=self.args.jobs.max(1)).map(|number| scope.spawn(move || worker(number))).collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked".to_owned())?)
        })?;
        bar.finish_and_clear();
        let mut verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
        verdicts.sort_by_key(|(id, _)| *id);
        Ok(verdicts.into_iter().map(|(_, verdict)| verdict).collect())
    }

    /// Judges one that was built alone.
    pub(crate) fn alone(&self, mutant: &Mutant) -> Result<Verdict, String> {
        let desk = Desk::new(&self.built.core, 0)?;
        Ok(Verdict::new(mutant, self.noticed(0, self.order(mutant), &desk)?))
    }

    /// The test binaries that run the mutant's file, the quick ones first: a half's are of no use for the others.
    fn order(&self, mutant: &Mutant) -> Vec<String> {
        let names: &[&str] = match mutant.file.split('/').nth(2) {
            Some("streams") => &["streamkeeper_core", "stories", "promises"],
            Some("messages") => &["streamkeeper_core", "messages"],
            Some("entries") => &["streamkeeper_core", "entries"],
            _ => &["streamkeeper_core", "stories", "entries", "messages", "promises"],
        };
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn noticed(&self, id: u32, order: Vec<String>, desk: &Desk) -> Result<Option<String>, String> {
        let env = [
            ("CORE_MUTANT", id.to_string()),
            ("PROPTEST_CASES", self.args.cases.to_string()),
            // The same cases for each, and no time for making a failure small.
            ("PROPTEST_RNG_SEED", "1".to_owned()),
            ("PROPTEST_MAX_SHRINK_ITERS", "0".to_owned()),
            ("INSTA_UPDATE", "no".to_owned()),
            ("INSTA_WORKSPACE_ROOT", self.built.core.parent().unwrap_or(&self.built.core).display().to_string()),
        ];
        let patience = Duration::from_secs(self.args.patience_s);
        for name in order {
            let Some(program) = self.built.tests.get(&name) else { continue };
            let ended = run(program, &env, &desk.folder, &desk.log, patience)?;
            desk.clear()?;
            match ended {
                Ended::Well => {}
                Ended::Badly => return Ok(Some(name)),
                Ended::Hung => return Ok(Some(format!("{name} hung"))),
            }
        }
        Ok(None)
    }
}

/// Where the runs of one worker leave what they leave: properties write down what failed, and would begin with it.
struct Desk {
    folder: PathBuf,
    log: PathBuf,
}

impl Desk {
    fn new(core: &Path, number: usize) -> Result<Desk, String> {
        let folder = core.join(format!("../target/desk-{number}"));
        let desk = Desk { log: folder.join("log"), folder };
        desk.clear()?;
        Ok(desk)
    }

    /// As at the beginning.
    fn clear(&self) -> Result<(), String> {
        for half in ["promises", "messages", "entries"] {
            let name = format!("tests/{half}/regressions.txt");
            let (from, to) = (root().join("core").join(&name), self.folder.join(&name));
            let failed = |error: std::io::Error| format!("{}: {error}", to.display());
            fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(failed)?;
            if from.is_file() {
                fs::copy(&from, &to).map_err(failed)?;
            } else if to.exists() {
                fs::remove_file(&to).map_err(failed)?;
            }
        }
        Ok(())
    }
}
