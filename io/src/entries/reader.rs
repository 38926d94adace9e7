//! The entries of an owned stream, as a stream.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, Stream, future::BoxFuture};
use streamkeeper_core::{
    entries::{call, event::Delivery},
    id::EntryId,
    time::Time,
};

use super::{
    entry::{Entry, Fields},
    errors::{CommitError, EntriesError},
    inbox::{Arrival, Inbox},
    lease::Committing,
    reading::{Commits, Reading, Undecodable},
    work::Shut,
};
use crate::{
    lease::{Lease, Wish},
    messages::{CodecError, Decode},
};

/// The entries of an owned stream, in order: a [`futures::Stream`], or [`next_batch`](Entries::next_batch).
///
/// Begins behind what was committed. Errors are items: after most of them it goes on
/// ([`EntriesError::is_last`] tells). It ends after [`EntriesError::Lost`]: no entry is yielded once the lease is not
/// valid any more by the client's clock.
///
/// What was yielded counts as worked on when the next item is asked for: then, or later, it is committed, as
/// [`Reading::commits`] says. So do not ask for the next one before the last one's work is done.
///
/// When the client shuts down, the reader of a stream whose commits are automatic ends at the next batch: what was worked
/// on is committed, the stream given back, and the last item is `Lost` with [`Lost::Released`](crate::Lost::Released).
/// With [`Commits::Manual`] it says [`EntriesError::Draining`] once, and nothing more.
///
/// Cancel safe: a `next` or `next_batch` whose future is dropped has taken nothing. Dropping it ends the reading; what
/// was worked on is committed, if commits are automatic.
///
/// ```no_run
/// # async fn example(lease: streamkeeper::Lease) -> Result<(), streamkeeper::EntriesError> {
/// use futures::StreamExt;
///
/// let mut entries = lease.entries();
/// while let Some(entry) = entries.next().await {
///     let entry = entry?;
///     println!("{}: {} fields", entry.id, entry.value.len());
/// }
/// # Ok(()) }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Entries<T> {
    settings: Reading<()>,
    codec: Arc<dyn Decode<T>>,
    inbox: Arc<Inbox>,
    /// What was taken from the inbox, and not looked at.
    arrivals: VecDeque<Arrival>,
    /// What comes next.
    ready: VecDeque<Item<T>>,
    /// How many entries were taken that no room was given back for.
    taken: usize,
    /// The last entry that was yielded; how many since the last commit.
    yielded: Option<EntryId>,
    since: usize,
    /// Up to where a commit was asked for.
    asked: Option<EntryId>,
    /// When the next commit is due, with [`Commits::Every`].
    commit_at: Time,
    timer: Option<BoxFuture<'static, ()>>,
    /// It was said that the client shuts down.
    drained: bool,
    over: bool,
}

enum Item<T> {
    Entry(Entry<T>),
    /// One that cannot be decoded.
    Broken(EntryId, EntriesError),
    Error(EntriesError),
    /// The last one.
    End(EntriesError),
    RolledBack(EntryId, u32),
}

// Nothing in it is pinned.
impl<T> Unpin for Entries<T> {}

impl<T: Send + 'static> Entries<T> {
    pub(crate) fn open(settings: Reading<()>, codec: Arc<dyn Decode<T>>) -> Entries<T> {
        let lease = &settings.lease;
        let (inbox, end) = match lease.0.work.read(settings.start, settings.prefetch) {
            Ok(inbox) => (inbox, None),
            // How it ended is asked for when it is polled.
            Err(Shut::Over) => (Arc::default(), None),
            Err(Shut::Unavailable(why)) => {
                let stream = lease.stream().clone();
                (Arc::default(), Some(Item::End(EntriesError::Unavailable { stream, why })))
            }
        };
        Entries {
            commit_at: lease.0.clock().now(),
            settings,
            codec,
            inbox,
            arrivals: VecDeque::new(),
            ready: end.into_iter().collect(),
            taken: 0,
            yielded: None,
            since: 0,
            asked: None,
            timer: None,
            drained: false,
            over: false,
        }
    }

    /// The lease of the stream.
    pub fn lease(&self) -> &Lease {
        &self.settings.lease
    }

    /// The next entries: at least one, at most a [`batch`](Reading::batch), whatever is there. `None` after the end.
    ///
    /// What was yielded before is worked on from here on. Cancel safe.
    ///
    /// # Errors
    /// Something came instead of entries: see [`EntriesError`].
    pub async fn next_batch(&mut self) -> Option<Result<Vec<Entry<T>>, EntriesError>> {
        std::future::poll_fn(|context| self.poll_batch(context)).await
    }

    /// Commits everything that was yielded, and waits for the answer: for whoever has worked on it and is not going to ask
    /// for more. The commit is sent when this is called; the future may be dropped.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn commit(&mut self) -> Committing {
        self.asked = self.asked.max(self.yielded);
        self.yielded.map_or_else(Committing::nothing, |id| self.lease().commit(id))
    }

    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Vec<Entry<T>>, EntriesError>>> {
        self.count_as_processed(true);
        match self.poll_front(context) {
            Poll::Ready(Some(Ok(()))) => {}
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        }
        let most = self.settings.batch;
        let mut batch = Vec::with_capacity(most.min(self.ready.len()));
        while batch.len() < most {
            match self.ready.pop_front() {
                Some(Item::Entry(entry)) => batch.push(entry),
                Some(other) => {
                    self.ready.push_front(other);
                    break;
                }
                None if !self.take_entries() => break,
                None => {}
            }
        }
        self.yielded = batch.last().map(|entry| entry.id).or(self.yielded);
        self.since += batch.len();
        Poll::Ready(Some(Ok(batch)))
    }

    fn poll_entry(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Entry<T>, EntriesError>>> {
        self.count_as_processed(self.ready.is_empty() || self.since >= self.settings.batch);
        match self.poll_front(context) {
            Poll::Ready(Some(Ok(()))) => {}
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        }
        let Some(Item::Entry(entry)) = self.ready.pop_front() else { return Poll::Pending };
        self.yielded = Some(entry.id);
        self.since += 1;
        Poll::Ready(Some(Ok(entry)))
    }

    /// `Ok`: an entry is in front.
    fn poll_front(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<(), EntriesError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let undisturbed = self.lease().is_valid() && self.lease().0.work.draining().is_none();
        if undisturbed && matches!(self.ready.front(), Some(Item::Entry(_))) {
            return Poll::Ready(Some(Ok(())));
        }
        // Before it looks: whatever happens from here on wakes it.
        self.inbox.register(context.waker());
        loop {
            if let Some(Item::End(_)) = self.ready.front() {
                // Nothing was ever begun.
            } else if !self.lease().is_valid() {
                let Some(lost) = self.lease().0.lost() else {
                    // Its end wakes the one who reads: that may be another by now.
                    if self.inbox.is_replaced() {
                        return self.end(EntriesError::Replaced { stream: self.lease().stream().clone() });
                    }
                    return Poll::Pending;
                };
                let (stream, token) = (self.lease().stream().clone(), self.lease().token());
                return self.end(EntriesError::Lost { stream, token, lost });
            } else if self.inbox.is_replaced() {
                return self.end(EntriesError::Replaced { stream: self.lease().stream().clone() });
            } else if let Some(until) = self.lease().0.work.draining() {
                if !self.settings.commits.is_automatic() {
                    let stream = self.lease().stream().clone();
                    let said = std::mem::replace(&mut self.drained, true);
                    let error = EntriesError::Draining { stream, until };
                    return if said { Poll::Pending } else { Poll::Ready(Some(Err(error))) };
                }
                self.lease().0.ask_to_end(Wish::Release);
                continue;
            }
            match self.ready.pop_front() {
                Some(Item::Entry(entry)) => {
                    self.ready.push_front(Item::Entry(entry));
                    return Poll::Ready(Some(Ok(())));
                }
                Some(Item::Broken(id, error)) => {
                    self.yielded = Some(id);
                    self.since += 1;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Item::Error(error)) => return Poll::Ready(Some(Err(error))),
                Some(Item::End(error)) => return self.end(error),
                Some(Item::RolledBack(to, rollbacks)) => {
                    self.lease().0.work.take_in(rollbacks);
                    (self.yielded, self.asked, self.since) = (None, None, 0);
                    let stream = self.lease().stream().clone();
                    return Poll::Ready(Some(Err(EntriesError::RolledBack { stream, to })));
                }
                None => {}
            }
            if !self.take_arrival() && !self.poll_timer(context) {
                // Others may wait for it: all readers of a client share its `prefetch_total`.
                self.give_room();
                return Poll::Pending;
            }
        }
    }

    fn end(&mut self, error: EntriesError) -> Poll<Option<Result<(), EntriesError>>> {
        self.over = true;
        self.ready.clear();
        self.arrivals.clear();
        Poll::Ready(Some(Err(error)))
    }

    /// Takes what arrived next; `false` if there is nothing.
    fn take_arrival(&mut self) -> bool {
        if self.arrivals.is_empty() {
            self.arrivals = self.inbox.take();
        }
        let Some(arrival) = self.arrivals.pop_front() else { return false };
        let stream = self.lease().stream().clone();
        let item = match arrival {
            Arrival::Delivered(Delivery::Entries(entries), _) => {
                self.decode(entries);
                return true;
            }
            Arrival::Delivered(Delivery::Opened(_), rollbacks) => {
                self.lease().0.work.take_in(rollbacks);
                return true;
            }
            Arrival::Delivered(Delivery::RolledBack(to), rollbacks) => Item::RolledBack(to, rollbacks),
            Arrival::Delivered(Delivery::Gap { after, next, missing }, _) => {
                Item::Error(EntriesError::Gap { stream, after, next, missing })
            }
            Arrival::Delivered(Delivery::Rewound { after, last }, _) => {
                Item::Error(EntriesError::Rewound { stream, after, last })
            }
            Arrival::Delivered(Delivery::Broken(why), _) => Item::Error(EntriesError::Broken { stream, why }),
            Arrival::NotCommitted(id, why) => {
                Item::Error(EntriesError::NotCommitted(CommitError::Broken { stream, id, why }))
            }
        };
        self.ready.push_back(item);
        true
    }

    /// Takes what arrived next if it is entries; `false` if it is not.
    fn take_entries(&mut self) -> bool {
        if self.arrivals.is_empty() {
            self.arrivals = self.inbox.take();
        }
        matches!(self.arrivals.front(), Some(Arrival::Delivered(Delivery::Entries(_), _))) && self.take_arrival()
    }

    fn decode(&mut self, entries: Vec<call::Entry>) {
        self.taken += entries.len();
        self.ready.reserve(entries.len());
        for call::Entry { id, fields } in entries {
            let item = match self.codec.decode_owned(fields) {
                Ok(value) => Item::Entry(Entry::new(id, value)),
                Err((error, fields)) => self.undecodable(id, fields, &error),
            };
            self.ready.push_back(item);
        }
        // Half of it is free: the next ones may be fetched.
        if self.taken * 2 >= self.settings.prefetch {
            self.give_room();
        }
    }

    fn give_room(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            self.lease().0.work.give_room(&self.inbox, taken);
        }
    }

    fn undecodable(&self, id: EntryId, fields: Fields, error: &CodecError) -> Item<T> {
        let (stream, why) = (self.lease().stream().clone(), error.to_string().into_boxed_str());
        let set_aside = self.settings.undecodable == Undecodable::SetAside;
        if set_aside {
            let entry = call::Entry { id, fields: fields.clone() };
            self.lease().0.work.set_aside(entry, why.clone());
        }
        Item::Broken(id, EntriesError::Undecodable { stream, id, fields, why, set_aside })
    }

    /// What was yielded is worked on. `boundary`: a batch of it.
    fn count_as_processed(&mut self, boundary: bool) {
        let Some(processed) = self.yielded.filter(|_| self.settings.commits.is_automatic() && !self.over) else {
            return;
        };
        if self.asked >= Some(processed) {
            return;
        }
        self.lease().0.work.processed(processed);
        let due = match self.settings.commits {
            Commits::AfterBatch => boundary,
            Commits::Every(_) => self.lease().0.clock().now() >= self.commit_at,
            Commits::OnRelease | Commits::Manual => false,
        };
        if due {
            self.commit_quietly(processed);
        }
    }

    fn commit_quietly(&mut self, to: EntryId) {
        self.lease().0.work.commit_quietly(to);
        (self.asked, self.since, self.timer) = (Some(to), 0, None);
        if let Commits::Every(span) = self.settings.commits {
            self.commit_at = self.lease().0.clock().now() + span;
        }
    }

    /// Commits while nothing comes; `true` if it has.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> bool {
        let Some(processed) = self.yielded.filter(|_| matches!(self.settings.commits, Commits::Every(_))) else {
            return false;
        };
        if self.asked >= Some(processed) {
            return false;
        }
        let (clock, at) = (self.lease().0.clock().clone(), self.commit_at);
        let timer = self.timer.get_or_insert_with(|| async move { clock.sleep_until(at).await }.boxed());
        if timer.poll_unpin(context).is_pending() {
            return false;
        }
        self.commit_quietly(processed);
        true
    }
}

impl<T: Send + 'static> Stream for Entries<T> {
    type Item = Result<Entry<T>, EntriesError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_entry(context)
    }
}

impl<T> Drop for Entries<T> {
    fn drop(&mut self) {
        let work = &self.settings.lease.0.work;
        // What was yielded last may not have been worked on; what was before that has been counted.
        if self.settings.commits.is_automatic() {
            work.commit_processed();
        }
        work.close(&self.inbox);
    }
}

impl<T> fmt::Debug for Entries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries")
            .field("lease", &self.settings.lease)
            .field("yielded", &self.yielded)
            .finish_non_exhaustive()
    }
}
