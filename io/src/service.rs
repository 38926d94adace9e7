//! A service seen from outside: to announce, to look after what was set aside, to ask how it stands. No consumer.

use std::{fmt, sync::Arc};

use streamkeeper_core::{
    config::Config,
    id::{ConsumerId, EntryId},
    trouble::Trouble,
};

use crate::{
    announce::Announce,
    builder::Builder,
    calls::{Calls, Dead, Status},
    errors::{AskError, Error},
    links::{
        connect::Connect,
        on_demand::{Borrowed, OnDemand},
    },
};

/// A service, from outside. It connects when it is first asked, and anew after a broken connection.
///
/// One call takes at most [`Builder::call_timeout`](crate::Builder::call_timeout), and as long again to connect. What
/// only asks is cancel safe; what changes something may have done so or not when its future is dropped, and says
/// whether it may be repeated.
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
pub struct Service {
    name: String,
    calls: Calls,
    connection: OnDemand,
}

impl Service {
    pub(crate) fn new(builder: &Builder) -> Result<Service, Error> {
        let config = builder.config()?;
        Service::with(builder, builder.connect(&config)?, &config)
    }

    pub(crate) fn with(builder: &Builder, connect: Arc<dyn Connect>, config: &Config) -> Result<Service, Error> {
        let nobody = ConsumerId::named("none")?;
        let calls = Calls::new(builder.keys()?, nobody, config.clone(), builder.dead_limit, 0);
        Ok(Service { name: builder.service.clone(), calls, connection: OnDemand::new(connect, config.call_timeout) })
    }

    /// Its name: the first part of its keys.
    pub fn name(&self) -> &str {
        &self.name
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
        match self.connected().await {
            Err(error) => places.into_iter().for_each(|place| results[place] = Err(error.clone())),
            Ok(Borrowed { number, mut redis }) => {
                let answers = self.calls.announce(&mut redis, &good).await;
                for (place, answer) in places.into_iter().zip(answers) {
                    results[place] = self.judge(number, answer);
                }
            }
        }
        results
    }

    /// Lists what was set aside, oldest first, behind the one with the id `after`; fewer than `count` at the end.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn dead(&self, after: Option<EntryId>, count: usize) -> Result<Vec<Dead>, AskError> {
        let Borrowed { number, mut redis } = self.connected().await?;
        let dead = self.calls.dead(&mut redis, after, count).await;
        self.judge(number, dead)
    }

    /// Puts announcements that were set aside back into the LBS, by [`Dead::id`]. For each its new entry; `None` if it
    /// was not there.
    ///
    /// # Errors
    /// See [`AskError`]. Safe to repeat.
    pub async fn retry_dead(&self, ids: &[EntryId]) -> Result<Vec<Option<EntryId>>, AskError> {
        let Borrowed { number, mut redis } = self.connected().await?;
        let entries = self.calls.dead_retry(&mut redis, ids).await;
        self.judge(number, entries)
    }

    /// Deletes announcements that were set aside for good, by [`Dead::id`]. Answers how many there were.
    ///
    /// # Errors
    /// See [`AskError`]. Safe to repeat.
    pub async fn drop_dead(&self, ids: &[EntryId]) -> Result<u64, AskError> {
        let Borrowed { number, mut redis } = self.connected().await?;
        let dropped = self.calls.dead_drop(&mut redis, ids).await;
        self.judge(number, dropped)
    }

    /// How the service stands, and what of the server weakens a promise.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn status(&self) -> Result<Status, AskError> {
        let Borrowed { number, mut redis } = self.connected().await?;
        let status = self.calls.status(&mut redis).await;
        self.judge(number, status)
    }

    fn judge<T>(&self, number: u64, answer: Result<T, Trouble>) -> Result<T, AskError> {
        if let Err(trouble) = &answer {
            self.connection.judge(number, trouble);
        }
        answer.map_err(AskError::from_answer)
    }

    async fn connected(&self) -> Result<Borrowed, AskError> {
        self.connection.borrow().await.map_err(AskError::from_connecting)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).finish_non_exhaustive()
    }
}
