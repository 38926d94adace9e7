//! Waiting for a condition instead of sleeping: the one generous limit of all tests.

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

/// Looks at something again and again for a while: for what must *not* happen.
pub fn observe(span: Duration, mut look: impl FnMut()) {
    let start = Instant::now();
    while start.elapsed() < span {
        look();
        sleep(GLANCE);
    }
}
