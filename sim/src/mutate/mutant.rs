//! A script's file with one change in it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::operators::{Change, Operator, changes};
use crate::redis::lua;

/// A file of `io/src/lua` with one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// The file, from `io/src/lua` on, without its ending.
    pub file: String,
    /// Which of the file's mutants it is, from 0 on.
    pub number: usize,
    /// The line where the change begins, from 1 on.
    pub line: usize,
    /// The kind of the change.
    pub operator: Operator,
    /// The lines that are changed.
    pub before: String,
    /// The same lines, changed.
    pub after: String,
    original: Arc<str>,
    mutated: Arc<str>,
}

impl Mutant {
    pub(super) fn new(file: &str, number: usize, original: &Arc<str>, change: &Change) -> Mutant {
        let range = change.range.clone();
        let start = original[..range.start].rfind('\n').map_or(0, |at| at + 1);
        let end = original[range.end..].find('\n').map_or(original.len(), |at| range.end + at);
        let mut mutated = original.to_string();
        mutated.replace_range(range.clone(), &change.with);
        let shown = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned();
        Mutant {
            file: file.to_owned(),
            number,
            line: original[..range.start].matches('\n').count() + 1,
            operator: change.operator,
            before: shown(&original[start..end]),
            after: shown(&format!("{}{}{}", &original[start..range.start], change.with, &original[range.end..end])),
            original: original.clone(),
            mutated: mutated.into(),
        }
    }

    /// The text of a script with the change in it; nothing if the script has no part in this file.
    #[must_use]
    pub fn planted_in(&self, body: &str) -> Option<String> {
        body.contains(&*self.original).then(|| body.replacen(&*self.original, &self.mutated, 1))
    }

    /// What is changed in its file, wherever the line stands by now: `x == 1  =>  x ~= 1`.
    #[must_use]
    pub fn change(&self) -> String {
        format!("{}  =>  {}", self.before, self.after).trim_end().to_owned()
    }

    /// The names of the scripts that have a part in this file.
    #[must_use]
    pub fn scripts(&self) -> Vec<&'static str> {
        streamkeeper::scripts().filter(|(_, body)| body.contains(&*self.original)).map(|(name, _)| name).collect()
    }

    /// Whether the changed text is Lua.
    #[must_use]
    pub fn is_viable(&self) -> bool {
        lua::check(&self.mutated).is_ok()
    }
}

/// `acquire:17`: which mutant it is.
impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

/// The files of the scripts, in the repository that this was built from.
///
/// # Errors
/// If they cannot be read.
pub fn files() -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    collect(&folder(), &mut found).map_err(|error| format!("{}: {error}", folder().display()))?;
    let name = |path: &PathBuf| {
        let path = path.strip_prefix(folder()).unwrap_or(path).with_extension("");
        path.to_string_lossy().replace('\\', "/")
    };
    let mut names: Vec<String> = found.iter().map(name).collect();
    names.sort();
    Ok(names)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "lua") {
            found.push(path);
        }
    }
    Ok(())
}

/// All mutants of a file, those among them that are no Lua, too.
///
/// # Errors
/// If the file cannot be read, or is not that of the scripts that this was built with.
pub fn mutants(file: &str) -> Result<Vec<Mutant>, String> {
    let path = folder().join(format!("{file}.lua"));
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if !streamkeeper::scripts().any(|(_, body)| body.contains(&text)) {
        return Err(format!("{} has changed since this was built: build it again", path.display()));
    }
    Ok(of_text(file, &text))
}

/// All mutants of this text.
pub(super) fn of_text(file: &str, text: &str) -> Vec<Mutant> {
    let original: Arc<str> = text.into();
    let changes = changes(text, |text| lua::check(text).is_ok());
    changes.iter().enumerate().map(|(number, change)| Mutant::new(file, number, &original, change)).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../io/src/lua")
}
