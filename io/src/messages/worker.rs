//! What the application writes: what to do with one message.

use std::{fmt, future::Future};

use streamkeeper_core::messages::call::{Fields, Reason};

use super::{codec::CodecError, context::Context, outcome::Outcome};

/// What to do with one message. An `async fn` or a closure of a message and a [`Context`] is a worker too, if it answers
/// something that becomes an [`Outcome`]: that itself, `()`, or a `Result`.
///
/// A message comes at least once: what a worker does must bear being done again. A panic is a failure. A worker that
/// blocks its thread delays other messages, but no heartbeat: messages stay this consumer's however long a run takes.
/// A run that is cancelled (its `timeout`, the deadline of a stop) is dropped at its next await.
///
/// ```
/// use streamkeeper::messages::{Broken, Context, Dead, Outcome, Worker};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     item: String,
/// }
///
/// struct Shop;
///
/// impl Worker<Order> for Shop {
///     async fn process(&self, order: Order, context: Context) -> Outcome {
///         println!("{} wanted, attempt {}", order.item, context.attempt());
///         Outcome::ack()
///     }
///
///     async fn process_broken(&self, broken: Broken, context: Context) -> Outcome {
///         eprintln!("{} is no order: {}", context.entry(), broken.error());
///         Outcome::dead(broken.error())
///     }
///
///     async fn process_dead(&self, dead: Dead<Order>, context: Context) -> Outcome {
///         eprintln!("{} failed {} times: {}", context.entry(), dead.failed(), dead.error());
///         Outcome::dead(dead.error())
///     }
/// }
/// ```
pub trait Worker<T>: Send + Sync + 'static {
    /// Does what the message asks for.
    fn process(&self, message: T, context: Context) -> impl Future<Output = Outcome> + Send;

    /// Takes a message that could not be decoded. By default it goes to the dead letter stream, with the reason
    /// `broken`.
    fn process_broken(&self, broken: Broken, context: Context) -> impl Future<Output = Outcome> + Send {
        let _ = context;
        async move { Outcome::dead(broken.error()) }
    }

    /// Takes a message whose attempts are used up, or that has crashed too many processes. By default it goes to the
    /// dead letter stream. [`Outcome::ack`] says that the application has taken care of it, and it goes nowhere; after
    /// a failure it is called again, or the message buried, as the setting `dead_failure` says.
    fn process_dead(&self, dead: Dead<T>, context: Context) -> impl Future<Output = Outcome> + Send
    where
        T: Send,
    {
        let _ = context;
        async move { Outcome::dead(dead.error()) }
    }
}

impl<T, F, R> Worker<T> for F
where
    T: Send + 'static,
    F: Fn(T, Context) -> R + Send + Sync + 'static,
    R: Future<Output: Into<Outcome>> + Send,
{
    async fn process(&self, message: T, context: Context) -> Outcome {
        self(message, context).await.into()
    }
}

/// A message that could not be decoded.
pub struct Broken {
    error: CodecError,
    fields: Fields,
}

impl Broken {
    pub(crate) fn new(error: CodecError, fields: Fields) -> Broken {
        Broken { error, fields }
    }

    /// What the codec said.
    pub fn error(&self) -> &(dyn std::error::Error + Send + Sync) {
        &*self.error
    }

    /// What stands in the stream.
    pub fn fields(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.fields
    }
}

/// A message that is not to be tried again.
pub struct Dead<T> {
    message: Result<T, Broken>,
    reason: Reason,
    context: Context,
}

impl<T> Dead<T> {
    pub(crate) fn new(message: Result<T, Broken>, reason: Reason, context: &Context) -> Dead<T> {
        Dead { message, reason, context: context.clone() }
    }

    /// The message, or why it could not be decoded.
    pub fn message(&self) -> Result<&T, &Broken> {
        self.message.as_ref()
    }

    /// The message, or why it could not be decoded.
    pub fn into_message(self) -> Result<T, Broken> {
        self.message
    }

    /// Why it is dead.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What the last run said, cut; what it was doing when it crashed nobody knows.
    pub fn error(&self) -> &str {
        self.context.history().map_or("", |history| &history.error)
    }

    /// How many of its runs failed.
    pub fn failed(&self) -> u32 {
        self.context.history().map_or(0, |history| history.failed)
    }

    /// How many of its runs are counted as having crashed their process.
    pub fn crashed(&self) -> u32 {
        self.context.history().map_or(0, |history| history.crashed)
    }
}

// No payloads in what is printed.

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broken").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Dead<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Dead");
        shown.field("reason", &self.reason).field("failed", &self.failed()).field("crashed", &self.crashed());
        shown.finish_non_exhaustive()
    }
}
