//! `in-order`: for each stream a consumer sees Added, then exactly one of Done, Released, Disowned, before the next
//! Added; and nothing after its end. Once the application has asked for an end, that one comes by the local deadline,
//! which asks nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper::Time;

use super::{
    Judge, Kind, Violation,
    conditions::{Conditions, reads_at_once},
};
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
    /// Which ends were asked for and have not come, and since when.
    asked: BTreeMap<(Who, Arc<str>), Time>,
    conditions: Conditions,
    next_look: Time,
}

/// How often missing ends are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// More than a ttl: clocks that are slow, and the application's own way to its notifications.
const SLACK: Duration = Duration::from_millis(500);
/// A reader's positions are committed before a release, for so long at most.
const LAST_COMMITS: Duration = Duration::from_secs(1);

impl InOrder {
    pub(super) fn new(plan: &Plan) -> InOrder {
        let runs = plan.consumers.iter().map(|consumer| consumer.app.runs).collect();
        InOrder {
            runs,
            open: BTreeMap::new(),
            over: BTreeSet::new(),
            asked: BTreeMap::new(),
            conditions: Conditions::new(plan),
            next_look: Time::ZERO,
        }
    }

    fn look(&mut self, now: Time, verdicts: &mut Vec<Violation>) {
        let conditions = &self.conditions;
        let patience = |who: Who| {
            let reads = conditions.setup(who.consumer).is_some_and(|setup| setup.app.reading.is_some());
            conditions.ttl + SLACK + if reads { LAST_COMMITS } else { Duration::ZERO }
        };
        let late = |who: Who, since: Time| now.since(since.max(conditions.awake(who))) > patience(who);
        for ((who, stream), since) in self.asked.iter().filter(|((who, _), since)| late(*who, **since)) {
            let how = format!(
                "{who} asked for the end of {stream} {:.3} s ago, and has not heard of it",
                now.since(*since).as_secs_f64()
            );
            verdicts.push(Violation { promise: "in-order", kind: Kind::Liveness, at: now, how });
        }
        self.asked.retain(|(who, _), since| !late(*who, *since));
    }

    /// Whether an application hears of everything as soon as it happens.
    fn listens(&self, who: Who) -> bool {
        self.conditions.setup(who.consumer).is_some_and(reads_at_once)
    }

    fn runs(&self, who: Who) -> bool {
        self.runs.get(who.consumer).copied().unwrap_or(false)
    }
}

/// Whose application hears of this, or asks for it.
fn about(what: &What) -> Option<Who> {
    match what {
        What::Added { who, .. } | What::Ended { who, .. } | What::Rejected { who, .. } | What::Asked { who, .. } => {
            Some(*who)
        }
        What::Ready { who } | What::Stopped { who } | What::Terminated { who, .. } | What::Crashed { who } => {
            Some(*who)
        }
        _ => None,
    }
}

impl Judge for InOrder {
    fn hear(&mut self, fact: &Fact, verdicts: &mut Vec<Violation>) {
        if fact.at >= self.next_look {
            self.look(fact.at, verdicts);
            self.next_look = fact.at + LOOK;
        }
        self.conditions.hear(fact);
        // A Go peer promises nothing.
        if about(&fact.what).is_some_and(|who| self.conditions.setup(who.consumer).is_some_and(|setup| setup.go)) {
            return;
        }
        let mut broken = |how| verdicts.push(Violation { promise: "in-order", kind: Kind::Safety, at: fact.at, how });
        let Some(who) = about(&fact.what) else { return };
        match &fact.what {
            What::Crashed { who } => {
                self.open.retain(|(open, _), _| open != who);
                self.asked.retain(|(asked, _), _| asked != who);
                self.over.insert(*who);
                return;
            }
            What::Asked { who, owned, .. } => {
                let asked = (*who, owned.stream.clone());
                if self.open.get(&asked) == Some(owned) && self.listens(*who) {
                    self.asked.entry(asked).or_insert(fact.at);
                }
                return;
            }
            _ => {}
        }
        if self.over.contains(&who) {
            return broken(format!("after its end {who} hears {:?}", fact.what));
        }
        if let What::Ended { owned, .. } = &fact.what {
            self.asked.remove(&(who, owned.stream.clone()));
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
                self.asked.retain(|(asked, _), _| *asked != who);
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

    fn end(&mut self, at: Time, verdicts: &mut Vec<Violation>) {
        self.look(at, verdicts);
    }
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

    #[test]
    fn an_end_that_was_asked_for_comes() {
        let plan = plan(2);
        let start = [
            timed(0, started(0)),
            timed(10, ready(0)),
            timed(20, added(0, "s", 1, 5)),
            timed(30, asked(0, "s", 1, 5, "done")),
        ];
        let then = |more: &[(u64, crate::facts::What)]| {
            [start.to_vec(), more.iter().map(|(ms, what)| timed(*ms, what.clone())).collect()].concat()
        };
        good_timed(P, &plan, &then(&[(2_800, ended(0, "s", 1, 5, "unknown")), (6_000, note())]));
        bad_timed(P, &plan, &then(&[(3_600, note())]));
        good_timed(P, &plan, &then(&[(1_000, paused(0, 3_000)), (4_000, resumed(0)), (5_000, note())]));
        bad_timed(P, &plan, &then(&[(1_000, paused(0, 3_000)), (4_000, resumed(0)), (7_600, note())]));
        good_timed(P, &plan, &then(&[(1_000, crashed(0)), (6_000, note())]));
        let mut reads = plan;
        reads.consumers[0].app.reading = Some(crate::plan::Reading::default());
        good_timed(P, &reads, &then(&[(4_000, ended(0, "s", 1, 5, "unknown"))]));
        bad_timed(P, &reads, &then(&[(4_700, note())]));
    }
}
