//! What a worker is told about a message besides what it says.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use futures::task::AtomicWaker;
use streamkeeper_core::{
    id::EntryId,
    messages::{Consumer, Run, Stage, call::History},
};
use tokio::sync::Notify;

use super::codec::{header, value};

/// Where a message comes from, how often it was tried, and whether it is still this consumer's. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Handed>);

/// One run of a message, shared by the driver, the task that runs it and the worker.
pub(crate) struct Handed {
    pub(crate) run: Run,
    place: Arc<Place>,
    state: AtomicU8,
    /// Tells who waits for the loss.
    changed: Notify,
    /// Tells the task that runs it of the cancellation.
    pub(crate) task: AtomicWaker,
}

/// Where all messages of one consumer come from.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) stream: Box<str>,
    pub(crate) group: Box<str>,
    pub(crate) consumer: Consumer,
}

const LOST: u8 = 1;
const CANCELLED: u8 = 2;

impl Context {
    pub(crate) fn new(handed: Arc<Handed>) -> Context {
        Context(handed)
    }

    /// The message's entry in the stream.
    pub fn entry(&self) -> EntryId {
        self.0.run.entry
    }

    /// The stream.
    pub fn stream(&self) -> &str {
        &self.0.place.stream
    }

    /// The consumer group.
    pub fn group(&self) -> &str {
        &self.0.place.group
    }

    /// This consumer's name in the group.
    pub fn consumer(&self) -> &str {
        self.0.place.consumer.as_str()
    }

    /// Which attempt this is, from 1 on: runs that failed or crashed their process before, and this one.
    pub fn attempt(&self) -> u32 {
        self.0.run.attempt
    }

    /// How often Redis has delivered the message, this time included.
    pub fn deliveries(&self) -> u64 {
        self.0.run.deliveries
    }

    /// What went wrong with it earlier, if anything did.
    pub fn history(&self) -> Option<&History> {
        self.0.run.history.as_ref()
    }

    /// All fields of the entry, as they stand in the stream.
    pub fn fields(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.0.run.fields
    }

    /// The producer's headers: names without their `h:`, and values.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields().iter().filter_map(|(field, value)| {
            let name = field.strip_prefix(header::PREFIX.as_bytes())?;
            Some((std::str::from_utf8(name).ok()?, &value[..]))
        })
    }

    /// The value of one header; `None` if it is missing.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The field `key`.
    pub fn key(&self) -> Option<&[u8]> {
        value(self.fields(), header::KEY)
    }

    /// The W3C trace context that the message belongs to, as its producer wrote it.
    pub fn traceparent(&self) -> Option<&str> {
        value(self.fields(), header::TRACEPARENT).and_then(|text| std::str::from_utf8(text).ok())
    }

    /// The message is not this consumer's any more, or the run was cancelled: whatever the worker answers will be
    /// ignored, unless it is a success. Costs nanoseconds.
    pub fn is_lost(&self) -> bool {
        self.0.state.load(Ordering::Acquire) != 0
    }

    /// Waits until [`is_lost`](Context::is_lost). Cancel safe; may be called any number of times.
    pub async fn lost(&self) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_lost() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.0.run.stage
    }
}

impl Handed {
    pub(crate) fn new(run: Run, place: Arc<Place>) -> Handed {
        Handed { run, place, state: AtomicU8::new(0), changed: Notify::new(), task: AtomicWaker::new() }
    }

    pub(crate) fn stream(&self) -> &str {
        &self.place.stream
    }

    /// The message is not ours any more.
    pub(crate) fn lose(&self) {
        self.state.fetch_or(LOST, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Stops the run at its next await.
    pub(crate) fn cancel(&self) {
        self.state.fetch_or(CANCELLED, Ordering::AcqRel);
        self.changed.notify_waiters();
        self.task.wake();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.state.load(Ordering::Acquire) & CANCELLED != 0
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("stream", &self.stream())
            .field("entry", &self.entry())
            .field("attempt", &self.attempt())
            .field("lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use futures::FutureExt;
    use streamkeeper_core::messages::RunId;

    use super::*;

    /// A run of a message with these fields.
    pub(crate) fn handed(id: u64, stage: Stage, fields: &[(&str, &str)]) -> Arc<Handed> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let run = Run {
            id: RunId(id),
            entry: EntryId { ms: id, seq: 0 },
            stage,
            attempt: 1,
            deliveries: 1,
            history: None,
            fields: fields.iter().map(|(field, value)| (bytes(field), bytes(value))).collect(),
            begins_before: streamkeeper_core::time::Time::from_micros(u64::MAX),
        };
        let consumer = Consumer::new("c", 1).unwrap();
        Arc::new(Handed::new(run, Arc::new(Place { stream: "s".into(), group: "g".into(), consumer })))
    }

    #[test]
    fn headers_are_told_from_the_messages_own_fields() {
        let fields =
            [("body", "1"), ("h:tenant", "acme"), ("key", "k"), ("traceparent", "00-1-2-01"), ("h:\u{e9}", "")];
        let context = Context::new(handed(1, Stage::Process, &fields));
        assert_eq!(context.headers().collect::<Vec<_>>(), [("tenant", &b"acme"[..]), ("\u{e9}", b"")]);
        assert_eq!((context.header("tenant"), context.header("body")), (Some(&b"acme"[..]), None));
        assert_eq!((context.key(), context.traceparent()), (Some(&b"k"[..]), Some("00-1-2-01")));
    }

    #[tokio::test]
    async fn everyone_who_waits_hears_of_the_loss() {
        for end in [Handed::lose as fn(&Handed), Handed::cancel] {
            let handed = handed(1, Stage::Process, &[]);
            let context = Context::new(handed.clone());
            let waiting: Vec<_> =
                (0..3).map(|_| context.clone()).map(|c| tokio::spawn(async move { c.lost().await })).collect();
            assert!(context.lost().now_or_never().is_none() && !context.is_lost());
            tokio::task::yield_now().await;
            end(&handed);
            for waiter in waiting {
                waiter.await.unwrap();
            }
            assert!(context.is_lost());
            context.lost().now_or_never().expect("it stays lost");
        }
    }
}
