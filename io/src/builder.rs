//! How a client is set up: one builder, whose settings are checked together.

use std::{sync::Arc, time::Duration};

use streamkeeper_core::{
    config::{ClaimMode, Config, Retry, Settings},
    id::ConsumerId,
    keys::Keys,
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::Client,
    errors::Error,
    identity,
    links::{connect::Connect, tcp::Tcp, tls::Tls},
    metrics::Meters,
    service::Service,
    start,
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
    pub(crate) urls: Vec<String>,
    pub(crate) tls: Tls,
    pub(crate) name: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) hash_tagged: bool,
    pub(crate) output_buffer: usize,
    pub(crate) hint_buffer: usize,
    pub(crate) dead_limit: Option<u64>,
    pub(crate) metrics: Option<String>,
    pub(crate) cancel: CancellationToken,
    pub(crate) grace: Duration,
    pub(crate) start_within: Duration,
    pub(crate) connect: Option<Arc<dyn Connect>>,
    pub(crate) seed: Option<u64>,
}

impl Builder {
    pub(crate) fn new(service: &str) -> Builder {
        Builder {
            service: service.to_owned(),
            urls: Vec::new(),
            tls: Tls::default(),
            name: None,
            settings: Settings::default(),
            hash_tagged: false,
            output_buffer: 1_000,
            hint_buffer: 10_000,
            dead_limit: Some(10_000),
            metrics: Some("streamkeeper".to_owned()),
            cancel: CancellationToken::new(),
            grace: Duration::from_secs(2),
            start_within: Duration::from_secs(10),
            connect: None,
            seed: None,
        }
    }

    /// The server: `redis://[user][:password@]host[:port][/db]`, `rediss://` for TLS, `unix:///path?db=1` for a unix
    /// socket. Called again, it adds a server to try when the ones before cannot be reached or turn out to be
    /// replicas. Default: `redis://127.0.0.1:6379`.
    pub fn redis(mut self, url: impl Into<String>) -> Builder {
        self.urls.push(url.into());
        self
    }

    /// How a `rediss://` server is checked, and what we show it. Default: the web's certificate authorities, nothing.
    pub fn tls(mut self, tls: Tls) -> Builder {
        self.tls = tls;
        self
    }

    /// Reaches the server in an own way instead of by URL.
    pub fn connect_with(mut self, connect: Arc<dyn Connect>) -> Builder {
        self.connect = Some(connect);
        self
    }

    /// The consumer's name, unique in the fleet; its id is `redis-consumer-` and the name. Default: the environment's
    /// `POD_NAME`, else `POD_IP`, else the host's name and a random suffix.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Puts `{service}` in front of every key, so that all lie in one slot of a Redis Cluster. Not shared with Go
    /// peers. Default: off.
    pub fn hash_tagged(mut self, on: bool) -> Builder {
        self.hash_tagged = on;
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
    /// each failure. Default 1 s and 60 s.
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

    /// How long one call to Redis, or making a connection, may take. Default 1 s.
    pub fn call_timeout(mut self, span: Duration) -> Builder {
        self.settings.call_timeout = span;
        self
    }

    /// All settings of the machine at once.
    pub fn settings(mut self, settings: Settings) -> Builder {
        self.settings = settings;
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

    /// How many announcements that were set aside are kept, about; the oldest go first. `None`: all. Default 10,000.
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

    /// How long [`start`](Builder::start) waits for a server. Default 10 s.
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

    pub(crate) fn keys(&self) -> Result<Keys, Error> {
        Ok(if self.hash_tagged { Keys::hash_tagged(&self.service) } else { Keys::plain(&self.service) }?)
    }

    pub(crate) fn config(&self) -> Result<Config, Error> {
        Ok(Config::new(self.settings.clone())?)
    }

    pub(crate) fn consumer(&self) -> Result<ConsumerId, Error> {
        Ok(ConsumerId::named(&identity::name(self.name.as_deref())?)?)
    }

    pub(crate) fn connect(&self, config: &Config) -> Result<Arc<dyn Connect>, Error> {
        if let Some(connect) = &self.connect {
            return Ok(connect.clone());
        }
        let urls = self.urls.iter().map(String::as_str);
        let default = self.urls.is_empty().then_some("redis://127.0.0.1:6379");
        // A peer that acknowledges nothing for half a lease is given up.
        Ok(Arc::new(Tcp::new(urls.chain(default), &self.tls, config.lease_ttl / 2)?))
    }

    pub(crate) fn meters(&self) -> Meters {
        match &self.metrics {
            Some(prefix) => Meters::new(prefix, &self.service),
            None => Meters::off(),
        }
    }
}
