//! A host's software under one root that can be stopped, thawed and killed.

use std::{
    cell::RefCell,
    future::{Future, pending, poll_fn},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::future::LocalBoxFuture;
use streamkeeper::{Clock, Time};
use tokio::{
    task::LocalSet,
    time::{Instant, sleep},
};

/// Until when a host stands still. Its clones are one.
#[derive(Clone, Default)]
pub(super) struct Ice(Arc<Frozen>);

#[derive(Default)]
struct Frozen {
    until_us: AtomicU64,
    root: Mutex<Option<Waker>>,
}

impl Ice {
    /// From its next await on the host stands still until then, or for longer if it has been told so.
    pub(super) fn freeze_until(&self, at: Time) {
        self.0.until_us.fetch_max(at.as_micros(), Ordering::Relaxed);
        self.wake();
    }

    fn until(&self) -> Time {
        Time::from_micros(self.0.until_us.load(Ordering::Relaxed))
    }

    fn thaw(&self) {
        self.0.until_us.store(0, Ordering::Relaxed);
    }

    fn wake(&self) {
        if let Some(root) = self.0.root.lock().unwrap_or_else(PoisonError::into_inner).take() {
            root.wake();
        }
    }

    fn waits_in(&self, context: &Context<'_>) {
        *self.0.root.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
    }
}

/// Where a host's software hangs: nothing of it is left once the slot is emptied.
#[derive(Clone, Default)]
pub(super) struct Slot {
    software: Rc<RefCell<Option<LocalBoxFuture<'static, ()>>>>,
    ice: Ice,
}

impl Slot {
    pub(super) fn ice(&self) -> Ice {
        self.ice.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.software.borrow().is_none()
    }

    /// Puts software into the slot. Everything that it spawns with `spawn_local` belongs to it.
    pub(super) fn fill(&self, software: LocalBoxFuture<'static, ()>) {
        self.ice.thaw();
        let tasks = LocalSet::new();
        *self.software.borrow_mut() = Some(Box::pin(async move {
            // What was spawned goes on when the first task has ended.
            tasks.run_until(async { (software.await, pending::<()>().await) }).await;
        }));
        self.ice.wake();
    }

    /// Kills the software at once.
    pub(super) fn empty(&self) {
        let software = self.software.borrow_mut().take();
        drop(software);
    }

    /// Runs whatever is in the slot, for ever, by this clock of true time.
    pub(super) async fn run(self, clock: Clock) {
        let mut thaws = Box::pin(sleep(Duration::ZERO));
        poll_fn(move |context| {
            self.ice.waits_in(context);
            let still_for = self.ice.until().since(clock.now());
            if still_for > Duration::ZERO {
                thaws.as_mut().reset(Instant::now() + still_for);
                if thaws.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
            // Taken out while it runs: it may crash its own host.
            let Some(mut software) = self.software.borrow_mut().take() else { return Poll::Pending };
            let _ = software.as_mut().poll(context);
            self.software.borrow_mut().get_or_insert(software);
            Poll::<()>::Pending
        })
        .await;
    }
}
