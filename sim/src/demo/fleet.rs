//! The consumers' processes, as the demo holds them: started, heard, signalled, and never left behind.

use std::{io, path::Path, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

use super::{
    LEASE_TTL,
    consumer::URL,
    lines::{Line, Said},
    proxy::Proxy,
    server::Server,
};
use crate::facts::Who;

/// What a process says, and, last of all, that it says no more.
pub(super) type Heard = (Who, Option<Line>);

/// A consumer, and its present process.
pub(super) struct Member {
    pub(super) who: Who,
    /// The name of the consumer, whichever its process.
    pub(super) name: &'static str,
    pub(super) state: State,
    pub(super) proxy: Proxy,
    child: Option<Child>,
}

/// How a consumer fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    Starting,
    Running,
    Killed,
    Frozen,
    CutOff,
    Draining,
    Stopped,
}

impl Member {
    pub(super) fn new(consumer: usize, name: &'static str, proxy: Proxy) -> Member {
        let who = Who { consumer, life: 0 };
        Member { who, name, state: State::Absent, proxy, child: None }
    }

    /// Starts a process; if it is not the first one, under another name, as a deployment does.
    pub(super) fn start(
        &mut self,
        program: &Path,
        service: &str,
        server: &Server,
        heard: &mpsc::UnboundedSender<Heard>,
    ) -> io::Result<()> {
        self.who.life += u32::from(self.state != State::Absent);
        let name = match self.who.life {
            0 => self.name.to_owned(),
            life => format!("{}-{}", self.name, life + 1),
        };
        let mut command = Command::new(program);
        command.args(["demo-consumer", "--service", service, "--name", &name]);
        command.args(["--ttl-ms", &LEASE_TTL.as_millis().to_string()]);
        command.env(URL, server.through(self.proxy.port));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(listen(self.who, BufReader::new(stdout), heard.clone()));
        }
        (self.child, self.state) = (Some(child), State::Starting);
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.state = State::Killed;
        self.signal(Signal::KILL)
    }

    /// SIGSTOP.
    pub(super) fn freeze(&mut self) -> io::Result<()> {
        self.state = State::Frozen;
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(super) fn thaw(&mut self) -> io::Result<()> {
        self.state = State::Running;
        self.signal(Signal::CONT)
    }

    /// SIGTERM.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        self.state = State::Draining;
        self.signal(Signal::TERM)
    }

    /// From now on nothing passes between it and Redis, or everything again.
    pub(super) fn cut(&mut self, on: bool) {
        self.state = if on { State::CutOff } else { State::Running };
        self.proxy.cut(on);
    }

    /// Ends its process, and waits until it has.
    pub(super) async fn dismiss(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error is that it has ended already.
            let _ = child.kill().await;
        }
    }

    /// Its process has ended, as it was wished or not.
    pub(super) fn was_to_end(&self) -> bool {
        matches!(self.state, State::Killed | State::Draining | State::Stopped)
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // A process that was waited for has no id: it cannot be another one's.
        let pid = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        match pid.and_then(Pid::from_raw) {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Err(io::Error::other(format!("{} has ended by itself", self.name))),
        }
    }
}

async fn listen(who: Who, stdout: BufReader<tokio::process::ChildStdout>, heard: mpsc::UnboundedSender<Heard>) {
    let mut lines = stdout.lines();
    while let Ok(Some(text)) = lines.next_line().await {
        let line = serde_json::from_str(&text).unwrap_or_else(|error| Line {
            at_us: streamkeeper::Clock::system().now().as_micros(),
            said: Said::Terminated { why: format!("said {text:?}: {error}") },
        });
        if heard.send((who, Some(line))).is_err() {
            return;
        }
    }
    let _ = heard.send((who, None));
}
