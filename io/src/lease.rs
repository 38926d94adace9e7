//! The handle on an owned stream: what it is, whether it is still owned, and how to end that.

mod end;
mod held;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use streamkeeper_core::{
    id::{EntryId, StreamName, Token},
    streams::{
        End,
        notification::{Added, LostReason},
    },
    time::Time,
};
use tokio::sync::mpsc;

pub(crate) use self::{
    end::{EndRequest, Wish},
    held::Held,
};
use crate::{clock::Clock, entries::Desk, errors::FinishError};

/// How an ownership ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Finished for ever, by this consumer's wish.
    Done,
    /// Given back, by this consumer's wish.
    Released,
    /// Not by wish: expired by so much, taken by so and so, paused for so long, Redis unreachable for so long, gone,
    /// vanished, fenced, or unknown because done or release was not answered.
    Disowned(LostReason),
}

impl Lost {
    /// The end as one word: a label for meters and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Lost::Done => "done",
            Lost::Released => "released",
            Lost::Disowned(reason) => reason.label(),
        }
    }
}

/// An owned stream. Cheap to clone; all clones speak of the same ownership.
///
/// A stream that is lost and owned again has a new lease with a greater [`token`](Lease::token); an old one stays
/// lost, and can end nothing. Dropping a lease ends nothing either: the stream is owned until it is finished, given
/// back or lost.
#[derive(Clone)]
pub struct Lease(pub(crate) Arc<Held>);

impl Lease {
    pub(crate) fn new(
        added: Added,
        partition: u32,
        clock: Clock,
        ends: mpsc::UnboundedSender<EndRequest>,
        desk: Arc<Desk>,
    ) -> Lease {
        Lease(Arc::new(Held::new(added, partition, clock, ends, desk)))
    }

    /// The stream's name.
    pub fn stream(&self) -> &StreamName {
        &self.0.added.stream
    }

    /// Its announcement: the entry in the LBS.
    pub fn entry(&self) -> EntryId {
        self.0.added.entry
    }

    /// The partition that the stream lives in; 0 in a service without any.
    pub fn partition(&self) -> u32 {
        self.0.partition
    }

    /// The fencing token: write it with everything that leaves Redis, and let the sink refuse a smaller one than it
    /// has seen. It is what protects data from an owner that was paused and has not looked.
    pub fn token(&self) -> Token {
        self.0.added.token
    }

    /// What the announcer added, as JSON text, exactly as it was sent.
    pub fn info(&self) -> Option<&str> {
        self.0.added.info.as_deref()
    }

    /// What the announcer added, decoded; `None` if there was nothing.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn info_as<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.info().map(serde_json::from_str).transpose()
    }

    /// Somebody has owned this announcement before, or taken it and died: there may be half-done work.
    pub fn takeover(&self) -> bool {
        self.0.added.takeover
    }

    /// How many ownerships in a row ended in a crash.
    pub fn takeovers(&self) -> u32 {
        self.0.added.takeovers
    }

    /// How many times in a row the stream's handler failed.
    pub fn failures(&self) -> u32 {
        self.0.added.failures
    }

    /// How often Redis has delivered the announcement.
    pub fn deliveries(&self) -> u64 {
        self.0.added.deliveries
    }

    /// Whether the stream is owned at this instant, by this consumer's own clock. Looks at the clock, asks nobody,
    /// costs nanoseconds: look before every write.
    pub fn is_valid(&self) -> bool {
        self.valid_until() > self.0.clock().now()
    }

    /// Until when the stream is owned unless the lease is extended, by the client's [`Clock`]; [`Time::ZERO`] once it
    /// has ended.
    pub fn valid_until(&self) -> Time {
        self.0.valid_until()
    }

    /// Waits until the ownership has ended, and says how. Cancel safe; may be called any number of times.
    ///
    /// After [`done`](Lease::done) or [`release`](Lease::release) it resolves when the answer is there.
    pub async fn lost(&self) -> Lost {
        self.0.ended().await
    }

    /// Finishes the stream for ever: nobody is handed it again. Its validity ends and the command is sent *when this
    /// is called*; the future only waits for the answer, and may be dropped.
    ///
    /// Entries that could not be decoded and are still being set aside are waited for, for a second at most: where they
    /// cannot be, the stream is released instead, so that they are not lost.
    ///
    /// # Errors
    /// [`FinishError::Disowned`] if the ownership had ended before (nothing was changed), or if Redis did not answer
    /// in time ([`LostReason::Unknown`]): then it is finished or will be handed out, never both.
    /// [`FinishError::Released`] if an entry could not be set aside.
    pub fn done(&self) -> impl Future<Output = Result<(), FinishError>> + Send + use<> {
        self.end(Wish::Done)
    }

    /// Gives the stream back unfinished: another consumer owns it within milliseconds. Its validity ends and the
    /// command is sent *when this is called*; the future only waits for the answer, and may be dropped.
    ///
    /// What a reader of its [`entries`](Lease::entries) knows to be worked on, and positions that are being
    /// [committed](Lease::commit), are committed before, for a second at most.
    ///
    /// # Errors
    /// As [`done`](Lease::done).
    pub fn release(&self) -> impl Future<Output = Result<(), FinishError>> + Send + use<> {
        self.end(Wish::Release)
    }

    /// Gives the stream back unfinished, to rest: nobody is handed it for so long (at most a week), by the server's clock.
    /// What is added to it meanwhile wakes nobody. Otherwise as [`release`](Lease::release).
    ///
    /// # Errors
    /// As [`done`](Lease::done).
    pub fn release_for(&self, pause: Duration) -> impl Future<Output = Result<(), FinishError>> + Send + use<> {
        self.end(Wish::Rest(pause))
    }

    /// Gives the stream back because its handler failed: it is handed out again after a pause that doubles with each
    /// failure in a row, and is set aside after `max_failures`.
    ///
    /// # Errors
    /// As [`done`](Lease::done).
    pub fn release_failed(&self, error: &str) -> impl Future<Output = Result<(), FinishError>> + Send + use<> {
        self.end(Wish::Failed(error.into()))
    }

    fn end(&self, wish: Wish) -> impl Future<Output = Result<(), FinishError>> + Send + use<> {
        let end = wish.end();
        self.0.ask_to_end(wish);
        let lease = self.clone();
        async move {
            let stream = lease.stream().clone();
            match (lease.lost().await, end) {
                (Lost::Done, End::Done) | (Lost::Released, End::Release) => Ok(()),
                (Lost::Disowned(reason), _) => Err(FinishError::Disowned { stream, reason }),
                (Lost::Released, End::Done) => Err(FinishError::Released { stream }),
                (Lost::Done, End::Release) => Err(FinishError::Done { stream }),
            }
        }
    }

    /// Whether work on the stream is to be stopped: it was lost, and not by the application's own wish.
    pub(crate) fn must_stop(&self) -> bool {
        !self.is_valid() && !self.0.is_asked_to_end()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("stream", self.stream())
            .field("entry", &self.entry())
            .field("token", &self.token())
            .field("valid", &self.is_valid())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::FutureExt;

    use streamkeeper_core::id::Attempt;

    use super::*;

    fn lease() -> (Lease, Arc<AtomicU64>, mpsc::UnboundedReceiver<EndRequest>) {
        let now = Arc::new(AtomicU64::new(1_000));
        let (ends, requests) = mpsc::unbounded_channel();
        let added = Added {
            entry: "7-0".parse().unwrap(),
            stream: StreamName::new("s").unwrap(),
            token: Token(5),
            attempt: Attempt { incarnation: 1, number: 3 },
            info: Some(r#"{"a":1}"#.into()),
            takeover: true,
            takeovers: 1,
            failures: 0,
            deliveries: 2,
            valid_until: Time::from_micros(3_000),
        };
        let clock = now.clone();
        let clock = Clock::custom(move || Time::from_micros(clock.load(Ordering::Relaxed)));
        (Lease::new(added, 0, clock, ends, Desk::fake().0), now, requests)
    }

    #[test]
    fn validity_is_the_clocks_matter() {
        let (lease, now, _requests) = lease();
        assert!(lease.is_valid());
        now.store(2_999, Ordering::Relaxed);
        assert!(lease.is_valid());
        now.store(3_000, Ordering::Relaxed);
        assert!(!lease.is_valid() && lease.must_stop());
        lease.0.extend(Time::from_micros(9_000));
        assert!(lease.is_valid());
        lease.0.extend(Time::from_micros(8_000));
        assert_eq!(lease.valid_until(), Time::from_micros(9_000));
    }

    #[test]
    fn info_is_decoded() {
        #[derive(serde::Deserialize)]
        struct Info {
            a: u8,
        }
        let (lease, ..) = lease();
        assert_eq!(lease.info_as::<Info>().unwrap().unwrap().a, 1);
        assert!(lease.info_as::<String>().is_err());
    }

    #[tokio::test]
    async fn done_ends_validity_before_anything_is_sent_and_only_once() {
        let (lease, _now, mut requests) = lease();
        let done = lease.done();
        assert!(!lease.is_valid() && !lease.must_stop());
        lease.0.extend(Time::from_micros(90_000));
        assert!(!lease.is_valid(), "a late answer revives nothing");
        let request = requests.try_recv().unwrap();
        assert_eq!((request.entry, request.token, request.end), (lease.entry(), Token(5), Wish::Done));
        drop(lease.release());
        assert!(requests.try_recv().is_err());
        lease.0.finish(Lost::Done);
        lease.0.finish(Lost::Disowned(LostReason::Gone));
        assert_eq!(done.await, Ok(()));
        assert_eq!(lease.done().await, Ok(()));
        let stream = lease.stream().clone();
        assert_eq!(lease.release().await, Err(FinishError::Done { stream }));
    }

    #[tokio::test]
    async fn everyone_who_waits_hears_how_it_ended() {
        let (lease, _now, mut requests) = lease();
        let waiting: Vec<_> =
            (0..3).map(|_| lease.clone()).map(|l| tokio::spawn(async move { l.lost().await })).collect();
        assert!(lease.lost().now_or_never().is_none());
        tokio::task::yield_now().await;
        let lost = Lost::Disowned(LostReason::Paused(Duration::from_secs(4)));
        lease.0.finish(lost.clone());
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap(), lost);
        }
        assert_eq!((lease.lost().await.label(), lease.must_stop()), ("paused", true));
        let error = lease.done().await.unwrap_err();
        assert!(matches!(error, FinishError::Disowned { reason: LostReason::Paused(_), .. }), "{error}");
        assert!(requests.try_recv().is_err(), "nothing is asked for what has ended");
    }
}
