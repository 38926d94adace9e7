//! One consumer process: `streamkeeper work --json`, what it says, and what a test does to it.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::event::{Event, Kind, now_us};
use crate::ledger::{End, Life, Pause};
use crate::process::Process;
use crate::wait;

/// A consumer process. Dropping it kills it.
#[derive(Debug)]
pub struct Consumer {
    name: String,
    process: Process,
    log: Arc<Mutex<Log>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    pauses: Mutex<Vec<Pause>>,
    end: Mutex<Option<End>>,
    may_end: AtomicBool,
}

/// What it printed so far.
#[derive(Debug, Default)]
struct Log {
    events: Vec<Event>,
    errors: Vec<String>,
    strange: Vec<String>,
}

impl Consumer {
    /// Starts `streamkeeper` with these arguments.
    #[must_use]
    pub fn spawn(name: &str, arguments: &[String]) -> Self {
        let mut command = Command::new(crate::program::streamkeeper());
        command.args(arguments).env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = Process::spawn(&mut command);
        let (out, errors) = process.pipes();
        let log = Arc::new(Mutex::new(Log::default()));
        let out = read_lines(out.expect("piped"), &log, |log, line| match Event::parse(&line) {
            Ok(event) => log.events.push(event),
            Err(error) => log.strange.push(format!("{line}: {error}")),
        });
        let errors = read_lines(errors.expect("piped"), &log, |log, line| log.errors.push(line));
        Self {
            name: name.to_owned(),
            process,
            log,
            readers: Mutex::new(vec![out, errors]),
            pauses: Mutex::default(),
            end: Mutex::default(),
            may_end: AtomicBool::new(false),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process's id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.id()
    }

    /// kill -9.
    pub fn kill(&self) {
        self.may_end.store(true, Ordering::Relaxed);
        self.process.kill();
        self.close(true);
    }

    /// SIGSTOP.
    pub fn stop(&self) {
        self.pauses.lock().unwrap().push(Pause { from_us: now_us(), to_us: None });
        self.process.stop();
    }

    /// SIGCONT.
    pub fn cont(&self) {
        if let Some(pause) = self.pauses.lock().unwrap().last_mut() {
            pause.to_us = Some(now_us());
        }
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
        self.let_end();
        self.process.terminate_until_ended();
    }

    /// Says that it may end by itself from now on.
    pub fn let_end(&self) {
        self.may_end.store(true, Ordering::Relaxed);
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Panics
    /// If it does not end.
    pub fn wait_end(&self) -> ExitStatus {
        self.let_end();
        wait::until(&format!("{} to end", self.name), || self.process.ended().is_some());
        self.close(false);
        self.process.ended().expect("it has ended")
    }

    /// All that is known of it.
    #[must_use]
    pub fn life(&self) -> Life {
        if self.process.ended().is_some() {
            self.close(false);
        }
        Life {
            name: self.name.clone(),
            events: self.log.lock().unwrap().events.clone(),
            pauses: self.pauses.lock().unwrap().clone(),
            end: *self.end.lock().unwrap(),
        }
    }

    /// Whether it has said this about any stream.
    #[must_use]
    pub fn said(&self, kind: Kind) -> bool {
        self.log.lock().unwrap().events.iter().any(|event| event.kind == kind)
    }

    /// How often it has said this.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.log.lock().unwrap().events.iter().filter(|event| event.kind == kind).count()
    }

    /// Whether it has said this about the stream.
    #[must_use]
    pub fn said_of(&self, kind: Kind, stream: &str) -> bool {
        self.log.lock().unwrap().events.iter().any(|event| event.is(kind, stream))
    }

    /// What it wrote on standard error.
    #[must_use]
    pub fn errors(&self) -> String {
        self.log.lock().unwrap().errors.join("\n")
    }

    /// Lines on standard output that are no events.
    #[must_use]
    pub fn strange_lines(&self) -> Vec<String> {
        self.log.lock().unwrap().strange.clone()
    }

    /// Whether it ended though nobody asked it to.
    #[must_use]
    pub fn ended_by_itself(&self) -> Option<ExitStatus> {
        self.process.ended().filter(|_| !self.may_end.load(Ordering::Relaxed))
    }

    /// Reads what is left in the pipes of a process that is gone, and writes down when that was.
    fn close(&self, killed: bool) {
        let at_us = now_us();
        // What it has said is read to the end; but whom it has left behind may keep its output open for ever.
        let readers: Vec<_> = self.readers.lock().unwrap().drain(..).collect();
        assert!(
            wait::within_limit(|| readers.iter().all(JoinHandle::is_finished)),
            "{} ended, and somebody else keeps its output open",
            self.name
        );
        self.end.lock().unwrap().get_or_insert(End { at_us, killed });
    }
}

fn read_lines(
    pipe: impl std::io::Read + Send + 'static,
    log: &Arc<Mutex<Log>>,
    keep: impl Fn(&mut Log, String) + Send + 'static,
) -> JoinHandle<()> {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            keep(&mut log.lock().unwrap(), line);
        }
    })
}
