//! What a scenario came to, seed by seed and all together.

use std::time::Duration;

use serde::Serialize;

use super::{Scenario, expect::Seen};
use crate::{
    judge::{Kind, Violation},
    metrics::Metrics,
    timeline::Timeline,
    world::Outcome,
};

/// What one seed came to.
#[derive(Clone, Debug)]
pub struct OneRun {
    /// The seed.
    pub seed: u64,
    /// Its figures.
    pub metrics: Metrics,
    /// The promises that were broken.
    pub violations: Vec<Violation>,
    /// Panics that nobody asked for.
    pub panics: Vec<String>,
    /// The expectations that were missed.
    pub missed: Vec<Missed>,
}

/// An expectation that was missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// Its index in [`Scenario::expectations`].
    pub expectation: usize,
    /// What was instead.
    pub instead: String,
}

/// What a scenario came to.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The seeds, in order.
    pub runs: Vec<OneRun>,
}

impl OneRun {
    /// Holds an outcome against what the scenario expects.
    pub fn new(scenario: &Scenario, seed: u64, outcome: &Outcome) -> OneRun {
        let timeline = Timeline::of(&outcome.facts, outcome.end);
        let metrics = Metrics::read(&outcome.facts, &timeline);
        let seen = Seen { facts: &outcome.facts, timeline: &timeline, metrics: &metrics, shift: scenario.shift(seed) };
        let expectations = scenario.expectations.iter().enumerate();
        let missed = expectations.filter_map(|(expectation, expected)| {
            expected.missed(&seen).map(|instead| Missed { expectation, instead })
        });
        let missed = missed.collect();
        let (violations, panics) = (outcome.violations.clone(), outcome.panics.clone());
        OneRun { seed, metrics, violations, panics, missed }
    }

    /// Everything was as promised and as expected.
    pub fn is_good(&self) -> bool {
        self.worst().is_none()
    }

    /// The worst that happened: a missed expectation is a matter of liveness.
    pub fn worst(&self) -> Option<Kind> {
        let panicked = (!self.panics.is_empty()).then_some(Kind::Safety);
        let missed = (!self.missed.is_empty()).then_some(Kind::Liveness);
        self.violations.iter().map(|violation| violation.kind).chain(panicked).chain(missed).min()
    }

    /// The order of badness: what is broken, then how much is missed, then how long a stream had no owner.
    fn badness(&self) -> (u8, usize, Duration) {
        let broken = match self.worst() {
            Some(Kind::Safety) => 2,
            Some(Kind::Liveness) => 1,
            None => 0,
        };
        (broken, self.missed.len(), self.metrics.without_owner().max)
    }
}

impl Findings {
    /// The figures of all seeds together.
    pub fn metrics(&self) -> Metrics {
        let mut all = Metrics::default();
        self.runs.iter().for_each(|run| all.add(run.metrics.clone()));
        all
    }

    /// The worst that happened in any run.
    pub fn worst(&self) -> Option<Kind> {
        self.runs.iter().filter_map(OneRun::worst).min()
    }

    /// The run to be looked at: the worst one; the first of several.
    pub fn worst_run(&self) -> Option<&OneRun> {
        self.runs.iter().rev().max_by_key(|run| run.badness())
    }

    /// In which seeds an expectation was missed, and what was instead.
    pub fn missed(&self, expectation: usize) -> Vec<(u64, &str)> {
        let all = self.runs.iter().flat_map(|run| run.missed.iter().map(|missed| (run.seed, missed)));
        let these = all.filter(|(_, missed)| missed.expectation == expectation);
        these.map(|(seed, missed)| (seed, missed.instead.as_str())).collect()
    }
}
