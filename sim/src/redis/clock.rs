//! The server's time: its wall clock, which may step, and what it does by itself `hz` times a second.

use std::time::Duration;

use streamkeeper::Time;

use super::{Redis, data::Db};

/// The wall clock at the beginning: 2026-01-01, in microseconds.
pub(crate) const EPOCH_US: u64 = 1_767_225_600_000_000;

/// How many samples of 20 keys a cycle takes at most, 10 times a second: a quarter of the time.
const LOOPS_OF_TEN_HZ: u32 = 200;

impl Redis {
    /// When [`tick`](Redis::tick) is to be called next, if nothing else happens.
    pub fn wake_at(&self) -> Option<Time> {
        let cycle = || {
            let lapses = self.expires().then(|| self.dbs.iter().filter_map(Db::next_expiry_ms).min()).flatten();
            let ends = self.connections.values().filter_map(|c| c.waiting.as_ref()?.until_ms());
            let due = ends.chain(lapses).min()?;
            // Not again at the instant of the latest one: it may have left what has lapsed.
            Some(self.cycle_from(self.time_of(due + 1)).max(self.next_cycle))
        };
        let due = if self.is_down() || self.is_stalled() { None } else { cycle() };
        [due, self.faults.wake_at()].into_iter().flatten().min()
    }

    /// Sets the wall clock, in microseconds since 1970, of a server that is new: it is no step.
    pub fn set_wall(&mut self, wall_us: u64) {
        let behind_us = i64::try_from(i128::from(wall_us) - i128::from(self.wall_us())).unwrap_or_default();
        self.stepped_us = self.stepped_us.saturating_add(behind_us);
        self.node.started_ms = self.node.started_ms.saturating_add_signed(behind_us / 1000);
    }

    /// The wall clock, in microseconds since 1970.
    pub fn wall_us(&self) -> u64 {
        (EPOCH_US + self.now.as_micros()).saturating_add_signed(self.stepped_us)
    }

    /// One round of looking for lapsed keys, as Redis does `hz` times a second.
    pub(crate) fn cycle(&mut self) {
        self.next_cycle = self.cycle_after_now();
        if !self.expires() {
            return;
        }
        self.set_clock();
        let loops = LOOPS_OF_TEN_HZ * 10 / self.config.hz.max(1);
        for db in 0..self.dbs.len() {
            if self.dbs[db].volatile_len() > 0 {
                self.dbs[db].expire_cycle(&mut self.cx, self.config.effort, loops.max(1));
                self.publish_events(db);
            }
        }
        self.wake_waiting();
    }

    pub(crate) fn cycle_after_now(&self) -> Time {
        self.cycle_from(self.now + Duration::from_micros(1))
    }

    /// The first cycle at that time or after it.
    pub(crate) fn cycle_from(&self, at: Time) -> Time {
        let period = 1_000_000 / u64::from(self.config.hz.max(1));
        Time::from_micros(at.max(self.now).as_micros().div_ceil(period) * period)
    }

    pub(crate) fn set_clock(&mut self) {
        self.cx.set_now(self.wall_us());
        self.cx.expire_at_all = !self.is_replica();
    }

    /// The instant at which the wall clock will show this.
    pub(crate) fn time_of(&self, wall_ms: u64) -> Time {
        let micros = i128::from(wall_ms) * 1000 - i128::from(EPOCH_US) - i128::from(self.stepped_us);
        Time::from_micros(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
    }
}
