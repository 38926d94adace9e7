//! What the shell is told.

use std::process::ExitCode;

use streamkeeper_sim::judge::Kind;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Every promise was kept.
    Ok = 0,
    /// Something that must happen sometimes never did.
    NotCovered = 4,
    /// Something did not happen in time.
    Liveness = 3,
    /// Something happened that must never happen.
    Safety = 2,
    /// The same seed ran in two ways.
    NotDeterministic = 5,
    /// Used wrongly, or a file cannot be read.
    Usage = 64,
}

impl Exit {
    /// The worse of two.
    pub(crate) fn worse(self, other: Exit) -> Exit {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::NotCovered => 1,
            Exit::Liveness => 2,
            Exit::Safety => 3,
            Exit::NotDeterministic => 4,
            Exit::Usage => 5,
        }
    }
}

impl From<Option<Kind>> for Exit {
    fn from(worst: Option<Kind>) -> Exit {
        match worst {
            None => Exit::Ok,
            Some(Kind::Liveness) => Exit::Liveness,
            Some(Kind::Safety) => Exit::Safety,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
