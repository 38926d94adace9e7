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

use crate::{client::Client, errors::Error, lease::Lease, notification::Notification};

pub(crate) async fn run<H, F, E>(client: &Client, handler: H) -> Result<Report, Error>
where
    H: Fn(Lease) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + 'static,
{
    let handler = Arc::new(handler);
    each_lease(client, move |lease| handle(lease, handler.clone())).await
}

/// Begins `work` for every stream that is owned, as a task of its own, until the client stops. In manual mode, everything
/// that has expired is claimed.
pub(crate) async fn each_lease<W, F>(client: &Client, work: W) -> Result<Report, Error>
where
    W: Fn(Lease) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let connect = client.connect();
    let mut notifications = client.notifications();
    while let Some(notification) = notifications.next().await {
        match notification {
            Notification::Added(lease) => {
                let span = tracing::info_span!("stream", stream = %lease.stream(), token = %lease.token());
                connect.spawn(Box::pin(work(lease).instrument(span)));
            }
            Notification::Expired { entry, partition, .. } => {
                let client = client.clone();
                connect.spawn(Box::pin(async move { drop(client.claim_in(partition, entry).await) }));
            }
            Notification::Stopped(report) => return Ok(report),
            Notification::Terminated(trouble) => return Err(Error::fatal(client.service_name(), trouble)),
            _ => {}
        }
    }
    Err(Error::fatal(client.service_name(), Trouble::other("the driver has ended")))
}

async fn handle<H, F, E>(lease: Lease, handler: Arc<H>)
where
    H: Fn(Lease) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let given = lease.clone();
    let finished = match while_owned(&lease, async move { handler(given).await.map_err(|e| e.to_string()) }).await {
        Ended::Done(Ok(())) => lease.done().await,
        Ended::Done(Err(error)) | Ended::Panicked(error) => {
            tracing::warn!(%error, "the handler failed: the stream is given back");
            lease.release_failed(&error).await
        }
        Ended::Lost => return tracing::debug!("the handler was stopped: its lease has ended"),
    };
    if let Err(error) = finished {
        tracing::warn!(%error, "not ended as wished");
    }
}

/// How a future of the application's ended.
pub(crate) enum Ended<T> {
    Done(T),
    /// What the panic said.
    Panicked(String),
    /// Its lease has ended, and it was not polled again.
    Lost,
}

/// Polls a future for as long as the lease is valid: a look at the clock before each poll, so that a process that stood
/// still does not go on as if it owned the stream.
pub(crate) async fn while_owned<F: Future>(lease: &Lease, work: F) -> Ended<F::Output> {
    let running = AssertUnwindSafe(work).catch_unwind();
    let (mut running, mut lost) = (pin!(running), pin!(lease.lost().fuse()));
    std::future::poll_fn(|context: &mut Context<'_>| {
        // Registers for the wake-up; the clock decides.
        let _ = lost.as_mut().poll(context);
        if lease.must_stop() {
            return Poll::Ready(Ended::Lost);
        }
        running.as_mut().poll(context).map(|result| match result {
            Ok(value) => Ended::Done(value),
            Err(panic) => Ended::Panicked(format!("panicked: {}", words(&*panic))),
        })
    })
    .await
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
