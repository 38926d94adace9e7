//! One-shot commands of the program: `announce`, `dead`, `status`, and wrong usage.

use std::process::{Command, Stdio};

use crate::fleet::Fleet;

/// What a command answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its exit code, if it was not ended by a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub errors: String,
}

/// Runs `streamkeeper` with these arguments to its end.
///
/// # Panics
/// If it cannot be run.
#[must_use]
pub fn streamkeeper(arguments: &[&str]) -> Answer {
    let mut command = Command::new(crate::program::streamkeeper());
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("the program can be run");
    Answer {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Fleet<'_> {
    /// Runs a command against this service; `words` are what stands before and after `--redis … --service …`.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Answer {
        let address = self.address();
        let split = words.iter().position(|word| word.starts_with("--")).unwrap_or(words.len());
        let mut all: Vec<&str> = words[..split].to_vec();
        all.extend(address.iter().map(String::as_str));
        all.extend(&words[split..]);
        streamkeeper(&all)
    }

    /// The same, and it must succeed.
    ///
    /// # Panics
    /// If it does not.
    pub fn command_ok(&self, words: &[&str]) -> Answer {
        let answer = self.command(words);
        assert_eq!(answer.code, Some(0), "{words:?}: {answer:?}");
        answer
    }
}
