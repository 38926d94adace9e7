//! What was delivered of one stream and not yet taken: filled by the driver, emptied by the reader, whole deliveries at a
//! time. The driver never waits for it: the machine delivers only what there is room for.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use streamkeeper_core::{entries::event::Delivery, id::EntryId};

/// Something for a reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A delivery, and how many rollbacks were told by then.
    Delivered(Delivery, u32),
    /// A commit that the reader made by itself was refused.
    NotCommitted(Option<EntryId>, Box<str>),
}

/// The inbox of one reading of a stream: who opens it again gets another.
#[derive(Default)]
pub(crate) struct Inbox(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    arrivals: VecDeque<Arrival>,
    replaced: bool,
    reader: Option<Waker>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Shelf)) {
        let mut shelf = self.lock();
        change(&mut shelf);
        let reader = shelf.reader.take();
        drop(shelf);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(crate) fn push(&self, arrival: Arrival) {
        self.change(|shelf| shelf.arrivals.push_back(arrival));
    }

    /// Somebody else reads the stream from now on.
    pub(crate) fn replace(&self) {
        self.change(|shelf| shelf.replaced = true);
    }

    /// The reader is to look around: the lease has ended, or is to.
    pub(crate) fn wake(&self) {
        self.change(|_| {});
    }

    /// Whoever reads is woken by whatever happens from now on.
    pub(crate) fn register(&self, reader: &Waker) {
        let mut shelf = self.lock();
        if !shelf.reader.as_ref().is_some_and(|waker| waker.will_wake(reader)) {
            shelf.reader = Some(reader.clone());
        }
    }

    /// Everything that has arrived.
    pub(crate) fn take(&self) -> VecDeque<Arrival> {
        std::mem::take(&mut self.lock().arrivals)
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.lock().replaced
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use futures::task::{ArcWake, waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl ArcWake for Woken {
        fn wake_by_ref(this: &Arc<Woken>) {
            this.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_reader_is_woken_once_for_all_that_comes_until_it_looks() {
        let (inbox, woken) = (Inbox::default(), Arc::new(Woken::default()));
        inbox.register(&waker(woken.clone()));
        let opened = || Arrival::Delivered(Delivery::Opened(None), 0);
        inbox.push(opened());
        inbox.push(opened());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(inbox.take(), [opened(), opened()]);
        inbox.register(&waker(woken.clone()));
        assert!(!inbox.is_replaced());
        inbox.replace();
        assert_eq!((woken.0.load(Ordering::Relaxed), inbox.is_replaced()), (2, true));
    }
}
