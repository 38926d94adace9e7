//! What the end of a process means for its stream.

use std::{io, os::unix::process::ExitStatusExt, process::ExitStatus};

use streamkeeper::CommitError;

/// `EX_TEMPFAIL` of sysexits.h: try again later.
const LATER: i32 = 75;

/// Why a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// By itself, or some stranger killed it.
    Own,
    /// It was asked to, since its stream is to be given back.
    Drained,
    /// It was killed: its lease nearly ended, or had ended.
    Lease,
}

/// What becomes of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Finished for ever.
    Done,
    /// Given back: that was the wish of this program.
    Drained,
    /// Given back, to rest for a moment: that was the wish of the command.
    Later,
    /// The same, since the command cannot be run here: nothing is counted.
    CannotRun(String),
    /// Given back and counted: it is handed out again after a pause that grows, and set aside in the end.
    Failed(String),
    /// There is nothing left to be given back, or should not be: no process may live on, and a lease that goes on after all
    /// is given up.
    Killed,
}

impl Verdict {
    /// A process has ended like this.
    pub(super) fn of(cause: Cause, status: ExitStatus) -> Verdict {
        match (cause, status.code()) {
            (Cause::Lease, _) => Verdict::Killed,
            // Most programs end with 0 when they are asked to end: that does not say that the stream has ended.
            (Cause::Drained, _) => Verdict::Drained,
            (Cause::Own, Some(0)) => Verdict::Done,
            (Cause::Own, Some(LATER)) => Verdict::Later,
            (Cause::Own, Some(126 | 127)) => Verdict::CannotRun(format!("the command cannot be run: {status}")),
            (Cause::Own, _) => Verdict::Failed(format!("the command ended with {status}")),
        }
    }

    /// No process could be started.
    pub(super) fn not_started(error: &io::Error) -> Verdict {
        let text = format!("the shell `sh` cannot be started: {error}");
        match error.kind() {
            // What does not fit into an environment: that is the same everywhere.
            io::ErrorKind::InvalidInput | io::ErrorKind::ArgumentListTooLong => Verdict::Failed(text),
            _ => Verdict::CannotRun(text),
        }
    }

    /// It is not known what was committed: nothing was started.
    pub(super) fn no_position(error: &CommitError) -> Verdict {
        match error {
            CommitError::Lost { .. } => Verdict::Killed,
            CommitError::Unavailable { .. } => Verdict::CannotRun(error.to_string()),
            _ => Verdict::Failed(error.to_string()),
        }
    }

    /// In a word, for people and programs.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Verdict::Done => "done",
            Verdict::Drained => "drained",
            Verdict::Later => "later",
            Verdict::CannotRun(_) => "cannot-run",
            Verdict::Failed(_) => "failed",
            Verdict::Killed => "killed",
        }
    }

    /// What went wrong, if anything did.
    pub(super) fn error(&self) -> Option<&str> {
        match self {
            Verdict::CannotRun(error) | Verdict::Failed(error) => Some(error),
            _ => None,
        }
    }
}

/// How it ended, as a number like the shell's `$?`: 128 and more for signals.
pub(super) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_meaning() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let by_itself = |status| Verdict::of(Cause::Own, status);
        assert_eq!(by_itself(exited(0)), Verdict::Done);
        assert_eq!(by_itself(exited(75)), Verdict::Later);
        for missing in [126, 127] {
            let verdict = by_itself(exited(missing));
            assert!(matches!(&verdict, Verdict::CannotRun(why) if why.contains(&missing.to_string())), "{verdict:?}");
        }
        assert_eq!(by_itself(exited(3)), Verdict::Failed("the command ended with exit status: 3".to_owned()));
        let killed = ExitStatus::from_raw(9);
        assert_eq!(by_itself(killed), Verdict::Failed("the command ended with signal: 9 (SIGKILL)".to_owned()));
        for status in [exited(0), exited(3), exited(75), killed] {
            assert_eq!(Verdict::of(Cause::Drained, status), Verdict::Drained);
            assert_eq!(Verdict::of(Cause::Lease, status), Verdict::Killed);
        }
        assert_eq!((code(exited(3)), code(killed)), (3, 137));
    }

    #[test]
    fn what_fits_into_no_environment_is_the_streams_fault() {
        let verdict = |kind: io::ErrorKind| Verdict::not_started(&kind.into()).label();
        assert_eq!((verdict(io::ErrorKind::InvalidInput), verdict(io::ErrorKind::NotFound)), ("failed", "cannot-run"));
    }
}
