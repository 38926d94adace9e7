//! Sends messages into a stream.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures::{StreamExt, poll, stream::FuturesOrdered};
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use streamkeeper_core::{messages::Keys, trouble::Trouble};
use tokio::task::unconstrained;

use super::{
    calls::{Calls, ToSchedule, Waits},
    codec::Encode,
    errors::SendError,
    letter::{Item, Letter, Stationery},
    message::{Message, Sent},
    meters::Meters,
    producing::ProducerBuilder,
};
use crate::{
    links::{
        connect::Connect,
        on_demand::{Borrowed, Failed, OnDemand},
    },
    metrics,
};

/// Where each message's trace context comes from.
pub(crate) type Trace = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// How many messages of a batch go out together, at most, and from how many bytes on no more of them.
const CHUNK: usize = 250;
const CHUNK_BYTES: usize = 64 * 1024;
/// How many chunks of a batch are under way at once.
const AT_ONCE: usize = 4;

/// Sends messages of type `T` into one stream. Cheap to clone; it connects when it is first used, and anew after a
/// broken connection.
///
/// What many tasks send at the same time goes out together, on one connection. One call takes at most
/// [`call_timeout`](ProducerBuilder::call_timeout), and as long again to connect; a single message that the server refuses
/// for the moment (a failover, a slot that is being moved) is sent again for as long before that is the error. Not so those
/// of a batch, which would fall behind later ones.
///
/// Sending is not cancel safe: when the future is dropped, the message was sent or not. With an idempotency key
/// ([`Message::once`]) or an id and a delay it may be sent again; so it may after [`SendError::Unanswered`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use streamkeeper::messages::{Message, Producer};
///
/// #[derive(serde::Serialize)]
/// struct Order {
///     item: String,
/// }
///
/// let tea = || Order { item: "tea".to_owned() };
/// let producer = Producer::<Order>::builder("orders").redis("redis://localhost:6379").build()?;
/// producer.send(&tea()).await?;
/// producer.send_message(Message::new(tea()).header("tenant", "acme").once("order-17", Duration::from_secs(3600))).await?;
/// producer.send_message(Message::new(tea()).delay(Duration::from_secs(60))).await?;
/// for result in producer.send_batch((0..1_000).map(|_| tea())).await {
///     println!("{:?}", result?);
/// }
/// # Ok(()) }
/// ```
pub struct Producer<T: ?Sized = serde_json::Value>(Arc<Parts<T>>);

struct Parts<T: ?Sized> {
    stream: String,
    codec: Arc<dyn Encode<T>>,
    trace: Option<Trace>,
    duplicates: Option<Duration>,
    max_len: Option<u64>,
    calls: Calls,
    connection: OnDemand,
    meters: Meters,
    seed: u64,
    /// How many ids were made.
    made: AtomicU64,
    /// How many messages were sent since the stream was trimmed.
    since_trim: AtomicU64,
}

impl<T: Serialize + ?Sized + 'static> Producer<T> {
    /// Sets up a producer of a stream, for messages that are written as JSON unless another codec is given.
    pub fn builder(stream: impl Into<String>) -> ProducerBuilder<T> {
        ProducerBuilder::json(stream.into())
    }
}

impl<T: ?Sized + 'static> Producer<T> {
    /// Sets up a producer of a stream, for messages that only this codec can write.
    pub fn with_codec(stream: impl Into<String>, codec: impl Encode<T>) -> ProducerBuilder<T> {
        ProducerBuilder::new(stream.into(), Arc::new(codec))
    }

    pub(crate) fn new(
        builder: ProducerBuilder<T>,
        keys: Keys,
        connect: Arc<dyn Connect>,
        seed: u64,
        series: metrics::Meters,
    ) -> Producer<T> {
        Producer(Arc::new(Parts {
            connection: OnDemand::new(connect, builder.call_timeout),
            calls: Calls::outside(keys),
            meters: Meters(series),
            stream: builder.stream,
            codec: builder.codec,
            trace: builder.trace,
            duplicates: builder.duplicates,
            max_len: builder.max_len,
            seed,
            made: AtomicU64::new(0),
            since_trim: AtomicU64::new(0),
        }))
    }

    /// The stream.
    pub fn stream(&self) -> &str {
        &self.0.stream
    }

    /// Sends a message.
    ///
    /// # Errors
    /// See [`SendError`]: each variant says whether it may have been sent.
    pub async fn send(&self, body: &T) -> Result<Sent, SendError> {
        self.0.send_one(self.0.letter(body, Message::new(()))).await
    }
}

impl<T: 'static> Producer<T> {
    /// Sends a message with headers, a key, a delay, or an idempotency key.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_message(&self, message: Message<T>) -> Result<Sent, SendError> {
        let (body, rest) = message.split();
        self.0.send_one(self.0.letter(&body, rest)).await
    }

    /// Sends many messages, pipelined, in their order (those with a key, [`Message::once`], may fall behind others where
    /// Redis has forgotten our scripts); some are encoded while others are on their way. Each has its own
    /// result, in order: what cannot be encoded, or is refused, keeps none of the others from being sent.
    pub async fn send_batch<M: Into<Message<T>>>(
        &self,
        messages: impl IntoIterator<Item = M>,
    ) -> Vec<Result<Sent, SendError>> {
        let letter = |message: M| {
            let (body, rest) = message.into().split();
            self.0.letter(&body, rest)
        };
        // Not the caller's iterator: what is kept across an await must be `Send` in the eyes of the compiler.
        let messages: Vec<M> = messages.into_iter().collect();
        let mut results = Vec::with_capacity(messages.len());
        let mut letters = messages.into_iter().map(letter);
        let mut under_way = FuturesOrdered::new();
        loop {
            let chunk = chunk(&mut letters);
            if chunk.is_empty() {
                break;
            }
            if under_way.len() == AT_ONCE {
                results.extend(under_way.next().await.into_iter().flatten());
            }
            // In turn, so that their order stays: each has its connection before the next one asks for it, and nothing else
            // to wait for before it is handed over, not even for tokio's budget.
            let connection = self.0.borrow().await;
            under_way.push_back(unconstrained(self.0.send_chunk(chunk, connection)));
            // It goes out before the next one is encoded.
            if let Poll::Ready(Some(sent)) = poll!(under_way.next()) {
                results.extend(sent);
            }
            tokio::task::yield_now().await;
        }
        while let Some(sent) = under_way.next().await {
            results.extend(sent);
        }
        results
    }
}

impl<T: ?Sized + 'static> Parts<T> {
    fn letter(&self, body: &T, rest: Message<()>) -> Result<Letter, SendError> {
        let stationery = Stationery { stream: &self.stream, codec: &*self.codec, duplicates: self.duplicates };
        let traceparent = || self.trace.as_ref().and_then(|trace| trace());
        let next_id = || format!("{:016x}-{}", self.seed, self.made.fetch_add(1, Ordering::Relaxed)).into();
        stationery.letter(body, rest, traceparent, next_id)
    }

    /// Sends one alone. What other tasks send meanwhile goes out with it.
    async fn send_one(&self, letter: Result<Letter, SendError>) -> Result<Sent, SendError> {
        let result = match letter {
            Ok(letter) => self.transmit_one(letter).await,
            Err(error) => Err(error),
        };
        self.meters.sent(std::iter::once(word(&result)));
        result
    }

    async fn transmit_one(&self, letter: Letter) -> Result<Sent, SendError> {
        let item = &letter.into_item();
        let transmit = |mut redis| async move {
            let sent = self.transmit_item(&mut redis, item).await?;
            self.trim(&mut redis, 1).await;
            Ok(sent)
        };
        self.connection.ask(transmit).await.map_err(|failed| SendError::of(&self.stream, failed))
    }

    async fn transmit_item(&self, redis: &mut MultiplexedConnection, item: &Item) -> Result<Sent, Trouble> {
        match item {
            Item::Now(item) => self.calls.send_one(redis, item).await.map(Sent::Entry),
            Item::Later(item) => {
                let waits = self.calls.schedule(redis, std::slice::from_ref(item)).await.pop();
                waits.unwrap_or_else(|| Err(no_answer())).map(|waits| scheduled(item.clone(), waits))
            }
        }
    }

    /// Sends some together. One result each.
    async fn send_chunk(
        &self,
        letters: Vec<Result<Letter, SendError>>,
        connection: Result<Borrowed, SendError>,
    ) -> Vec<Result<Sent, SendError>> {
        let (mut results, mut good) = (Vec::with_capacity(letters.len()), Vec::with_capacity(letters.len()));
        for letter in letters {
            results.push(match letter {
                Ok(letter) => {
                    good.push(letter);
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        let mut answers = self.transmit(good, connection).await.into_iter();
        let unanswered = || SendError::Unanswered { stream: self.stream.clone(), trouble: no_answer() };
        let results: Vec<Result<Sent, SendError>> = results
            .into_iter()
            .map(|result| result.or_else(|| answers.next()).unwrap_or_else(|| Err(unanswered())))
            .collect();
        self.meters.sent(results.iter().map(word));
        results
    }

    async fn transmit(
        &self,
        letters: Vec<Letter>,
        connection: Result<Borrowed, SendError>,
    ) -> Vec<Result<Sent, SendError>> {
        if letters.is_empty() {
            return Vec::new();
        }
        let mut borrowed = match connection {
            Ok(borrowed) => borrowed,
            Err(error) => return letters.iter().map(|_| Err(error.clone())).collect(),
        };
        let answers = self.ask(&mut borrowed.redis, letters).await;
        self.follow_up(&mut borrowed, &answers).await;
        let error = |trouble| SendError::of(&self.stream, Failed::Answered(trouble));
        answers.into_iter().map(|answer| answer.map_err(error)).collect()
    }

    async fn borrow(&self) -> Result<Borrowed, SendError> {
        self.connection.borrow().await.map_err(|trouble| SendError::of(&self.stream, Failed::Connecting(trouble)))
    }

    /// What is to stand in the stream goes first, then what is to wait. One answer each, in the letters' order.
    async fn ask(&self, redis: &mut MultiplexedConnection, letters: Vec<Letter>) -> Vec<Result<Sent, Trouble>> {
        let (mut now, mut later) = (Vec::with_capacity(letters.len()), Vec::new());
        let mut order = Vec::with_capacity(letters.len());
        for letter in letters {
            let item = letter.into_item();
            order.push(matches!(item, Item::Later(_)));
            match item {
                Item::Now(item) => now.push(item),
                Item::Later(item) => later.push(item),
            }
        }
        let sent = if now.is_empty() { Vec::new() } else { self.calls.send_all(redis, &now).await };
        let waits = if later.is_empty() { Vec::new() } else { self.calls.schedule(redis, &later).await };
        let mut sent = sent.into_iter().map(|answer| answer.map(Sent::Entry));
        let mut waits = waits.into_iter().zip(later).map(|(answer, item)| answer.map(|waits| scheduled(item, waits)));
        let next = |later| if later { waits.next() } else { sent.next() };
        order.into_iter().map(next).map(|answer| answer.unwrap_or_else(|| Err(no_answer()))).collect()
    }

    /// A connection that has turned out to be of no use is dropped, a stream that has grown is trimmed.
    async fn follow_up(&self, borrowed: &mut Borrowed, answers: &[Result<Sent, Trouble>]) {
        let troubles = answers.iter().filter_map(|answer| answer.as_ref().err());
        troubles.for_each(|trouble| self.connection.judge(borrowed.number, trouble));
        if answers.iter().any(Result::is_ok) {
            self.trim(&mut borrowed.redis, answers.len()).await;
        }
    }

    /// Trims the stream once for so many messages sent.
    async fn trim(&self, redis: &mut MultiplexedConnection, sent: usize) {
        let Some(max_len) = self.max_len else { return };
        let every = (max_len / 10).clamp(100, 10_000);
        let before = self.since_trim.fetch_add(sent as u64, Ordering::Relaxed);
        // Whoever's messages pass the mark trims.
        if before / every == (before + sent as u64) / every {
            return;
        }
        match self.calls.trim(redis, max_len).await {
            Ok(dropped) => tracing::debug!(stream = self.stream, dropped, "trimmed"),
            Err(trouble) => {
                tracing::warn!(stream = self.stream, %trouble, "not trimmed: tried again with later messages");
            }
        }
    }
}

impl<T: ?Sized> Clone for Producer<T> {
    fn clone(&self) -> Producer<T> {
        Producer(self.0.clone())
    }
}

impl<T: ?Sized> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("stream", &self.0.stream).finish_non_exhaustive()
    }
}

/// The next letters that go out together; none at the end.
fn chunk(letters: &mut impl Iterator<Item = Result<Letter, SendError>>) -> Vec<Result<Letter, SendError>> {
    let (mut chunk, mut bytes) = (Vec::with_capacity(CHUNK.min(letters.size_hint().0)), 0);
    while chunk.len() < CHUNK
        && bytes < CHUNK_BYTES
        && let Some(letter) = letters.next()
    {
        bytes += letter.as_ref().map_or(0, Letter::bytes);
        chunk.push(letter);
    }
    chunk
}

fn scheduled(item: ToSchedule, Waits { due_ms, repeated }: Waits) -> Sent {
    Sent::Scheduled { id: item.id, due_ms, repeated }
}

fn word(result: &Result<Sent, SendError>) -> &'static str {
    result.as_ref().map_or_else(SendError::label, Sent::label)
}

fn no_answer() -> Trouble {
    Trouble::other("there was no answer for this message")
}
