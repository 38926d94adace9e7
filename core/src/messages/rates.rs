//! How many runs may start: this consumer's own rate, and permits under the rate that the whole group shares.

use std::time::Duration;

use super::{
    Config, Machine,
    asked::{Kind, Question},
    call::Call,
    config::Rate,
};
use crate::time::Time;

/// What may start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) bucket: Option<Bucket>,
    /// Permits of the group that are not used yet; `None`: none are needed.
    pub(super) permits: Option<u32>,
    pub(super) asking: bool,
    ask_at: Time,
}

impl State {
    pub(super) fn new(config: &Config) -> State {
        let permits = config.group_rate.map(|_| 0);
        State { bucket: config.rate.map(Bucket::new), permits, asking: false, ask_at: Time::ZERO }
    }
}

/// So many in a span of time: full at first, refilled steadily. A run costs `per` microseconds times one, and every
/// microsecond brings `count` of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bucket {
    rate: Rate,
    level: u128,
    at: Time,
}

impl Bucket {
    fn new(rate: Rate) -> Bucket {
        let mut bucket = Bucket { rate, level: 0, at: Time::ZERO };
        bucket.level = bucket.full();
        assert!(bucket.level >= bucket.price(), "a rate allows one run at least: {rate:?}");
        bucket
    }

    fn price(&self) -> u128 {
        self.rate.per.as_micros()
    }

    fn full(&self) -> u128 {
        self.price() * u128::from(self.rate.count)
    }

    fn level(&self, now: Time) -> u128 {
        (self.level + now.since(self.at).as_micros() * u128::from(self.rate.count)).min(self.full())
    }

    /// When there is enough for one.
    fn next_at(&self) -> Time {
        let missing = self.price().saturating_sub(self.level);
        assert!(missing <= self.price(), "more is missing than one run costs: {self:?}");
        let micros = missing.div_ceil(u128::from(self.rate.count));
        self.at + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn take(&mut self, now: Time) {
        self.level = self.level(now).saturating_sub(self.price());
        self.at = self.at.max(now);
        assert!(self.level <= self.full(), "a quiet time brings no more than a full bucket: {self:?}");
    }
}

#[cfg(debug_assertions)]
impl Bucket {
    /// Whether no more runs are saved up than the rate allows at once.
    pub(super) fn is_sound(&self) -> bool {
        self.level <= self.full()
    }
}

impl Machine {
    /// From when on a run may start; `None`: not before there are permits.
    pub(super) fn allowed_from(&self) -> Option<Time> {
        if self.rates.permits == Some(0) {
            return None;
        }
        Some(self.rates.bucket.as_ref().map_or(Time::ZERO, Bucket::next_at))
    }

    /// A run starts.
    pub(super) fn spend(&mut self) {
        if let Some(bucket) = &mut self.rates.bucket {
            bucket.take(self.now);
        }
        if let Some(permits) = &mut self.rates.permits {
            assert!(*permits >= 1, "a run starts without the group's permit");
            *permits = permits.saturating_sub(1);
        }
    }

    pub(super) fn permits_due(&self) -> Option<Time> {
        let wanted = self.rates.permits == Some(0) && !self.rates.asking && self.startable() > 0;
        if wanted { Some(self.open_from(Kind::Permits)?.max(self.rates.ask_at)) } else { None }
    }

    pub(super) fn ask_for_permits(&mut self) {
        if self.permits_due().is_some_and(|at| at <= self.now) {
            let count = u32::try_from(self.startable()).unwrap_or(u32::MAX);
            assert!(count >= 1 && !self.rates.asking, "permits are asked for once, and for runs: {count}");
            self.rates.asking = true;
            self.ask(Question::Permits(count), Call::Permits { count });
        }
    }

    pub(super) fn permitted(&mut self, granted: u32, wait: Duration) {
        assert!(self.rates.asking, "{granted} permits come that nobody asked for");
        assert!(self.rates.permits.is_some(), "{granted} permits come, and none are needed");
        self.rates.asking = false;
        if let Some(permits) = &mut self.rates.permits {
            *permits = permits.saturating_add(granted);
        }
        let least = if granted == 0 { Duration::from_millis(1) } else { Duration::ZERO };
        self.rates.ask_at = self.now + wait.max(least);
        assert!(granted > 0 || self.rates.ask_at > self.now, "permits are asked for without end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_full_at_first_and_refills_steadily() {
        let mut bucket = Bucket::new(Rate { count: 3, per: Duration::from_millis(30) });
        let mut starts = Vec::new();
        let mut now = Time::from_millis(100);
        while starts.len() < 6 {
            now = now.max(bucket.next_at());
            bucket.take(now);
            starts.push(now.as_micros() / 1_000);
        }
        assert_eq!(starts, [100, 100, 100, 110, 120, 130]);
        now = Time::from_millis(10_000);
        for _ in 0..3 {
            assert!(bucket.next_at() <= now, "a quiet time fills it, and no more than that");
            bucket.take(now);
        }
        assert_eq!(bucket.next_at(), Time::from_millis(10_010));
    }

    #[test]
    fn more_than_one_in_a_microsecond() {
        let mut bucket = Bucket::new(Rate { count: 2_000_000, per: Duration::from_secs(1) });
        bucket.level = 0;
        bucket.at = Time::from_millis(1);
        assert_eq!(bucket.next_at(), Time::from_micros(1_001));
        bucket.take(Time::from_micros(1_001));
        assert_eq!(bucket.next_at(), Time::from_micros(1_001), "two of them");
    }
}
