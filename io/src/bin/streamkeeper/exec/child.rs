//! One child: a command in a process group of its own, told messages on its standard input.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child as Process, ChildStdin, ChildStdout},
    time::timeout,
};

use super::{
    group::{Group, shell},
    reply::{LONGEST, Reply},
};

/// How long a child that should end is left to do so, before the next stronger hint.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the last words of a child that has ended may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The process groups of all children that have not ended, for whoever must leave at once.
#[derive(Clone, Default)]
pub(crate) struct Groups(Arc<Mutex<Vec<Group>>>);

impl Groups {
    /// SIGKILL to all.
    pub(crate) fn kill(&self) {
        for group in self.all().iter() {
            group.signal(Signal::KILL);
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command that runs. Dropping it kills its whole group.
pub(crate) struct Child {
    process: Process,
    group: Group,
    groups: Groups,
    /// None once it was told that nothing more comes.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Whether it has ever answered.
    pub(crate) answered: bool,
}

/// A child that has ended instead of answering.
#[derive(Debug)]
pub(crate) enum Gone {
    /// By itself, or killed by somebody.
    Ended(ExitStatus),
    /// It answered with a line that has no end.
    Endless,
    /// Its pipes broke.
    Io(io::Error),
}

impl Gone {
    /// The shell has not found the command, or may not run it.
    pub(crate) fn cannot_run(&self) -> bool {
        matches!(self, Gone::Ended(status) if matches!(status.code(), Some(126 | 127)))
    }

    /// In words, for the message's record.
    pub(crate) fn describe(&self) -> String {
        match self {
            Gone::Ended(status) => format!("the command ended without an answer: {status}"),
            Gone::Endless => format!("the command answered with a line of more than {LONGEST} bytes"),
            Gone::Io(error) => format!("the command's pipes broke: {error}"),
        }
    }
}

impl Child {
    /// Starts a command with the shell.
    pub(crate) fn start(command: &str, groups: &Groups) -> io::Result<Child> {
        let mut process = shell(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let group = Group::of(&process)?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("the shell has no pipes"));
        };
        groups.all().push(group);
        let (input, output) = (Some(input), BufReader::new(output));
        Ok(Child { process, group, groups: groups.clone(), input, output, answered: false })
    }

    /// Whether it waits for a message: it lives, and has said nothing that nobody asked for.
    pub(crate) fn is_ready(&mut self) -> bool {
        // Words that nobody asked for would be taken for the answer to the next message.
        let silent = self.output.fill_buf().now_or_never().is_none();
        silent && matches!(self.process.try_wait(), Ok(None))
    }

    /// Hands it a message, and waits for its answer. Not cancel safe: a child whose answer nobody has read must be
    /// dropped or ended.
    pub(crate) async fn ask(&mut self, line: &[u8]) -> Result<Reply, Gone> {
        let Some(input) = &mut self.input else {
            return Err(Gone::Io(io::ErrorKind::BrokenPipe.into()));
        };
        let written = async {
            input.write_all(line).await?;
            input.flush().await
        };
        if written.await.is_err() {
            // How it ended says more than a broken pipe.
            return Err(self.ended().await);
        }
        let mut answer = Vec::new();
        let read = tokio::select! {
            biased;
            read = read_line(&mut self.output, &mut answer) => read,
            status = self.process.wait() => {
                let last = timeout(LAST_WORDS, read_line(&mut self.output, &mut answer)).await;
                if !matches!(last, Ok(Ok(()))) || !answer.ends_with(b"\n") {
                    return Err(status.map_or_else(Gone::Io, Gone::Ended));
                }
                Ok(())
            }
        };
        match read {
            Ok(()) if answer.ends_with(b"\n") => {
                self.answered = true;
                Ok(Reply::parse(&answer))
            }
            Ok(()) if answer.len() > LONGEST => Err(Gone::Endless),
            Ok(()) => Err(self.ended().await),
            Err(error) => Err(Gone::Io(error)),
        }
    }

    /// Its standard output is closed: it is waited for shortly, and killed if it lives on.
    async fn ended(&mut self) -> Gone {
        match timeout(PATIENCE, self.process.wait()).await {
            Ok(status) => status.map_or_else(Gone::Io, Gone::Ended),
            Err(_) => {
                self.signal(Signal::KILL);
                self.process.wait().await.map_or_else(Gone::Io, Gone::Ended)
            }
        }
    }

    /// Ends it: its standard input is closed, then comes SIGTERM, then SIGKILL.
    pub(crate) async fn end(mut self) {
        self.input = None;
        if timeout(PATIENCE, self.process.wait()).await.is_err() {
            self.end_at_once().await;
        }
    }

    /// The same for one that is in the middle of a message: it is not asked first.
    pub(crate) async fn end_at_once(mut self) {
        self.input = None;
        self.signal(Signal::TERM);
        let _ = timeout(PATIENCE, self.process.wait()).await;
    }

    fn signal(&self, signal: Signal) {
        self.group.signal(signal);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Also for what it has left behind in its group.
        self.signal(Signal::KILL);
        self.groups.all().retain(|group| *group != self.group);
    }
}

/// A line, its end included; without it at the end of the stream, or when it is longer than an answer may be.
async fn read_line(output: &mut BufReader<ChildStdout>, line: &mut Vec<u8>) -> io::Result<()> {
    let room = (LONGEST + 1).saturating_sub(line.len()) as u64;
    output.take(room).read_until(b'\n', line).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(command: &str, lines: &[&str]) -> Vec<String> {
        let mut child = Child::start(command, &Groups::default()).unwrap();
        let mut answers = Vec::new();
        for line in lines {
            answers.push(match child.ask(format!("{line}\n").as_bytes()).await {
                Ok(reply) => reply.error().unwrap_or("ok").to_owned(),
                Err(gone) => gone.describe(),
            });
        }
        answers
    }

    #[tokio::test]
    async fn each_message_has_its_answer() {
        let echo = "while read -r line; do if [ $line = 1 ]; then echo ok; else echo got $line; fi; done";
        assert_eq!(ask(echo, &["1", "2", "1", "3"]).await, ["ok", "got 2", "ok", "got 3"]);
    }

    #[tokio::test]
    async fn the_end_of_a_child_is_told() {
        assert_eq!(ask("exit 3", &["1"]).await, ["the command ended without an answer: exit status: 3"]);
        let killed = ask("read x; kill -9 $$", &["1"]).await;
        assert_eq!(killed, ["the command ended without an answer: signal: 9 (SIGKILL)"]);
        // Its last words count, also when it has ended meanwhile; half a line is none.
        assert_eq!(ask("read x; echo ok; exit 1", &["1"]).await, ["ok"]);
        let half = ask("read x; printf ok; exit 1", &["1"]).await;
        assert_eq!(half, ["the command ended without an answer: exit status: 1"]);
        // One that lives on without a standard output is of no use.
        let deaf = ask("exec >&-; exec sleep 100", &["1"]).await;
        assert_eq!(deaf, ["the command ended without an answer: signal: 9 (SIGKILL)"]);
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut() {
        let answer = ask("read x; head -c 100000 /dev/zero; sleep 100", &["1"]).await;
        assert_eq!(answer, ["the command answered with a line of more than 65536 bytes"]);
    }

    #[tokio::test]
    async fn a_child_that_talks_unasked_or_has_ended_is_not_ready() {
        let groups = Groups::default();
        let mut good = Child::start("cat", &groups).unwrap();
        assert!(good.is_ready());
        for bad in ["echo hello; exec sleep 100", "exit 0"] {
            let mut child = Child::start(bad, &groups).unwrap();
            let start = std::time::Instant::now();
            while child.is_ready() {
                assert!(start.elapsed() < Duration::from_secs(30), "{bad}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert!(good.is_ready());
    }

    #[tokio::test]
    async fn children_end_with_all_that_they_have_started() {
        let groups = Groups::default();
        // Neither the end of its input nor SIGTERM ends this one, and it has a child of its own.
        let stubborn = "trap '' TERM; sleep 100 & echo $! ; wait; sleep 100";
        let mut child = Child::start(stubborn, &groups).unwrap();
        let mut line = Vec::new();
        read_line(&mut child.output, &mut line).await.unwrap();
        let grandchild: i32 = String::from_utf8(line).unwrap().trim().parse().unwrap();
        assert_eq!(groups.all().len(), 1);
        child.end().await;
        assert!(groups.all().is_empty());
        let start = std::time::Instant::now();
        while is_running(grandchild) {
            assert!(start.elapsed() < Duration::from_secs(30), "{grandchild} lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether such a process exists and is no zombie.
    fn is_running(pid: i32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
    }
}
