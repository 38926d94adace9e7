//! Owning streams until stopped.

use std::{future, io, process, time::Duration};

use futures::StreamExt;
use streamkeeper::{Client, Lease, Notification};

use crate::{
    Failure,
    args::{Claim, Work},
    at_start,
    output::Printer,
    processes::{Event, Events, Processes},
    signals::Signals,
};

pub(crate) async fn run(work: Work) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let client = tokio::select! {
        biased;
        () = signals.next() => return Ok(()),
        started = work.builder().start() => started.map_err(at_start)?,
    };
    let printer =
        Printer { consumer: client.id().to_string(), json: work.json, partitions: client.partitions().is_some() };
    if work.never_read {
        signals.next().await;
        let stopping = client.shutdown(work.shutdown_within);
        let report = signals.or_exit(stopping).await;
        return Ok(printer.print(&Notification::Stopped(report))?);
    }
    let (processes, mut events) = match &work.exec {
        Some(command) => {
            let started = Processes::start(&work, command, &client);
            let started = started.map_err(|e| Failure::Failed(format!("the guard process cannot be started: {e}")))?;
            (Some(started.0), Some(started.1))
        }
        None => (None, None),
    };
    let mut notifications = client.notifications();
    let mut end = End { client: client.clone(), within: work.shutdown_within, why: None };
    loop {
        let notification = tokio::select! {
            biased;
            () = signals.next() => {
                if end.why.is_some() {
                    processes.iter().for_each(|processes| processes.kill());
                    process::exit(1);
                }
                end.begin(Why::Asked);
                continue;
            }
            event = next(&mut events) => {
                if let Event::GuardGone(why) = &event {
                    // Nobody would kill the processes if this program stood still.
                    processes.iter().for_each(|processes| processes.kill());
                    events = None;
                    end.begin(Why::Failed(why.clone()));
                }
                end.printed(printer.print_process(&event));
                continue;
            }
            notification = notifications.next() => notification,
        };
        let Some(notification) = notification else {
            return Err(Failure::Failed("the consumer has ended without a word".to_owned()));
        };
        if let (Notification::Stopped(_) | Notification::Terminated(_), Some(processes)) = (&notification, &processes) {
            // The last word comes last.
            let ended = async {
                processes.ended().await;
                while let Some(event) = events.as_mut().and_then(Events::now) {
                    end.printed(printer.print_process(&event));
                }
            };
            signals.or_exit(ended).await;
        }
        end.printed(printer.print(&notification));
        match notification {
            Notification::Ready => {
                if let Some(span) = work.block_runtime {
                    std::thread::sleep(span);
                }
            }
            Notification::Added(lease) => match &processes {
                Some(processes) => processes.own(lease),
                None => look_after(lease, work.finish_after, work.fail_after),
            },
            Notification::Expired { entry, partition, .. } if work.claim == Claim::Manual => {
                let client = client.clone();
                tokio::spawn(async move { client.claim_in(partition, entry).await });
            }
            Notification::Terminated(trouble) => return Err(Failure::Failed(trouble.to_string())),
            Notification::Stopped(_) => return end.result(),
            _ => {}
        }
    }
}

/// What is told of processes; never anything if there are none.
async fn next(events: &mut Option<Events>) -> Event {
    match events {
        Some(events) => events.next().await,
        None => future::pending().await,
    }
}

/// The end of this program.
struct End {
    client: Client,
    within: Duration,
    /// Why, once it has begun.
    why: Option<Why>,
}

/// Why it ends.
enum Why {
    /// Somebody wanted it.
    Asked,
    /// Nothing can be written on standard output.
    Unwritable(io::Error),
    /// It cannot go on.
    Failed(String),
}

impl End {
    /// Gives everything back. The report comes with the notifications.
    fn begin(&mut self, why: Why) {
        if self.why.is_some() {
            return;
        }
        self.why = Some(why);
        let (client, within) = (self.client.clone(), self.within);
        tokio::spawn(async move { client.shutdown(within).await });
    }

    /// Something was printed, or could not be.
    fn printed(&mut self, printed: io::Result<()>) {
        if let Err(error) = printed {
            self.begin(Why::Unwritable(error));
        }
    }

    fn result(self) -> Result<(), Failure> {
        match self.why {
            None | Some(Why::Asked) => Ok(()),
            // That nobody reads any more is an end like another; that nothing can be written is not.
            Some(Why::Unwritable(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Some(Why::Unwritable(error)) => Err(Failure::Failed(format!("standard output cannot be written: {error}"))),
            Some(Why::Failed(why)) => Err(Failure::Failed(why)),
        }
    }
}

/// Stands for the work on a stream.
fn look_after(lease: Lease, finish_after: Option<Duration>, fail_after: Option<Duration>) {
    if let Some(span) = fail_after {
        tokio::spawn(async move {
            tokio::time::sleep(span).await;
            if lease.is_valid() {
                let _ = lease.release_failed("failed as it was asked to (--fail-after)").await;
            }
        });
    } else if let Some(span) = finish_after {
        tokio::spawn(async move {
            tokio::time::sleep(span).await;
            if lease.is_valid() {
                let _ = lease.done().await;
            }
        });
    }
}
