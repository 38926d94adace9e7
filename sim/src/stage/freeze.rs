//! A host's software under one root that can be stopped, thawed and killed.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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

use super::HostId;

/// Until when a host stands still. Its clones are one.
#[derive(Clone, Default)]
pub(super) struct Ice(Arc<Frozen>);

#[derive(Default)]
struct Frozen {
    /// 0 while it moves.
    until_us: AtomicU64,
    /// Who is woken when that changes, and at the thaw.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    root: Option<Waker>,
    tasks: Vec<Waker>,
}

impl Ice {
    /// From its next await on the host stands still until then, whatever it has been told before.
    pub(super) fn freeze_until(&self, at: Time) {
        self.0.until_us.store(at.as_micros(), Ordering::Relaxed);
        self.wake_root();
    }

    /// From its next await on the host stands still until then, or for longer if it has been told so.
    pub(super) fn freeze_at_least_until(&self, at: Time) {
        self.0.until_us.fetch_max(at.as_micros(), Ordering::Relaxed);
        self.wake_root();
    }

    /// One of the host's tasks: it stands still as soon as the host does, even if another task has just frozen it.
    pub(super) fn stills<F: Future<Output = ()> + Unpin>(&self, task: F) -> Stilled<F> {
        Stilled { ice: self.clone(), task }
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.0.until_us.load(Ordering::Relaxed) != 0
    }

    pub(super) fn until(&self) -> Time {
        Time::from_micros(self.0.until_us.load(Ordering::Relaxed))
    }

    pub(super) fn thaw(&self) {
        self.0.until_us.store(0, Ordering::Relaxed);
        let tasks = std::mem::take(&mut self.waiting().tasks);
        tasks.into_iter().for_each(Waker::wake);
    }

    fn wake_root(&self) {
        let root = self.waiting().root.take();
        if let Some(root) = root {
            root.wake();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task of a host that can be frozen.
pub(super) struct Stilled<F> {
    ice: Ice,
    task: F,
}

impl<F: Future<Output = ()> + Unpin> Future for Stilled<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.ice.is_frozen() {
            self.ice.waiting().tasks.push(context.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.task).poll(context)
    }
}

/// The ice of each host.
#[derive(Default)]
pub(super) struct Ices(RefCell<BTreeMap<HostId, Ice>>);

impl Ices {
    /// The one of this host, whether or not it is there yet.
    pub(super) fn of(&self, host: HostId) -> Ice {
        self.0.borrow_mut().entry(host).or_default().clone()
    }
}

/// Where a host's software hangs: nothing of it is left once the slot is emptied.
#[derive(Clone)]
pub(super) struct Slot {
    software: Rc<RefCell<Option<LocalSet>>>,
    ice: Ice,
}

impl Slot {
    pub(super) fn new(ice: Ice) -> Slot {
        Slot { software: Rc::default(), ice }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.software.borrow().is_none()
    }

    /// Puts software into the slot. Everything that it spawns with `spawn_local` belongs to it.
    pub(super) fn fill(&self, software: LocalBoxFuture<'static, ()>) {
        self.ice.thaw();
        let tasks = LocalSet::new();
        tasks.spawn_local(self.ice.stills(software));
        *self.software.borrow_mut() = Some(tasks);
        self.ice.wake_root();
    }

    /// Kills the software at once.
    pub(super) fn empty(&self) {
        let software = self.software.borrow_mut().take();
        drop(software);
    }

    /// Lets the software do what it has to do, unless it stands still.
    pub(super) fn poll(&self, context: &mut Context<'_>) {
        if self.ice.is_frozen() {
            return;
        }
        if let Some(software) = &mut *self.software.borrow_mut() {
            let _ = Pin::new(software).poll(context);
        }
    }

    /// Runs whatever is in the slot, for ever, by this clock of true time.
    pub(super) async fn run(self, clock: Clock) {
        let mut thaws = Box::pin(sleep(Duration::ZERO));
        poll_fn(move |context| {
            self.ice.waiting().root = Some(context.waker().clone());
            if self.ice.is_frozen() {
                let still_for = self.ice.until().since(clock.now());
                thaws.as_mut().reset(Instant::now() + still_for);
                if still_for > Duration::ZERO && thaws.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.ice.thaw();
            }
            self.poll(context);
            Poll::<()>::Pending
        })
        .await;
    }
}
