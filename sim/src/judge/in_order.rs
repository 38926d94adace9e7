//! `in-order`: for each stream a consumer sees Added, then exactly one of Done, Released, Disowned, before the next
//! Added; and nothing after its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use streamkeeper::Time;

use super::{Judge, Kind, Violation};
use crate::{
    facts::{Fact, Owned, What, Who},
    plan::Plan,
};

/// What each application has heard.
pub(super) struct InOrder {
    /// By the plan's consumers: the application is called stream by stream, and not told of the end.
    runs: Vec<bool>,
    open: BTreeMap<(Who, Arc<str>), Owned>,
    over: BTreeSet<Who>,
}

impl InOrder {
    pub(super) fn new(plan: &Plan) -> InOrder {
        let runs = plan.consumers.iter().map(|consumer| consumer.app.runs).collect();
        InOrder { runs, open: BTreeMap::new(), over: BTreeSet::new() }
    }

    fn runs(&self, who: Who) -> bool {
        self.runs.get(who.consumer).copied().unwrap_or(false)
    }
}

impl Judge for InOrder {
    fn hear(&mut self, fact: &Fact, verdicts: &mut Vec<Violation>) {
        let mut broken = |how| verdicts.push(Violation { promise: "in-order", kind: Kind::Safety, at: fact.at, how });
        let who = match &fact.what {
            What::Added { who, .. } | What::Ended { who, .. } | What::Rejected { who, .. } | What::Ready { who } => {
                *who
            }
            What::Stopped { who } | What::Terminated { who, .. } => *who,
            What::Crashed { who } => {
                self.open.retain(|(open, _), _| open != who);
                self.over.insert(*who);
                return;
            }
            _ => return,
        };
        if self.over.contains(&who) {
            return broken(format!("after its end {who} hears {:?}", fact.what));
        }
        match &fact.what {
            What::Added { owned, .. } => {
                if let Some(before) = self.open.insert((who, owned.stream.clone()), owned.clone()) {
                    let (stream, then, now) = (&owned.stream, before.token, owned.token);
                    broken(format!("{who} hears twice that it owns {stream}: tokens {then} and {now}"));
                }
            }
            What::Ended { owned, how, .. } => match self.open.remove(&(who, owned.stream.clone())) {
                Some(before) if before == *owned => {}
                Some(before) => broken(format!("{who} hears `{how}` of {owned:?}, and owned {before:?}")),
                None => broken(format!("{who} hears `{how}` of {owned:?}, which it did not own")),
            },
            What::Stopped { .. } | What::Terminated { .. } => {
                let left: Vec<Arc<str>> =
                    self.open.keys().filter(|(open, _)| *open == who).map(|(_, stream)| stream.clone()).collect();
                if !self.runs(who) {
                    self.over.insert(who);
                    if !left.is_empty() {
                        broken(format!("{who} has ended, and was not told what became of {left:?}"));
                    }
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, _at: Time, _verdicts: &mut Vec<Violation>) {}
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "in-order";

    #[test]
    fn added_and_ended_by_turns() {
        let plan = plan(2);
        good(P, &plan, &[added(0, "s", 1, 5), ended(0, "s", 1, 5, "released"), added(0, "s", 1, 9)]);
        good(P, &plan, &[added(0, "s", 1, 5), added(1, "s", 1, 6), ended(0, "s", 1, 5, "expired")]);
        good(P, &plan, &[added(0, "s", 1, 5), ended(0, "s", 1, 5, "done"), stopped(0)]);
        good(P, &plan, &[added(0, "s", 1, 5), crashed(0), added(1, "s", 1, 7)]);
    }

    #[test]
    fn anything_else_is_seen() {
        let plan = plan(2);
        bad(P, &plan, &[added(0, "s", 1, 5), added(0, "s", 1, 9)]);
        bad(P, &plan, &[added(0, "s", 1, 5), added(0, "s", 2, 9)]);
        bad(P, &plan, &[ended(0, "s", 1, 5, "done")]);
        bad(P, &plan, &[added(0, "s", 1, 5), ended(0, "s", 1, 5, "done"), ended(0, "s", 1, 5, "unknown")]);
        bad(P, &plan, &[added(0, "s", 1, 5), ended(0, "s", 1, 6, "done")]);
        bad(P, &plan, &[added(0, "s", 1, 5), stopped(0)]);
        bad(P, &plan, &[stopped(0), added(0, "s", 1, 5)]);
        bad(P, &plan, &[crashed(0), added(0, "s", 1, 5)]);
    }
}
