//! Owning streams until stopped.

use std::{io, process, time::Duration};

use futures::StreamExt;
use streamkeeper::{Client, Lease, Notification};

use crate::{
    Failure,
    args::{Claim, Work},
    at_start,
    output::Printer,
    signals::Signals,
};

pub(crate) async fn run(work: Work) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let client = tokio::select! {
        biased;
        () = signals.next() => return Ok(()),
        started = work.builder().start() => started.map_err(at_start)?,
    };
    let printer = Printer { consumer: client.id().to_string(), json: work.json };
    if work.never_read {
        signals.next().await;
        let stopping = client.shutdown(work.shutdown_within);
        let report = signals.or_exit(stopping).await;
        return Ok(printer.print(&Notification::Stopped(report))?);
    }
    let mut notifications = client.notifications();
    let (mut stopping, mut unwritable) = (false, None);
    loop {
        let notification = tokio::select! {
            biased;
            () = signals.next() => {
                if stopping {
                    process::exit(1);
                }
                stopping = true;
                stop(client.clone(), work.shutdown_within);
                continue;
            }
            notification = notifications.next() => notification,
        };
        let Some(notification) = notification else {
            return Err(Failure::Failed("the consumer has ended without a word".to_owned()));
        };
        if let Err(error) = printer.print(&notification)
            && !stopping
        {
            // Give everything back. That nobody reads any more is an end like another; that nothing can be written is not.
            if error.kind() != io::ErrorKind::BrokenPipe {
                unwritable = Some(error);
            }
            stopping = true;
            stop(client.clone(), work.shutdown_within);
        }
        match notification {
            Notification::Ready => {
                if let Some(span) = work.block_runtime {
                    std::thread::sleep(span);
                }
            }
            Notification::Added(lease) => look_after(lease, work.finish_after, work.fail_after),
            Notification::Expired { entry, .. } if work.claim == Claim::Manual => {
                let client = client.clone();
                tokio::spawn(async move { client.claim(entry).await });
            }
            Notification::Terminated(trouble) => return Err(Failure::Failed(trouble.to_string())),
            Notification::Stopped(_) => {
                return match unwritable {
                    None => Ok(()),
                    Some(error) => Err(Failure::Failed(format!("standard output cannot be written: {error}"))),
                };
            }
            _ => {}
        }
    }
}

/// The report comes with the notifications.
fn stop(client: Client, within: Duration) {
    tokio::spawn(async move { client.shutdown(within).await });
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
