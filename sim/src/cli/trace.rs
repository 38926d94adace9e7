//! A run as lines of text, for people and for comparison: the same run has the same lines.

use streamkeeper_sim::world::Outcome;

pub(crate) fn lines(outcome: &Outcome) -> Vec<String> {
    let facts = outcome.facts.iter().map(ToString::to_string);
    let violations = outcome.violations.iter().map(|violation| format!("broken: {violation}"));
    let panics = outcome.panics.iter().map(|panic| format!("panicked: {panic}"));
    let sometimes = outcome.sometimes.iter().filter(|(_, times)| **times > 0);
    let sometimes = sometimes.map(|(name, times)| format!("sometimes: {name} {times}"));
    let end = format!("the end: {:.6} s", outcome.simulated_s());
    facts.chain(violations).chain(panics).chain(sometimes).chain([end]).collect()
}
