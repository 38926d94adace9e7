//! The mutants that may survive, each with the reason.

use std::{collections::BTreeSet, fs};

use crate::{
    copy::root,
    list::{Genre, Mutant},
};

/// `tests/core-survivors.txt`: a line `== reason`, then the key of a mutant a line.
pub(crate) struct Survivors(BTreeSet<String>);

impl Survivors {
    pub(crate) fn read() -> Result<Survivors, String> {
        let file = root().join("tests/core-survivors.txt");
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let is_key = |line: &&str| !line.is_empty() && !line.starts_with(['#', '=']);
        Ok(Survivors(text.lines().map(str::trim).filter(is_key).map(str::to_owned).collect()))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains(key)
    }

    /// The list follows the code: what is listed and is no mutant any more is to be taken out, or written anew.
    pub(crate) fn are_all_among(&self, mutants: &[Mutant]) -> Result<(), String> {
        let keys: BTreeSet<String> = mutants.iter().map(key).collect();
        match self.0.iter().find(|listed| !keys.contains(*listed)) {
            None => Ok(()),
            Some(stale) => {
                Err(format!("tests/core-survivors.txt lists what is no mutant of the core any more: {stale}"))
            }
        }
    }
}

/// What a mutant is, in words that stay true when lines move: `streams/take.rs: replace == with != in next | if a == b {`.
pub(crate) fn key(mutant: &Mutant) -> String {
    let file = mutant.file.trim_start_matches("core/src/");
    if mutant.genre == Genre::FnValue {
        return format!("{file}: {}", mutant.what());
    }
    let text = fs::read_to_string(root().join(&mutant.file)).unwrap_or_default();
    let line = text.lines().nth(mutant.span.start.line - 1).unwrap_or_default();
    let before: String = line.chars().take(mutant.span.start.column - 1).collect();
    let after: String = line.chars().skip(mutant.span.start.column - 1).collect();
    format!("{file}: {} | {}\u{bb}{}", mutant.what(), before.trim_start(), after.trim_end())
}
