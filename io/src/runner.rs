//! A task for every stream: the application writes what to do with one, the runner does the rest.

use std::{
    any::Any,
    fmt::Display,
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, StreamExt};
use streamkeeper_core::{streams::Report, trouble::Trouble};
use tracing::Instrument;

use crate::{client::Client, errors::Error, lease::Lease, links::connect::Connect, notification::Notification};

pub(crate) async fn run<H, F, E>(client: &Client, connect: &dyn Connect, handler: H) -> Result<Report, Error>
where
    H: Fn(Lease) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + 'static,
{
    let handler = Arc::new(handler);
    let mut notifications = client.notifications();
    while let Some(notification) = notifications.next().await {
        match notification {
            Notification::Added(lease) => {
                let span = tracing::info_span!("stream", stream = %lease.stream(), token = %lease.token());
                connect.spawn(Box::pin(handle(lease, handler.clone()).instrument(span)));
            }
            Notification::Expired { entry, .. } => {
                let client = client.clone();
                connect.spawn(Box::pin(async move { drop(client.claim(entry).await) }));
            }
            Notification::Stopped(report) => return Ok(report),
            Notification::Terminated(trouble) => return Err(Error::fatal(client.service_name(), trouble)),
            _ => {}
        }
    }
    Err(Error::fatal(client.service_name(), Trouble::other("the driver has ended")))
}

/// What became of one handler.
enum Outcome {
    Done,
    Failed(String),
    Lost,
}

async fn handle<H, F, E>(lease: Lease, handler: Arc<H>)
where
    H: Fn(Lease) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let finished = match work(&lease, &*handler).await {
        Outcome::Done => lease.done().await,
        Outcome::Failed(error) => {
            tracing::warn!(%error, "the handler failed: the stream is given back");
            lease.release_failed(&error).await
        }
        Outcome::Lost => return tracing::debug!("the handler was stopped: its lease has ended"),
    };
    if let Err(error) = finished {
        tracing::warn!(%error, "not ended as wished");
    }
}

/// Polls the handler for as long as its lease is valid: a look at the clock before each poll, so that a process that
/// stood still does not go on as if it owned the stream.
async fn work<H, F, E>(lease: &Lease, handler: &H) -> Outcome
where
    H: Fn(Lease) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let running = AssertUnwindSafe(async { handler(lease.clone()).await }).catch_unwind();
    let (mut running, mut lost) = (pin!(running), pin!(lease.lost().fuse()));
    std::future::poll_fn(|context: &mut Context<'_>| {
        // Registers for the wake-up; the clock decides.
        let _ = lost.as_mut().poll(context);
        if lease.must_stop() {
            return Poll::Ready(Outcome::Lost);
        }
        running.as_mut().poll(context).map(|result| match result {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(panic) => Outcome::Failed(format!("panicked: {}", words(&*panic))),
        })
    })
    .await
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
