//! A shutdown that leaves the application time: what is worked on is ended by the application, then by us.

use std::time::Duration;

use streamkeeper_core::time::Time;

/// The most that is kept back of the time for a shutdown, to end what the application has not.
const KEPT_BACK: Duration = Duration::from_secs(1);

/// How a shutdown goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining {
    /// Until when the application ends its work.
    pub(crate) until: Time,
    /// Until when what was worked on is committed and given back, stream by stream.
    pub(crate) last_call: Time,
    /// When everything is over.
    pub(crate) deadline: Time,
    /// What the application has not ended is being ended.
    pub(crate) called: bool,
}

impl Draining {
    pub(crate) fn new(now: Time, within: Duration) -> Draining {
        let deadline = now + within;
        let kept_back = (within / 4).min(KEPT_BACK);
        Draining { until: deadline - kept_back, last_call: deadline - kept_back / 2, deadline, called: false }
    }

    /// A second shutdown: the shorter one counts.
    pub(crate) fn hasten(&mut self, other: Draining) {
        self.until = self.until.min(other.until);
        self.last_call = self.last_call.min(other.last_call);
        self.deadline = self.deadline.min(other.deadline);
    }

    /// When it goes on, whatever the application does.
    pub(crate) fn wake(&self) -> Time {
        if self.called { self.last_call } else { self.until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_gets_three_quarters_or_all_but_a_second() {
        let now = Time::from_millis(1_000);
        for (within, until, last_call) in [(2_000, 2_500, 2_750), (30_000, 30_000, 30_500), (0, 1_000, 1_000)] {
            let draining = Draining::new(now, Duration::from_millis(within));
            let expected = (Time::from_millis(until), Time::from_millis(last_call));
            assert_eq!((draining.until, draining.last_call), expected, "{within}");
            assert_eq!(draining.wake(), draining.until);
        }
    }

    #[test]
    fn the_shorter_of_two_counts() {
        let (now, later) = (Time::from_millis(1_000), Time::from_millis(2_000));
        let seconds = Duration::from_secs;
        let mut draining = Draining::new(now, seconds(30));
        draining.hasten(Draining::new(later, seconds(4)));
        draining.hasten(Draining::new(later, seconds(60)));
        assert_eq!((draining.until, draining.deadline), (Time::from_millis(5_000), Time::from_millis(6_000)));
    }
}
