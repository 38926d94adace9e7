//! One worker process: `streamkeeper consume --json`, what it says, and what a test does to it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde::Deserialize;

use crate::process::Process;
use crate::wait;

/// One line of `streamkeeper consume --json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Outcome {
    /// Microseconds of Unix time.
    pub at_us: u64,
    /// The message's id.
    #[serde(default)]
    pub id: String,
    /// Which attempt it was.
    #[serde(default)]
    pub attempt: u32,
    /// `ok`, `retry`, `failed` or `dead`.
    #[serde(default)]
    pub outcome: String,
    /// What went wrong.
    #[serde(default)]
    pub error: Option<String>,
    /// How long the handler had it.
    #[serde(default)]
    pub took_ms: u64,
    /// What happened that is about no message: `ready`, `stopped`.
    #[serde(default)]
    pub event: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

/// A worker process. Dropping it kills it.
#[derive(Debug)]
pub struct Worker {
    name: String,
    process: Process,
    said: Arc<Mutex<Said>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    may_end: AtomicBool,
    interrupted: AtomicBool,
}

#[derive(Debug, Default)]
struct Said {
    outcomes: Vec<Outcome>,
    strange: Vec<String>,
    errors: Vec<String>,
}

impl Worker {
    /// Starts `streamkeeper` with these arguments; handlers write down what they do in this file.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(name: &str, arguments: &[String], log: &Path) -> Self {
        let mut command = Command::new(crate::program::streamkeeper());
        command.args(arguments).env("RUST_BACKTRACE", "1").env("WORKER", name).env("LOG", log);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = Process::spawn(&mut command);
        let (out, errors) = process.pipes();
        let said = Arc::new(Mutex::new(Said::default()));
        let out = read_lines(out.expect("piped"), &said, |said, line| match serde_json::from_str(&line) {
            Ok(outcome) => said.outcomes.push(outcome),
            Err(error) => said.strange.push(format!("{line}: {error}")),
        });
        let errors = read_lines(errors.expect("piped"), &said, |said, line| said.errors.push(line));
        let readers = Mutex::new(vec![out, errors]);
        let (may_end, interrupted) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { name: name.to_owned(), process, said, readers, may_end, interrupted }
    }

    /// Its name, without the random number of its process.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// kill -9. Its children end when they next read.
    pub fn kill(&self) {
        self.may_end.store(true, Ordering::Relaxed);
        self.interrupted.store(true, Ordering::Relaxed);
        self.process.kill();
    }

    /// SIGSTOP. Its children run on.
    pub fn stop(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
        self.process.stop();
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.process.cont();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.may_end.store(true, Ordering::Relaxed);
        self.process.terminate();
    }

    /// SIGTERM, and once more while it is about to stop: it ends at once, in the middle of anything.
    ///
    /// # Panics
    /// If it does not end.
    pub fn terminate_at_once(&self) {
        self.let_crash();
        self.process.terminate_until_ended();
    }

    /// Says that it may end by itself from now on, in the middle of anything.
    pub fn let_crash(&self) {
        self.may_end.store(true, Ordering::Relaxed);
        self.interrupted.store(true, Ordering::Relaxed);
    }

    /// Whether it was cut off from its messages: others may have taken them over.
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// How it ended, though nobody asked it to.
    #[must_use]
    pub fn ended_by_itself(&self) -> Option<ExitStatus> {
        self.process.ended().filter(|_| !self.may_end.load(Ordering::Relaxed))
    }

    /// Waits until the process has ended by itself, and all that it said is read.
    ///
    /// # Panics
    /// If it does not end.
    pub fn wait_end(&self) -> ExitStatus {
        self.may_end.store(true, Ordering::Relaxed);
        wait::until(&format!("{} to end", self.name), || self.process.ended().is_some());
        for reader in self.readers.lock().unwrap().drain(..) {
            let _ = reader.join();
        }
        self.process.ended().expect("it has ended")
    }

    /// What it said of messages so far.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.said.lock().unwrap().outcomes.iter().filter(|outcome| outcome.event.is_none()).cloned().collect()
    }

    /// Whether it has said this, which is about no message.
    #[must_use]
    pub fn said(&self, event: &str) -> bool {
        self.said.lock().unwrap().outcomes.iter().any(|outcome| outcome.event.as_deref() == Some(event))
    }

    /// Lines on standard output that are no outcomes.
    #[must_use]
    pub fn strange_lines(&self) -> Vec<String> {
        self.said.lock().unwrap().strange.clone()
    }

    /// What it and its children wrote on standard error.
    #[must_use]
    pub fn errors(&self) -> String {
        self.said.lock().unwrap().errors.join("\n")
    }
}

fn read_lines(
    pipe: impl Read + Send + 'static,
    said: &Arc<Mutex<Said>>,
    keep: impl Fn(&mut Said, String) + Send + 'static,
) -> JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            keep(&mut said.lock().unwrap(), line);
        }
    })
}
