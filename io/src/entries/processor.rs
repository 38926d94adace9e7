//! What the application writes: what to do with the entries of each stream that it owns.

use std::{fmt::Display, future::Future};

use streamkeeper_core::id::EntryId;

use super::{entry::Entry, errors::EntriesError};
use crate::lease::{Lease, Lost};

/// What to do with the entries of every owned stream: [`Client::process`](crate::Client::process) runs it, each stream as
/// a task of its own with a state of its own.
///
/// Entries come in order, batch by batch, each at least once: a batch whose work is done is committed, and one that was
/// being worked on in a crash comes again. For effects exactly once, commit inside with
/// [`Lease::commit_with`](crate::Lease::commit_with).
///
/// A failure or a panic of one stream's work is that stream's alone. All futures are dropped at their next await once the
/// lease is not valid any more.
///
/// ```
/// use std::io;
/// use streamkeeper::{Entry, EntryId, Lease, entries::{Next, Processor}};
///
/// #[derive(serde::Deserialize)]
/// struct Payment {
///     cents: i64,
///     last: bool,
/// }
///
/// struct Ledger;
///
/// impl Processor for Ledger {
///     type Entry = Payment;
///     type State = u64;
///     type Error = streamkeeper::CommitError;
///
///     async fn init(&self, lease: &Lease, committed: Option<EntryId>) -> Result<u64, Self::Error> {
///         println!("{} goes on behind {committed:?}", lease.stream());
///         Ok(0)
///     }
///
///     async fn process(
///         &self,
///         lease: &Lease,
///         batches: &mut u64,
///         batch: &[Entry<Payment>],
///     ) -> Result<Next, Self::Error> {
///         *batches += 1;
///         let Some(last) = batch.last() else { return Ok(Next::Batch) };
///         let sum = batch.iter().map(|entry| entry.value.cents).sum();
///         let committing = lease.commit_with(last.id, |writes| {
///             writes.incr_by("cents", sum);
///         });
///         committing.await?;
///         Ok(if last.value.last { Next::Done } else { Next::Batch })
///     }
/// }
/// ```
pub trait Processor: Send + Sync + 'static {
    /// What an entry is decoded to.
    type Entry: Send + Sync + 'static;
    /// What is kept of one stream for as long as it is owned.
    type State: Send;
    /// Why something could not be done: said in the logs, and in `S-dead` if it is never done.
    type Error: Display + Send;

    /// A stream is owned: makes its state. `committed`: everything up to this entry was worked on, by whomever;
    /// [`Lease::info`] and [`Lease::takeover`] tell more. Called again after a panic, or when Redis has forgotten commits:
    /// the state may be wrong then.
    ///
    /// # Errors
    /// Tried again after a pause, as a batch is.
    fn init(
        &self,
        lease: &Lease,
        committed: Option<EntryId>,
    ) -> impl Future<Output = Result<Self::State, Self::Error>> + Send;

    /// Works on the next entries: at least one. What it returns says how the stream goes on; the position is committed,
    /// unless it has been in here.
    ///
    /// # Errors
    /// The batch comes again after a pause, and after so many tries the stream is given back as failed.
    fn process(
        &self,
        lease: &Lease,
        state: &mut Self::State,
        batch: &[Entry<Self::Entry>],
    ) -> impl Future<Output = Result<Next, Self::Error>> + Send;

    /// Something came instead of entries: a gap, an entry that cannot be decoded (and was set aside), a key of a wrong
    /// type. By default it is logged, and the stream goes on.
    ///
    /// # Errors
    /// The stream is given back as failed.
    fn incident(
        &self,
        lease: &Lease,
        state: &mut Self::State,
        error: EntriesError,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = (lease, state);
        async move {
            tracing::warn!(%error, "reading goes on");
            Ok(())
        }
    }

    /// [`Next::Done`] was said, or an idle stream is finished by rule: called before Redis is told, so the stream is still
    /// owned. By default nothing.
    ///
    /// # Errors
    /// The stream is given back as failed.
    fn done(&self, lease: &Lease, state: &mut Self::State) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = (lease, state);
        async { Ok(()) }
    }

    /// The ownership has ended, however: the state is not needed any more. By default nothing.
    fn lost(&self, lease: &Lease, state: Self::State, lost: Lost) -> impl Future<Output = ()> + Send {
        let _ = (lease, state, lost);
        async {}
    }
}

/// How a stream goes on after a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// With the next batch.
    #[default]
    Batch,
    /// Not here: it is given back, and another consumer goes on behind this batch.
    Release,
    /// Not at all: it is finished for ever.
    Done,
}
