//! The one clock of the shell: what tells the machine and the leases what time it is.
//!
//! In production it is the boot-time clock, which also counts the time that a machine was suspended: a lease does not
//! outlive a closed lid. In simulation it is whatever the simulation says.

use std::{fmt, sync::Arc, time::Duration};

use streamkeeper_core::time::Time;

/// A clock that never goes back. Cheap to clone; its clones agree.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Boot,
    Custom(Arc<dyn Fn() -> Time + Send + Sync>),
}

impl Clock {
    /// The system's clock: `CLOCK_BOOTTIME` on Linux and Android, elsewhere the monotonic clock.
    pub fn system() -> Clock {
        Clock(Source::Boot)
    }

    /// tokio's clock, which is virtual where time is paused: for simulations and tests. Its origin is now.
    ///
    /// # Panics
    /// Where tokio's clock is paused, it can be read only within the runtime.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn tokio() -> Clock {
        let origin = tokio::time::Instant::now();
        Clock::custom(move || Time::ZERO + tokio::time::Instant::now().duration_since(origin))
    }

    /// A clock of the caller's own, such as one that runs fast or slow. It must never go back.
    pub fn custom(now: impl Fn() -> Time + Send + Sync + 'static) -> Clock {
        Clock(Source::Custom(Arc::new(now)))
    }

    /// The instant at which this is called.
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::Boot => boot_time(),
            Source::Custom(now) => now(),
        }
    }

    /// Sleeps until that instant; returns at once if it has passed. A suspended machine wakes late: look at the clock
    /// again.
    pub(crate) async fn sleep_until(&self, at: Time) {
        let span = at.since(self.now());
        if span > Duration::ZERO {
            tokio::time::sleep(span).await;
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_time() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let micros = now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000;
    Time::from_micros(micros)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn boot_time() -> Time {
    static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    Time::ZERO + ORIGIN.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_advances() {
        let clock = Clock::system();
        let earlier = clock.now();
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now().since(earlier) >= Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn virtual_time_is_followed() {
        let clock = Clock::tokio();
        clock.sleep_until(Time::from_millis(1_500)).await;
        assert_eq!(clock.now(), Time::from_millis(1_500));
        clock.sleep_until(Time::ZERO).await;
        assert_eq!(clock.now(), Time::from_millis(1_500));
    }
}
