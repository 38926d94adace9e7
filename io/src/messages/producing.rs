//! How a producer is set up.

use std::{fmt, sync::Arc, time::Duration};

use metrics::Label;
use serde::Serialize;
use streamkeeper_core::messages::Keys;

use super::{
    codec::{Encode, Json},
    errors::Error,
    producer::{Producer, Trace},
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

/// Sets up a [`Producer`]. Everything but the stream's name has a default.
#[must_use = "a builder does nothing until it is built"]
pub struct ProducerBuilder<T: ?Sized> {
    pub(crate) stream: String,
    pub(crate) codec: Arc<dyn Encode<T>>,
    pub(crate) trace: Option<Trace>,
    pub(crate) duplicates: Option<Duration>,
    pub(crate) max_len: Option<u64>,
    pub(crate) call_timeout: Duration,
    seed: Option<u64>,
    servers: Servers,
    metrics: Option<String>,
    connect: Option<Arc<dyn Connect>>,
}

led_to_servers!([T: ?Sized + 'static] ProducerBuilder<T>);

impl<T: ?Sized + 'static> ProducerBuilder<T> {
    pub(crate) fn new(stream: String, codec: Arc<dyn Encode<T>>) -> ProducerBuilder<T> {
        ProducerBuilder {
            stream,
            codec,
            trace: None,
            duplicates: None,
            max_len: None,
            call_timeout: Duration::from_secs(1),
            seed: None,
            servers: Servers::default(),
            metrics: Some("streamkeeper".to_owned()),
            connect: None,
        }
    }

    /// Puts `{stream}` in front of every key but the stream's own, as its consumers do. Default: on where the URL
    /// is a `redis-cluster://`, off elsewhere.
    pub fn hash_tagged(mut self, on: bool) -> ProducerBuilder<T> {
        self.servers.hash_tagged = Some(on);
        self
    }

    /// How messages are written: [`Json::field`], [`Flat`](super::Flat), [`Raw`](super::Raw) or an own codec. Default:
    /// JSON in the field `body`.
    pub fn codec(mut self, codec: impl Encode<T>) -> ProducerBuilder<T> {
        self.codec = Arc::new(codec);
        self
    }

    /// What each message's `traceparent` is, asked as it is sent: the W3C trace context of what the caller is doing.
    ///
    /// With the crates `opentelemetry` and `tracing-opentelemetry`:
    ///
    /// ```ignore
    /// let propagator = opentelemetry_sdk::propagation::TraceContextPropagator::new();
    /// builder.trace_with(move || {
    ///     let mut carrier = HashMap::new();
    ///     propagator.inject_context(&tracing::Span::current().context(), &mut carrier);
    ///     carrier.remove("traceparent")
    /// })
    /// ```
    pub fn trace_with(mut self, hook: impl Fn() -> Option<String> + Send + Sync + 'static) -> ProducerBuilder<T> {
        self.trace = Some(Arc::new(hook));
        self
    }

    /// A message that says the same as one that was sent within this window is not sent again: what the codec makes of
    /// it is compared, headers are not. Messages with a key of their own ([`Message::once`](super::Message::once)) or a
    /// delay are left alone. Default: off.
    pub fn drop_concurrent_duplicates(mut self, window: Duration) -> ProducerBuilder<T> {
        self.duplicates = Some(window);
        self
    }

    /// Keeps about that many messages in the stream. Only what every group has acknowledged is dropped, so there may be
    /// more. Looked at now and then as messages are sent. Default: all are kept.
    pub fn max_len(mut self, messages: u64) -> ProducerBuilder<T> {
        self.max_len = Some(messages);
        self
    }

    /// How long one call to Redis, or making a connection, may take. Default 1 s.
    pub fn call_timeout(mut self, span: Duration) -> ProducerBuilder<T> {
        self.call_timeout = span;
        self
    }

    /// The first part of every metric's name; `None` measures nothing. Default `streamkeeper`.
    pub fn metrics(mut self, prefix: Option<&str>) -> ProducerBuilder<T> {
        self.metrics = prefix.map(str::to_owned);
        self
    }

    /// Makes the ids of delayed messages the same in every run: for simulations only. Default: random.
    #[doc(hidden)]
    pub fn seed(mut self, seed: u64) -> ProducerBuilder<T> {
        self.seed = Some(seed);
        self
    }

    /// The producer. It connects when it is first used.
    ///
    /// # Errors
    /// A name or URL that cannot be used.
    pub fn build(self) -> Result<Producer<T>, Error> {
        // No key of a group is used: any name will do.
        let make = if self.servers.are_tagged() { Keys::hash_tagged } else { Keys::plain };
        let keys = make(&self.stream, "none")?;
        let connect = match &self.connect {
            Some(connect) => self.servers.asking(connect.clone()),
            None => {
                let (call_timeout, unheard_for) = (self.call_timeout, self.call_timeout.saturating_mul(2));
                self.servers.reach(Patience { call_timeout, unheard_for }, keys.stream())?
            }
        };
        let seed = self.seed.map_or_else(identity::random, Ok)?;
        let meters = match &self.metrics {
            Some(prefix) => {
                Meters::labelled(format!("{prefix}_messages"), vec![Label::new("stream", self.stream.clone())])
            }
            None => Meters::off(),
        };
        Ok(Producer::new(self, keys, connect, seed, meters))
    }
}

impl<T: Serialize + ?Sized + 'static> ProducerBuilder<T> {
    pub(crate) fn json(stream: String) -> ProducerBuilder<T> {
        ProducerBuilder::new(stream, Arc::new(Json::default()))
    }
}

impl<T: ?Sized> fmt::Debug for ProducerBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerBuilder").field("stream", &self.stream).finish_non_exhaustive()
    }
}
