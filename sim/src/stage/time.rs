//! True time, and the clocks of hosts that run a little fast or slow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use streamkeeper::{Clock, Time};
use tokio::{runtime::Handle, time::Instant};

/// True simulated time: inside a runtime it is that one's, outside it is what it was when the runtime was left.
#[derive(Clone)]
pub(super) struct TrueTime(Arc<Origin>);

struct Origin {
    source: Source,
    left_at_us: AtomicU64,
}

enum Source {
    Tokio { began: Instant },
    Turmoil,
}

impl TrueTime {
    /// Begins now. To be called within the runtime.
    pub(super) fn begin() -> TrueTime {
        TrueTime::with(Source::Tokio { began: Instant::now() })
    }

    /// That of turmoil, which begins with it.
    pub(super) fn of_turmoil() -> TrueTime {
        TrueTime::with(Source::Turmoil)
    }

    fn with(source: Source) -> TrueTime {
        TrueTime(Arc::new(Origin { source, left_at_us: AtomicU64::new(0) }))
    }

    pub(super) fn now(&self) -> Time {
        self.passed().map_or_else(|| Time::from_micros(self.0.left_at_us.load(Ordering::Relaxed)), since_zero)
    }

    /// Since the beginning, inside a runtime.
    fn passed(&self) -> Option<Duration> {
        Handle::try_current().ok()?;
        match self.0.source {
            Source::Tokio { began } => Some(Instant::now().duration_since(began)),
            Source::Turmoil => ::turmoil::sim_elapsed(),
        }
    }

    /// The instant of tokio's clock.
    pub(super) fn instant(&self, at: Time) -> Instant {
        match self.0.source {
            Source::Tokio { began } => began + at.since(Time::ZERO),
            Source::Turmoil => Instant::now() + at.since(self.now()),
        }
    }

    /// What it is outside of all runtimes.
    pub(super) fn is(&self, passed: Duration) {
        self.0.left_at_us.store(since_zero(passed).as_micros(), Ordering::Relaxed);
    }

    /// The runtime is left now. To be called within it.
    pub(super) fn leave(&self) {
        let now = self.now();
        self.0.left_at_us.store(now.as_micros(), Ordering::Relaxed);
    }

    /// A clock that runs fast by so many parts in a million.
    pub(super) fn clock(&self, drift_ppm: i32) -> Clock {
        let this = self.clone();
        Clock::custom(move || drifted(this.now(), drift_ppm))
    }
}

fn since_zero(passed: Duration) -> Time {
    Time::from_micros(u64::try_from(passed.as_micros()).unwrap_or(u64::MAX))
}

fn drifted(at: Time, drift_ppm: i32) -> Time {
    let rate = 1_000_000u64.saturating_add_signed(i64::from(drift_ppm));
    Time::from_micros((u128::from(at.as_micros()) * u128::from(rate) / 1_000_000).try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_shows_more() {
        let at = Time::from_millis(10_000);
        assert_eq!(drifted(at, 0), at);
        assert_eq!(drifted(at, 20_000), Time::from_millis(10_200));
        assert_eq!(drifted(at, -20_000), Time::from_millis(9_800));
    }
}
