//! The mutants that nobody notices, and why that may be: `sim/survivors.txt`.

use std::{collections::BTreeMap, path::PathBuf};

/// What is known to survive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `file: change`, and why nobody notices it.
    reasons: BTreeMap<String, String>,
}

impl Known {
    /// The list of the repository that this was built from.
    ///
    /// # Errors
    /// If it cannot be read; the text names the line.
    pub fn read() -> Result<Known, String> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("survivors.txt");
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| named(&error))?;
        Known::parse(&text).map_err(|error| named(&error))
    }

    /// Reads a list: a reason behind `== `, then a line `file: change` for each of its mutants (see
    /// [`Mutant::change`](super::Mutant::change)). Comments begin with `# `.
    ///
    /// # Errors
    /// A change without a reason, or one that stands there twice.
    pub fn parse(text: &str) -> Result<Known, String> {
        let (mut known, mut reason) = (Known::default(), None);
        for (number, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("line {}: {what}: {line}", number + 1);
            if line.is_empty() || line.starts_with("# ") {
                continue;
            }
            if let Some(text) = line.strip_prefix("== ") {
                reason = Some(text);
                continue;
            }
            let reason = reason.ok_or_else(|| wrong("no reason stands before it"))?;
            if known.reasons.insert(line.to_owned(), reason.to_owned()).is_some() {
                return Err(wrong("it stands there twice"));
            }
        }
        Ok(known)
    }

    /// Why nobody notices this change of this file.
    #[must_use]
    pub fn reason(&self, file: &str, change: &str) -> Option<&str> {
        self.reasons.get(&format!("{file}: {change}")).map(String::as_str)
    }

    /// All that are listed, as `file: change`.
    pub fn changes(&self) -> impl Iterator<Item = &str> {
        self.reasons.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_what_is_wrong_in_it_is_named() {
        let text = "# All.\n\n== Harmless.\na: x  =>  y\nb: x  =>  y\n== A test is missing.\na: x  =>\n";
        let known = Known::parse(text).unwrap();
        let all: Vec<&str> = known.changes().collect();
        assert_eq!(all, ["a: x  =>", "a: x  =>  y", "b: x  =>  y"]);
        assert_eq!(known.reason("a", "x  =>"), Some("A test is missing."));
        assert_eq!(known.reason("c", "x  =>"), None);
        assert_eq!(Known::parse("a: x  =>  y").unwrap_err(), "line 1: no reason stands before it: a: x  =>  y");
        assert!(
            Known::parse("== r\na: x  =>  y\na: x  =>  y").unwrap_err().starts_with("line 3: it stands there twice")
        );
    }
}
