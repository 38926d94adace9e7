//! The work on one owned stream after the other: reads a batch, has it processed, commits it, until something ends that.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, Either, FutureExt, pending, select};
use streamkeeper_core::streams::Report;
use tokio::sync::Semaphore;
use tracing::Instrument;

use super::{
    entry::Entry,
    errors::{CommitError, EntriesError},
    idle::idle,
    lease::Committing,
    processing::{Idle, Settings},
    processor::{Next, Processor},
    reader::Entries,
    reading::Commits,
};
use crate::{
    client::Client,
    errors::Error,
    lease::Lease,
    messages::Decode,
    runner::{Ended, each_lease, while_owned},
};

pub(crate) async fn run<P, C>(
    client: &Client,
    processor: Arc<P>,
    codec: Arc<C>,
    settings: Settings,
) -> Result<Report, Error>
where
    P: Processor,
    C: Decode<P::Entry>,
{
    let places = Arc::new(Semaphore::new(settings.at_once.min(Semaphore::MAX_PERMITS)));
    let work = move |lease: Lease| {
        let (processor, codec, places) =
            (processor.clone(), codec.clone() as Arc<dyn Decode<P::Entry>>, places.clone());
        async move {
            // Given time at the end, from the beginning on.
            let drained = lease.draining().boxed();
            let Either::Right((Ok(_place), drained)) = select(drained, places.acquire_owned().boxed()).await else {
                return end(&lease, handed_over(&lease)).await;
            };
            let mut job = Job { drained, processor, settings, lease: lease.clone(), state: None };
            let outcome = job.work(codec).await;
            end(&lease, outcome).await;
            if let Some(state) = job.state.take() {
                let lost = lease.lost().await;
                job.processor.lost(&lease, state, lost).await;
            }
        }
    };
    each_lease(client, work).await
}

/// What becomes of a stream.
enum Outcome {
    Release,
    ReleaseFor(Duration),
    Failed(String),
    Done,
    /// It is over already, or its work was told to end by somebody else.
    Lost,
}

/// The client shuts down, unless the lease has ended.
fn handed_over(lease: &Lease) -> Outcome {
    if lease.is_valid() { Outcome::Release } else { Outcome::Lost }
}

async fn end(lease: &Lease, outcome: Outcome) {
    let ended = match outcome {
        Outcome::Release => lease.release().await,
        Outcome::ReleaseFor(pause) => lease.release_for(pause).await,
        Outcome::Done => lease.done().await,
        Outcome::Failed(error) => {
            tracing::warn!(%error, "the stream is given back as failed");
            lease.release_failed(&error).await
        }
        Outcome::Lost => return tracing::debug!("its lease has ended"),
    };
    if let Err(error) = ended {
        tracing::warn!(%error, "not ended as wished");
    }
}

/// One stream's work.
struct Job<P: Processor> {
    lease: Lease,
    processor: Arc<P>,
    settings: Settings,
    /// `None`: it is to be made anew.
    state: Option<P::State>,
    /// The client shuts down.
    drained: BoxFuture<'static, streamkeeper_core::time::Time>,
}

impl<P: Processor> Job<P> {
    async fn work(&mut self, codec: Arc<dyn Decode<P::Entry>>) -> Outcome {
        let mut entries = self.open(codec);
        let mut committing: Option<Committing> = None;
        loop {
            if let Err(outcome) = self.make_state().await {
                return outcome;
            }
            let batch = match self.next(&mut entries).await {
                Ok(batch) => batch,
                Err(outcome) => return self.finish(outcome).await,
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => match self.incident(error).await {
                    Some(outcome) => return outcome,
                    None => continue,
                },
            };
            let next = match self.process(&batch).await {
                Ok(Some(next)) => next,
                Ok(None) => continue,
                Err(outcome) => return outcome,
            };
            // The one before has been under way while this batch was worked on.
            if let Some(outcome) = committed(committing.take()).await {
                return outcome;
            }
            committing = self.commit(&batch);
            match next {
                Next::Batch => {}
                Next::Release => return Outcome::Release,
                Next::Done => return self.finish(Outcome::Done).await,
            }
        }
    }

    fn open(&self, codec: Arc<dyn Decode<P::Entry>>) -> Entries<P::Entry> {
        let mut reading = self.lease.read().from(self.settings.start).commits(Commits::Manual).codec(());
        reading = self.settings.batch.into_iter().fold(reading, |reading, batch| reading.batch(batch));
        reading = self.settings.prefetch.into_iter().fold(reading, |reading, prefetch| reading.prefetch(prefetch));
        Entries::open(reading, codec)
    }

    /// Makes the state, if there is none.
    async fn make_state(&mut self) -> Result<(), Outcome> {
        let mut failed = 0;
        while self.state.is_none() {
            let position = match owned(while_owned(&self.lease, self.lease.position()).await)? {
                Ok(Ok(position)) => Ok(position),
                Ok(Err(error)) => Err(error.to_string()),
                Err(panic) => Err(panic),
            };
            let made = match position {
                Ok(position) => {
                    let made = while_owned(&self.lease, self.processor.init(&self.lease, position)).await;
                    owned(made)?.and_then(|made| made.map_err(|error| error.to_string()))
                }
                Err(error) => Err(error),
            };
            match made {
                Ok(state) => self.state = Some(state),
                Err(error) => self.pause(&mut failed, error).await?,
            }
        }
        Ok(())
    }

    /// The next batch, or how the stream's work ends.
    async fn next(
        &mut self,
        entries: &mut Entries<P::Entry>,
    ) -> Result<Result<Vec<Entry<P::Entry>>, EntriesError>, Outcome> {
        let (after, outcome) = match self.settings.idle {
            Idle::Keep => (None, Outcome::Lost),
            Idle::Release { after, pause } => (Some(after), Outcome::ReleaseFor(pause)),
            Idle::Done { after } => (Some(after), Outcome::Done),
        };
        let lease = self.lease.clone();
        let idle = async move {
            match after {
                Some(after) => idle(&lease, after).await,
                None => pending().await,
            }
        };
        let batch = tokio::select! {
            biased;
            _ = &mut self.drained => return Err(handed_over(&self.lease)),
            batch = entries.next_batch() => batch,
            () = idle => match entries.next_batch().now_or_never() {
                // It came before the look that found nothing more.
                Some(batch) => batch,
                None => return Err(outcome),
            },
        };
        match batch {
            None => Err(Outcome::Lost),
            Some(Err(error)) if error.is_last() => Err(Outcome::Lost),
            Some(batch) => Ok(batch),
        }
    }

    /// Something came instead of entries: how the stream's work ends, if so.
    async fn incident(&mut self, error: EntriesError) -> Option<Outcome> {
        if matches!(error, EntriesError::RolledBack { .. }) {
            // What it was computed from comes again.
            self.state = None;
            tracing::warn!(%error, "the state is made anew");
            return None;
        }
        let state = self.state.as_mut()?;
        match while_owned(&self.lease, self.processor.incident(&self.lease, state, error)).await {
            Ended::Lost => Some(Outcome::Lost),
            Ended::Done(Ok(())) => None,
            Ended::Done(Err(error)) => Some(Outcome::Failed(error.to_string())),
            Ended::Panicked(error) => Some(Outcome::Failed(error)),
        }
    }

    /// Has a batch processed, as often as need be. `None`: Redis has forgotten commits, and its entries come again.
    async fn process(&mut self, batch: &[Entry<P::Entry>]) -> Result<Option<Next>, Outcome> {
        let mut failed = 0;
        loop {
            self.make_state().await?;
            let Some(state) = self.state.as_mut() else { continue };
            let span = tracing::debug_span!("batch", entries = batch.len(), failed);
            let processing = self.processor.process(&self.lease, state, batch).instrument(span);
            match while_owned(&self.lease, processing).await {
                Ended::Lost => return Err(Outcome::Lost),
                // Its commits are refused until that is told, which comes behind this batch.
                _ if self.lease.0.work.is_to_be_rolled_back() => return Ok(None),
                Ended::Done(Ok(next)) => return Ok(Some(next)),
                Ended::Done(Err(error)) => self.pause(&mut failed, error.to_string()).await?,
                Ended::Panicked(error) => {
                    // It may have stopped in the middle of a change.
                    self.state = None;
                    self.pause(&mut failed, error).await?;
                }
            }
        }
    }

    /// Waits before the next try, if there is one.
    async fn pause(&mut self, failed: &mut u32, error: String) -> Result<(), Outcome> {
        *failed += 1;
        if !self.lease.is_valid() {
            return Err(Outcome::Lost);
        }
        if *failed >= self.settings.tries {
            return Err(Outcome::Failed(error));
        }
        let doubled = self.settings.backoff.saturating_mul(1 << (*failed - 1).min(20));
        let pause = doubled.min(self.settings.backoff_limit);
        tracing::warn!(%error, failed, ?pause, "tried again");
        let clock = self.lease.0.clock().clone();
        let wake = clock.now() + pause;
        tokio::select! {
            biased;
            _ = &mut self.drained => Err(handed_over(&self.lease)),
            _ = self.lease.lost() => Err(Outcome::Lost),
            () = clock.sleep_until(wake) => Ok(()),
        }
    }

    /// Commits a batch, unless that has been done within it.
    fn commit(&self, batch: &[Entry<P::Entry>]) -> Option<Committing> {
        let last = batch.last()?.id;
        (self.lease.0.work.known_position() < Some(last)).then(|| self.lease.commit(last))
    }

    /// The stream is to be ended: if for ever, the processor has the last word.
    async fn finish(&mut self, outcome: Outcome) -> Outcome {
        let (Outcome::Done, Some(state)) = (&outcome, self.state.as_mut()) else { return outcome };
        match while_owned(&self.lease, self.processor.done(&self.lease, state)).await {
            Ended::Lost => Outcome::Lost,
            Ended::Done(Ok(())) => Outcome::Done,
            Ended::Done(Err(error)) => Outcome::Failed(error.to_string()),
            Ended::Panicked(error) => Outcome::Failed(error),
        }
    }
}

/// Waits for a commit: how the stream's work ends, if it does.
async fn committed(committing: Option<Committing>) -> Option<Outcome> {
    match committing?.await {
        Ok(()) | Err(CommitError::Behind { .. } | CommitError::RolledBack { .. }) => None,
        Err(CommitError::Lost { .. } | CommitError::Fenced { .. } | CommitError::Unknown { .. }) => Some(Outcome::Lost),
        Err(error) => Some(Outcome::Failed(error.to_string())),
    }
}

/// What a future answered or how it panicked, unless the lease has ended.
fn owned<T>(ended: Ended<T>) -> Result<Result<T, String>, Outcome> {
    match ended {
        Ended::Lost => Err(Outcome::Lost),
        Ended::Done(value) => Ok(Ok(value)),
        Ended::Panicked(error) => Ok(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join;
    use streamkeeper_core::id::EntryId;
    use tokio::{sync::oneshot, time::timeout};

    use super::{
        super::{
            desk::Request,
            entry::Fields,
            tests::{Stage, entries},
        },
        *,
    };

    struct Nobody;

    impl Processor for Nobody {
        type Entry = Fields;
        type State = ();
        type Error = String;

        async fn init(&self, _: &Lease, _: Option<EntryId>) -> Result<(), String> {
            Ok(())
        }

        async fn process(&self, _: &Lease, (): &mut (), _: &[Entry<Fields>]) -> Result<Next, String> {
            Ok(Next::Batch)
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// A job that ends its stream when that is silent for a second.
    fn job(stage: &Stage) -> Job<Nobody> {
        let settings = Settings {
            start: Default::default(),
            batch: None,
            prefetch: None,
            at_once: 1,
            tries: 1,
            backoff: SECOND,
            backoff_limit: SECOND,
            idle: Idle::Done { after: SECOND },
        };
        let drained = pending().boxed();
        Job { lease: stage.lease.clone(), processor: Arc::new(Nobody), settings, state: None, drained }
    }

    /// Who wants to be told, if anybody does.
    fn look(stage: &mut Stage) -> Option<oneshot::Sender<()>> {
        std::iter::from_fn(|| stage.requests.try_recv().ok()).find_map(|request| match request {
            Request::Look(_, _, answer) => Some(answer),
            _ => None,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_cannot_be_read_is_not_idle() {
        let mut stage = Stage::new();
        let (mut reader, inbox) = stage.reading(Commits::Manual);
        let mut job = job(&stage);
        let waited = timeout(60 * SECOND, job.next(&mut reader)).await;
        assert!(waited.is_err(), "nobody could look, and it is finished for ever");
        let asked = look(&mut stage).expect("a look");

        let answered = async {
            tokio::time::sleep(SECOND / 2).await;
            assert!(look(&mut stage).is_none(), "it is silent for half a second");
            tokio::time::sleep(SECOND).await;
            let _ = asked.send(());
            tokio::time::sleep(SECOND).await;
            look(&mut stage).expect("a look that begins after the silence").send(()).expect("it is waited for");
        };
        let (next, ()) = join(job.next(&mut reader), answered).await;
        assert!(matches!(next, Err(Outcome::Done)));

        let answered = async {
            tokio::time::sleep(2 * SECOND).await;
            stage.deliver(&inbox, entries([1]));
            drop(look(&mut stage));
        };
        let (next, ()) = join(job.next(&mut reader), answered).await;
        assert!(matches!(next, Ok(Ok(batch)) if batch.len() == 1), "something came instead");
    }
}
