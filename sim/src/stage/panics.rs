//! Panics that nobody caught: a bug of what was running, not of the simulation.

use std::{
    any::Any,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;

/// What panicked, in words. Its clones are one.
#[derive(Clone, Default)]
pub(super) struct Panics(Arc<Mutex<Vec<String>>>);

impl Panics {
    /// Lets a future run; a panic ends only this future, and is written down.
    pub(super) async fn watch(self, what: String, future: impl Future<Output = ()>) {
        if let Err(panic) = AssertUnwindSafe(future).catch_unwind().await {
            self.report(format!("{what}: {}", words(&*panic)));
        }
    }

    /// Something else that must not happen.
    pub(super) fn report(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Those since this was last asked.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
