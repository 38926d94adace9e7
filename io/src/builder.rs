//! How a client is set up: one builder, whose settings are checked together.

use std::{sync::Arc, time::Duration};

use streamkeeper_core::{
    config::{ClaimMode, Config, Retry, Settings},
    entries::Config as EntriesConfig,
    id::ConsumerId,
    keys::Keys,
    partitions::{Counts, keys_of},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::Client,
    entries,
    errors::Error,
    identity,
    links::{
        builders::led_to_servers,
        connect::Connect,
        servers::{Patience, Servers},
    },
    metrics::Meters,
    partitions,
    service::Service,
    start,
    witnesses::Wanted,
};

/// Sets up a [`Client`]. Everything but the service's name has a default.
///
/// ```no_run
/// # async fn example() -> Result<(), streamkeeper::Error> {
/// use std::time::Duration;
///
/// let client = streamkeeper::Client::builder("orders")
///     .redis("redis://localhost:6379")
///     .name("worker-1")
///     .lease_ttl(Duration::from_secs(5))
///     .capacity(2_000)
///     .start()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    pub(crate) service: String,
    pub(crate) servers: Servers,
    pub(crate) name: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) output_buffer: usize,
    pub(crate) hint_buffer: usize,
    pub(crate) dead_limit: Option<u64>,
    pub(crate) metrics: Option<String>,
    pub(crate) cancel: CancellationToken,
    pub(crate) grace: Duration,
    pub(crate) start_within: Duration,
    pub(crate) connect: Option<Arc<dyn Connect>>,
    pub(crate) seed: Option<u64>,
    pub(crate) entries: Option<entries::Settings>,
    pub(crate) replicas: Option<Wanted>,
    pub(crate) partitions: Option<u32>,
}

led_to_servers!([] Builder);

impl Builder {
    pub(crate) fn new(service: &str) -> Builder {
        Builder {
            service: service.to_owned(),
            servers: Servers::default(),
            name: None,
            settings: Settings::default(),
            output_buffer: 1_000,
            hint_buffer: 10_000,
            dead_limit: Some(10_000),
            metrics: Some("streamkeeper".to_owned()),
            cancel: CancellationToken::new(),
            grace: Duration::from_secs(2),
            start_within: Duration::from_secs(10),
            connect: None,
            seed: None,
            entries: None,
            replicas: None,
            partitions: None,
        }
    }

    /// The consumer's name, unique in the fleet; its id is `redis-consumer-` and the name. Default: the environment's
    /// `POD_NAME`, else `POD_IP`, else the host's name and a random suffix.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Puts `{service}` in front of every key, so that all lie in one slot of a Redis Cluster. Not shared with Go
    /// peers. Default: on where the URL is a `redis-cluster://`, off elsewhere.
    pub fn hash_tagged(mut self, on: bool) -> Builder {
        self.servers.hash_tagged = Some(on);
        self
    }

    /// Spreads the service over so many partitions, each in a slot of its own: in a cluster on whichever node serves it.
    /// Consumers serve all of them, with one capacity; a stream lives in the one that its name tells. *Everybody* who
    /// announces to the service or consumes it must ask for partitions; how many, is written down in Redis by the first.
    ///
    /// A greater number, a multiple of the present one, raises it for all, while the service runs; a smaller one changes
    /// nothing. Each partition costs every consumer three connections. Not shared with Go peers. Default: 1, which is a
    /// service without partitions: one that has begun without any cannot be given some.
    ///
    /// Where the entries of a stream are read in a cluster, its name must have the hash tag of a partition,
    /// `{service:3}orders-17`: such a stream lives in that partition.
    pub fn partitions(mut self, partitions: u32) -> Builder {
        self.partitions = (partitions != 1).then_some(partitions);
        self
    }

    /// How long a lease lives without a heartbeat: what a crash costs. Default 3 s, at least 2 s.
    pub fn lease_ttl(mut self, span: Duration) -> Builder {
        self.settings.lease_ttl = span;
        self
    }

    /// How often leases are renewed. Default 1 s, at most a third of `lease_ttl`.
    pub fn heartbeat(mut self, span: Duration) -> Builder {
        self.settings.heartbeat = span;
        self
    }

    /// How often one consumer of the fleet looks for orphans. Default 200 ms.
    pub fn reap_interval(mut self, span: Duration) -> Builder {
        self.settings.reap_interval = span;
        self
    }

    /// How many streams this consumer owns at most. Default 10,000.
    pub fn capacity(mut self, streams: usize) -> Builder {
        self.settings.capacity = streams;
        self
    }

    /// Who claims orphans: the client by itself (default), or the application.
    pub fn claim(mut self, mode: ClaimMode) -> Builder {
        self.settings.claim = mode;
        self
    }

    /// The longest that a consumer with much to do leaves an orphan to others. Default 150 ms.
    pub fn claim_delay(mut self, span: Duration) -> Builder {
        self.settings.claim_delay = span;
        self
    }

    /// How many ownerships of a stream in a row may end in a crash before it is set aside. Default 10; 0: no limit.
    pub fn max_takeovers(mut self, times: u32) -> Builder {
        self.settings.max_takeovers = times;
        self
    }

    /// How many times in a row a stream's handler may fail before it is set aside. Default 10; 0: no limit.
    pub fn max_failures(mut self, times: u32) -> Builder {
        self.settings.max_failures = times;
        self
    }

    /// The pause before a stream whose handler failed is handed out again, and the limit up to which it doubles with
    /// each failure, a week at most. Default 1 s and 60 s.
    pub fn failure_backoff(mut self, first: Duration, limit: Duration) -> Builder {
        (self.settings.failure_backoff, self.settings.failure_backoff_limit) = (first, limit);
        self
    }

    /// How often a lost connection is tried again in a row before the client ends. Default: for as long as it takes.
    pub fn retry(mut self, retry: Retry) -> Builder {
        self.settings.retry = retry;
        self
    }

    /// The pause between two such tries, and the limit up to which it doubles. Default 20 ms and 1 s.
    pub fn retry_backoff(mut self, first: Duration, limit: Duration) -> Builder {
        (self.settings.retry_backoff, self.settings.retry_backoff_limit) = (first, limit);
        self
    }

    /// How long one call to Redis, or making a connection, may take. Default 1 s. For a client it must be shorter than what
    /// remains of a lease after one heartbeat and the margin; for a [`service`](Builder::service) it may be any time.
    pub fn call_timeout(mut self, span: Duration) -> Builder {
        self.settings.call_timeout = span;
        self
    }

    /// After an acquire, waits until so many replicas know of it, so that a failover right then does not forget who owns
    /// what; at most for `within`, which may be a quarter of `heartbeat`. If fewer answer in time, that is said once as a
    /// warning, and by the metrics `replicas_missing` and `waited_for_replicas_total`; what was acquired is owned all the
    /// same. Default: 0, nobody is waited for.
    pub fn wait_for_replicas(mut self, replicas: u32, within: Duration) -> Builder {
        self.replicas = (replicas > 0).then_some(Wanted { replicas, within });
        self
    }

    /// All settings of the machine at once.
    pub fn settings(mut self, settings: Settings) -> Builder {
        self.settings = settings;
        self
    }

    /// How the entries of owned streams are fetched and commits are made. Default: [`entries::Settings::default`], with
    /// this client's [`call_timeout`](Builder::call_timeout) and [`retry_backoff`](Builder::retry_backoff); what is given
    /// here replaces these, too.
    pub fn entries(mut self, settings: entries::Settings) -> Builder {
        self.entries = Some(settings);
        self
    }

    /// How many notifications may be unread before nothing new is taken. Memory is bounded by this and the capacity.
    /// Default 1,000.
    pub fn output_buffer(mut self, notifications: usize) -> Builder {
        self.output_buffer = notifications;
        self
    }

    /// How many keyspace notifications may wait to be looked at; what is beyond is dropped and found by the reaper.
    /// Default 10,000.
    pub fn hint_buffer(mut self, hints: usize) -> Builder {
        self.hint_buffer = hints;
        self
    }

    /// How many announcements that were set aside are kept, about, and as many entries in `S-dead-entries`; the oldest go
    /// first. `None`: all. Default 10,000.
    pub fn dead_limit(mut self, announcements: Option<u64>) -> Builder {
        self.dead_limit = announcements;
        self
    }

    /// The first part of every metric's name; `None` measures nothing. Default `streamkeeper`.
    pub fn metrics(mut self, prefix: Option<&str>) -> Builder {
        self.metrics = prefix.map(str::to_owned);
        self
    }

    /// Cancelling this token does what [`Client::shutdown`] does, within [`grace`](Builder::grace).
    pub fn cancel(mut self, token: &CancellationToken) -> Builder {
        self.cancel = token.clone();
        self
    }

    /// How long a shutdown by the token, or by dropping the last [`Client`], may take. Default 2 s.
    pub fn grace(mut self, span: Duration) -> Builder {
        self.grace = span;
        self
    }

    /// How long [`start`](Builder::start) waits for a server. Default 10 s. Of several
    /// [`partitions`](Builder::partitions), one suffices: once there is one, the next one is waited for no longer than a
    /// [`lease_ttl`](Builder::lease_ttl), and those that are missing then are served as soon as they can be reached.
    /// Streams may be taken meanwhile: their notifications wait for [`start`](Builder::start) to return.
    pub fn start_within(mut self, span: Duration) -> Builder {
        self.start_within = span;
        self
    }

    /// Makes attempts and jitter the same in every run: for simulations only. Default: random.
    #[doc(hidden)]
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = Some(seed);
        self
    }

    /// Starts the consumer, and waits until the server is reached and prepared.
    ///
    /// Cancel safe: dropping the future stops the consumer.
    ///
    /// # Errors
    /// What cannot work: a name, setting or URL ([`Error::Name`], [`Error::Config`], [`Error::Url`], [`Error::Tls`]),
    /// no server in time ([`Error::Unreachable`]), or a server on which the protocol cannot run ([`Error::Refused`],
    /// [`Error::WrongType`], [`Error::Unsupported`]).
    pub async fn start(self) -> Result<Client, Error> {
        start::start(self).await
    }

    /// The service from outside, without being a consumer: to announce, to see what is set aside, and its status.
    /// Connects when first used.
    ///
    /// # Errors
    /// As [`start`](Builder::start), for names, settings and URLs.
    pub fn service(self) -> Result<Service, Error> {
        Service::new(&self)
    }

    /// How many partitions there are to be, at least; `None` for a service without any.
    pub(crate) fn wanted_partitions(&self) -> Result<Option<partitions::Wanted>, Error> {
        let Some(count) = self.partitions else { return Ok(None) };
        Counts::first(&self.service, count)?;
        Ok(Some(partitions::Wanted(count)))
    }

    /// The keys of a partition; of the service, if it has none.
    pub(crate) fn keys_of(&self, partition: u32) -> Result<Keys, Error> {
        match self.partitions {
            Some(_) => Ok(keys_of(&self.service, partition)?),
            None => self.keys(),
        }
    }

    fn keys(&self) -> Result<Keys, Error> {
        Ok(if self.servers.are_tagged() { Keys::hash_tagged(&self.service) } else { Keys::plain(&self.service) }?)
    }

    pub(crate) fn config(&self) -> Result<Config, Error> {
        let config = Config::new(self.settings.clone())?;
        self.replicas.map_or(Ok(()), |wanted| wanted.check(&config))?;
        Ok(config)
    }

    /// The same for those who own nothing.
    pub(crate) fn config_outside(&self) -> Result<Config, Error> {
        Ok(Config::outside(self.settings.clone())?)
    }

    pub(crate) fn entries_config(&self) -> Result<EntriesConfig, Error> {
        let s = &self.settings;
        let default = || entries::Settings {
            call_timeout: s.call_timeout,
            retry_backoff: s.retry_backoff,
            retry_backoff_limit: s.retry_backoff_limit,
            ..entries::Settings::default()
        };
        Ok(EntriesConfig::new(self.entries.clone().unwrap_or_else(default))?)
    }

    pub(crate) fn entries_meters(&self, partition: u32) -> entries::Meters {
        entries::Meters(match &self.metrics {
            Some(prefix) => Meters::new(&format!("{prefix}_entries"), &self.name_of(partition)),
            None => Meters::off(),
        })
    }

    pub(crate) fn consumer(&self) -> Result<ConsumerId, Error> {
        Ok(ConsumerId::named(&identity::name(self.name.as_deref())?)?)
    }

    /// The way to a partition; to the service, if it has none.
    pub(crate) fn connect_to(&self, config: &Config, partition: u32) -> Result<Arc<dyn Connect>, Error> {
        if let Some(connect) = &self.connect {
            return Ok(self.servers.asking(connect.clone()));
        }
        // A peer that acknowledges nothing for half a lease is given up.
        let patience = Patience { call_timeout: config.call_timeout, unheard_for: config.lease_ttl / 2 };
        self.servers.reach(patience, &self.keys_of(partition)?.lbs())
    }

    /// What a partition is called: as a service of its own.
    pub(crate) fn name_of(&self, partition: u32) -> String {
        match self.partitions {
            Some(_) => format!("{{{}:{partition}}}", self.service),
            None => self.service.clone(),
        }
    }

    pub(crate) fn meters(&self, partition: u32) -> Meters {
        match &self.metrics {
            Some(prefix) => Meters::new(prefix, &self.name_of(partition)),
            None => Meters::off(),
        }
    }
}
