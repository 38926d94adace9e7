//! What an owner does with its stream: reads it, commits how far it has come, and learns that it is time to hand it over.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use streamkeeper_core::{entries::event::CommitEnd, id::EntryId, time::Time};
use tokio::sync::oneshot;

use super::{
    desk::Answered,
    entry::Fields,
    errors::CommitError,
    reader::Entries,
    reading::Reading,
    work::{NoPosition, Shut},
    writes::Writes,
};
use crate::lease::Lease;

/// A commit that was sent: waits for its answer. It is made whether this is polled or not.
#[must_use = "whether it was made is not known before it is awaited"]
pub struct Committing(BoxFuture<'static, Result<(), CommitError>>);

impl Committing {
    /// One of nothing.
    pub(crate) fn nothing() -> Committing {
        Committing(Box::pin(async { Ok(()) }))
    }
}

impl Future for Committing {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Committing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committing").finish_non_exhaustive()
    }
}

impl Lease {
    /// The stream's entries, in order, from what was committed on, as they stand in the stream: [`read`](Lease::read) with
    /// the default settings.
    ///
    /// ```no_run
    /// # async fn example(lease: streamkeeper::Lease) -> Result<(), streamkeeper::EntriesError> {
    /// let mut entries = lease.entries();
    /// while let Some(batch) = entries.next_batch().await {
    ///     match batch {
    ///         Ok(batch) => batch.iter().for_each(|entry| println!("{}: {:?}", entry.id, entry.value)),
    ///         Err(error) if error.is_last() => return Err(error),
    ///         Err(error) => eprintln!("{error}"), // entries were trimmed unread, say: it goes on
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn entries(&self) -> Entries<Fields> {
        self.read().open_raw()
    }

    /// The same, each entry decoded from the JSON in its field `body`.
    ///
    /// ```no_run
    /// # async fn example(lease: streamkeeper::Lease) -> Result<(), streamkeeper::EntriesError> {
    /// use futures::StreamExt;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     item: String,
    /// }
    ///
    /// let mut orders = lease.entries_as::<Order>();
    /// while let Some(order) = orders.next().await {
    ///     match order {
    ///         Ok(order) => println!("{}: {}", order.id, order.value.item),
    ///         Err(error) if error.is_last() => return Err(error),
    ///         Err(error) => eprintln!("{error}"), // an entry that is no order (set aside), say: it goes on
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn entries_as<T: DeserializeOwned + Send + 'static>(&self) -> Entries<T> {
        self.read().open()
    }

    /// How the stream is to be read: where to begin, how much at once, when to commit, how to decode.
    pub fn read(&self) -> Reading {
        Reading::new(self.clone())
    }

    /// What is committed: everything up to this entry was worked on. `None`: nothing was ever committed;
    /// `0-0`: only writes were made, or an empty stream was opened at its end. Waits until it is
    /// known, and asks Redis once for each ownership. Cancel safe.
    ///
    /// # Errors
    /// [`CommitError::Lost`], [`CommitError::Broken`], [`CommitError::Unavailable`].
    pub async fn position(&self) -> Result<Option<EntryId>, CommitError> {
        self.0.work.open().map_err(|shut| self.shut(shut, None))?;
        self.0.work.position().await.map_err(|none| match none {
            NoPosition::Over => self.shut(Shut::Over, None),
            NoPosition::Broken(why) => CommitError::Broken { stream: self.stream().clone(), id: None, why },
        })
    }

    /// Commits that everything up to this entry was worked on: the next owner begins behind it. Fenced: only the stream's
    /// owner commits, whatever a clock or a paused process believes.
    ///
    /// It is sent *when this is called*, together with those of other streams; the future only waits for the answer, and
    /// may be dropped. Of commits that wait the last one is made, and answers for all. Redis down or full is waited for,
    /// for as long as the stream is owned.
    ///
    /// # Errors
    /// See [`CommitError`]. [`CommitError::Behind`]: a later one was committed before.
    pub fn commit(&self, id: EntryId) -> Committing {
        self.wish(Some(id), Writes::default())
    }

    /// Commits a position and the application's own writes with it, all or nothing, under the fence: what is written so
    /// happens exactly once for each entry, whatever crashes. A late owner changes nothing.
    ///
    /// Sent when it is called, as [`commit`](Lease::commit); one at a time for each stream, in order. Read with
    /// [`Commits::Manual`](super::Commits::Manual), and commit each entry or batch once, in order.
    ///
    /// # Errors
    /// See [`CommitError`]. After [`CommitError::Unknown`] it happened as a whole, or nothing did, and the next owner's
    /// position tells. After [`CommitError::RolledBack`] read on: what was forgotten comes again. After all others that
    /// leave the stream yours nothing has changed, and the entries do not come again by themselves: commit them again,
    /// or with the next, or release the stream. A later position without their writes would leave these out.
    ///
    /// ```no_run
    /// # async fn example(lease: streamkeeper::Lease) -> Result<(), Box<dyn std::error::Error>> {
    /// use streamkeeper::Commits;
    ///
    /// let mut entries = lease.read().commits(Commits::Manual).open::<i64>();
    /// while let Some(batch) = entries.next_batch().await {
    ///     let batch = match batch {
    ///         Ok(batch) => batch,
    ///         Err(error) if error.is_last() => return Err(error.into()),
    ///         Err(error) => {
    ///             eprintln!("{error}");
    ///             continue;
    ///         }
    ///     };
    ///     let Some(last) = batch.last() else { continue };
    ///     let sum = batch.iter().map(|entry| entry.value).sum();
    ///     let committing = lease.commit_with(last.id, |writes| {
    ///         writes.incr_by("total", sum);
    ///     });
    ///     committing.await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn commit_with(&self, id: EntryId, writes: impl FnOnce(&mut Writes)) -> Committing {
        let mut all = Writes::default();
        writes(&mut all);
        self.wish(Some(id), all)
    }

    /// Makes writes of the application under the fence, without moving the position: all or nothing, and only by the
    /// stream's owner. Sent when it is called.
    ///
    /// # Errors
    /// As [`commit_with`](Lease::commit_with).
    pub fn write(&self, writes: impl FnOnce(&mut Writes)) -> Committing {
        let mut all = Writes::default();
        writes(&mut all);
        self.wish(None, all)
    }

    fn wish(&self, id: Option<EntryId>, writes: Writes) -> Committing {
        let asked = self.ask_to_commit(id, writes);
        let lease = self.clone();
        Committing(Box::pin(async move {
            match asked?.await {
                Ok(answered) => lease.judge(id, answered),
                // The driver has ended, and with it the client.
                Err(_) => Err(lease.unknown(id)),
            }
        }))
    }

    fn ask_to_commit(&self, id: Option<EntryId>, writes: Writes) -> Result<oneshot::Receiver<Answered>, CommitError> {
        // A look at the clock: what is not owned any more is not even asked for.
        if !self.is_valid() {
            return Err(self.shut(Shut::Over, id));
        }
        let owned = self.0.work.open().map_err(|shut| self.shut(shut, id))?;
        Ok(self.0.work.commit(owned, id, writes.into_vec()))
    }

    fn judge(&self, id: Option<EntryId>, Answered { end, rollbacks }: Answered) -> Result<(), CommitError> {
        let (stream, token) = (self.stream().clone(), self.token());
        Err(match end {
            CommitEnd::Done => return Ok(()),
            CommitEnd::Behind(committed) => CommitError::Behind { stream, id, committed },
            CommitEnd::RolledBack(record) => {
                // Who reads is told in order; who does not is told here.
                self.0.work.take_in_unread(rollbacks);
                CommitError::RolledBack { stream, id, committed: record.position }
            }
            CommitEnd::Fenced => CommitError::Fenced { stream, token, id },
            CommitEnd::Lost => CommitError::Lost { stream, token, id },
            CommitEnd::Unknown => self.unknown(id),
            CommitEnd::Rejected(index, why) => CommitError::Rejected { stream, id, index, why },
            CommitEnd::Broken(why) => CommitError::Broken { stream, id, why },
        })
    }

    fn unknown(&self, id: Option<EntryId>) -> CommitError {
        CommitError::Unknown { stream: self.stream().clone(), token: self.token(), id }
    }

    fn shut(&self, shut: Shut, id: Option<EntryId>) -> CommitError {
        let (stream, token) = (self.stream().clone(), self.token());
        match shut {
            Shut::Over => CommitError::Lost { stream, token, id },
            Shut::Unavailable(why) => CommitError::Unavailable { stream, why },
        }
    }

    /// Waits until the client shuts down, and answers until when the work on the stream is to be ended, by the client's
    /// clock: finish what is under way, commit, and [`release`](Lease::release). The next owner begins there, without a
    /// gap or a repeat. At that instant it is given back anyhow. [`Time::ZERO`] if the ownership has ended: no time is
    /// left.
    ///
    /// A stream is left this time if this was called, or if its [`entries`](Lease::entries) are read; all others are given
    /// back at once. It is what [`Client::shutdown`](crate::Client::shutdown) is given, less a quarter of it or a second,
    /// whichever is less. Cancel safe; may be called any number of times.
    ///
    /// ```no_run
    /// # async fn example(lease: streamkeeper::Lease) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut entries = lease.read().commits(streamkeeper::Commits::Manual).open_raw();
    /// loop {
    ///     tokio::select! {
    ///         _ = lease.draining() => break,
    ///         batch = entries.next_batch() => match batch {
    ///             Some(Ok(batch)) => if let Some(last) = batch.last() { lease.commit(last.id).await? },
    ///             Some(Err(error)) => eprintln!("{error}"), // the last one says that the ownership has ended
    ///             None => return Ok(()),
    ///         },
    ///     }
    /// }
    /// lease.release().await?;
    /// # Ok(()) }
    /// ```
    pub fn draining(&self) -> impl Future<Output = Time> + Send + use<> {
        self.0.work.listen();
        let lease = self.clone();
        async move { lease.0.draining().await }
    }

    /// Until when the work on the stream is to be ended, if the client is shutting down.
    pub fn is_draining(&self) -> Option<Time> {
        self.0.work.draining()
    }
}
