//! True time, and the clocks of hosts that run a little fast or slow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use streamkeeper::{Clock, Time};
use tokio::runtime::Handle;

/// True simulated time. Its clones agree.
#[derive(Clone)]
pub(crate) struct TrueTime {
    told_us: Arc<AtomicU64>,
    asks_turmoil: bool,
}

impl TrueTime {
    /// What it is told to be.
    pub(crate) fn told() -> TrueTime {
        TrueTime { told_us: Arc::default(), asks_turmoil: false }
    }

    /// Inside of turmoil's hosts, their time; outside, what it is told to be.
    pub(crate) fn of_turmoil() -> TrueTime {
        TrueTime { told_us: Arc::default(), asks_turmoil: true }
    }

    pub(crate) fn now(&self) -> Time {
        match self.asks_turmoil.then(in_turmoil).flatten() {
            Some(passed) => since_zero(passed),
            None => Time::from_micros(self.told_us.load(Ordering::Relaxed)),
        }
    }

    /// So much has passed since the beginning.
    pub(crate) fn is(&self, passed: Duration) {
        self.told_us.store(since_zero(passed).as_micros(), Ordering::Relaxed);
    }

    /// A clock that runs fast by so many parts in a million.
    pub(crate) fn clock(&self, drift_ppm: i32) -> Clock {
        let this = self.clone();
        Clock::custom(move || drifted(this.now(), drift_ppm))
    }
}

/// turmoil's own word holds only within its runtimes: while a host is being killed it is the wall clock's.
fn in_turmoil() -> Option<Duration> {
    Handle::try_current().ok()?;
    ::turmoil::sim_elapsed()
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
