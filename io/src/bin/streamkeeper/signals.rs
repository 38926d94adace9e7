//! SIGTERM and Ctrl-C: the wish to stop, and the impatience of whoever says it twice.

use std::{
    process,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Failure;

/// A wish that comes again so soon is the same one: `timeout` and terminals signal a process and then its whole group.
const ECHO: Duration = Duration::from_millis(100);

/// SIGTERM and Ctrl-C.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    last: Option<Instant>,
}

impl Signals {
    /// From now on they do not end the process by themselves.
    pub(crate) fn listen() -> Result<Signals, Failure> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            last: None,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn next(&mut self) {
        loop {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            let now = Instant::now();
            let echo = self.last.replace(now).is_some_and(|last| now - last < ECHO);
            if !echo {
                return;
            }
        }
    }

    /// Waits for this, unless a further signal comes.
    pub(crate) async fn or_exit<T>(&mut self, last: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            () = self.next() => process::exit(1),
            last = last => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Raised, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn an_echo_is_no_second_wish() {
        let Ok(mut signals) = Signals::listen() else { panic!("signals can be listened for") };
        for _ in 0..2 {
            kill_process(getpid(), Raised::TERM).unwrap();
            kill_process(getpid(), Raised::INT).unwrap();
            signals.next().await;
            let echo = tokio::time::timeout(ECHO / 4, signals.next()).await;
            assert!(echo.is_err());
            tokio::time::sleep(2 * ECHO).await;
        }
    }
}
