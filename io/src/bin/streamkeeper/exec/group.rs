//! A process group: a child and whatever it starts, signalled as one.

use std::{cmp::Ordering, io};

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid};
use tokio::process::{Child, Command};

/// The group of a child that leads one. Its number is its leader's process id, and is not given to another group while a
/// member lives or its leader was not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group(Pid);

/// A command for the shell, to be started in a group of its own.
pub(crate) fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).process_group(0);
    shell
}

impl Group {
    /// The group that this child leads.
    ///
    /// # Errors
    /// It has been waited for already.
    pub(crate) fn of(child: &Child) -> io::Result<Group> {
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        pid.map(Group).ok_or_else(|| io::Error::other("the shell ended at once"))
    }

    /// The same from its number.
    pub(crate) fn numbered(number: i32) -> Option<Group> {
        // Nothing below names a group that a child could lead; 1 would be everybody.
        Some(number).filter(|number| *number > 1).and_then(Pid::from_raw).map(Group)
    }

    /// Its number, and its leader's process id.
    pub(crate) fn number(self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    /// Signals all its members. That there are none is no error.
    pub(crate) fn signal(self, signal: Signal) {
        let _ = kill_process_group(self.0, signal);
    }

    /// Whether it has members. To be asked only after its leader was waited for.
    pub(crate) fn has_members(self) -> bool {
        // Where this program is process 1, orphans are its children: nobody else would bury them.
        while let Ok(Some(_)) = waitpgid(self.0, WaitOptions::NOHANG) {}
        test_kill_process_group(self.0).is_ok()
    }
}

impl Ord for Group {
    fn cmp(&self, other: &Group) -> Ordering {
        self.number().cmp(&other.number())
    }
}

impl PartialOrd for Group {
    fn partial_cmp(&self, other: &Group) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
