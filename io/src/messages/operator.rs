//! A stream of messages and a group on it seen from outside: dead letters, what is scheduled, how it stands.

use std::fmt;

use redis::aio::MultiplexedConnection;
use streamkeeper_core::{id::EntryId, messages::Keys, trouble::Trouble};

use super::{
    builder::Builder,
    calls::{Calls, DeadLetter, Retried, Scheduled, Status},
    errors::Error,
};
use crate::{errors::AskError, links::on_demand::OnDemand};

/// A stream of messages and a group on it, from outside: [`Builder::messages`]. It connects when it is first asked, and
/// anew after a broken connection.
///
/// One call takes at most [`Builder::call_timeout`], and as long again to connect. What the server refuses for the moment
/// (a failover, a slot that is being moved) is asked again for as long before that is the error. What only asks is cancel
/// safe; what changes something may have done so or not when its future is dropped, and says whether it may be repeated.
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
        let config = builder.config_outside()?;
        let keys = builder.keys()?.swap_remove(0);
        let connect = builder.connect(&config, std::slice::from_ref(&keys))?.swap_remove(0);
        let connection = OnDemand::new(connect, config.call_timeout);
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
        self.ask(|mut redis| async move { self.calls.status(&mut redis).await }).await
    }

    /// Lists dead letters, oldest first, behind the one with the id `after`; fewer than `count` at the end.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn dead(&self, after: Option<EntryId>, count: usize) -> Result<Vec<DeadLetter>, AskError> {
        self.ask(|mut redis| async move { self.calls.dead(&mut redis, after, count).await }).await
    }

    /// One dead letter, by [`DeadLetter::id`], if it is there.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn dead_letter(&self, id: EntryId) -> Result<Option<DeadLetter>, AskError> {
        self.ask(|mut redis| async move { self.calls.dead_letter(&mut redis, id).await }).await
    }

    /// Puts dead letters back into the stream as they were sent, by [`DeadLetter::id`]: for every group on it. One
    /// answer each, in order.
    ///
    /// # Errors
    /// See [`AskError`]. Safe to repeat.
    pub async fn retry_dead(&self, ids: &[EntryId]) -> Result<Vec<Retried>, AskError> {
        self.ask(|mut redis| async move { self.calls.dead_retry(&mut redis, ids).await }).await
    }

    /// Deletes dead letters for good, by [`DeadLetter::id`]. Answers how many there were.
    ///
    /// # Errors
    /// See [`AskError`]. Safe to repeat.
    pub async fn drop_dead(&self, ids: &[EntryId]) -> Result<u64, AskError> {
        self.ask(|mut redis| async move { self.calls.dead_drop(&mut redis, ids).await }).await
    }

    /// Lists messages that were sent with a delay and are not due, in the order in which they will be: `count` of them
    /// behind the first `skip`.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn scheduled(&self, skip: usize, count: usize) -> Result<Vec<Scheduled>, AskError> {
        self.ask(|mut redis| async move { self.calls.scheduled(&mut redis, skip, count).await }).await
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
        let ids = &*ids;
        self.ask(|mut redis| async move { self.calls.cancel(&mut redis, ids).await }).await
    }

    async fn ask<T, A>(&self, call: impl Fn(MultiplexedConnection) -> A) -> Result<T, AskError>
    where
        A: Future<Output = Result<T, Trouble>>,
    {
        Ok(self.connection.ask(call).await?)
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Messages");
        shown.field("stream", &self.stream()).field("group", &self.group()).finish_non_exhaustive()
    }
}
