//! The woven core, built; and which mutants do not compile.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{copy::Copy, list::Mutant, places, weave};

/// Why a mutant is not woven in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its types do not fit: it would not compile alone either.
    Types,
    /// Only a try shows it: it stands where no switch can be (in a constant, between the parts of a `let` chain).
    Woven,
}

/// What a value of a wrong type, a missing `Default` and an operator that a type does not have are called.
const OF_TYPES: [&str; 4] = ["E0277", "E0308", "E0368", "E0369"];

/// What was built of a copy.
pub(crate) struct Built {
    /// The core's test binaries, by name.
    pub(crate) tests: BTreeMap<String, PathBuf>,
    pub(crate) core: PathBuf,
}

impl Built {
    /// Builds all mutants in one, without those that do not compile in there.
    pub(crate) fn of(copy: &Copy, mutants: &[Mutant]) -> Result<(Built, BTreeMap<u32, Refused>), String> {
        let mut files: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
        for mutant in mutants {
            files.entry(&mutant.file).or_default().push(mutant);
        }
        let mut sources = BTreeMap::new();
        let mut refused: BTreeMap<u32, Refused> = BTreeMap::new();
        for (file, mutants) in &files {
            let text = copy.original(file)?;
            let sites = places::sites(&text).map_err(|error| format!("{file}: {error}"))?;
            for mutant in mutants.iter().filter(|mutant| !sites.contains_key(&(mutant.genre, mutant.span.start))) {
                refused.insert(mutant.id, Refused::Woven);
            }
            sources.insert(*file, (text, sites));
        }
        for round in 1.. {
            let mut woven = BTreeMap::new();
            for (file, (text, sites)) in &sources {
                let chosen: Vec<_> = files[file].iter().copied().filter(|m| !refused.contains_key(&m.id)).collect();
                let weave = weave::weave(text, sites, &chosen);
                copy.write(file, &weave.text)?;
                woven.insert(*file, weave);
            }
            let before = refused.len();
            let errors = errors(copy)?;
            for error in &errors {
                let Some(woven) = woven.get(error.file.as_str()) else { continue };
                for id in woven.blamed(&error.bytes) {
                    refused.entry(*id).or_insert(error.refused);
                }
            }
            println!("round {round}: {} errors, {} mutants refused", errors.len(), refused.len());
            if errors.is_empty() {
                break;
            }
            if refused.len() == before {
                let Error { file, bytes, message, .. } = &errors[0];
                return Err(format!(
                    "the woven core does not compile, no mutant is to blame: {file}, bytes {bytes:?}: {message}"
                ));
            }
        }
        Ok((Built::here(copy)?, refused))
    }

    /// Builds the core with one change and no switch; nothing if that does not compile.
    pub(crate) fn alone(copy: &Copy, mutant: &Mutant) -> Result<Option<Built>, String> {
        let core = crate::copy::root().join("core/src");
        restore(copy, &core)?;
        let mut text = copy.original(&mutant.file)?;
        text.replace_range(places::bytes(&text, mutant.span.start, mutant.span.end), &mutant.replacement);
        copy.write(&mutant.file, &text)?;
        if errors(copy)?.is_empty() { Built::here(copy).map(Some) } else { Ok(None) }
    }

    fn here(copy: &Copy) -> Result<Built, String> {
        let tests = messages(copy, &["test", "--no-run", "-p", "streamkeeper-core", "--lib", "--tests"])?;
        let tests = tests.into_iter().filter_map(|said| Some((said.target?.name, said.executable?))).collect();
        Ok(Built { tests, core: copy.folder.join("core") })
    }
}

fn restore(copy: &Copy, folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            restore(copy, &path)?;
        } else if let Ok(name) = path.strip_prefix(crate::copy::root()) {
            let name = name.to_string_lossy();
            copy.write(&name, &copy.original(&name)?)?;
        }
    }
    Ok(())
}

/// Where the compiler found an error.
#[derive(Debug)]
struct Error {
    file: String,
    bytes: Range<usize>,
    message: String,
    refused: Refused,
}

/// What cargo says, of what is used here.
#[derive(Deserialize)]
struct Said {
    message: Option<Diagnostic>,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    message: String,
    code: Option<Code>,
    spans: Vec<DiagnosticSpan>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct DiagnosticSpan {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
}

/// The errors of the core, each at its primary places.
fn errors(copy: &Copy) -> Result<Vec<Error>, String> {
    let mut errors = Vec::new();
    for said in said(copy, &["check", "-p", "streamkeeper-core"])?.0 {
        let Some(found) = said.message.filter(|found| found.level.starts_with("error")) else { continue };
        let of_types = found.code.is_some_and(|code| OF_TYPES.contains(&code.code.as_str()));
        let refused = if of_types { Refused::Types } else { Refused::Woven };
        for span in found.spans.into_iter().filter(|span| span.is_primary) {
            errors.push(Error {
                file: span.file_name,
                bytes: span.byte_start..span.byte_end,
                message: found.message.clone(),
                refused,
            });
        }
    }
    Ok(errors)
}

fn messages(copy: &Copy, words: &[&str]) -> Result<Vec<Said>, String> {
    match said(copy, words)? {
        (said, true) => Ok(said),
        (_, false) => Err(format!("cargo {} failed in {}", words.join(" "), copy.folder.display())),
    }
}

/// Runs cargo in the copy: what it said, and whether it succeeded.
fn said(copy: &Copy, words: &[&str]) -> Result<(Vec<Said>, bool), String> {
    let mut command = Command::new("cargo");
    command.args(words).args(["--locked", "--quiet", "--message-format=json"]);
    command.args(["--config", "profile.dev.debug=0", "--config", "profile.dev.opt-level=1"]);
    command.current_dir(&copy.folder).stderr(Stdio::null());
    command.env("CARGO_TARGET_DIR", copy.folder.join("target")).env("RUSTFLAGS", "--cap-lints allow");
    let out = command.output().map_err(|error| format!("cargo {}: {error}", words.join(" ")))?;
    let lines = String::from_utf8_lossy(&out.stdout);
    Ok((lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(), out.status.success()))
}
