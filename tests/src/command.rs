//! One-shot commands of the program: `announce`, `dead`, `status`, and wrong usage.

use std::io::{Read, Seek, Write};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use crate::fleet::Fleet;
use crate::process::Process;
use crate::wait;

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
/// If it does not end.
#[must_use]
pub fn streamkeeper(arguments: &[&str]) -> Answer {
    streamkeeper_fed(arguments, b"")
}

/// The same with this on its standard input.
///
/// # Panics
/// If it does not end.
#[must_use]
pub fn streamkeeper_fed(arguments: &[&str], input: &[u8]) -> Answer {
    run(&[], arguments, input)
}

/// The same with these variables in its environment.
///
/// # Panics
/// If it does not end.
#[must_use]
pub fn streamkeeper_with(environment: &[(&str, &str)], arguments: &[&str]) -> Answer {
    run(environment, arguments, b"")
}

fn run(environment: &[(&str, &str)], arguments: &[&str], input: &[u8]) -> Answer {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(input).and_then(|()| file.rewind()).expect("a temporary file can be written");
    let mut command = Command::new(crate::program::streamkeeper());
    command.envs(environment.iter().copied());
    command.args(arguments).stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = Process::spawn(&mut command);
    let (out, errors) = process.pipes();
    let (out, errors) = (read_all(out.expect("piped")), read_all(errors.expect("piped")));
    let ended = wait::within_limit(|| process.ended().is_some());
    process.kill();
    let code = process.ended().and_then(|status| status.code());
    assert!(
        wait::within_limit(|| out.is_finished() && errors.is_finished()),
        "{arguments:?} ended, and somebody else keeps its output open"
    );
    let answer = Answer { code, out: out.join().expect("read"), errors: errors.join().expect("read") };
    assert!(ended, "{arguments:?} did not end: {answer:?}");
    answer
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
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
        must_succeed(words, || self.command(words))
    }
}

/// What only asks is asked again if it fails: a command waits a second for its connection and its answer, and this machine
/// may keep the server from it for longer.
pub(crate) fn must_succeed(words: &[&str], run: impl Fn() -> Answer) -> Answer {
    let only_asks = words.iter().take(2).any(|word| ["list", "show", "status"].contains(word));
    let mut answer = run();
    for _ in 0..4 {
        if only_asks && answer.code != Some(0) {
            answer = run();
        }
    }
    assert_eq!(answer.code, Some(0), "{words:?}: {answer:?}");
    answer
}
