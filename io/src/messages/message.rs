//! A message on its way out: what it says, and what is said about it.

use std::time::Duration;

use streamkeeper_core::id::EntryId;

/// A message to send: its body, and what is to be known of it besides.
///
/// ```
/// use std::time::Duration;
/// use streamkeeper::messages::Message;
///
/// let plain = Message::new("hello");
/// let full = Message::new("hello")
///     .header("tenant", "acme")
///     .key("customer-17")
///     .once("import-2024-17", Duration::from_secs(3600));
/// let later = Message::new("hello").delay(Duration::from_secs(60)).id("reminder-17");
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is sent by `Producer::send_message`"]
pub struct Message<T> {
    pub(crate) body: T,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) traceparent: Option<String>,
    pub(crate) once: Option<(Box<str>, Duration)>,
    pub(crate) delay: Option<Duration>,
    pub(crate) id: Option<Box<str>>,
}

impl<T> Message<T> {
    /// A message that says this.
    pub fn new(body: T) -> Message<T> {
        Message { body, headers: Vec::new(), key: None, traceparent: None, once: None, delay: None, id: None }
    }

    /// Adds a header: the field `h:` and its name.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Message<T> {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The field `key`, by which a consumer may serialise messages:
    /// [`ordered_by`](super::Builder::ordered_by).
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Message<T> {
        self.key = Some(key.into());
        self
    }

    /// The W3C trace context that it belongs to, in place of what the producer's
    /// [`trace_with`](super::ProducerBuilder::trace_with) says.
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Message<T> {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// Sends it once: a repeat with the same key within the window sends nothing, and answers the first one's entry. So
    /// what was not answered can be repeated. Not together with a delay, which is safe to repeat by its
    /// [`id`](Message::id).
    pub fn once(mut self, key: impl Into<Box<str>>, window: Duration) -> Message<T> {
        self.once = Some((key.into(), window));
        self
    }

    /// It is not in the stream before this time has passed. A consumer of the stream moves it there, not before its
    /// time and soon after, and blocks nothing meanwhile.
    pub fn delay(mut self, span: Duration) -> Message<T> {
        self.delay = Some(span);
        self
    }

    /// The id under which a delayed message is known until it is due, to cancel it; and, for an hour longer, to repeat
    /// what was not answered: the same id again changes nothing. Default: random.
    pub fn id(mut self, id: impl Into<Box<str>>) -> Message<T> {
        self.id = Some(id.into());
        self
    }

    /// The body, and the rest.
    pub(crate) fn split(self) -> (T, Message<()>) {
        let Message { body, headers, key, traceparent, once, delay, id } = self;
        (body, Message { body: (), headers, key, traceparent, once, delay, id })
    }
}

impl<T> From<T> for Message<T> {
    fn from(body: T) -> Message<T> {
        Message::new(body)
    }
}

/// What became of a message that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sent {
    /// It stands in the stream, as this entry: sent now, or, with an idempotency key, within its window.
    Entry(EntryId),
    /// It waits for its time.
    Scheduled {
        /// The id under which it is known until then.
        id: Box<str>,
        /// When it is due: milliseconds since 1970 by Redis's clock.
        due_ms: u64,
        /// It had been sent before: that one stays as it is, with its own time.
        repeated: bool,
    },
}

impl Sent {
    /// Its entry in the stream, unless it waits for its time.
    pub fn entry(&self) -> Option<EntryId> {
        match self {
            Sent::Entry(entry) => Some(*entry),
            Sent::Scheduled { .. } => None,
        }
    }

    /// What happened as one word: a label for meters and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Sent::Entry(_) => "sent",
            Sent::Scheduled { repeated: false, .. } => "scheduled",
            Sent::Scheduled { repeated: true, .. } => "repeated",
        }
    }
}
