//! The handle on an owned stream: what it is, whether it is still owned, and how to end that.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::de::DeserializeOwned;
use streamkeeper_core::{
    entries::event::CommitEnd,
    id::{EntryId, StreamName, Token},
    streams::{
        End,
        notification::{Added, LostReason},
    },
    time::Time,
};
use tokio::sync::{Notify, mpsc};

use crate::{
    clock::Clock,
    entries::{Desk, Work},
    errors::FinishError,
};

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

/// One ownership, shared by the driver and all handles.
pub(crate) struct Held {
    added: Added,
    partition: u32,
    gained: Time,
    /// Microseconds; 0 once it has ended.
    valid_until: AtomicU64,
    ended: Mutex<Ended>,
    changed: Notify,
    clock: Clock,
    ends: mpsc::UnboundedSender<EndRequest>,
    pub(crate) work: Arc<Work>,
}

/// How long an end waits at most for what was worked on to be committed, or for what cannot be decoded to be set aside.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Ended {
    asked: Option<End>,
    lost: Option<Lost>,
}

/// The application wants to end an ownership. The token says which one: the entry may be owned anew meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct EndRequest {
    pub(crate) entry: EntryId,
    pub(crate) token: Token,
    pub(crate) end: Wish,
}

impl EndRequest {
    /// What is asked for once this is known of what was to be committed or set aside before: a stream of which an entry
    /// could not be set aside is not finished, or the entry would be lost. Its next owner reads it again.
    pub(crate) fn settled(self, end: &CommitEnd) -> EndRequest {
        let end = match (self.end, end) {
            (Wish::Done, CommitEnd::Broken(why)) => {
                Wish::Failed(format!("an entry that cannot be decoded could not be set aside: {why}").into())
            }
            (Wish::Done, CommitEnd::Lost | CommitEnd::Unknown) => Wish::Release,
            (wish, _) => wish,
        };
        EndRequest { end, ..self }
    }
}

/// How the application ends an ownership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// For ever.
    Done,
    /// Unfinished.
    Release,
    /// Unfinished, and nobody is to be handed it for so long.
    Rest(Duration),
    /// Unfinished, because of this error.
    Failed(Box<str>),
}

impl Wish {
    fn end(&self) -> End {
        match self {
            Wish::Done => End::Done,
            Wish::Release | Wish::Rest(_) | Wish::Failed(_) => End::Release,
        }
    }
}

impl Lease {
    pub(crate) fn new(
        added: Added,
        partition: u32,
        clock: Clock,
        ends: mpsc::UnboundedSender<EndRequest>,
        desk: Arc<Desk>,
    ) -> Lease {
        let work = Arc::new(Work::new(desk, &added));
        let valid_until = AtomicU64::new(added.valid_until.as_micros());
        let gained = clock.now();
        Lease(Arc::new(Held {
            added,
            partition,
            gained,
            valid_until,
            ended: Mutex::default(),
            changed: Notify::new(),
            clock,
            ends,
            work,
        }))
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
        self.valid_until() > self.0.clock.now()
    }

    /// Until when the stream is owned unless the lease is extended, by the client's [`Clock`]; [`Time::ZERO`] once it
    /// has ended.
    pub fn valid_until(&self) -> Time {
        Time::from_micros(self.0.valid_until.load(Ordering::Acquire))
    }

    /// Waits until the ownership has ended, and says how. Cancel safe; may be called any number of times.
    ///
    /// After [`done`](Lease::done) or [`release`](Lease::release) it resolves when the answer is there.
    pub async fn lost(&self) -> Lost {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(lost) = self.0.lost() {
                return lost;
            }
            changed.await;
        }
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
        !self.is_valid() && self.0.lock().asked.is_none()
    }
}

impl Held {
    fn lock(&self) -> std::sync::MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lost(&self) -> Option<Lost> {
        self.lock().lost.clone()
    }

    /// When the client heard of it.
    pub(crate) fn gained(&self) -> Time {
        self.gained
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The application is to end its work until then.
    pub(crate) fn drain(&self, until: Time) {
        self.work.drain(until);
        self.changed.notify_waiters();
    }

    /// Waits for that; [`Time::ZERO`] if the ownership has ended.
    pub(crate) async fn draining(&self) -> Time {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.lost().is_some() {
                return Time::ZERO;
            }
            if let Some(until) = self.work.draining() {
                return until;
            }
            changed.await;
        }
    }

    /// Ends local validity, then sends the wish; before a release, what was worked on is committed. Only the first wish
    /// counts, and none after the end.
    pub(crate) fn ask_to_end(&self, wish: Wish) {
        let mut ended = self.lock();
        if ended.asked.is_some() || ended.lost.is_some() {
            return;
        }
        ended.asked = Some(wish.end());
        drop(ended);
        let valid_until = Time::from_micros(self.valid_until.load(Ordering::Acquire));
        self.invalidate();
        let request = EndRequest { entry: self.added.entry, token: self.added.token, end: wish };
        let settled_by = valid_until.min(self.clock.now() + SETTLED_WITHIN);
        if self.work.end_when_settled(&request, settled_by) {
            return;
        }
        // If the driver is gone, it has said how the ownership ended, or is about to.
        let _ = self.ends.send(request);
    }

    /// From now on it is not valid, whatever is answered later.
    pub(crate) fn invalidate(&self) {
        self.valid_until.store(0, Ordering::Release);
    }

    /// It is trusted for longer, unless it has ended.
    pub(crate) fn extend(&self, until: Time) {
        let longer = |now: u64| (now != 0 && until.as_micros() > now).then_some(until.as_micros());
        let _ = self.valid_until.fetch_update(Ordering::AcqRel, Ordering::Acquire, longer);
    }

    /// It has ended, in this way. The first word counts.
    pub(crate) fn finish(&self, lost: Lost) {
        self.invalidate();
        self.lock().lost.get_or_insert(lost);
        self.changed.notify_waiters();
        self.work.over();
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
    use std::sync::atomic::AtomicU64;

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
