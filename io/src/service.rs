//! A service seen from outside: to announce, to look after what was set aside, to ask how it stands. No consumer.

use std::{fmt, sync::Arc};

use streamkeeper_core::{config::Config, id::EntryId, trouble::Trouble};

use crate::{
    announce::Announce,
    builder::Builder,
    calls::{Dead, Status},
    errors::{AskError, Error},
    links::connect::Connect,
    partitions::places::Places,
};

/// A service, from outside. It connects when it is first asked, and anew after a broken connection.
///
/// One call takes at most [`Builder::call_timeout`](crate::Builder::call_timeout), and as long again to connect. What the
/// server refuses for the moment (a failover, a slot that is being moved) is asked again for as long before that is the
/// error. What only asks is cancel safe; what changes something may have done so or not when its future is dropped, and
/// says whether it may be repeated.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use streamkeeper::{Announce, Client};
///
/// let orders = Client::builder("orders").redis("redis://localhost:6379").service()?;
/// orders.announce("orders-17").await?;
/// orders.announce(Announce::new("orders-18").info(&serde_json::json!({ "region": "eu" }))).await?;
/// println!("{} announced", orders.status().await?.announced);
/// # Ok(()) }
/// ```
pub struct Service(Arc<Places>);

impl Service {
    pub(crate) fn new(builder: &Builder) -> Result<Service, Error> {
        let config = builder.config_outside()?;
        Service::with(builder, builder.connect_to(&config, 0)?, &config)
    }

    pub(crate) fn with(builder: &Builder, connect: Arc<dyn Connect>, config: &Config) -> Result<Service, Error> {
        Ok(Service(Arc::new(Places::new(builder, connect, config)?)))
    }

    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.0
    }

    /// Its name: the first part of its keys.
    pub fn name(&self) -> &str {
        self.0.service()
    }

    /// Announces a stream: one of the consumers will own it. Answers the announcement's entry in the LBS.
    ///
    /// # Errors
    /// See [`AskError`]. After [`AskError::Unanswered`], or if the future is dropped, it may have been announced or
    /// not: give it an idempotency key with [`Announce::once`] to be able to repeat it.
    pub async fn announce(&self, announcement: impl Into<Announce>) -> Result<EntryId, AskError> {
        let mut results = self.announce_many([announcement]).await;
        results.pop().unwrap_or_else(|| Err(AskError::Unreachable(Trouble::other("nothing was asked"))))
    }

    /// Announces many streams, pipelined. Each has its own result, in order; those that are malformed keep none of
    /// the others from being announced.
    pub async fn announce_many<A: Into<Announce>>(
        &self,
        announcements: impl IntoIterator<Item = A>,
    ) -> Vec<Result<EntryId, AskError>> {
        let mut results = Vec::new();
        let (mut good, mut places) = (Vec::new(), Vec::new());
        for announcement in announcements {
            match announcement.into().check() {
                Ok(checked) => {
                    places.push(results.len());
                    good.push(checked);
                    results.push(Err(AskError::Unreachable(Trouble::other("not asked"))));
                }
                Err(error) => results.push(Err(error)),
            }
        }
        if good.is_empty() {
            return results;
        }
        let answers = self.0.announce(good).await;
        for (place, answer) in places.into_iter().zip(answers) {
            results[place] = answer;
        }
        results
    }

    /// Lists what was set aside, oldest first, behind the one with the id `after`; fewer than `count` at the end. In a
    /// service with partitions, of all of them; those of one id are listed together, so that there may be more.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn dead(&self, after: Option<EntryId>, count: usize) -> Result<Vec<Dead>, AskError> {
        let mut all = Vec::new();
        for place in self.0.all().await? {
            let dead = place.ask(|calls, mut redis| async move { calls.dead(&mut redis, after, count).await }).await?;
            all.extend(dead.into_iter().map(|dead| Dead { partition: place.number, ..dead }));
        }
        all.sort_by_key(|dead| (dead.id, dead.partition));
        if let Some(last) = count.checked_sub(1).and_then(|last| all.get(last)).map(|dead| dead.id) {
            all.retain(|dead| dead.id <= last);
        }
        Ok(all)
    }

    /// Puts announcements that were set aside back into the LBS, by [`Dead::id`]. For each its new entry; `None` if it
    /// was not there. In a service with partitions, it is announced where its stream lives now, and an id that stands in
    /// several of them means each of those.
    ///
    /// # Errors
    /// See [`AskError`]. Safe to repeat.
    pub async fn retry_dead(&self, ids: &[EntryId]) -> Result<Vec<Option<EntryId>>, AskError> {
        if self.0.are_many() {
            return self.0.retry_dead(ids).await;
        }
        self.0.first().ask(|calls, mut redis| async move { calls.dead_retry(&mut redis, ids).await }).await
    }

    /// Deletes announcements that were set aside for good, by [`Dead::id`]. Answers how many there were.
    ///
    /// # Errors
    /// See [`AskError`]. Safe to repeat.
    pub async fn drop_dead(&self, ids: &[EntryId]) -> Result<u64, AskError> {
        let mut all = 0;
        for place in self.0.all().await? {
            all += place.ask(|calls, mut redis| async move { calls.dead_drop(&mut redis, ids).await }).await?;
        }
        Ok(all)
    }

    /// How the service stands, and what of the server weakens a promise. In a service with partitions, how all of them do:
    /// what is counted is counted together, and of the servers the first partition's is described.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn status(&self) -> Result<Status, AskError> {
        if self.0.are_many() {
            return self.0.status().await;
        }
        self.0.first().ask(|calls, mut redis| async move { calls.status(&mut redis).await }).await
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name()).finish_non_exhaustive()
    }
}
