//! How an owned stream is read: settings, each with a default.

use std::{sync::Arc, time::Duration};

use streamkeeper_core::entries::call::Start;

use super::{entry::Fields, reader::Entries};
use crate::{
    lease::Lease,
    messages::{Decode, Json, Raw},
};

/// When a reader commits by itself what was worked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Commits {
    /// After each batch: what was yielded is committed when the next batch is asked for. After a crash the last batch
    /// comes again.
    #[default]
    AfterBatch,
    /// At most once in so long, and on release: what was yielded before the latest item was asked for.
    Every(Duration),
    /// When the stream is given back, by [`Lease::release`] or a shutdown: after a crash everything since the stream was
    /// owned comes again.
    OnRelease,
    /// Never: [`Lease::commit`] and [`Lease::commit_with`] are the application's matter.
    Manual,
}

impl Commits {
    pub(crate) fn is_automatic(self) -> bool {
        self != Commits::Manual
    }
}

/// What happens to an entry that the codec does not understand. It is said as
/// [`EntriesError::Undecodable`](super::EntriesError::Undecodable) in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undecodable {
    /// It is copied to the stream `<service>-dead-entries` with the reason, before any position behind it is committed.
    #[default]
    SetAside,
    /// Nothing else: whoever reads decides.
    Yield,
}

/// Settings for reading an owned stream: [`Lease::read`].
///
/// ```no_run
/// # async fn example(lease: streamkeeper::Lease) {
/// use std::time::Duration;
/// use streamkeeper::entries::{Commits, Json, Start};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     item: String,
/// }
///
/// let mut orders = lease
///     .read()
///     .from(Start::End)
///     .batch(200)
///     .commits(Commits::Every(Duration::from_secs(1)))
///     .codec(Json::field("order"))
///     .open::<Order>();
/// while let Some(batch) = orders.next_batch().await {
///     match batch {
///         Ok(orders) => orders.iter().for_each(|order| println!("{}: {}", order.id, order.value.item)),
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is read until it is opened"]
pub struct Reading<C = Json> {
    pub(crate) lease: Lease,
    pub(crate) start: Start,
    pub(crate) batch: usize,
    pub(crate) prefetch: usize,
    pub(crate) commits: Commits,
    pub(crate) undecodable: Undecodable,
    codec: C,
}

impl Reading {
    pub(crate) fn new(lease: Lease) -> Reading {
        let config = lease.0.work.desk().config();
        let (batch, prefetch) = (config.batch, config.prefetch);
        Reading {
            lease,
            start: Start::default(),
            batch,
            prefetch,
            commits: Commits::default(),
            undecodable: Undecodable::default(),
            codec: Json::default(),
        }
    }
}

impl<C> Reading<C> {
    /// Where the reading of a stream begins that nothing was ever committed of; a committed position always wins. Default:
    /// [`Start::Beginning`].
    pub fn from(mut self, start: Start) -> Reading<C> {
        self.start = start;
        self
    }

    /// How many entries [`next_batch`](Entries::next_batch) answers at most, and after how many a reader that goes entry
    /// by entry commits. Default: [`Settings::batch`](super::Settings), 500; at least 1.
    pub fn batch(mut self, entries: usize) -> Reading<C> {
        self.batch = entries.max(1);
        self
    }

    /// How many entries are fetched in advance at most. Default: [`Settings::prefetch`](super::Settings), 1,000; at least
    /// 1.
    pub fn prefetch(mut self, entries: usize) -> Reading<C> {
        self.prefetch = entries.max(1);
        self
    }

    /// When the reader commits by itself. Default: [`Commits::AfterBatch`].
    pub fn commits(mut self, commits: Commits) -> Reading<C> {
        self.commits = commits;
        self
    }

    /// What happens to an entry that the codec does not understand. Default: [`Undecodable::SetAside`].
    pub fn undecodable(mut self, what: Undecodable) -> Reading<C> {
        self.undecodable = what;
        self
    }

    /// How entries are decoded. Default: [`Json`] in the field `body`.
    pub fn codec<D>(self, codec: D) -> Reading<D> {
        let Reading { lease, start, batch, prefetch, commits, undecodable, codec: _ } = self;
        Reading { lease, start, batch, prefetch, commits, undecodable, codec }
    }

    /// Begins to read. Never fails: what cannot be read says so as its first item. A stream has one reader at a time: who
    /// opens it again ends the one before ([`EntriesError::Replaced`](super::EntriesError::Replaced)), and begins at what
    /// is committed.
    pub fn open<T: Send + 'static>(self) -> Entries<T>
    where
        C: Decode<T>,
    {
        let Reading { lease, start, batch, prefetch, commits, undecodable, codec } = self;
        let settings = Reading { lease, start, batch, prefetch, commits, undecodable, codec: () };
        Entries::open(settings, Arc::new(codec))
    }

    /// Begins to read entries as they stand in the stream. As [`open`](Reading::open) with the codec [`Raw`].
    pub fn open_raw(self) -> Entries<Fields> {
        self.codec(Raw).open()
    }
}
