//! `entries-flow`: in the calm after the faults, who owns a stream and reads it is given what comes within seconds, and what
//! it has worked on is committed. Who stands still is given nothing; a pause that began late ends in the calm.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use streamkeeper::Time;

use super::{Court, Promise, Truth};
use crate::{
    entries::facts::Id,
    facts::{Fact, What},
    plan::Plan,
};

/// From an entry's coming, its stream being read, to its reader: two waits that may break unnoticed, a connection that is
/// made anew, what else the application reads.
const IN_TIME: Duration = Duration::from_secs(8);

/// What has been complained of.
pub(super) struct Progress {
    /// Since when there are no more faults.
    calm: Option<Time>,
    told: BTreeSet<(Arc<str>, Id)>,
    /// How much later an application commits what it has worked on; `None`: not by itself.
    commits: Option<Duration>,
}

impl Progress {
    pub(super) fn new(plan: &Plan) -> Progress {
        Progress { calm: None, told: BTreeSet::new(), commits: plan.commits_within() }
    }
}

impl Promise for Progress {
    fn name(&self) -> &'static str {
        "entries-flow"
    }

    fn hear(&mut self, fact: &Fact, _: &Truth, _: &mut Court<'_>) {
        if fact.what == What::Healed {
            self.calm = Some(fact.at);
        }
    }

    fn look(&mut self, at: Time, truth: &Truth, court: &mut Court<'_>) {
        let Some(calm) = self.calm else { return };
        for ((who, _), reading) in &truth.readings {
            let Some(data) = truth.data(&reading.stream) else { continue };
            let calm = calm.max(truth.awake(*who));
            let next = data.entries.range((std::ops::Bound::Excluded(reading.last), std::ops::Bound::Unbounded)).next();
            if let Some((id, came)) = next {
                let since = calm.max(*came).max(reading.opened).max(reading.latest).max(data.altered);
                if at.since(since) > IN_TIME && self.told.insert((reading.stream.clone(), *id)) {
                    court.delay(format!("{who} reads {}, and has not been given {id}", reading.stream));
                }
            }
            let (Some(commits), true) = (self.commits, reading.latest > reading.opened) else { continue };
            // What Redis has forgotten is committed again with the next entry.
            let stored = data.committed;
            let since = calm.max(reading.latest).max(data.altered);
            let late = at.since(since) > IN_TIME + commits && stored < reading.last;
            if late && !data.finished && self.told.insert((reading.stream.clone(), reading.last)) {
                court.delay(format!(
                    "{who} has read {} up to {}, and {stored} is committed",
                    reading.stream, reading.last
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "entries-flow";

    #[test]
    fn what_comes_is_given_in_time() {
        let before = [(0, granted(0, 1)), (1, opened(0, 1, 0)), (2, healed()), (3, appended(1))];
        let then = |more: &[(u64, crate::facts::What)]| [&before[..], more].concat();
        good_timed(P, &then(&[(5_000, yielded(0, 1, &[1])), (5_100, stored(0, 1)), (60_000, note())]));
        bad_timed(P, &then(&[(60_000, note())]));
        bad_timed(P, &then(&[(5_000, yielded(0, 1, &[1])), (60_000, note())]));
        good_timed(P, &then(&[(4_000, ended(0, 1, "released")), (60_000, note())]));
        let forgotten = [(5_000, yielded(0, 1, &[1])), (5_100, stored(0, 1)), (5_200, redis_up("latest"))];
        good_timed(P, &then(&[&forgotten[..], &[(5_200, stands("up", &[1], None)), (60_000, note())]].concat()));
    }

    #[test]
    fn who_stands_still_is_given_nothing() {
        let before = [(0, granted(0, 1)), (1, opened(0, 1, 0)), (2, appended(1)), (1_000, paused(0, 19_000))];
        let then = |more: &[(u64, crate::facts::What)]| [&before[..], more].concat();
        // It goes on in the calm, and finds that its lease has ended; or its pause was long over.
        let late = [(2_000, healed()), (20_000, resumed(0)), (20_000, ended(0, 1, "paused")), (60_000, note())];
        good_timed(P, &then(&late));
        bad_timed(P, &then(&[(2_000, healed()), (20_000, resumed(0)), (28_200, note()), (28_400, note())]));
        bad_timed(P, &then(&[(2_000, resumed(0)), (3_000, healed()), (11_200, note()), (11_400, note())]));
        // What another one reads, and what was read before it stood still and is not committed when it goes on.
        let other = [(1_500, granted(1, 2)), (1_501, opened(1, 2, 0)), (2_000, healed()), (10_400, note())];
        bad_timed(P, &then(&other));
        let read = [(3, yielded(0, 1, &[1])), (1_000, paused(0, 19_000)), (2_000, healed()), (20_000, resumed(0))];
        let read = |more: &[(u64, crate::facts::What)]| [&before[..3], &read, more].concat();
        good_timed(P, &read(&[(24_000, stored(0, 1)), (60_000, note())]));
        bad_timed(P, &read(&[(60_000, note())]));
    }
}
