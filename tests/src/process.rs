//! One child process that a test started: signalled by its own id only, and never left behind.

use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    pid: Pid,
}

impl Process {
    /// Starts the command.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let pid = Pid::from_child(&child);
        Self { child: Mutex::new(child), pid }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Takes the child's standard output and standard error, where they were piped.
    pub fn pipes(&self) -> (Option<std::process::ChildStdout>, Option<std::process::ChildStderr>) {
        let mut child = self.child.lock().unwrap();
        (child.stdout.take(), child.stderr.take())
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().expect("a child can be waited for")
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// SIGSTOP.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGTERM again and again, until it has ended. Not at once: signals that come together are one wish; and more than
    /// twice, since a process that was late to hear of the first takes the second for its echo.
    pub fn terminate_until_ended(&self) {
        wait::until("it to end of the second signal", || {
            self.terminate();
            std::thread::sleep(Duration::from_millis(300));
            self.ended().is_some()
        });
    }

    fn signal(&self, signal: Signal) {
        // The lock keeps the child from being reaped meanwhile, so that its id cannot belong to another process.
        let mut child = self.child.lock().unwrap();
        if child.try_wait().expect("a child can be waited for").is_none() {
            kill_process(self.pid, signal).expect("a running child can be signalled");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
