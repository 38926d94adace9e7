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
    links::{connect::Connect, tcp::Tcp, tls::Tls},
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
    urls: Vec<String>,
    tls: Tls,
    name: Option<String>,
    hash_tagged: bool,
    metrics: Option<String>,
    connect: Option<Arc<dyn Connect>>,
}

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
            urls: Vec::new(),
            tls: Tls::default(),
            name: None,
            hash_tagged: false,
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

    /// The consumer's name in the group; a random number is added, so that it need not be unique. Default: the
    /// environment's `POD_NAME`, else `POD_IP`, else the host's name and a random suffix.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Puts `{stream}` in front of every key but the stream's own, so that all lie in its slot of a Redis Cluster.
    /// Every producer and consumer must be given the same. Default: off.
    pub fn hash_tagged(mut self, on: bool) -> Builder {
        self.hash_tagged = on;
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
            let make = if self.hash_tagged { Keys::hash_tagged } else { Keys::plain };
            all.push(make(stream, &self.group)?);
        }
        Ok(all)
    }

    pub(crate) fn config(&self) -> Result<Config, Error> {
        Ok(Config::new(self.settings.clone())?)
    }

    pub(crate) fn consumer(&self, incarnation: u64) -> Result<ConsumerName, Error> {
        Ok(ConsumerName::new(&identity::name(self.name.as_deref())?, incarnation)?)
    }

    pub(crate) fn connect(&self, config: &Config) -> Result<Arc<dyn Connect>, Error> {
        match &self.connect {
            Some(connect) => Ok(connect.clone()),
            // A peer that acknowledges nothing for half the time after which messages are taken from us is given up.
            None => connect(&self.urls, &self.tls, config.reclaim_idle / 2),
        }
    }

    pub(crate) fn meters(&self, stream: &str) -> Meters {
        let labels = || vec![Label::new("stream", stream.to_owned()), Label::new("group", self.group.clone())];
        match &self.metrics {
            Some(prefix) => Meters::labelled(format!("{prefix}_messages"), labels()),
            None => Meters::off(),
        }
    }
}

/// Connects as these URLs say, or to a server on this machine.
pub(crate) fn connect(urls: &[String], tls: &Tls, unheard_for: Duration) -> Result<Arc<dyn Connect>, Error> {
    let default = urls.is_empty().then_some("redis://127.0.0.1:6379");
    Ok(Arc::new(Tcp::new(urls.iter().map(String::as_str).chain(default), tls, unheard_for)?))
}
