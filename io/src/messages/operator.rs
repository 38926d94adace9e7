//! A stream of messages and a group on it seen from outside: dead letters, what is scheduled, how it stands.

use std::fmt;

use streamkeeper_core::{id::EntryId, messages::Keys, trouble::Trouble};

use super::{
    builder::Builder,
    calls::{Calls, DeadLetter, Retried, Scheduled, Status},
    errors::Error,
};
use crate::{
    errors::AskError,
    links::on_demand::{Borrowed, OnDemand},
};

/// A stream of messages and a group on it, from outside: [`Builder::messages`]. It connects when it is first asked, and
/// anew after a broken connection.
///
/// One call takes at most [`Builder::call_timeout`], and as long again to connect. What only asks is cancel safe; what
/// changes something may have done so or not when its future is dropped, and says whether it may be repeated.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use streamkeeper::messages::Consumer;
///
/// let billing = Consumer::builder("orders", "billing").redis("redis://localhost:6379").messages()?;
/// println!("{:?} unread", billing.status().await?.unread);
/// for letter in billing.dead(None, 100).await? {
///     println!("{} {}: {}", letter.id, letter.reason, letter.error);
///     billing.retry_dead(&[letter.id]).await?;
/// }
/// # Ok(()) }
/// ```
pub struct Messages {
    keys: Keys,
    calls: Calls,
    connection: OnDemand,
}

impl Messages {
    pub(crate) fn new(builder: &Builder) -> Result<Messages, Error> {
        let config = builder.config()?;
        let keys = builder.keys()?.swap_remove(0);
        let connection = OnDemand::new(builder.connect(&config)?, config.call_timeout);
        Ok(Messages { calls: Calls::outside(keys.clone()), keys, connection })
    }

    /// The stream.
    pub fn stream(&self) -> &str {
        self.keys.stream()
    }

    /// The group.
    pub fn group(&self) -> &str {
        self.keys.group()
    }

    /// How stream and group stand, and what of the server weakens a promise.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn status(&self) -> Result<Status, AskError> {
        let Borrowed { number, mut redis } = self.connected().await?;
        let status = self.calls.status(&mut redis).await;
        self.judge(number, status)
    }

    /// Lists dead letters, oldest first, behind the one with the id `after`; fewer than `count` at the end.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn dead(&self, after: Option<EntryId>, count: usize) -> Result<Vec<DeadLetter>, AskError> {
        let Borrowed { number, mut redis } = self.connected().await?;
        let dead = self.calls.dead(&mut redis, after, count).await;
        self.judge(number, dead)
    }

    /// One dead letter, by [`DeadLetter::id`], if it is there.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn dead_letter(&self, id: EntryId) -> Result<Option<DeadLetter>, AskError> {
        let Borrowed { number, mut redis } = self.connected().await?;
        let letter = self.calls.dead_letter(&mut redis, id).await;
        self.judge(number, letter)
    }

    /// Puts dead letters back into the stream as they were sent, by [`DeadLetter::id`]: for every group on it. One
    /// answer each, in order.
    ///
    /// # Errors
    /// See [`AskError`]. Safe to repeat.
    pub async fn retry_dead(&self, ids: &[EntryId]) -> Result<Vec<Retried>, AskError> {
        let Borrowed { number, mut redis } = self.connected().await?;
        let retried = self.calls.dead_retry(&mut redis, ids).await;
        self.judge(number, retried)
    }

    /// Deletes dead letters for good, by [`DeadLetter::id`]. Answers how many there were.
    ///
    /// # Errors
    /// See [`AskError`]. Safe to repeat.
    pub async fn drop_dead(&self, ids: &[EntryId]) -> Result<u64, AskError> {
        let Borrowed { number, mut redis } = self.connected().await?;
        let dropped = self.calls.dead_drop(&mut redis, ids).await;
        self.judge(number, dropped)
    }

    /// Lists messages that were sent with a delay and are not due, in the order in which they will be: `count` of them
    /// behind the first `skip`.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn scheduled(&self, skip: usize, count: usize) -> Result<Vec<Scheduled>, AskError> {
        let Borrowed { number, mut redis } = self.connected().await?;
        let scheduled = self.calls.scheduled(&mut redis, skip, count).await;
        self.judge(number, scheduled)
    }

    /// Cancels messages that were sent with a delay, by their ids. For each whether it was still waiting.
    ///
    /// # Errors
    /// See [`AskError`]. Safe to repeat.
    pub async fn cancel_scheduled<I: Into<Box<str>>>(
        &self,
        ids: impl IntoIterator<Item = I>,
    ) -> Result<Vec<bool>, AskError> {
        let ids: Vec<Box<str>> = ids.into_iter().map(Into::into).collect();
        let Borrowed { number, mut redis } = self.connected().await?;
        let cancelled = self.calls.cancel(&mut redis, &ids).await;
        self.judge(number, cancelled)
    }

    async fn connected(&self) -> Result<Borrowed, AskError> {
        self.connection.borrow().await.map_err(AskError::from_connecting)
    }

    fn judge<T>(&self, number: u64, answer: Result<T, Trouble>) -> Result<T, AskError> {
        if let Err(trouble) = &answer {
            self.connection.judge(number, trouble);
        }
        answer.map_err(AskError::from_answer)
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Messages");
        shown.field("stream", &self.stream()).field("group", &self.group()).finish_non_exhaustive()
    }
}
