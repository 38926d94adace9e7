//! Redis's clock as the facts show it: it runs like true time, and steps. What is due is due by this clock, so a judge
//! remembers what it is to show, and never when it was thought to show that: a step forward and another one back leave
//! nothing changed.

use streamkeeper::Time;

use crate::messages::EPOCH_MS;

/// What Redis's clock shows.
#[derive(Default)]
pub(in crate::messages) struct Clock {
    /// How far it was stepped forward, all in all.
    stepped_ms: i64,
}

impl Clock {
    /// It is stepped forward, or back.
    pub(super) fn step(&mut self, by_ms: i64) {
        self.stepped_ms = self.stepped_ms.saturating_add(by_ms);
    }

    /// When it shows this, as it goes now; the beginning of the run if it has shown that before.
    pub(in crate::messages) fn shows(&self, wall_ms: u64) -> Time {
        let since_ms = i128::from(wall_ms) - i128::from(EPOCH_MS) - i128::from(self.stepped_ms);
        Time::from_micros(u64::try_from(since_ms.max(0)).unwrap_or(u64::MAX).saturating_mul(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up_and_nothing_is_forgotten() {
        let mut clock = Clock::default();
        let due = EPOCH_MS + 10_000;
        assert_eq!(clock.shows(due), Time::from_millis(10_000));
        clock.step(7_200_000);
        assert_eq!(clock.shows(due), Time::ZERO);
        clock.step(-7_195_000);
        assert_eq!(clock.shows(due), Time::from_millis(5_000));
        clock.step(-60_000);
        assert_eq!(clock.shows(due), Time::from_millis(65_000));
        assert_eq!(clock.shows(0), Time::ZERO);
        assert_eq!(clock.shows(u64::MAX), Time::from_micros(u64::MAX));
    }
}
