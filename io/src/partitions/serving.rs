//! The partitions that a client serves: a driver for each, all in one task; more of them when their number is raised.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use streamkeeper_core::{config::Config, id::StreamName, partitions::Counts};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};
use tokio_util::sync::CancellationToken;

use super::places::Places;
use crate::{
    clock::Clock,
    driver::{Progress, Request, Shared},
    errors::{AskError, Error},
    lease::Lease,
    outbox::Outbox,
    start::Maker,
};

/// A partition that a client serves: what the client holds of it.
pub(crate) struct Part {
    pub(crate) shared: Arc<Shared>,
    /// The only senders: the driver stops when they are dropped.
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) progress: watch::Receiver<Progress>,
}

impl Part {
    /// The client begins without it: what is wrong with it ends nobody.
    pub(crate) fn begin_without(&self) {
        let told = self.requests.try_send(Request::Begun);
        debug_assert!(!matches!(told, Err(TrySendError::Full(_))), "nobody has asked anything yet");
    }
}

/// All of them, by their number.
#[derive(Default)]
pub(crate) struct Parts(Mutex<Vec<Arc<Part>>>);

impl Parts {
    pub(crate) fn add(&self, part: Part) {
        self.lock().push(Arc::new(part));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Part>> {
        self.lock().clone()
    }

    pub(crate) fn get(&self, number: u32) -> Option<Arc<Part>> {
        self.lock().get(number as usize).cloned()
    }

    /// The lease of a stream, wherever it lives.
    pub(crate) fn named(&self, stream: &str) -> Option<Lease> {
        let name = StreamName::new(stream).ok()?;
        self.all().iter().find_map(|part| part.shared.leases.named(name.as_str()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Part>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What runs the drivers of one client.
pub(crate) struct Serving {
    /// The drivers that run.
    running: FuturesUnordered<BoxFuture<'static, Progress>>,
    /// What makes more of them, if the service has partitions.
    growing: Option<Growing>,
    /// The client's: told when one partition cannot go on.
    cancel: CancellationToken,
    /// Dropped last: nobody says anything any more.
    _last_word: LastWord,
}

/// What finds that the number of partitions was raised, and what makes the drivers.
pub(crate) struct Growing {
    pub(crate) maker: Maker,
    pub(crate) places: Arc<Places>,
    /// What the client holds: nothing is begun for one that is gone.
    pub(crate) parts: Weak<Parts>,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
}

struct LastWord(Arc<Outbox>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Serving {
    pub(crate) fn new(cancel: CancellationToken, outbox: Arc<Outbox>, growing: Option<Growing>) -> Serving {
        Serving { running: FuturesUnordered::new(), growing, cancel, _last_word: LastWord(outbox) }
    }

    pub(crate) fn add(&mut self, driver: BoxFuture<'static, Progress>) {
        self.running.push(driver);
    }

    /// Runs until all drivers have ended.
    pub(crate) async fn run(mut self) {
        let mut watching = self.growing.as_ref().map(Growing::look);
        loop {
            tokio::select! {
                biased;
                ended = self.running.next() => match ended {
                    None => return,
                    // What does not pass in one ends all: streams that nobody serves would go unnoticed.
                    Some(Progress::Terminated(_)) => self.cancel.cancel(),
                    Some(_) => {}
                },
                counts = looked(&mut watching) => {
                    self.grow(counts);
                    watching = self.growing.as_ref().map(Growing::look);
                }
            }
        }
    }

    /// Begins to serve the partitions that are new.
    fn grow(&mut self, counts: Result<Counts, AskError>) {
        let Some(growing) = &self.growing else { return };
        let counts = match counts {
            Ok(counts) => counts,
            Err(error) => return tracing::debug!(%error, "the number of partitions could not be read: again soon"),
        };
        let Some(parts) = growing.parts.upgrade() else { return };
        let (from, to) = (parts.all().len(), counts.last());
        if self.cancel.is_cancelled() || from as u64 >= u64::from(to) {
            return;
        }
        tracing::info!(from, to, "the service has more partitions");
        for number in u32::try_from(from).unwrap_or(u32::MAX)..to {
            match growing.maker.make(number) {
                Ok((part, driver)) => {
                    part.begin_without();
                    parts.add(part);
                    self.running.push(driver);
                }
                Err(error) => return tracing::warn!(number, %error, "a new partition cannot be served: again soon"),
            }
        }
    }
}

impl Growing {
    /// Waits for a heartbeat, and looks how many partitions there are then.
    fn look(&self) -> BoxFuture<'static, Result<Counts, AskError>> {
        let (clock, places, pace) = (self.clock.clone(), self.places.clone(), self.config.heartbeat);
        Box::pin(async move {
            clock.sleep_until(clock.now() + pace).await;
            places.refresh().await
        })
    }
}

async fn looked(watching: &mut Option<BoxFuture<'static, Result<Counts, AskError>>>) -> Result<Counts, AskError> {
    match watching {
        Some(watching) => watching.await,
        None => std::future::pending().await,
    }
}

/// How many partitions a client is to begin with; tried until it is known, or clear that it will not be.
///
/// # Errors
/// What cannot pass.
pub(crate) async fn first_counts(places: &Places, clock: &Clock, config: &Config) -> Result<Counts, Error> {
    let mut pause = config.retry_backoff;
    loop {
        match places.counts().await {
            Ok(counts) => return Ok(counts),
            Err(AskError::Partitions(error)) => return Err(error.into()),
            Err(AskError::Unreachable(trouble) | AskError::Unanswered(trouble) | AskError::Refused(trouble))
                if trouble.kind.is_fatal_at_start() =>
            {
                return Err(Error::fatal(places.service(), trouble));
            }
            Err(error) => {
                tracing::debug!(%error, "the number of partitions could not be read");
                clock.sleep_until(clock.now() + pause).await;
                pause = pause.saturating_mul(2).min(config.retry_backoff_limit);
            }
        }
    }
}
