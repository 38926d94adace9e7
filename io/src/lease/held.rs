//! What all handles on an ownership share with the driver: until when it is trusted, who wants it to end, and how it has
//! ended.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use streamkeeper_core::{
    streams::{End, notification::Added},
    time::Time,
};
use tokio::sync::{Notify, mpsc};

use super::{EndRequest, Lost, Wish};
use crate::{
    clock::Clock,
    entries::{Desk, Work},
};

/// How long an end waits at most for what was worked on to be committed, or for what cannot be decoded to be set aside.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);

/// One ownership, shared by the driver and all handles.
pub(crate) struct Held {
    pub(super) added: Added,
    pub(super) partition: u32,
    gained: Time,
    /// Microseconds; 0 once it has ended.
    valid_until: AtomicU64,
    ended: Mutex<Ended>,
    changed: Notify,
    clock: Clock,
    ends: mpsc::UnboundedSender<EndRequest>,
    pub(crate) work: Arc<Work>,
}

#[derive(Default)]
struct Ended {
    asked: Option<End>,
    lost: Option<Lost>,
}

impl Held {
    pub(super) fn new(
        added: Added,
        partition: u32,
        clock: Clock,
        ends: mpsc::UnboundedSender<EndRequest>,
        desk: Arc<Desk>,
    ) -> Held {
        let work = Arc::new(Work::new(desk, &added));
        let valid_until = AtomicU64::new(added.valid_until.as_micros());
        let gained = clock.now();
        Held {
            added,
            partition,
            gained,
            valid_until,
            ended: Mutex::default(),
            changed: Notify::new(),
            clock,
            ends,
            work,
        }
    }

    /// How it has ended.
    pub(crate) fn lost(&self) -> Option<Lost> {
        self.lock().lost.clone()
    }

    /// Waits for that.
    pub(super) async fn ended(&self) -> Lost {
        self.known(|| self.lost()).await
    }

    /// The application has asked for its end, as long as that counted.
    pub(super) fn is_asked_to_end(&self) -> bool {
        self.lock().asked.is_some()
    }

    /// Until when it is trusted; [`Time::ZERO`] once it has ended.
    pub(super) fn valid_until(&self) -> Time {
        Time::from_micros(self.valid_until.load(Ordering::Acquire))
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
        self.known(|| self.lost().map(|_| Time::ZERO).or_else(|| self.work.draining())).await
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
        let valid_until = self.valid_until();
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

    /// Waits until this is known. Cancel safe.
    async fn known<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(known) = look() {
                return known;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
