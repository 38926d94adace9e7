//! Which hosts have something to do.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use crate::stage::HostId;

/// The hosts that have something to do, in the order in which they were woken. Its clones are one.
#[derive(Clone, Default)]
pub(super) struct Woken(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    hosts: VecDeque<Arc<Root>>,
    /// Whoever runs them, while it sleeps.
    sleeper: Option<Waker>,
}

/// A host, as its tasks wake it.
pub(super) struct Root {
    host: HostId,
    is_woken: AtomicBool,
    woken: Woken,
}

impl Woken {
    pub(super) fn root(&self, host: HostId) -> Arc<Root> {
        Arc::new(Root { host, is_woken: AtomicBool::new(false), woken: self.clone() })
    }

    /// The next host that has something to do.
    pub(super) fn next(&self) -> Option<HostId> {
        let root = self.lock().hosts.pop_front()?;
        root.is_woken.store(false, Ordering::Relaxed);
        Some(root.host)
    }

    /// Has this one woken when the next host is.
    pub(super) fn sleeps(&self, sleeper: &Waker) {
        self.lock().sleeper = Some(sleeper.clone());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Root {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_woken.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut state = self.woken.lock();
        state.hosts.push_back(self.clone());
        if let Some(sleeper) = state.sleeper.take() {
            sleeper.wake();
        }
    }
}
