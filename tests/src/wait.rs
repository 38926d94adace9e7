//! Waiting for a condition instead of sleeping: the one generous limit of all tests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: a limit against hanging, never a measurement.
pub const LIMIT: Duration = Duration::from_secs(100);

/// How often a condition is looked at.
pub const GLANCE: Duration = Duration::from_millis(25);

/// Waits until the condition holds; answers whether it did within [`LIMIT`].
pub fn within_limit(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > LIMIT {
            return false;
        }
        sleep(GLANCE);
    }
}

/// Waits until the condition holds.
///
/// # Panics
/// If it does not within [`LIMIT`].
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(within_limit(condition), "waited {LIMIT:?} in vain for: {what}");
}

/// Waits until there is a value, and answers it.
///
/// # Panics
/// If there is none within [`LIMIT`].
pub fn some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut seen = None;
    until(what, || {
        seen = look();
        seen.is_some()
    });
    seen.expect("it was waited for")
}

/// Says that it is over when it is dropped: also when a test fails, which would wait for its threads for ever.
#[derive(Debug)]
pub struct UntilDropped<'a>(pub &'a AtomicBool);

impl Drop for UntilDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks at something again and again for a while: for what must *not* happen.
pub fn observe(span: Duration, mut look: impl FnMut()) {
    let start = Instant::now();
    while start.elapsed() < span {
        look();
        sleep(GLANCE);
    }
}
