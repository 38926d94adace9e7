//! What an application holds: one consumer of one service.

use std::{
    fmt::{self, Display},
    future::Future,
    sync::Arc,
    time::Duration,
};

use streamkeeper_core::{
    id::{ConsumerId, EntryId},
    streams::{End, Report},
    trouble::Trouble,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    announce::Announce,
    builder::Builder,
    clock::Clock,
    driver::{Progress, Request, Shared},
    errors::{AskError, ClaimError, Error, FinishError},
    lease::Lease,
    links::connect::Connect,
    outbox::Notifications,
    runner,
    service::Service,
};

/// One consumer of one service. Cheap to clone.
///
/// When the last clone is dropped, the driver gives everything back by itself within
/// [`Builder::grace`](crate::Builder::grace), if the process lives that long: call [`shutdown`](Client::shutdown) to
/// be sure of it, and to learn what became of everything.
#[derive(Clone)]
pub struct Client(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) consumer: ConsumerId,
    pub(crate) service: Service,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) shared: Arc<Shared>,
    /// The only sender: the driver stops when it is dropped.
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) progress: watch::Receiver<Progress>,
}

impl Client {
    /// Sets up a consumer of the service whose keys begin with this name.
    pub fn builder(service: impl AsRef<str>) -> Builder {
        Builder::new(service.as_ref())
    }

    pub(crate) fn new(parts: Parts) -> Client {
        Client(Arc::new(parts))
    }

    /// The consumer's id, as it stands in Redis: `redis-consumer-` and its name.
    pub fn id(&self) -> &ConsumerId {
        &self.0.consumer
    }

    /// The clock by which leases are valid.
    pub fn clock(&self) -> &Clock {
        &self.0.shared.clock
    }

    /// What happens, in order. The queue is one per client: see [`Notifications`].
    ///
    /// An application that does not read is given nothing new, and loses nothing that it has.
    pub fn notifications(&self) -> Notifications {
        Notifications(self.0.shared.outbox.clone())
    }

    /// Runs `handler` for every stream that is owned, each as a task of its own, until the client stops.
    ///
    /// `Ok` finishes the stream for ever; `Err` and a panic give it back with that error, to be handed out again
    /// after a pause. When the lease is lost, the handler's future is dropped at its next await: it is not polled
    /// again once the lease has ended by the client's clock. In manual mode, everything that has expired is claimed.
    ///
    /// Reads the [`notifications`](Client::notifications): read them here or there. Dropping the future stops
    /// nothing; the handlers go on, but no new ones are begun.
    ///
    /// # Errors
    /// The consumer has ended, and not by wish.
    ///
    /// ```no_run
    /// # async fn example(client: streamkeeper::Client) -> Result<(), streamkeeper::Error> {
    /// let report = client
    ///     .run(|lease| async move {
    ///         println!("{} is ours, token {}", lease.stream(), lease.token());
    ///         // … read the stream, write with the token, until it is finished
    ///         Ok::<(), std::io::Error>(())
    ///     })
    ///     .await?;
    /// println!("given back at the end: {}", report.released);
    /// # Ok(()) }
    /// ```
    pub async fn run<H, F, E>(&self, handler: H) -> Result<Report, Error>
    where
        H: Fn(Lease) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + 'static,
    {
        runner::run(self, &*self.0.connect, handler).await
    }

    /// Owns a stream that has lost its owner: the answer to
    /// [`Notification::Expired`](crate::Notification::Expired) in manual mode. The notifications say
    /// [`Added`](crate::Notification::Added) or [`ClaimLost`](crate::Notification::ClaimLost) as well: handle it at
    /// one of the two places.
    ///
    /// While Redis is down, or may have forgotten leases, a claim waits until it can be judged.
    ///
    /// Cancel safe: a claim whose future is dropped goes on, and the notifications tell how it ended.
    ///
    /// # Errors
    /// It was not granted: another consumer was faster, mostly.
    pub async fn claim(&self, entry: EntryId) -> Result<Lease, ClaimError> {
        let (answer, mut answered) = oneshot::channel();
        let stopped = ClaimError::Stopped { entry };
        if self.0.requests.send(Request::Claim(entry, answer)).await.is_err() {
            return Err(stopped);
        }
        tokio::select! {
            biased;
            answer = &mut answered => answer.unwrap_or(Err(stopped)),
            // What is sent in the instant in which the driver ends lies in the channel for as long as it has senders.
            () = self.0.requests.closed() => answered.try_recv().unwrap_or(Err(stopped)),
        }
    }

    /// Finishes the stream of this name for ever: [`Lease::done`] by name.
    ///
    /// # Errors
    /// As [`Lease::done`], and [`FinishError::NotOwned`].
    pub async fn done_stream(&self, name: impl AsRef<str>) -> Result<(), FinishError> {
        let name = name.as_ref();
        match self.0.shared.leases.named(name) {
            Some(lease) => lease.done().await,
            None => Err(FinishError::NotOwned { stream: name.to_owned() }),
        }
    }

    /// Everything that is owned at this instant, in the order of the announcements.
    pub fn streams_owned(&self) -> Vec<Lease> {
        let mut leases = self.0.shared.leases.all();
        leases.retain(Lease::is_valid);
        leases
    }

    /// The lease of the stream of this name, if it is owned.
    pub fn lease(&self, name: impl AsRef<str>) -> Option<Lease> {
        self.0.shared.leases.named(name.as_ref()).filter(Lease::is_valid)
    }

    /// Takes nothing more, gives everything back unfinished, and stops. The other consumers own it within
    /// milliseconds. What Redis has not confirmed within `deadline` ends by itself within a ttl.
    ///
    /// Cancel safe: the shutdown goes on without its future. Called again, it waits for the same report; the shorter
    /// deadline counts.
    pub async fn shutdown(&self, deadline: Duration) -> Report {
        self.stop(End::Release, deadline).await
    }

    /// Takes nothing more, *finishes* everything that is owned for ever, and stops: what the Go library calls `Done`.
    /// To hand the streams over instead, use [`shutdown`](Client::shutdown).
    ///
    /// Cancel safe, as `shutdown`. Of the two, the one that was called first says how it ends.
    pub async fn done_all(&self, deadline: Duration) -> Report {
        self.stop(End::Done, deadline).await
    }

    async fn stop(&self, end: End, deadline: Duration) -> Report {
        // If the driver has stopped already, it has left its report.
        let _ = self.0.requests.send(Request::Stop(end, deadline)).await;
        self.ended().await.unwrap_or_default()
    }

    /// Waits until the client has stopped, by whatever cause. Cancel safe.
    ///
    /// # Errors
    /// It has ended, and not by wish.
    pub async fn ended(&self) -> Result<Report, Error> {
        let mut progress = self.0.progress.clone();
        let over = |progress: &Progress| matches!(progress, Progress::Stopped(_) | Progress::Terminated(_));
        let last = progress.wait_for(over).await.map(|progress| progress.clone());
        match last {
            Ok(Progress::Stopped(report)) => Ok(report),
            Ok(Progress::Terminated(trouble)) => Err(Error::fatal(self.service_name(), trouble)),
            _ => Err(Error::fatal(self.service_name(), Trouble::other("the driver has ended"))),
        }
    }

    /// Announces a stream. [`Service::announce`], on a connection of its own.
    ///
    /// # Errors
    /// See [`AskError`]. If the future is dropped, it may have been announced or not.
    pub async fn announce(&self, announcement: impl Into<Announce>) -> Result<EntryId, AskError> {
        self.0.service.announce(announcement).await
    }

    /// Announces many streams, pipelined; each has its own result. [`Service::announce_many`].
    pub async fn announce_many<A: Into<Announce>>(
        &self,
        announcements: impl IntoIterator<Item = A>,
    ) -> Vec<Result<EntryId, AskError>> {
        self.0.service.announce_many(announcements).await
    }

    /// The service from outside: what is set aside, its status.
    pub fn service(&self) -> &Service {
        &self.0.service
    }

    pub(crate) fn service_name(&self) -> &str {
        self.0.service.name()
    }

    pub(crate) fn unreachable(&self, within: Duration, trouble: Trouble) -> Error {
        let (service, server) = (self.service_name().to_owned(), self.0.connect.describe());
        Error::Unreachable { service, server, within, trouble }
    }

    /// Waits until the server is prepared, or it is clear that it will not be.
    pub(crate) async fn started(&self, within: Duration) -> Result<(), Error> {
        let mut progress = self.0.progress.clone();
        let known = |progress: &Progress| !matches!(progress, Progress::Starting(_));
        let first = progress.wait_for(known).await.map(|progress| progress.clone());
        match first {
            // Not to be tried again, as the settings say.
            Ok(Progress::Terminated(trouble)) if !trouble.kind.is_fatal_at_start() => {
                Err(self.unreachable(within, trouble))
            }
            Ok(Progress::Terminated(trouble)) => Err(Error::fatal(self.service_name(), trouble)),
            Ok(Progress::Stopped(_)) | Err(_) => Err(Error::Stopped { service: self.service_name().to_owned() }),
            Ok(_) => Ok(()),
        }
    }

    pub(crate) fn latest_trouble(&self) -> Option<Trouble> {
        match &*self.0.progress.borrow() {
            Progress::Starting(trouble) => trouble.clone(),
            _ => None,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("service", &self.service_name())
            .field("consumer", self.id())
            .field("owned", &self.0.shared.leases.len())
            .finish()
    }
}
