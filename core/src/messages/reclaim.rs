//! Looking for messages whose holder is gone, one consumer of the group at a time; and clearing away what nobody needs.

use std::time::Duration;

use super::{
    Machine, Remark,
    asked::{Kind, Question},
    call::{Call, Reclaimed, Swept},
};
use crate::time::Time;

/// For how long a reclaimer is one after each of its calls: its key's ttl.
pub(super) const ROLE: Duration = Duration::from_secs(2);
/// How far the server's clock may seem to step against ours.
const STEP_MS: i128 = 1_000;

/// What this consumer does for the whole group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) at: Time,
    pub(super) asked: bool,
    /// Nothing is reclaimed before this: after an outage everything looks idle.
    pub(super) trusted_from: Time,
    /// It is the reclaimer until then.
    pub(super) reclaimer_until: Option<Time>,
    pub(super) sweep_at: Time,
    cursor: u64,
    pub(super) sweeping: bool,
    /// The server's clock minus ours, in milliseconds: the bounds that the last look at it gave.
    pub(super) clock: Option<(i128, i128)>,
}

impl Machine {
    /// For a while, nobody's idle time says anything.
    pub(super) fn distrust_idle_times(&mut self) {
        self.reclaiming.trusted_from = self.now + self.config.reclaim_hold();
        self.reclaiming.reclaimer_until = None;
    }

    /// The server has told its time: has its clock stepped?
    pub(super) fn compare_clocks(&mut self, now_ms: u64, issued: Time) {
        let ms = |time: Time| i128::from(time.as_micros() / 1_000);
        let seen = (i128::from(now_ms) - ms(self.now) - 1, i128::from(now_ms) - ms(issued) + 1);
        assert!(issued <= self.now, "an answer to a question that is to come");
        assert!(seen.0 < seen.1, "a clock is seen within bounds: {seen:?}");
        if let Some(before) = self.reclaiming.clock.replace(seen)
            && (seen.0 > before.1 + STEP_MS || seen.1 < before.0 - STEP_MS)
        {
            self.distrust_idle_times();
        }
    }

    /// Who is full looks too: it only puts things among what is due. Where everybody is full for hours, the role would
    /// else lapse again and again before it is trusted, and what a crash left behind would wait for the backlog's end.
    pub(super) fn reclaim_due(&self) -> Option<Time> {
        if self.config.no_ack || self.reclaiming.asked || !self.is_open() {
            return None;
        }
        Some(self.open_from(Kind::Reclaim)?.max(self.reclaiming.at).max(self.reclaiming.trusted_from))
    }

    pub(super) fn reclaim(&mut self) {
        if self.reclaim_due().is_some_and(|at| at <= self.now) {
            assert!(self.now >= self.reclaiming.trusted_from, "after an outage everything looks idle");
            assert!(!self.config.no_ack, "nobody holds anything that could be reclaimed");
            assert!(!self.reclaiming.asked, "one call reclaims at a time");
            self.reclaiming.asked = true;
            self.ask(Question::Reclaim, Call::Reclaim);
        }
    }

    pub(super) fn reclaimed(&mut self, reclaimed: Reclaimed, issued: Time) {
        assert!(self.reclaiming.asked, "what is answered was asked");
        self.reclaiming.asked = false;
        self.reclaiming.reclaimer_until = Some(issued + ROLE);
        let pause = if reclaimed.more { Duration::ZERO } else { self.config.reclaim_interval };
        self.reclaiming.at = self.now + pause;
        self.compare_clocks(reclaimed.now_ms, issued);
        if !reclaimed.moved.is_empty() {
            self.ask_soon(Duration::ZERO);
        }
        for (entry, crashed) in reclaimed.moved {
            self.remark(Remark::Reclaimed(entry, crashed));
        }
    }

    pub(super) fn reclaimer_is(&mut self, span: Duration) {
        assert!(self.reclaiming.asked, "what is answered was asked");
        self.reclaiming.asked = false;
        self.reclaiming.reclaimer_until = None;
        let jitter = self.dice.below(self.config.reclaim_interval / 4);
        self.reclaiming.at = self.now + span.clamp(Duration::from_millis(10), ROLE) + jitter;
        assert!(self.reclaiming.at > self.now, "who is the reclaimer is asked without end");
    }

    pub(super) fn reclaim_failed(&mut self) {
        assert!(self.reclaiming.asked, "what failed was asked");
        self.reclaiming.asked = false;
        self.reclaiming.at = self.now + self.config.reclaim_interval;
    }

    /// The reclaimer sweeps; without acknowledgements there is none, and everybody does.
    pub(super) fn sweep_due(&self) -> Option<Time> {
        let sweeps = self.config.no_ack || self.reclaiming.reclaimer_until.is_some_and(|until| self.now < until);
        if self.reclaiming.sweeping || !sweeps || !self.is_open() {
            return None;
        }
        Some(self.open_from(Kind::Sweep)?.max(self.reclaiming.sweep_at))
    }

    pub(super) fn sweep(&mut self) {
        if self.sweep_due().is_some_and(|at| at <= self.now) {
            assert!(!self.reclaiming.sweeping, "one page is cleared away at a time");
            self.reclaiming.sweeping = true;
            let cursor = self.reclaiming.cursor;
            self.ask(Question::Sweep, Call::Sweep { cursor });
        }
    }

    pub(super) fn swept(&mut self, swept: Swept) {
        assert!(self.reclaiming.sweeping, "what is answered was asked");
        self.reclaiming.sweeping = false;
        self.reclaiming.cursor = swept.cursor;
        if swept.cursor == 0 {
            let interval = self.config.sweep_interval;
            self.reclaiming.sweep_at = self.now + interval - interval / 4 + self.dice.below(interval / 4);
        } else {
            self.reclaiming.sweep_at = self.now + Duration::from_millis(10);
        }
        if (Swept { cursor: swept.cursor, ..Swept::default() }) != swept {
            self.remark(Remark::Swept(swept));
        }
    }

    pub(super) fn sweep_failed(&mut self) {
        assert!(self.reclaiming.sweeping, "what failed was asked");
        self.reclaiming.sweeping = false;
        self.reclaiming.cursor = 0;
        self.reclaiming.sweep_at = self.now + self.config.sweep_interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{messages::Config, messages::Settings};

    fn machine(seed: u64) -> Machine {
        let mut machine = Machine::new(Config::new(Settings::default()).unwrap(), seed);
        machine.now = Time::from_millis(3_600_000);
        machine
    }

    /// A clock as servers have one is far from ours: it counts from another instant.
    #[test]
    fn a_step_of_the_servers_clock_is_seen_either_way() {
        const THERE_MS: u64 = 1_700_000_000_000;
        // After ten seconds of ours, so many of the server's; the answer to a question that was under way for so long.
        let cases = [
            (10_000, 0, false),
            (10_500, 0, false),
            (9_500, 0, false),
            (11_010, 0, true),
            (8_990, 0, true),
            (60_000, 0, true),
            (0, 0, true),
            (8_000, 2_000, false), // it may have been executed as soon as it was issued
            (6_900, 2_000, true),
            (12_000, 2_000, true),
        ];
        for (passed_ms, lasted_ms, stepped) in cases {
            let mut machine = machine(1);
            machine.compare_clocks(THERE_MS, machine.now);
            let before = machine.reclaiming.trusted_from;
            machine.now += Duration::from_secs(10);
            let issued = Time::from_millis(machine.now.as_micros() / 1_000 - lasted_ms);
            machine.compare_clocks(THERE_MS + passed_ms, issued);
            assert_eq!(
                machine.reclaiming.trusted_from > before,
                stepped,
                "{passed_ms} ms, asked {lasted_ms} ms before"
            );
        }
    }

    #[test]
    fn sweeps_follow_each_other_after_a_while() {
        for seed in 0..50 {
            let mut machine = machine(seed);
            let interval = machine.config.sweep_interval;
            let pause = |machine: &Machine| machine.reclaiming.sweep_at.since(machine.now);
            machine.reclaiming.sweeping = true;
            machine.swept(Swept { cursor: 7, ..Swept::default() });
            assert!(machine.outputs.is_empty(), "nothing was cleared away, and there is nothing to tell");
            assert!(!pause(&machine).is_zero() && pause(&machine) < interval, "others have a turn between two pages");
            machine.reclaiming.sweeping = true;
            machine.swept(Swept { records: 1, ..Swept::default() });
            assert_eq!(machine.outputs.len(), 1, "it is told what was cleared away");
            assert!((interval * 3 / 4..=interval).contains(&pause(&machine)), "{:?}", pause(&machine));
            machine.reclaiming.sweeping = true;
            machine.reclaiming.sweep_at = machine.now;
            machine.sweep_failed();
            assert_eq!(pause(&machine), interval, "it is not tried without end");
        }
    }
}
