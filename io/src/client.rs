//! What an application holds: one consumer of one service.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use streamkeeper_core::{
    id::{ConsumerId, EntryId},
    streams::{ClaimLost, End, Report},
    trouble::Trouble,
};
use tokio::sync::{oneshot, watch};

use crate::{
    announce::Announce,
    builder::Builder,
    clock::Clock,
    driver::{Progress, Request},
    entries::{Processing, Processor},
    errors::{AskError, ClaimError, Error, FinishError},
    lease::Lease,
    links::connect::Connect,
    outbox::{Notifications, Outbox},
    partitions::{
        muster::sum,
        serving::{Part, Parts},
    },
    runner,
    service::Service,
};

/// One consumer of one service. Cheap to clone.
///
/// When the last clone is dropped, the driver gives everything back by itself within
/// [`Builder::grace`](crate::Builder::grace), if the process lives that long: call [`shutdown`](Client::shutdown) to
/// be sure of it, and to learn what became of everything.
#[derive(Clone)]
pub struct Client(Arc<Whole>);

pub(crate) struct Whole {
    pub(crate) consumer: ConsumerId,
    pub(crate) service: Service,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) clock: Clock,
    pub(crate) outbox: Arc<Outbox>,
    /// The partitions that are served; one in a service without any.
    pub(crate) parts: Arc<Parts>,
}

impl Client {
    /// Sets up a consumer of the service whose keys begin with this name.
    pub fn builder(service: impl AsRef<str>) -> Builder {
        Builder::new(service.as_ref())
    }

    pub(crate) fn new(whole: Whole) -> Client {
        Client(Arc::new(whole))
    }

    /// The consumer's id, as it stands in Redis: `redis-consumer-` and its name.
    pub fn id(&self) -> &ConsumerId {
        &self.0.consumer
    }

    /// The clock by which leases are valid.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// What happens, in order. The queue is one per client: see [`Notifications`].
    ///
    /// An application that does not read is given nothing new, and loses nothing that it has.
    pub fn notifications(&self) -> Notifications {
        Notifications(self.0.outbox.clone())
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
        runner::run(self, handler).await
    }

    /// Has the entries of every stream that is owned processed, each stream as a task of its own: batch by batch, in
    /// order, with retries, commits and a state of its own. [`Processing`] has the settings and runs it.
    ///
    /// ```no_run
    /// # async fn example(client: streamkeeper::Client, ledger: impl streamkeeper::entries::Processor<Entry = String>)
    /// # -> Result<(), streamkeeper::Error> {
    /// use std::time::Duration;
    /// use streamkeeper::entries::Idle;
    ///
    /// client
    ///     .process(ledger)
    ///     .streams_at_once(100)
    ///     .tries(3)
    ///     .idle(Idle::Release { after: Duration::from_secs(60), pause: Duration::from_secs(60) })
    ///     .run()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn process<P: Processor>(&self, processor: P) -> Processing<P> {
        Processing::new(self.clone(), processor)
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
        self.claim_in(0, entry).await
    }

    /// The same in a service with partitions, where two announcements may have the same id: `partition` is that of
    /// [`Notification::Expired`](crate::Notification::Expired).
    ///
    /// # Errors
    /// As [`claim`](Client::claim). A partition that is not there has nothing to claim.
    pub async fn claim_in(&self, partition: u32, entry: EntryId) -> Result<Lease, ClaimError> {
        let Some(part) = self.0.parts.get(partition) else {
            return Err(ClaimError::Lost { entry, why: ClaimLost::Gone });
        };
        let (answer, mut answered) = oneshot::channel();
        let stopped = ClaimError::Stopped { entry };
        if part.requests.send(Request::Claim(entry, answer)).await.is_err() {
            return Err(stopped);
        }
        tokio::select! {
            biased;
            answer = &mut answered => answer.unwrap_or(Err(stopped)),
            // What is sent in the instant in which the driver ends lies in the channel for as long as it has senders.
            () = part.requests.closed() => answered.try_recv().unwrap_or(Err(stopped)),
        }
    }

    /// Finishes the stream of this name for ever: [`Lease::done`] by name.
    ///
    /// # Errors
    /// As [`Lease::done`], and [`FinishError::NotOwned`].
    pub async fn done_stream(&self, name: impl AsRef<str>) -> Result<(), FinishError> {
        let name = name.as_ref();
        match self.0.parts.named(name) {
            Some(lease) => lease.done().await,
            None => Err(FinishError::NotOwned { stream: name.to_owned() }),
        }
    }

    /// How many partitions are served; `None` in a service without any.
    pub fn partitions(&self) -> Option<u32> {
        let many = self.0.service.places().are_many();
        many.then(|| u32::try_from(self.0.parts.all().len()).unwrap_or(u32::MAX))
    }

    /// Everything that is owned at this instant, in the order of the announcements, partition by partition.
    pub fn streams_owned(&self) -> Vec<Lease> {
        let mut leases: Vec<Lease> = self.0.parts.all().iter().flat_map(|part| part.shared.leases.all()).collect();
        leases.retain(Lease::is_valid);
        leases
    }

    /// The lease of the stream of this name, if it is owned.
    pub fn lease(&self, name: impl AsRef<str>) -> Option<Lease> {
        self.0.parts.named(name.as_ref()).filter(Lease::is_valid)
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
        for part in self.0.parts.all() {
            // If the driver has stopped already, it has left its report.
            let _ = part.requests.send(Request::Stop(end, deadline)).await;
        }
        self.ended().await.unwrap_or_default()
    }

    /// Waits until the client has stopped, by whatever cause. Cancel safe.
    ///
    /// # Errors
    /// It has ended, and not by wish.
    pub async fn ended(&self) -> Result<Report, Error> {
        let over = |progress: &Progress| matches!(progress, Progress::Stopped(_) | Progress::Terminated(_));
        let (mut report, mut failed, mut heard) = (Report::default(), None, 0);
        // While it waits, there may come more partitions.
        while let Some(part) = u32::try_from(heard).ok().and_then(|number| self.0.parts.get(number)) {
            heard += 1;
            let mut progress = part.progress.clone();
            let last = progress.wait_for(over).await.map(|progress| progress.clone());
            match last {
                Ok(Progress::Stopped(one)) => report = sum(report, one),
                Ok(Progress::Terminated(trouble)) => {
                    failed.get_or_insert(trouble);
                }
                _ => {
                    failed.get_or_insert(Trouble::other("the driver has ended"));
                }
            }
        }
        match failed {
            None => Ok(report),
            Some(trouble) => Err(Error::fatal(self.service_name(), trouble)),
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

    pub(crate) fn connect(&self) -> &dyn Connect {
        &*self.0.connect
    }

    pub(crate) fn service_name(&self) -> &str {
        self.0.service.name()
    }

    pub(crate) fn unreachable(&self, within: Duration, trouble: Trouble) -> Error {
        let (service, server) = (self.service_name().to_owned(), self.0.connect.describe());
        Error::Unreachable { service, server, within, trouble }
    }

    /// Waits until the server is prepared, in all partitions, or it is clear that it will not be; for what is `left` of the
    /// time `within` which it must be, and once it is in some partitions, for no longer than `patience` for another one.
    /// Answers those that it is begun without.
    pub(crate) async fn started(
        &self,
        within: Duration,
        left: Duration,
        patience: Duration,
    ) -> Result<BTreeSet<u32>, Error> {
        let (clock, parts) = (&self.0.clock, self.0.parts.all());
        let until = clock.now() + left;
        let mut missing: BTreeSet<u32> = (0..).take(parts.len()).collect();
        let mut all: FuturesUnordered<_> = (0..)
            .zip(&parts)
            .map(|(number, part)| async move { (number, begun(part.progress.clone()).await) })
            .collect();
        let mut wait = left;
        while let Ok(Some((number, first))) = tokio::time::timeout(wait, all.next()).await {
            match first {
                Some(Progress::Terminated(_) | Progress::Stopped(_)) | None => return Err(self.why_not_started(within)),
                Some(_) => {
                    missing.remove(&number);
                    wait = until.since(clock.now()).min(patience);
                }
            }
        }
        let ends = |part: &Part| matches!(&*part.progress.borrow(), Progress::Terminated(_) | Progress::Stopped(_));
        if parts.iter().any(|part| ends(part)) {
            // One that had started, while the others were waited for.
            return Err(self.why_not_started(within));
        }
        let trouble = || self.latest_trouble().unwrap_or_else(|| Trouble::connection("no answer"));
        if missing.len() == parts.len() {
            return Err(self.unreachable(within, trouble()));
        }
        if !missing.is_empty() {
            let (service, trouble) = (self.service_name(), trouble());
            tracing::warn!(service, partitions = ?missing, %trouble, "started without these partitions: they are tried on");
            (0..).zip(&parts).filter(|(number, _)| missing.contains(number)).for_each(|(_, part)| part.begin_without());
        }
        Ok(missing)
    }

    /// Why it has ended before it had started: one partition that ends stops all.
    fn why_not_started(&self, within: Duration) -> Error {
        let trouble = self.0.parts.all().iter().find_map(|part| match &*part.progress.borrow() {
            Progress::Terminated(trouble) => Some(trouble.clone()),
            _ => None,
        });
        match trouble {
            Some(trouble) if trouble.kind.is_fatal_at_start() => Error::fatal(self.service_name(), trouble),
            // Not to be tried again, as the settings say.
            Some(trouble) => self.unreachable(within, trouble),
            None => Error::Stopped { service: self.service_name().to_owned() },
        }
    }

    fn latest_trouble(&self) -> Option<Trouble> {
        self.0.parts.all().iter().find_map(|part| match &*part.progress.borrow() {
            Progress::Starting(trouble) => trouble.clone(),
            _ => None,
        })
    }
}

/// The first that is known of how a driver begins; `None` if it has ended before.
async fn begun(mut progress: watch::Receiver<Progress>) -> Option<Progress> {
    let known = |progress: &Progress| !matches!(progress, Progress::Starting(_));
    progress.wait_for(known).await.ok().map(|progress| progress.clone())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("service", &self.service_name())
            .field("consumer", self.id())
            .field("owned", &self.0.parts.all().iter().map(|part| part.shared.leases.len()).sum::<usize>())
            .finish()
    }
}
