//! `isolated`: one malformed announcement, one key of a wrong type, one stream that kills its owners, one handler that
//! always fails or is slow never stops the others.
//!
//! That the others are owned is judged by `kept`. Here: a malformed announcement is set aside, and a handler is called
//! for what was granted, whatever the other handlers do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use streamkeeper::Time;

use super::{
    Judge, Kind, Violation,
    conditions::{self, Conditions, NEVER, takes},
};
use crate::{
    facts::{Fact, Forgot, What, Who},
    plan::{ConsumerPlan, Plan},
};

/// From the grant to the call of the handler: a round trip, and no more.
const TO_THE_HANDLER: Duration = Duration::from_secs(1);
/// How long an announcement may be on its way: its sender does not ask whether it arrived.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// What nobody could do anything about is asked for after a ttl and this.
const SET_ASIDE: Duration = Duration::from_secs(2);
/// How often what is missing is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// What is still to come.
pub(super) struct Isolated {
    conditions: Conditions,
    trip: Duration,
    /// Grants to applications with handlers, which none was called for yet.
    uncalled: BTreeMap<Arc<str>, (Who, Time)>,
    /// Malformed announcements that stand in the LBS, as far as can be known.
    malformed: u64,
    /// Go peers take part: they own what we set aside, such as a name with the separator of a lease key.
    with_go: bool,
    /// Since when.
    latest: Time,
    /// How many announcements there are at most: whoever has room for all of them always has room for one more.
    announced: u64,
    next_look: Time,
}

impl Isolated {
    pub(super) fn new(plan: &Plan) -> Isolated {
        Isolated {
            conditions: Conditions::new(plan),
            trip: Duration::from_micros(plan.latency_us.1 * 4),
            uncalled: BTreeMap::new(),
            malformed: 0,
            with_go: plan.consumers.iter().any(|consumer| consumer.go),
            latest: Time::ZERO,
            announced: plan.announced(),
            next_look: Time::ZERO,
        }
    }

    /// Since when somebody has been able to set announcements aside.
    fn somebody(&self) -> Time {
        let roomy = |setup: &ConsumerPlan| setup.capacity as u64 > self.announced;
        let takes = |setup: &ConsumerPlan| takes(setup) && roomy(setup);
        let members = self.conditions.members.iter();
        let ours = members.filter(|(consumer, _)| self.conditions.setup(**consumer).is_some_and(takes));
        ours.filter_map(|(_, member)| member.who).map(|who| self.conditions.hold_for(who)).min().unwrap_or(NEVER)
    }

    fn look(&mut self, now: Time, verdicts: &mut Vec<Violation>) {
        let patience = TO_THE_HANDLER + self.trip;
        let conditions = &self.conditions;
        let late = |who: Who, since: Time| conditions.hold_for(who) <= since && now.since(since) > patience;
        for (entry, (who, since)) in self.uncalled.iter().filter(|(_, (who, since))| late(*who, *since)) {
            let waited = now.since(*since).as_secs_f64();
            let how = format!("{who} was granted {entry}, and no handler was called for {waited:.3} s");
            verdicts.push(Violation { promise: "isolated", kind: Kind::Liveness, at: now, how });
        }
        self.uncalled.retain(|_, (who, since)| !late(*who, *since));
        let since = self.somebody().max(self.latest);
        if self.malformed > 0 && !self.with_go && since < now && now.since(since) > self.conditions.ttl * 2 + SET_ASIDE
        {
            let how = format!("{} malformed announcements were not set aside", self.malformed);
            verdicts.push(Violation { promise: "isolated", kind: Kind::Liveness, at: now, how });
            self.malformed = 0;
        }
    }
}

impl Judge for Isolated {
    fn hear(&mut self, fact: &Fact, verdicts: &mut Vec<Violation>) {
        let at = fact.at;
        if at >= self.next_look {
            self.look(at, verdicts);
            self.next_look = at + LOOK;
        }
        self.conditions.hear(fact);
        match &fact.what {
            What::Granted { value, owned } => {
                self.uncalled.remove(&owned.entry);
                if let Some(who) = self.conditions.life(value)
                    && self
                        .conditions
                        .setup(who.consumer)
                        .is_some_and(|setup| setup.app.runs && !setup.app.never_reads && !setup.go)
                {
                    self.uncalled.insert(owned.entry.clone(), (who, at));
                }
            }
            What::Added { owned, .. } | What::Ended { owned, .. } => drop(self.uncalled.remove(&owned.entry)),
            What::GivenBack { entry, .. } | What::Finished { entry, .. } => drop(self.uncalled.remove(entry)),
            What::SetAside { entry, why } => {
                self.uncalled.remove(entry);
                self.malformed = self.malformed.saturating_sub(u64::from(&**why == "malformed"));
            }
            // If Redis is out of order, nobody knows what has become of it.
            What::Struck { kind: "malformed", .. } if self.conditions.redis_serves(at) => {
                self.malformed += 1;
                self.latest = at;
            }
            What::RedisUp { forgot: Forgot::Latest | Forgot::All } => self.malformed = 0,
            What::Struck { kind, .. } if conditions::takes_announcements(kind) => self.malformed = 0,
            What::Struck { kind, .. } if kind.starts_with("redis ") && at.since(self.latest) < ON_ITS_WAY => {
                self.malformed = 0;
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
    use crate::facts::{Fact, What};

    const P: &str = "isolated";

    fn one_alive() -> Vec<Fact> {
        vec![timed(0, started(0)), timed(10, ready(0))]
    }

    #[test]
    fn what_is_malformed_is_set_aside() {
        let plan = plan(1);
        let malformed = || timed(100, struck_as("malformed", "malformed 3"));
        let later = |what: What| [one_alive(), vec![malformed(), timed(200, what), timed(9_000, note())]].concat();
        good_timed(P, &plan, &later(set_aside(1, "malformed")));
        bad_timed(P, &plan, &later(set_aside(1, "failed")));
        bad_timed(P, &plan, &later(note()));
        good_timed(P, &plan, &later(crashed(0)));
        good_timed(P, &plan, &later(struck_as("redis trim", "redis trim 1")));
        good_timed(P, &plan, &[one_alive(), vec![malformed(), timed(3_000, note())]].concat());
        let cut = |ms| {
            let cut = timed(ms, struck_as("redis disconnect", "redis disconnect"));
            [one_alive(), vec![malformed(), cut, timed(20_000, note())]].concat()
        };
        let down = vec![
            timed(90, struck_as("redis restart", "redis restart 500ms")),
            malformed(),
            timed(590, redis_up("nothing")),
            timed(20_000, note()),
        ];
        good_timed(P, &plan, &[one_alive(), down].concat());
        good_timed(P, &plan, &cut(110));
        bad_timed(P, &plan, &cut(1_200));
    }

    #[test]
    fn a_handler_is_called_whatever_the_others_do() {
        let mut plan = plan(2);
        plan.consumers[0].app.runs = true;
        let then = |what: What| {
            [one_alive(), vec![timed(100, granted("c0#1", "s", 1, 5)), timed(300, what), timed(1_500, note())]].concat()
        };
        good_timed(P, &plan, &then(added(0, "s", 1, 5)));
        good_timed(P, &plan, &then(given_back("c0#1", "s", 1)));
        good_timed(P, &plan, &then(paused(0, 500)));
        bad_timed(P, &plan, &then(added(0, "t", 2, 6)));
        bad_timed(P, &plan, &then(note()));
        plan.consumers[0].app.runs = false;
        good_timed(P, &plan, &then(note()));
    }
}
