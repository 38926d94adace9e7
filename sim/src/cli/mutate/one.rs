//! Judging one mutant, in this process.

use streamkeeper_sim::mutate::{Mutant, by_exploring, by_seeds, by_sequences, is_explored, mutants};

use super::{report::Verdict, script_tests::ScriptTests};

/// The mutant of this name.
pub(super) fn named(name: &str) -> Result<Mutant, String> {
    let unknown = || format!("`{name}` is no mutant");
    let (file, number) = name.rsplit_once(':').ok_or_else(unknown)?;
    let number: usize = number.parse().map_err(|_| unknown())?;
    mutants(file)?.into_iter().nth(number).ok_or_else(unknown)
}

/// Asks one after the other, until somebody notices.
pub(super) fn judge(mutant: &Mutant, tests: Option<&ScriptTests>, explores: bool, seeds: u64) -> Verdict {
    let caught = |by: &str, how| Verdict::new(mutant, Some(by.to_owned()), how);
    if let Some(how) = by_sequences(mutant) {
        return caught("sequences", how);
    }
    if let Some(how) = tests.and_then(|tests| tests.notice(mutant)) {
        return caught("tests", how);
    }
    if let Some(how) = explores.then(|| is_explored(mutant).then(|| by_exploring(mutant)).flatten()).flatten() {
        return caught("explore", how);
    }
    if let Some(how) = by_seeds(mutant, seeds) {
        return caught("seeds", how);
    }
    Verdict::new(mutant, None, String::new())
}
