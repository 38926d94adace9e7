//! The partitions of a service as announcers and operators reach them: a connection to each, made when it is needed, and
//! what is known of how many there are. A service without partitions is one such place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, stream::FuturesUnordered};
use redis::aio::MultiplexedConnection;
use streamkeeper_core::{
    config::Config,
    id::ConsumerId,
    keys::Keys,
    partitions::{Agreed, Counts},
    trouble::Trouble,
};

use super::Wanted;
use crate::{
    builder::Builder,
    calls::{Calls, PartOf},
    errors::{AskError, Error},
    links::{connect::Connect, on_demand::OnDemand},
};

/// How often the list of numbers is tried to be written while others write it, too.
const TRIES: usize = 100;

/// One partition, or the whole of a service that has none.
pub(crate) struct Place {
    /// Its number; 0 if there are none.
    pub(crate) number: u32,
    pub(crate) calls: Calls,
    connection: OnDemand,
}

impl Place {
    /// Makes a call, again while it is refused for the moment.
    pub(crate) async fn ask<'a, T, A>(
        &'a self,
        call: impl Fn(&'a Calls, MultiplexedConnection) -> A,
    ) -> Result<T, AskError>
    where
        A: Future<Output = Result<T, Trouble>>,
    {
        Ok(self.connection.ask(|redis| call(&self.calls, redis)).await?)
    }

    /// The same for several things, each with an answer of its own.
    pub(crate) async fn ask_each<'a, I, T, A>(
        &'a self,
        items: Vec<I>,
        call: impl Fn(&'a Calls, MultiplexedConnection, Arc<[I]>) -> A,
    ) -> Vec<Result<T, AskError>>
    where
        I: Clone,
        A: Future<Output = Vec<Result<T, Trouble>>>,
    {
        let answers = self.connection.ask_each(items, |redis, items| call(&self.calls, redis, items)).await;
        answers.into_iter().map(|answer| answer.map_err(AskError::from)).collect()
    }

    pub(crate) fn part_of(&self, service: &str) -> PartOf {
        PartOf { service: service.into(), number: self.number }
    }
}

/// All of them.
pub(crate) struct Places {
    builder: Builder,
    config: Config,
    wanted: Option<Wanted>,
    all: Mutex<All>,
}

struct All {
    /// Those that were asked for so far, by their number.
    places: Vec<Arc<Place>>,
    /// How many there are and were, once that is known.
    counts: Option<Counts>,
    /// Somebody was told that there are more than were asked for.
    said_more: bool,
}

impl Places {
    /// `first` reaches the service, or its first partition.
    pub(crate) fn new(builder: &Builder, first: Arc<dyn Connect>, config: &Config) -> Result<Places, Error> {
        let wanted = builder.wanted_partitions()?;
        let first = Arc::new(place(builder, config, first, 0)?);
        Ok(Places {
            builder: builder.clone(),
            config: config.clone(),
            wanted,
            all: Mutex::new(All { places: vec![first], counts: None, said_more: false }),
        })
    }

    pub(crate) fn service(&self) -> &str {
        &self.builder.service
    }

    /// Whether the service has partitions.
    pub(crate) fn are_many(&self) -> bool {
        self.wanted.is_some()
    }

    /// The service itself, or its first partition.
    pub(crate) fn first(&self) -> Arc<Place> {
        self.lock().places[0].clone()
    }

    /// The partition of this number.
    pub(crate) fn place(&self, number: u32) -> Result<Arc<Place>, AskError> {
        let mut all = self.lock();
        while all.places.len() as u64 <= u64::from(number) {
            let next = u32::try_from(all.places.len()).unwrap_or(u32::MAX);
            let made = self
                .builder
                .connect_to(&self.config, next)
                .and_then(|connect| place(&self.builder, &self.config, connect, next));
            let place = made.map_err(|e| AskError::Unreachable(Trouble::other(e.to_string())))?;
            all.places.push(Arc::new(place));
        }
        Ok(all.places[number as usize].clone())
    }

    /// Every partition that there is now, or the service itself. Raises nothing.
    pub(crate) async fn all(&self) -> Result<Vec<Arc<Place>>, AskError> {
        if !self.are_many() {
            return Ok(vec![self.first()]);
        }
        let counts = self.look().await?;
        (0..counts.last()).map(|number| self.place(number)).collect()
    }

    /// How many partitions there are and were, as far as it is known: those that stand in Redis, and raised to what was
    /// wanted if nobody has asked before. Where that is not reached, what the other partitions know.
    pub(crate) async fn counts(&self) -> Result<Counts, AskError> {
        let known = self.lock().counts.clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let error = match self.agree(self.wanted()).await {
            Err(AskError::Unreachable(trouble)) => AskError::Unreachable(trouble),
            Err(AskError::Unanswered(trouble)) => AskError::Unanswered(trouble),
            Err(AskError::Refused(trouble)) if trouble.kind.may_pass() => AskError::Refused(trouble),
            answer => return answer,
        };
        let Some(counts) = self.ask_around().await? else { return Err(error) };
        tracing::warn!(
            service = self.service(), partitions = %counts, %error,
            "the first partition is not reached: how many there are is what the others know",
        );
        self.say_if_more(self.wanted(), &counts);
        self.learn(&counts)
    }

    /// What stands in Redis now. What was lost there is written again.
    pub(crate) async fn refresh(&self) -> Result<Counts, AskError> {
        self.counts().await?;
        self.agree(0).await
    }

    /// How many partitions there are, as the others know it, where nobody answers who has it written down: each knows for
    /// how many it has told its streams apart. They may know less than is true, as announcers may. `None` if they know of
    /// fewer than are wanted: only where it is written down can it be raised.
    ///
    /// # Errors
    /// Those that were heard until enough were known of contradict each other; one of them cannot be addressed.
    async fn ask_around(&self) -> Result<Option<Counts>, AskError> {
        let places = (1..self.wanted()).map(|number| self.place(number)).collect::<Result<Vec<_>, _>>()?;
        let ask = |place: &Arc<Place>| {
            let place = place.clone();
            async move {
                let layout = place.ask(|calls, mut redis| async move { calls.layout(&mut redis).await }).await;
                (place.number, layout)
            }
        };
        let mut asked: FuturesUnordered<_> = places.iter().map(ask).collect();
        let mut found: Option<Counts> = None;
        // Some lie where the first one does: nobody waits for them.
        while found.as_ref().is_none_or(|counts| counts.last() < self.wanted()) {
            let Some((partition, layout)) = asked.next().await else { return Ok(None) };
            let Ok((_, Some(told))) = layout else { continue };
            let told: Counts = match told.parse() {
                Ok(told) => told,
                Err(error) => {
                    tracing::warn!(partition, %error, "what a partition knows of their number is passed over");
                    continue;
                }
            };
            found = Some(match found {
                Some(found) => found.join(self.service(), &told)?,
                None => told,
            });
        }
        Ok(found)
    }

    fn wanted(&self) -> u32 {
        self.wanted.map_or(1, |wanted| wanted.0)
    }

    /// What is known, without changing anything; what was wanted if nobody has written anything.
    async fn look(&self) -> Result<Counts, AskError> {
        match self.first().ask(|calls, mut redis| async move { calls.counts(&mut redis).await }).await? {
            Some(text) => Ok(text.parse()?),
            None => Ok(Counts::first(self.service(), self.wanted())?),
        }
    }

    /// Another partition knows of these.
    pub(crate) fn learn(&self, counts: &Counts) -> Result<Counts, AskError> {
        let mut all = self.lock();
        let known = match all.counts.take() {
            Some(known) => known.join(self.service(), counts)?,
            None => counts.clone(),
        };
        all.counts = Some(known.clone());
        Ok(known)
    }

    /// Goes by what stands in Redis, and has it continued if more are wanted or known.
    async fn agree(&self, wanted: u32) -> Result<Counts, AskError> {
        let known = self.lock().counts.clone();
        let known = known.map_or_else(|| Counts::first(self.service(), wanted), Ok)?;
        let place = self.first();
        let mut stands = place.ask(|calls, mut redis| async move { calls.counts(&mut redis).await }).await?;
        for _ in 0..TRIES {
            let parsed = stands.as_deref().map(str::parse).transpose()?;
            let counts = match Counts::agree(self.service(), parsed, &known, wanted)? {
                Agreed::Keep(counts) => counts,
                Agreed::Write(counts) => {
                    let (old, new) = (stands.as_deref().unwrap_or_default(), &*counts.to_string());
                    let asked =
                        place.ask(|calls, mut redis| async move { calls.agree_on_counts(&mut redis, old, new).await });
                    let written = asked.await?;
                    if *written != *new {
                        stands = Some(written).filter(|text| !text.is_empty());
                        continue;
                    }
                    tracing::info!(partitions = %counts, "the number of partitions was written down");
                    counts
                }
            };
            self.say_if_more(wanted, &counts);
            self.lock().counts = Some(counts.clone());
            return Ok(counts);
        }
        Err(AskError::Refused(Trouble::other("others keep writing the number of partitions")))
    }

    /// Whoever wants fewer than there are is told so once.
    fn say_if_more(&self, wanted: u32, counts: &Counts) {
        let more = wanted > 0 && counts.last() > wanted;
        if more && !std::mem::replace(&mut self.lock().said_more, true) {
            let (service, partitions) = (self.service(), counts.last());
            tracing::warn!(
                service,
                partitions,
                wanted,
                "the service has more partitions than were asked for: all are used"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(builder: &Builder, config: &Config, connect: Arc<dyn Connect>, number: u32) -> Result<Place, Error> {
    let nobody = ConsumerId::named("none")?;
    let keys: Keys = builder.keys_of(number)?;
    let calls = Calls::new(keys, nobody, config.clone(), builder.dead_limit, 0);
    let calls = if builder.partitions.is_some() { calls.in_partition(number) } else { calls };
    Ok(Place { number, calls, connection: OnDemand::new(connect, config.call_timeout) })
}
