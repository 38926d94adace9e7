//! The notifications that the application has not read yet: a queue that the driver never waits for.
//!
//! It holds more than its limit only by what was under way: once the limit is reached, the machine is told, and takes
//! nothing new until half of it has been read.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::Stream;
use tokio::sync::Notify;

use crate::notification::Notification;

/// The driver's end.
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    limit: usize,
}

#[derive(Default)]
struct Queue {
    unread: VecDeque<Notification>,
    readers: Vec<Waker>,
    backlogged: bool,
    closed: bool,
    /// The drivers that are to look, when it has become full or has been read.
    drivers: Vec<Arc<Notify>>,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Outbox {
        Outbox { queue: Mutex::default(), limit: limit.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What resolves when somebody else has filled it up to its limit, and when the application has caught up after that.
    pub(crate) fn turns(&self) -> Arc<Notify> {
        let turns = Arc::new(Notify::new());
        self.lock().drivers.push(turns.clone());
        turns
    }

    /// Adds a notification, by the driver with these `turns`. `true` if the limit has just been reached: the machine is to
    /// be told.
    pub(crate) fn push(&self, notification: Notification, turns: &Arc<Notify>) -> bool {
        let mut queue = self.lock();
        queue.unread.push_back(notification);
        let full = !queue.backlogged && queue.unread.len() >= self.limit;
        queue.backlogged |= full;
        if full {
            queue.drivers.iter().filter(|other| !Arc::ptr_eq(other, turns)).for_each(|other| other.notify_one());
        }
        let readers = std::mem::take(&mut queue.readers);
        drop(queue);
        readers.into_iter().for_each(Waker::wake);
        full
    }

    /// How many notifications are unread.
    pub(crate) fn len(&self) -> usize {
        self.lock().unread.len()
    }

    /// Whether the limit was reached and not yet half of it read.
    pub(crate) fn backlogged(&self) -> bool {
        self.lock().backlogged
    }

    /// No more notifications come: readers end after the last one.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let readers = std::mem::take(&mut queue.readers);
        drop(queue);
        readers.into_iter().for_each(Waker::wake);
    }

    fn poll_pop(&self, context: &mut Context<'_>) -> Poll<Option<Notification>> {
        let mut queue = self.lock();
        let Some(notification) = queue.unread.pop_front() else {
            if queue.closed {
                return Poll::Ready(None);
            }
            if !queue.readers.iter().any(|reader| reader.will_wake(context.waker())) {
                queue.readers.push(context.waker().clone());
            }
            return Poll::Pending;
        };
        if queue.backlogged && queue.unread.len() < self.limit.div_ceil(2) {
            queue.backlogged = false;
            queue.drivers.iter().for_each(|driver| driver.notify_one());
        }
        Poll::Ready(Some(notification))
    }
}

/// The notifications of a client, in order. Ends after [`Stopped`](Notification::Stopped) or
/// [`Terminated`](Notification::Terminated).
///
/// Several of one client share one queue: each notification is read once. Reading is cancel safe: a `next()` that is
/// dropped has taken nothing.
#[derive(Clone)]
pub struct Notifications(pub(crate) Arc<Outbox>);

impl Stream for Notifications {
    type Item = Notification;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Notification>> {
        self.0.poll_pop(context)
    }
}

impl fmt::Debug for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications").field("unread", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn says_when_full_and_when_caught_up() {
        let outbox = Arc::new(Outbox::new(4));
        let mut notifications = Notifications(outbox.clone());
        let (turns, others) = (outbox.turns(), outbox.turns());
        let told: Vec<bool> = (0..6).map(|_| outbox.push(Notification::Ready, &turns)).collect();
        assert_eq!(told, [false, false, false, true, false, false]);
        others.notified().now_or_never().expect("another driver has filled it");
        for unread in [5, 4, 3, 2] {
            assert!(notifications.next().await.is_some());
            assert_eq!((outbox.len(), outbox.backlogged()), (unread, true));
            assert!(turns.notified().now_or_never().is_none() && others.notified().now_or_never().is_none());
        }
        assert!(notifications.next().await.is_some());
        assert!(!outbox.backlogged());
        turns.notified().now_or_never().expect("half of it is read");
        others.notified().now_or_never().expect("half of it is read");
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_and_ends_with_the_queue() {
        let outbox = Arc::new(Outbox::new(4));
        let turns = outbox.turns();
        let reader = tokio::spawn(Notifications(outbox.clone()).count());
        tokio::task::yield_now().await;
        outbox.push(Notification::Ready, &turns);
        tokio::task::yield_now().await;
        outbox.push(Notification::Ready, &turns);
        outbox.close();
        assert_eq!(reader.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_limit_of_one_works() {
        let outbox = Arc::new(Outbox::new(1));
        let turns = outbox.turns();
        assert!(outbox.push(Notification::Ready, &turns));
        assert!(Notifications(outbox.clone()).next().await.is_some());
        turns.notified().now_or_never().expect("all is read");
    }
}
