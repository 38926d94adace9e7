//! How runs end, and what follows for their messages.

use std::time::Duration;

use super::{
    Fate, Machine, Outcome, RunId, Stage,
    call::Reason,
    config::{Backoff, DeadFailure},
    held::{Burying, Cut, Dying, Held, Parking, Running, State, Tie},
};
use crate::{backoff::Dice, id::EntryId};

/// A worker may want no longer pause than this: a year.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(366 * 86_400);

impl Machine {
    /// Runs have ended.
    pub(super) fn ran(&mut self, ends: Vec<(RunId, Outcome)>) {
        for (run, outcome) in ends {
            let Some(live) = self.runs.ended(run) else { continue };
            let running = self.holds.get_mut(live.entry).and_then(Held::running_mut).map(|running| running.run);
            assert!(running == Some(run), "{run:?} has ended, and was not that of {}: {running:?}", live.entry);
            let Some(State::Running(running)) = self.holds.get(live.entry).map(|held| held.state().clone()) else {
                continue;
            };
            if running.cut == Cut::No {
                self.count_finished();
            }
            self.follow(live.entry, running, outcome);
            let is_over = self.holds.get(live.entry).is_none_or(Held::settles);
            assert!(is_over, "{} has ended, and nobody is told", live.entry);
        }
    }

    fn follow(&mut self, entry: EntryId, running: Running, outcome: Outcome) {
        assert!(!self.runs.is_live(running.run), "{:?} has ended, and is under way", running.run);
        let fate = match &outcome {
            Outcome::Ack => Fate::Acked,
            Outcome::Drop => Fate::Dropped,
            _ => Fate::Lost,
        };
        if outcome == Outcome::Ack {
            self.runs.succeed();
        }
        // A success is one for whoever has the message now, unless another may have its id.
        let others = running.tie == Tie::Lost && outcome != Outcome::Ack;
        let ended = matches!(outcome, Outcome::Ack | Outcome::Drop);
        let id_is_doubtful = running.tie != Tie::Ours && ended && !self.came_from_this_server(entry);
        if self.config.no_ack || others || id_is_doubtful {
            let fate = if running.tie == Tie::Lost || id_is_doubtful { Fate::Lost } else { fate };
            return self.forget(entry, fate);
        }
        match outcome {
            Outcome::Ack | Outcome::Drop => self.acknowledge(entry, fate),
            Outcome::Dead { reason, error } => self.reject(entry, running, reason, error),
            Outcome::Failed { error, pause } => self.fail_run(entry, running, error, pause),
            Outcome::Cancelled if running.cut == Cut::TimedOut => {
                let error = self.timeout_text();
                self.fail_run(entry, running, error, None);
            }
            Outcome::Cancelled | Outcome::NotBegun => self.give_back(entry),
        }
    }

    /// The worker wants it dead.
    fn reject(&mut self, entry: EntryId, running: Running, reason: Reason, error: Box<str>) {
        let (reason, error) = match running.stage {
            Stage::Process => (reason, error),
            Stage::Dead(decided) if error.is_empty() => (decided, self.last_error(entry)),
            Stage::Dead(decided) => (decided, error),
        };
        assert!(running.tie != Tie::Lost, "{entry} is another's, and not ours to bury");
        let gone = running.tie == Tie::Gone;
        self.bury(entry, Burying { reason, error, gone, repeated: false });
    }

    fn fail_run(&mut self, entry: EntryId, running: Running, error: Box<str>, pause: Option<Duration>) {
        assert!(running.tie != Tie::Lost, "{entry} is another's, and its failure not ours to count");
        let failures = self.failures(entry).saturating_add(1);
        let most = self.config.max_attempts;
        match running.stage {
            // What is not in the stream any more can never run again.
            Stage::Process if running.tie == Tie::Gone => {
                self.bury(entry, Burying { reason: Reason::Failed, error, gone: true, repeated: false });
            }
            Stage::Process if most > 0 && failures >= most => {
                self.decide_end(entry, Dying { reason: Reason::Failed, error: Some(error) });
            }
            Stage::Dead(reason) if running.tie == Tie::Gone || self.config.dead_failure == DeadFailure::Bury => {
                let error = self.last_error(entry);
                self.bury(entry, Burying { reason, error, gone: running.tie == Tie::Gone, repeated: false });
            }
            Stage::Process | Stage::Dead(_) => {
                let delay = pause.unwrap_or_else(|| backoff(self.config.backoff, failures, &mut self.dice));
                let (delay, failure) = (delay.min(LONGEST_PAUSE), Some(error));
                assert!(running.tie == Tie::Ours, "{entry} is gone, and cannot be put aside");
                self.park(entry, Parking { delay, failure });
            }
        }
    }

    fn failures(&self, entry: EntryId) -> u32 {
        self.holds.get(entry).and_then(|held| held.history.as_ref()).map_or(0, |history| history.failed)
    }

    fn last_error(&self, entry: EntryId) -> Box<str> {
        let history = self.holds.get(entry).and_then(|held| held.history.as_ref());
        history.map(|history| history.error.clone()).unwrap_or_default()
    }
}

/// The pause after so many failures.
fn backoff(backoff: Backoff, failures: u32, dice: &mut Dice) -> Duration {
    let mut full = backoff.base;
    for _ in 1..failures {
        if full >= backoff.limit || backoff.factor <= 1 {
            break;
        }
        full = full.saturating_mul(backoff.factor);
    }
    let full = full.min(backoff.limit);
    let spread = full / 100 * backoff.jitter_percent;
    assert!(spread <= full, "a pause of {full:?} is spread by {spread:?}");
    let pause = (full - spread).saturating_add(dice.below(spread.saturating_mul(2)));
    assert!(pause <= full.saturating_mul(2), "a pause of {full:?} became {pause:?}");
    pause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_limit_and_spread() {
        let ms = Duration::from_millis;
        let mut dice = Dice::new(1);
        let s = Backoff { base: ms(100), factor: 3, limit: ms(2_000), jitter_percent: 20 };
        for (failures, full) in [(1, 100), (2, 300), (3, 900), (4, 2_000), (u32::MAX, 2_000)] {
            for _ in 0..50 {
                let got = backoff(s, failures, &mut dice);
                assert!(got >= ms(full) * 4 / 5 && got <= ms(full) * 6 / 5, "{failures}: {got:?}");
            }
        }
        let longest = Backoff { base: Duration::MAX, factor: 9, limit: Duration::MAX, jitter_percent: 100 };
        for failures in [1, 2, u32::MAX] {
            let _ = backoff(longest, failures, &mut dice);
        }
        let steady = Backoff { factor: 1, jitter_percent: 0, ..s };
        assert_eq!(backoff(steady, u32::MAX, &mut dice), ms(100));
        let none = Backoff { base: Duration::ZERO, limit: Duration::ZERO, ..s };
        assert_eq!(backoff(none, 9, &mut dice), Duration::ZERO);
        let all = Backoff { base: Duration::MAX, limit: Duration::MAX, jitter_percent: 0, ..s };
        assert!(backoff(all, 9, &mut dice) > ms(1));
    }
}
