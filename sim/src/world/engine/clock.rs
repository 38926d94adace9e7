//! A process's own clock, which runs a little fast or slow, and how long it takes by true time.

use streamkeeper::{Clock, Time};

use crate::stage::time::TrueTime;

/// The clock of a consumer's host.
#[derive(Clone)]
pub(super) struct OwnClock {
    clock: Clock,
    /// How many millionths of a second pass on it in a true second.
    rate: u64,
}

impl OwnClock {
    pub(super) fn new(time: &TrueTime, drift_ppm: i32) -> OwnClock {
        OwnClock { clock: time.clock(drift_ppm), rate: 1_000_000u64.saturating_add_signed(i64::from(drift_ppm)) }
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The first true instant at which it shows this.
    pub(super) fn when(&self, shown: Time) -> Time {
        let micros = (u128::from(shown.as_micros()) * 1_000_000).div_ceil(u128::from(self.rate.max(1)));
        Time::from_micros(micros.try_into().unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_shows_what_it_was_asked_for_then_and_not_before() {
        for drift_ppm in [-20_000, -1, 0, 7, 52_631] {
            let time = TrueTime::told();
            let clock = OwnClock::new(&time, drift_ppm);
            for shown in [0, 1, 999, 1_000_001, 59_999_999].map(Time::from_micros) {
                let at = clock.when(shown);
                time.is(at.since(Time::ZERO));
                assert!(clock.now() >= shown, "{drift_ppm} {shown:?}");
                if at > Time::ZERO {
                    time.is((at - Duration::from_micros(1)).since(Time::ZERO));
                    assert!(clock.now() < shown, "{drift_ppm} {shown:?}");
                }
            }
        }
    }
}
