//! How a consumer is set up: one builder, whose settings are checked together. The machine's own settings are in
//! [`settings`](super::settings).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use metrics::Label;
use serde::de::DeserializeOwned;
use streamkeeper_core::messages::{Config, Consumer as ConsumerName, Keys, Settings};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{
    codec::{Decode, Json},
    consumer::Consumer,
    errors::Error,
    handler::Typed,
    operator::Messages,
    runs::OnSpan,
    start,
    worker::Worker,
};
use crate::{
    identity,
    links::{
        builders::led_to_servers,
        connect::Connect,
        servers::{Patience, Servers},
    },
    metrics::Meters,
};

/// Sets up a [`Consumer`]. Everything but the names of stream and group has a default.
///
/// ```no_run
/// # async fn example() -> Result<(), streamkeeper::messages::Error> {
/// use std::time::Duration;
/// use streamkeeper::messages::{Consumer, Context};
///
/// let consumer = Consumer::builder("orders", "billing")
///     .redis("redis://localhost:6379")
///     .concurrency(100)
///     .max_attempts(3)
///     .start(|order: serde_json::Value, context: Context| async move {
///         println!("{}: {order}", context.entry());
///         Ok::<(), std::io::Error>(())
///     })
///     .await?;
/// consumer.shutdown(Duration::from_secs(10)).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    pub(crate) streams: Vec<String>,
    pub(crate) group: String,
    pub(crate) settings: Settings,
    pub(crate) grace: Duration,
    pub(crate) start_within: Duration,
    pub(crate) cancel: CancellationToken,
    pub(crate) on_span: Option<OnSpan>,
    pub(crate) seed: Option<u64>,
    servers: Servers,
    name: Option<String>,
    metrics: Option<String>,
    connect: Option<Arc<dyn Connect>>,
}

led_to_servers!([] Builder);

impl Builder {
    pub(crate) fn new(stream: String, group: String) -> Builder {
        Builder {
            streams: vec![stream],
            group,
            settings: Settings::default(),
            grace: Duration::from_secs(10),
            start_within: Duration::from_secs(10),
            cancel: CancellationToken::new(),
            on_span: None,
            seed: None,
            servers: Servers::default(),
            name: None,
            metrics: Some("streamkeeper".to_owned()),
            connect: None,
        }
    }

    /// Consumes this stream too, with the same group and worker. Each stream has connections, a thread and limits of
    /// its own: the settings are for each.
    pub fn stream(mut self, stream: impl Into<String>) -> Builder {
        self.streams.push(stream.into());
        self
    }

    /// The consumer's name in the group; a random number is added, so that it need not be unique. Default: the
    /// environment's `POD_NAME`, else `POD_IP`, else the host's name and a random suffix.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Puts `{stream}` in front of every key but the stream's own, so that all lie in its slot of a Redis Cluster.
    /// Every producer and consumer must be given the same. Default: on where the URL is a `redis-cluster://`, off elsewhere.
    pub fn hash_tagged(mut self, on: bool) -> Builder {
        self.servers.hash_tagged = Some(on);
        self
    }

    /// The first part of every metric's name; `None` measures nothing. Default `streamkeeper`.
    pub fn metrics(mut self, prefix: Option<&str>) -> Builder {
        self.metrics = prefix.map(str::to_owned);
        self
    }

    /// Cancelling this token does what [`Consumer::shutdown`] does, within [`grace`](Builder::grace).
    pub fn cancel(mut self, token: &CancellationToken) -> Builder {
        self.cancel = token.clone();
        self
    }

    /// How long a shutdown by the token, or by dropping the last [`Consumer`], may take. Default 10 s.
    pub fn grace(mut self, span: Duration) -> Builder {
        self.grace = span;
        self
    }

    /// How long [`start`](Builder::start) waits for a server. Default 10 s.
    pub fn start_within(mut self, span: Duration) -> Builder {
        self.start_within = span;
        self
    }

    /// What is done with the span of each run whose message has a W3C trace context: to make it that one's child. It
    /// is called before the run begins, with the span and the text of `traceparent`.
    ///
    /// With the crates `opentelemetry` and `tracing-opentelemetry`:
    ///
    /// ```ignore
    /// let propagator = opentelemetry_sdk::propagation::TraceContextPropagator::new();
    /// builder.on_span(move |span, traceparent| {
    ///     let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    ///     span.set_parent(propagator.extract(&carrier));
    /// })
    /// ```
    pub fn on_span(mut self, hook: impl Fn(&Span, &str) + Send + Sync + 'static) -> Builder {
        self.on_span = Some(Arc::new(hook));
        self
    }

    /// Makes names and jitter the same in every run: for simulations only. Default: random.
    #[doc(hidden)]
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = Some(seed);
        self
    }

    /// Starts consuming messages that stand as JSON in the field `body`, and waits until the server is reached and
    /// prepared.
    ///
    /// The worker runs on the runtime from which this is called. Cancel safe: dropping the future stops the consumer.
    ///
    /// # Errors
    /// What cannot work: a name, setting or URL ([`Error::Name`], [`Error::Config`], [`Error::Server`]), no server in
    /// time ([`Error::Unreachable`]), or a server that cannot be used ([`Error::Refused`], [`Error::WrongType`],
    /// [`Error::Unsupported`]).
    pub async fn start<T, W>(self, worker: W) -> Result<Consumer, Error>
    where
        T: DeserializeOwned + Send + 'static,
        W: Worker<T>,
    {
        self.start_with(Json::default(), worker).await
    }

    /// The same with another codec: [`Json::field`], [`Flat`](super::Flat), [`Raw`](super::Raw) or an own one.
    ///
    /// # Errors
    /// As [`start`](Builder::start).
    pub async fn start_with<T, W>(self, codec: impl Decode<T>, worker: W) -> Result<Consumer, Error>
    where
        T: Send + 'static,
        W: Worker<T>,
    {
        start::start(self, Arc::new(Typed { worker, codec: Arc::new(codec) })).await
    }

    /// The stream and the group from outside, without consuming: dead letters, scheduled messages, status. Of several
    /// streams, the first. Connects when first used.
    ///
    /// # Errors
    /// As [`start`](Builder::start), for names, settings and URLs.
    pub fn messages(self) -> Result<Messages, Error> {
        Messages::new(&self)
    }

    /// The keys of each stream.
    pub(crate) fn keys(&self) -> Result<Vec<Keys>, Error> {
        let mut seen = BTreeSet::new();
        let mut all = Vec::with_capacity(self.streams.len());
        for stream in &self.streams {
            if !seen.insert(stream) {
                return Err(Error::Twice { stream: stream.clone(), group: self.group.clone() });
            }
            let make = if self.servers.are_tagged() { Keys::hash_tagged } else { Keys::plain };
            all.push(make(stream, &self.group)?);
        }
        Ok(all)
    }

    pub(crate) fn config(&self) -> Result<Config, Error> {
        Ok(Config::new(self.settings.clone())?)
    }

    /// The same for those who work on nothing: how soon messages are taken from a consumer bounds its calls, not theirs.
    pub(crate) fn config_outside(&self) -> Result<Config, Error> {
        let mut settings = self.settings.clone();
        settings.reclaim_idle = settings.reclaim_idle.max(settings.call_timeout.saturating_mul(4));
        Ok(Config::new(settings)?)
    }

    pub(crate) fn consumer(&self, incarnation: u64) -> Result<ConsumerName, Error> {
        Ok(ConsumerName::new(&identity::name(self.name.as_deref())?, incarnation)?)
    }

    /// How the server of each of these streams is reached: there is one for each.
    pub(crate) fn connect(&self, config: &Config, keys: &[Keys]) -> Result<Vec<Arc<dyn Connect>>, Error> {
        if let Some(connect) = &self.connect {
            return Ok(keys.iter().map(|_| self.servers.asking(connect.clone())).collect());
        }
        // A peer that acknowledges nothing for half the time after which messages are taken from us is given up.
        let streams: Vec<&str> = keys.iter().map(Keys::stream).collect();
        let patience = Patience { call_timeout: config.call_timeout, unheard_for: config.reclaim_idle / 2 };
        Ok(self.servers.reach_each(patience, &streams)?)
    }

    pub(crate) fn meters(&self, stream: &str) -> Meters {
        let labels = || vec![Label::new("stream", stream.to_owned()), Label::new("group", self.group.clone())];
        match &self.metrics {
            Some(prefix) => Meters::labelled(format!("{prefix}_messages"), labels()),
            None => Meters::off(),
        }
    }
}
