//! The figures of a run: what a crash, a pause or a partition costs. One module for the report, the scenarios, the
//! summaries and the demo, so that they cannot disagree.

mod spread;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;
use streamkeeper::Time;

pub use spread::{Spread, histogram, short};

use crate::{
    facts::{Fact, Owned, What},
    timeline::{Cause, Timeline},
};

/// What is counted and measured in one run, or in several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Announcements that were owned at least once.
    pub streams: usize,
    /// Announcements that were finished for ever.
    pub finished: usize,
    /// Announcements that were set aside, by reason.
    pub set_aside: BTreeMap<String, usize>,
    /// Ownerships of streams that somebody had owned before.
    pub takeovers: usize,
    /// Ownerships that ended without the owner's wish, by reason; crashes are told by none.
    pub disowns: BTreeMap<&'static str, usize>,
    /// The times without an owner that ended with a new owner, by cause.
    pub gaps: BTreeMap<Cause, Vec<Duration>>,
    /// The times without an owner that had not ended when the run did.
    pub open_gaps: Vec<Duration>,
    /// From an announcement to its stream's first owner.
    pub firsts: Vec<Duration>,
    /// Streams that had been announced and not owned when the run ended.
    pub never_owned: usize,
}

impl Metrics {
    /// The figures of one run that ended then.
    pub fn of(facts: &[Fact], end: Time) -> Metrics {
        Metrics::read(facts, &Timeline::of(facts, end))
    }

    /// The same, with the timeline at hand.
    pub fn read(facts: &[Fact], timeline: &Timeline) -> Metrics {
        let mut metrics = Metrics::default();
        metrics.count(facts);
        for gap in &timeline.gaps {
            match gap.after {
                Some(_) => metrics.gaps.entry(gap.cause).or_default().push(gap.span()),
                None => metrics.open_gaps.push(gap.span()),
            }
        }
        for first in &timeline.firsts {
            match first.owned {
                true => metrics.firsts.push(first.until.since(first.from)),
                false => metrics.never_owned += 1,
            }
        }
        metrics
    }

    /// Adds another run's figures.
    pub fn add(&mut self, other: Metrics) {
        self.streams += other.streams;
        self.finished += other.finished;
        self.takeovers += other.takeovers;
        self.never_owned += other.never_owned;
        other.set_aside.into_iter().for_each(|(why, times)| *self.set_aside.entry(why).or_default() += times);
        other.disowns.into_iter().for_each(|(why, times)| *self.disowns.entry(why).or_default() += times);
        other.gaps.into_iter().for_each(|(cause, spans)| self.gaps.entry(cause).or_default().extend(spans));
        self.open_gaps.extend(other.open_gaps);
        self.firsts.extend(other.firsts);
    }

    /// How long streams had no owner after something that nobody wished: crashes, pauses, lost leases. Those that had
    /// none yet when the run ended count for as long as they had none.
    pub fn without_owner(&self) -> Spread {
        Spread::of(self.unplanned())
    }

    /// The spans behind [`without_owner`](Metrics::without_owner).
    pub fn unplanned(&self) -> impl Iterator<Item = Duration> + '_ {
        let gaps = self.gaps.iter().filter(|(cause, _)| cause.is_unplanned());
        gaps.flat_map(|(_, spans)| spans).chain(&self.open_gaps).copied()
    }

    /// How long streams had no owner after this.
    pub fn after(&self, cause: Cause) -> Spread {
        Spread::of(self.gaps.get(&cause).into_iter().flatten().copied())
    }

    /// How long streams waited for their first owner.
    pub fn first_owner(&self) -> Spread {
        Spread::of(self.firsts.iter().copied())
    }

    /// How many ownerships ended without the owner's wish.
    pub fn disowned(&self) -> usize {
        self.disowns.values().sum()
    }

    fn count(&mut self, facts: &[Fact]) {
        let mut owned = BTreeSet::new();
        let mut finished = BTreeSet::new();
        let mut set_aside = BTreeMap::new();
        for fact in facts {
            match &fact.what {
                What::Added { owned: Owned { entry, .. }, takeover, .. } => {
                    owned.insert(entry);
                    self.takeovers += usize::from(*takeover);
                }
                // By the application's word and by Redis's: whichever is there.
                What::Ended { owned, how: "done", .. } => drop(finished.insert(&owned.entry)),
                What::Finished { entry, .. } => drop(finished.insert(entry)),
                What::Ended { how: "released", .. } => {}
                What::Ended { how, .. } => *self.disowns.entry(how).or_default() += 1,
                What::Rejected { entry, why, .. } => drop(set_aside.insert(entry, (*why).to_owned())),
                What::SetAside { entry, why } => drop(set_aside.insert(entry, why.to_string())),
                _ => {}
            }
        }
        (self.streams, self.finished) = (owned.len(), finished.len());
        set_aside.into_values().for_each(|why| *self.set_aside.entry(why).or_default() += 1);
    }
}

/// For tools: the same names everywhere, times in milliseconds.
impl Serialize for Metrics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("streams", &self.streams)?;
        map.serialize_entry("finished", &self.finished)?;
        map.serialize_entry("set_aside", &self.set_aside)?;
        map.serialize_entry("takeovers", &self.takeovers)?;
        map.serialize_entry("disowns", &self.disowns)?;
        map.serialize_entry("without_owner", &self.without_owner())?;
        let by_cause: BTreeMap<_, _> = self.gaps.keys().map(|&cause| (cause, self.after(cause))).collect();
        map.serialize_entry("without_owner_by_cause", &by_cause)?;
        map.serialize_entry("without_owner_at_the_end", &(self.open_gaps.len() + self.never_owned))?;
        map.serialize_entry("first_owner", &self.first_owner())?;
        map.end()
    }
}
