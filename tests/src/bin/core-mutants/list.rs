//! The mutants that cargo-mutants knows.

use std::process::Command;

use serde::Deserialize;

use crate::copy::root;

/// What kind of change it is, as cargo-mutants calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Genre {
    /// A function returns this at once.
    FnValue,
    BinaryOperator,
    /// The operator is taken away.
    UnaryOperator,
    /// A guard is always true, or never.
    MatchArmGuard,
    /// An arm is taken away.
    MatchArm,
    /// A field is taken from what follows `..` instead.
    StructField,
}

/// Line and column, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// One change of one place.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mutant {
    /// Which one the environment chooses; from 1.
    #[serde(skip)]
    pub(crate) id: u32,
    pub(crate) name: String,
    /// From the root of the repository.
    pub(crate) file: String,
    pub(crate) genre: Genre,
    pub(crate) replacement: String,
    pub(crate) span: Span,
}

impl Mutant {
    /// What happens, without where: `replace == with != in take`.
    pub(crate) fn what(&self) -> &str {
        self.name.splitn(4, ':').nth(3).unwrap_or(&self.name).trim()
    }
}

/// All of the core's.
pub(crate) fn listed() -> Result<Vec<Mutant>, String> {
    let mut command = Command::new("cargo");
    command.args(["mutants", "--list", "--json", "--package", "streamkeeper-core"]).current_dir(root());
    let out = command.output().map_err(|error| format!("cargo mutants: {error}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        return Err(format!("{said}cargo mutants --list failed: cargo install --locked cargo-mutants@27.1.0"));
    }
    let mut mutants: Vec<Mutant> = serde_json::from_slice(&out.stdout).map_err(|error| format!("its list: {error}"))?;
    for (id, mutant) in (1..).zip(&mut mutants) {
        mutant.id = id;
    }
    Ok(mutants)
}
