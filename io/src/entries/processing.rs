//! How a processor is run: settings, each with a default.

use std::{sync::Arc, time::Duration};

use streamkeeper_core::{entries::call::Start, streams::Report};

use super::{process, processor::Processor};
use crate::{
    client::Client,
    errors::Error,
    messages::{Decode, Json},
};

/// What happens to a stream that has no entries for a while.
///
/// Before anything happens the stream is looked at once more: one that merely cannot be read (a lost connection, a right
/// that is missing, a key of a wrong type) is not idle, however long that lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Idle {
    /// It is kept.
    #[default]
    Keep,
    /// It is given back when nothing has come for `after`, and not handed out to anybody for `pause`, whatever comes
    /// meanwhile.
    Release {
        /// How long nothing came.
        after: Duration,
        /// How long it rests.
        pause: Duration,
    },
    /// It is finished for ever when nothing has come for `after`: for streams whose producers end by falling silent. What
    /// is added at that very moment or later is not read.
    Done {
        /// How long nothing came.
        after: Duration,
    },
}

/// How a [`Processor`] is run: [`Client::process`].
#[must_use = "nothing is processed until it is run"]
pub struct Processing<P, C = Json> {
    client: Client,
    pub(crate) processor: Arc<P>,
    pub(crate) codec: Arc<C>,
    pub(crate) settings: Settings,
}

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) start: Start,
    pub(crate) batch: Option<usize>,
    pub(crate) prefetch: Option<usize>,
    pub(crate) at_once: usize,
    pub(crate) tries: u32,
    pub(crate) backoff: Duration,
    pub(crate) backoff_limit: Duration,
    pub(crate) idle: Idle,
}

impl<P: Processor> Processing<P> {
    pub(crate) fn new(client: Client, processor: P) -> Processing<P> {
        let settings = Settings {
            start: Start::default(),
            batch: None,
            prefetch: None,
            at_once: usize::MAX,
            tries: 5,
            backoff: Duration::from_millis(100),
            backoff_limit: Duration::from_secs(10),
            idle: Idle::default(),
        };
        Processing { client, processor: Arc::new(processor), codec: Arc::default(), settings }
    }
}

impl<P: Processor, C> Processing<P, C> {
    /// Where a stream begins that nothing was ever committed of. Default: [`Start::Beginning`].
    pub fn from(mut self, start: Start) -> Processing<P, C> {
        self.settings.start = start;
        self
    }

    /// How many entries a batch has at most. Default: [`Settings::batch`](super::Settings), 500.
    pub fn batch(mut self, entries: usize) -> Processing<P, C> {
        self.settings.batch = Some(entries);
        self
    }

    /// How many entries of a stream are fetched in advance at most. Default: [`Settings::prefetch`](super::Settings),
    /// 1,000.
    pub fn prefetch(mut self, entries: usize) -> Processing<P, C> {
        self.settings.prefetch = Some(entries);
        self
    }

    /// How entries are decoded. Default: [`Json`] in the field `body`.
    pub fn codec<D>(self, codec: D) -> Processing<P, D> {
        let Processing { client, processor, codec: _, settings } = self;
        Processing { client, processor, codec: Arc::new(codec), settings }
    }

    /// How many streams are worked on at once; further ones are owned and wait for their turn. Default: no limit.
    pub fn streams_at_once(mut self, streams: usize) -> Processing<P, C> {
        self.settings.at_once = streams.max(1);
        self
    }

    /// How often a batch is tried in place before its stream is given back as failed (and after
    /// [`max_failures`](crate::Builder::max_failures) of those set aside to `S-dead`). Default 5; at least 1.
    pub fn tries(mut self, times: u32) -> Processing<P, C> {
        self.settings.tries = times.max(1);
        self
    }

    /// The pause between two tries of a batch, and the limit up to which it doubles. Default 100 ms and 10 s.
    pub fn backoff(mut self, first: Duration, limit: Duration) -> Processing<P, C> {
        (self.settings.backoff, self.settings.backoff_limit) = (first, limit);
        self
    }

    /// What happens to a stream that has no entries for a while. Default: it is kept.
    pub fn idle(mut self, idle: Idle) -> Processing<P, C> {
        self.settings.idle = idle;
        self
    }

    /// Runs it for every stream that is owned, until the client stops. When it shuts down, each stream's work on its batch
    /// is finished and committed, and the stream given back: see [`Lease::draining`](crate::Lease::draining).
    ///
    /// Reads the [`notifications`](Client::notifications): read them here or there. Dropping the future stops nothing; the
    /// streams' tasks go on, but no new ones are begun.
    ///
    /// # Errors
    /// The consumer has ended, and not by wish.
    pub async fn run(self) -> Result<Report, Error>
    where
        C: Decode<P::Entry>,
    {
        let Processing { client, processor, codec, settings } = self;
        process::run(&client, processor, codec, settings).await
    }
}
