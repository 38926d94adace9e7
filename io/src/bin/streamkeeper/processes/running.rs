//! One process that works on a stream.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::Signal;
use streamkeeper::{Clock, Lease, Time};
use tokio::{
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

use super::{verdict::Cause, watch::Watch};
use crate::exec::Group;

/// How often a group is looked at that should end.
const GLANCE: Duration = Duration::from_millis(10);
/// How long before the end of a shutdown's time a process is killed: at that end its stream is another's.
const EARLY: Duration = Duration::from_millis(500);
/// How long what was killed may take to be gone: longer only in the middle of a call to the kernel, and then it runs none
/// of its own code any more.
const BURIAL: Duration = Duration::from_millis(250);

/// A process and all that it starts. Dropping it kills its whole group.
pub(super) struct Running {
    process: Child,
    group: Group,
    watch: Arc<Watch>,
    /// It was waited for, and its number may be another's by now.
    over: bool,
    began: Instant,
}

impl Running {
    /// Starts a command for a lease: from now on it is killed before that ends. Of its standard input and output those are
    /// pipes that are asked for; else the input is empty, and the output goes to standard error.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(
        mut command: Command,
        pipes: (bool, bool),
        lease: &Lease,
        watch: &Arc<Watch>,
    ) -> io::Result<Running> {
        command.stdin(if pipes.0 { Stdio::piped() } else { Stdio::null() });
        command.stdout(if pipes.1 { Stdio::piped() } else { Stdio::from(io::stderr()) });
        let process = command.spawn()?;
        let group = Group::of(&process)?;
        let lease = lease.clone();
        // At the end of a shutdown's time for us the stream is given back, whatever we do.
        watch.add(group, move || lease.is_draining().map_or(lease.valid_until(), |end| end.min(lease.valid_until())));
        Ok(Running { process, group, watch: watch.clone(), over: false, began: Instant::now() })
    }

    /// Its pipes, if it has any.
    pub(super) fn pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>) {
        (self.process.stdin.take(), self.process.stdout.take())
    }

    /// The id of the process, and of its group.
    pub(super) fn pid(&self) -> i32 {
        self.group.number()
    }

    /// How long it has lived.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits for its end, and brings that about: if it is asked to end until an instant, or has lost its lease. For so long
    /// it may find out by itself that it is to end. Afterwards nobody of its group lives.
    pub(super) async fn attend(
        &mut self,
        clock: &Clock,
        lost: impl Future<Output = ()>,
        drained: impl Future<Output = Time>,
        patience: Duration,
    ) -> io::Result<(Cause, ExitStatus)> {
        let mut lost = std::pin::pin!(lost);
        let cause = tokio::select! {
            biased;
            () = &mut lost => Cause::Lease,
            ended = self.process.wait() => ended.map(|_| Cause::Own)?,
            deadline = drained => {
                let span = deadline.since(clock.now());
                let early = EARLY.min(span / 4);
                tokio::select! {
                    biased;
                    () = &mut lost => Cause::Lease,
                    () = self.drain(patience.min(span / 2)) => Cause::Drained,
                    () = sleep_until(clock, deadline - early) => Cause::Drained,
                }
            }
        };
        // Also what it has left behind.
        self.group.signal(Signal::KILL);
        let status = self.process.wait().await?;
        let killed = self.watch.is_up(self.group);
        let buried = Instant::now() + BURIAL;
        while self.group.has_members() && Instant::now() < buried {
            sleep(GLANCE).await;
        }
        self.over = true;
        self.watch.remove(self.group);
        Ok((if killed && cause == Cause::Own { Cause::Lease } else { cause }, status))
    }

    /// Asks all of the group to end, unless it does so by itself, and waits for all.
    async fn drain(&mut self, patience: Duration) {
        let by_itself = patience > Duration::ZERO && timeout(patience, self.gone()).await.is_ok();
        if !by_itself {
            self.group.signal(Signal::TERM);
            self.gone().await;
        }
    }

    /// Waits for the end of all of the group: when the shell has ended, what it waited for may still be busy with its last
    /// words.
    async fn gone(&mut self) {
        let _ = self.process.wait().await;
        while self.group.has_members() {
            sleep(GLANCE).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.group.signal(Signal::KILL);
            self.watch.remove(self.group);
        }
    }
}

/// By the client's clock: a machine that was suspended wakes late, and looks again.
pub(super) async fn sleep_until(clock: &Clock, at: Time) {
    while clock.now() < at {
        sleep(at.since(clock.now())).await;
    }
}
