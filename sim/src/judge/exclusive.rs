//! `exclusive`: at any instant at most one consumer's lease on a data stream is valid by its own clock.
//!
//! Not across a forward step of Redis's wall clock, which ends leases early; not with Go peers, who own announcements
//! and believe for longer; and not where Redis forgets leases while it refuses INFO, so that nobody can see that it is
//! another one. Nor while a former primary serves on beside the new one, and for a ttl more, with a consumer that was cut
//! off meanwhile: nobody could tell it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper::Time;

use super::{
    Judge, Kind, Violation,
    conditions::{self, NEVER, longest_ttl},
};
use crate::{
    facts::{Fact, Forgot, Owned, What, Who},
    plan::Plan,
};

/// How long it may take until somebody sees that no sentinel is heard any more, and has found another.
const DEAF: Duration = Duration::from_secs(4);

/// Whether this keeps a consumer from hearing, or those who would tell it from reaching it.
fn cuts_off(kind: &str) -> bool {
    matches!(kind, "partition" | "stall" | "slow" | "reset" | "lose-answer" | "pause" | "suspend")
}

/// Who believes what at the latest instant.
pub(super) struct Exclusive {
    ttl: Duration,
    now: Time,
    believed: BTreeMap<Arc<str>, Vec<(Who, Owned)>>,
    /// Each pair is reported once.
    seen: BTreeSet<(Who, Who, Arc<str>)>,
    go: BTreeSet<usize>,
    /// Consumers that have not been ready yet: they do not know whether the service has existed.
    newcomers: BTreeSet<Who>,
    /// All leases that were granted before a step of the clock have ended by then.
    clock_excuse: Time,
    /// The same for a service that was deleted altogether and then found by a newcomer.
    flush_excuse: Time,
    flushed: Option<Time>,
    /// Until when INFO is refused.
    info_refused: Time,
    /// When Redis forgot last.
    forgot: Option<Time>,
    /// All leases that were forgotten while INFO was refused have ended by then.
    unseen_excuse: Time,
    /// When a former primary began to serve beside the new one, and until when what it has granted is believed.
    two_primaries: (Time, Time),
    /// Until when each consumer was struck.
    struck: BTreeMap<usize, Time>,
}

impl Exclusive {
    pub(super) fn new(plan: &Plan) -> Exclusive {
        Exclusive {
            ttl: longest_ttl(plan),
            now: Time::ZERO,
            believed: BTreeMap::new(),
            seen: BTreeSet::new(),
            go: BTreeSet::new(),
            newcomers: BTreeSet::new(),
            clock_excuse: Time::ZERO,
            flush_excuse: Time::ZERO,
            flushed: None,
            info_refused: Time::ZERO,
            forgot: None,
            unseen_excuse: Time::ZERO,
            two_primaries: (NEVER, Time::ZERO),
            struck: BTreeMap::new(),
        }
    }

    fn is_excused(&self, one: &(Who, Owned), other: &(Who, Owned)) -> bool {
        let go = self.go.contains(&one.0.consumer) || self.go.contains(&other.0.consumer);
        let excuses = [self.clock_excuse, self.flush_excuse, self.unseen_excuse];
        go || self.is_deaf(one.0) || self.is_deaf(other.0) || excuses.iter().any(|until| self.now <= *until)
    }

    /// Two primaries have served, and nobody could tell this one.
    fn is_deaf(&self, who: Who) -> bool {
        let (since, until) = self.two_primaries;
        self.now <= until && self.struck.get(&who.consumer).is_some_and(|struck| *struck + DEAF >= since)
    }

    fn struck(&mut self, at: Time, kind: &str, action: &str, ms: Option<u64>) {
        if conditions::steps_clock(action).is_some_and(|by_ms| by_ms > 0) {
            self.clock_excuse = at + self.ttl;
        }
        if conditions::loses_data(kind) {
            self.flushed = Some(at);
            self.newcomer_after_flush(at);
        }
        if kind == "redis refuse noperm" {
            self.info_refused = self.info_refused.max(at + Duration::from_millis(ms.unwrap_or(0)));
            self.forgotten_unseen(at);
        }
    }

    /// Redis has forgotten leases that are still believed in, and refuses the question which server it is.
    fn forgotten_unseen(&mut self, at: Time) {
        if let Some(forgot) = self.forgot.filter(|forgot| *forgot + self.ttl >= at)
            && at <= self.info_refused
        {
            self.unseen_excuse = self.unseen_excuse.max(forgot + self.ttl);
        }
    }

    /// Everything was deleted by hand, and somebody takes the service for one that is being born: it does not wait.
    fn newcomer_after_flush(&mut self, at: Time) {
        if !self.newcomers.is_empty() && self.flushed.is_some_and(|flushed| at.since(flushed) <= self.ttl) {
            self.flush_excuse = at + self.ttl + self.ttl;
        }
    }
}

impl Judge for Exclusive {
    fn hear(&mut self, fact: &Fact, verdicts: &mut Vec<Violation>) {
        if fact.at > self.now {
            self.now = fact.at;
            self.believed.clear();
        }
        match &fact.what {
            What::Started { who, go, .. } => {
                if *go {
                    self.go.insert(who.consumer);
                }
                self.newcomers.insert(*who);
                self.newcomer_after_flush(fact.at);
            }
            What::Ready { who } | What::Crashed { who } | What::Stopped { who } | What::Terminated { who, .. } => {
                self.newcomers.remove(who);
            }
            What::Struck { kind: "redis switch alive", .. } => self.two_primaries = (fact.at, NEVER),
            What::Over { kind: "redis switch alive", .. } => self.two_primaries.1 = fact.at + self.ttl,
            What::Struck { consumer: Some(consumer), kind, ms, .. } if cuts_off(kind) => {
                let struck = self.struck.entry(*consumer).or_insert(Time::ZERO);
                *struck = (*struck).max(fact.at + Duration::from_millis(ms.unwrap_or(0)));
            }
            What::Struck { kind, action, ms, .. } => self.struck(fact.at, kind, action, *ms),
            What::RedisUp { forgot } if *forgot != Forgot::Nothing => {
                if *forgot == Forgot::All {
                    self.flushed = Some(fact.at);
                }
                self.forgot = Some(fact.at);
                self.forgotten_unseen(fact.at);
            }
            What::Believes { who, owned } => {
                let belief = (*who, owned.clone());
                let others = self.believed.get(&owned.stream).cloned().unwrap_or_default();
                for other in others.iter().filter(|other| other.0 != *who || other.1.token != owned.token) {
                    let pair = (other.0.min(*who), other.0.max(*who), owned.stream.clone());
                    if self.is_excused(other, &belief) || !self.seen.insert(pair) {
                        continue;
                    }
                    let how = format!(
                        "{} is owned by {} ({}, token {}) and by {who} ({}, token {})",
                        owned.stream, other.0, other.1.entry, other.1.token, owned.entry, owned.token
                    );
                    verdicts.push(Violation { promise: "exclusive", kind: Kind::Safety, at: fact.at, how });
                }
                self.believed.entry(owned.stream.clone()).or_default().push(belief);
            }
            _ => {}
        }
    }

    fn end(&mut self, _at: Time, _verdicts: &mut Vec<Violation>) {}
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use crate::facts::{Fact, Forgot};

    const P: &str = "exclusive";

    #[test]
    fn one_at_a_time() {
        let plan = plan(3);
        let at = |ms, what: crate::facts::What| timed(ms, what);
        let (a, b) = (believes(0, "s", 1, 5), believes(1, "s", 1, 6));
        good_timed(P, &plan, &[at(1, a.clone()), at(2, b.clone()), at(2, believes(2, "t", 2, 1))]);
        good_timed(P, &plan, &[at(1, a.clone()), at(1, a.clone())]);
        bad_timed(P, &plan, &[at(1, a.clone()), at(1, b)]);
        bad_timed(P, &plan, &[at(1, a.clone()), at(1, believes(1, "s", 2, 6))]);
        bad_timed(P, &plan, &[at(1, a), at(1, believes(0, "s", 1, 6))]);
    }

    #[test]
    fn the_documented_exclusions() {
        let plan = plan(3);
        let both = |ms| vec![timed(ms, believes(0, "s", 1, 5)), timed(ms, believes(1, "s", 1, 6))];
        let twice = |ms| vec![timed(ms, believes(0, "s", 1, 5)), timed(ms, believes(1, "s", 2, 6))];
        let forward = vec![timed(100, struck_as("redis clock", "redis clock +5s"))];
        good_timed(P, &plan, &[forward.clone(), both(3_000)].concat());
        bad_timed(P, &plan, &[forward, both(3_101)].concat());
        let back = vec![timed(100, struck_as("redis clock", "redis clock -5s"))];
        bad_timed(P, &plan, &[back, both(200)].concat());
        let evicted = vec![timed(100, struck("redis evict", None, None))];
        bad_timed(P, &plan, &[evicted.clone(), twice(200)].concat());
        bad_timed(P, &plan, &[evicted, both(200)].concat());
        let go = vec![timed(0, started_go(1))];
        good_timed(P, &plan, &[go, both(200)].concat());
        let flush = |ms| timed(ms, struck("redis flush-all", None, None));
        bad_timed(P, &plan, &[vec![flush(100)], both(200)].concat());
        good_timed(P, &plan, &[vec![flush(100), timed(150, started(2))], both(200)].concat());
        bad_timed(P, &plan, &[vec![timed(10, started(2)), timed(20, ready(2)), flush(100)], both(200)].concat());
        let refused = |at| timed(at, struck("redis refuse noperm", None, Some(500)));
        let up = |at, forgot| timed(at, crate::facts::What::RedisUp { forgot });
        good_timed(P, &plan, &[vec![refused(100), up(300, Forgot::Latest)], both(3_300)].concat());
        good_timed(P, &plan, &[vec![up(100, Forgot::Latest), refused(200)], both(3_100)].concat());
        bad_timed(P, &plan, &[vec![refused(100), up(300, Forgot::Latest)], both(3_301)].concat());
        bad_timed(P, &plan, &[vec![refused(100), up(300, Forgot::Nothing)], both(400)].concat());
        bad_timed(P, &plan, &[vec![refused(100), up(700, Forgot::Latest)], both(800)].concat());
        let alive = || timed(5_100, struck_as("redis switch alive", "redis switch 500ms alive"));
        let cut = |at, consumer| timed(at, struck("partition", Some(consumer), Some(50)));
        let switched = |cut: Fact| {
            let mut facts = vec![alive(), timed(5_600, over("redis switch alive")), cut];
            facts.sort_by_key(|fact| fact.at);
            facts
        };
        good_timed(P, &plan, &[switched(cut(1_050, 1)), both(5_200)].concat());
        good_timed(P, &plan, &[switched(cut(5_700, 0)), both(8_600)].concat());
        bad_timed(P, &plan, &[switched(cut(1_049, 1)), both(8_600)].concat());
        bad_timed(P, &plan, &[switched(cut(5_700, 2)), both(8_600)].concat());
        bad_timed(P, &plan, &[switched(cut(5_700, 1)), both(8_601)].concat());
        bad_timed(P, &plan, &[switched(timed(5_200, struck("start", Some(1), None))), both(8_600)].concat());
    }
}
