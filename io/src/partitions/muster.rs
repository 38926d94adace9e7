//! What is said once for a whole client, though each of its partitions has its own word on it: that it is ready, that it has
//! stopped or ended.

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use streamkeeper_core::{streams::Report, trouble::Trouble};

use crate::notification::Notification;

/// Who has said what so far.
#[derive(Debug, Default)]
pub(crate) struct Muster(Mutex<Roll>);

#[derive(Debug, Default)]
struct Roll {
    /// Partitions that run.
    running: usize,
    /// Those that have still to become ready before the client is.
    unready: BTreeSet<u32>,
    said_ready: bool,
    report: Report,
    trouble: Option<Trouble>,
}

impl Muster {
    /// The client is ready once all of these are.
    pub(crate) fn wait_for(&self, partitions: Range<u32>) {
        self.with(|roll| roll.unready.extend(partitions));
    }

    /// A partition is there. Those that come later keep nobody waiting.
    pub(crate) fn join(&self) {
        self.with(|roll| roll.running += 1);
    }

    /// A partition is ready, or the client begins without it. Whether this makes the client ready.
    pub(crate) fn ready(&self, partition: u32) -> bool {
        self.with(|roll| {
            roll.unready.remove(&partition);
            let now = roll.unready.is_empty() && !roll.said_ready && roll.running > 0;
            roll.said_ready |= now;
            now
        })
    }

    /// A partition has stopped with this report, or ended with this trouble. The client's last word, if it was the last.
    pub(crate) fn ended(&self, how: Result<Report, Trouble>) -> Option<Notification> {
        self.with(|roll| {
            match how {
                Ok(report) => roll.report = sum(roll.report, report),
                Err(trouble) => {
                    roll.trouble.get_or_insert(trouble);
                }
            }
            roll.running = roll.running.saturating_sub(1);
            (roll.running == 0).then(|| match roll.trouble.take() {
                Some(trouble) => Notification::Terminated(trouble),
                None => Notification::Stopped(roll.report),
            })
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Roll) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What became of everything, in two partitions.
pub(crate) fn sum(one: Report, other: Report) -> Report {
    Report {
        done: one.done + other.done,
        released: one.released + other.released,
        disowned: one.disowned + other.disowned,
        unanswered: one.unanswered + other.unanswered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_be_ready_says_so_and_later_ones_nothing() {
        let muster = Muster::default();
        muster.wait_for(0..2);
        muster.join();
        muster.join();
        assert_eq!((muster.ready(1), muster.ready(1)), (false, false));
        muster.join();
        assert!(!muster.ready(2));
        assert!(muster.ready(0));
        assert!(!muster.ready(0), "once");
    }

    #[test]
    fn who_has_ended_is_not_ready() {
        let muster = Muster::default();
        muster.wait_for(0..1);
        muster.join();
        assert!(muster.ended(Ok(Report::default())).is_some());
        assert!(!muster.ready(0));
    }

    #[test]
    fn the_last_to_stop_reports_for_all() {
        let muster = Muster::default();
        muster.join();
        muster.join();
        let report = Report { done: 1, released: 2, disowned: 3, unanswered: 4 };
        assert!(muster.ended(Ok(report)).is_none());
        let Some(Notification::Stopped(all)) = muster.ended(Ok(report)) else { panic!() };
        assert_eq!(all, Report { done: 2, released: 4, disowned: 6, unanswered: 8 });
    }

    #[test]
    fn a_trouble_is_the_last_word_of_all() {
        let muster = Muster::default();
        muster.join();
        muster.join();
        assert!(muster.ended(Err(Trouble::other("one"))).is_none());
        let Some(Notification::Terminated(trouble)) = muster.ended(Ok(Report::default())) else { panic!() };
        assert_eq!(trouble, Trouble::other("one"));
    }
}
