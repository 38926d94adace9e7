//! `bounded`: every queue, batch, retry and record has a limit or an end; a slow or blocking application never delays a
//! heartbeat. What the facts show of it: nobody owns more than its capacity, and the heartbeats of a consumer that is
//! left in peace are never much further apart than its `heartbeat`, whatever its application does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper::Time;

use super::{Judge, Kind, Violation, conditions::Conditions};
use crate::{
    facts::{Fact, What, Who},
    plan::Plan,
};

/// How often silence is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// A lease that is to be renewed.
struct Beating {
    who: Who,
    latest: Time,
}

/// The heartbeats of every lease.
pub(super) struct Bounded {
    conditions: Conditions,
    trip: Duration,
    leases: BTreeMap<Arc<str>, Beating>,
    owned: BTreeMap<Who, BTreeSet<(Arc<str>, u64)>>,
    next_look: Time,
}

impl Bounded {
    pub(super) fn new(plan: &Plan) -> Bounded {
        Bounded {
            conditions: Conditions::new(plan),
            trip: Duration::from_micros(plan.latency_us.1 * 4),
            leases: BTreeMap::new(),
            owned: BTreeMap::new(),
            next_look: Time::ZERO,
        }
    }

    /// How far apart heartbeats may be: a quarter of slack, the clocks' rates and the way to Redis and back.
    fn limit(&self, consumer: usize) -> Duration {
        let heartbeat_ms = self.conditions.setup(consumer).map_or(1_000, |setup| setup.heartbeat_ms);
        Duration::from_millis(heartbeat_ms * 13 / 10 + 100) + self.trip
    }

    /// Whether a lease's owner was silent for too long, though nothing had befallen it since its last heartbeat.
    fn is_silent(&self, lease: &Beating, now: Time) -> bool {
        self.conditions.hold_for(lease.who) <= lease.latest && now.since(lease.latest) > self.limit(lease.who.consumer)
    }

    fn judge_silence(&mut self, entry: &Arc<str>, now: Time, verdicts: &mut Vec<Violation>) {
        let Some(lease) = self.leases.get(entry) else { return };
        if self.is_silent(lease, now) {
            let (who, silence) = (lease.who, now.since(lease.latest).as_secs_f64());
            let how = format!("{who} owns {entry} in peace, and has sent no heartbeat for {silence:.3} s");
            verdicts.push(Violation { promise: "bounded", kind: Kind::Liveness, at: now, how });
            self.leases.remove(entry);
        }
    }

    fn look(&mut self, now: Time, verdicts: &mut Vec<Violation>) {
        let silent: Vec<Arc<str>> = self
            .leases
            .iter()
            .filter(|(_, lease)| self.is_silent(lease, now))
            .map(|(entry, _)| entry.clone())
            .collect();
        for entry in silent {
            self.judge_silence(&entry, now, verdicts);
        }
    }
}

impl Judge for Bounded {
    fn hear(&mut self, fact: &Fact, verdicts: &mut Vec<Violation>) {
        let at = fact.at;
        if at >= self.next_look {
            self.look(at, verdicts);
            self.next_look = at + LOOK;
        }
        self.conditions.hear(fact);
        match &fact.what {
            What::Granted { value, owned } => match self.conditions.life(value).filter(|_| value.contains('#')) {
                Some(who) => drop(self.leases.insert(owned.entry.clone(), Beating { who, latest: at })),
                None => drop(self.leases.remove(&owned.entry)),
            },
            What::Renewed { consumer, entries } => {
                let Some(who) = self.conditions.life(consumer) else { return };
                for entry in entries {
                    self.judge_silence(entry, at, verdicts);
                    if let Some(lease) = self.leases.get_mut(entry) {
                        *lease = Beating { who, latest: at };
                    }
                }
            }
            What::Finished { entry, .. } | What::GivenBack { entry, .. } | What::SetAside { entry, .. } => {
                self.leases.remove(entry);
            }
            What::Asked { owned, .. } => drop(self.leases.remove(&owned.entry)),
            What::Ended { who, owned, .. } => {
                self.leases.remove(&owned.entry);
                if let Some(open) = self.owned.get_mut(who) {
                    open.remove(&(owned.entry.clone(), owned.token));
                }
            }
            What::Added { who, owned, .. } => {
                let setup = self.conditions.setup(who.consumer).filter(|setup| !setup.go);
                let capacity = setup.map_or(usize::MAX, |setup| setup.capacity);
                let open = self.owned.entry(*who).or_default();
                open.insert((owned.entry.clone(), owned.token));
                if open.len() > capacity {
                    let how = format!("{who} owns {} streams, and has room for {capacity}", open.len());
                    verdicts.push(Violation { promise: "bounded", kind: Kind::Safety, at, how });
                }
            }
            What::Crashed { who } | What::Stopped { who } | What::Terminated { who, .. } => {
                self.leases.retain(|_, lease| lease.who != *who);
            }
            // Leases and announcements may be gone: what is renewed after it, is.
            What::Struck { kind, .. } if kind.starts_with("redis ") => self.leases.clear(),
            What::RedisUp { .. } => self.leases.clear(),
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
    use crate::facts::Fact;

    const P: &str = "bounded";

    /// A consumer that owns a stream, with heartbeats at these times.
    fn life(beats: &[u64]) -> Vec<Fact> {
        let mut facts = vec![timed(0, started(0)), timed(10, ready(0)), timed(20, granted("c0#1", "s", 1, 5))];
        facts.extend(beats.iter().map(|ms| timed(*ms, renewed("c0", &[1]))));
        facts
    }

    #[test]
    fn heartbeats_come_in_time() {
        let plan = plan(2);
        good_timed(P, &plan, &life(&[1_000, 2_000, 3_000, 4_300]));
        bad_timed(P, &plan, &life(&[1_000, 2_000, 3_500]));
        bad_timed(P, &plan, &[life(&[]), vec![timed(2_000, note())]].concat());
        good_timed(
            P,
            &plan,
            &[life(&[1_000]), vec![timed(1_100, finished("c0#1", "s", 1)), timed(3_000, note())]].concat(),
        );
        good_timed(P, &plan, &[life(&[1_000]), vec![timed(1_100, crashed(0)), timed(3_000, note())]].concat());
    }

    #[test]
    fn who_was_disturbed_is_excused() {
        let plan = plan(2);
        let late = |what| [life(&[1_000]), vec![timed(1_100, what), timed(4_000, renewed("c0", &[1]))]].concat();
        good_timed(P, &plan, &late(paused(0, 2_500)));
        good_timed(P, &plan, &late(struck_as("partition", "partition c0 2s")));
        good_timed(P, &plan, &late(struck_as("redis stall", "redis stall 2s")));
        bad_timed(P, &plan, &late(paused(1, 2_500)));
        bad_timed(P, &plan, &late(note()));
    }

    #[test]
    fn nobody_owns_more_than_its_capacity() {
        let mut plan = plan(2);
        plan.consumers[0].capacity = 2;
        let two = vec![added(0, "a", 1, 1), added(0, "b", 2, 2)];
        good(P, &plan, &two);
        good(P, &plan, &[two.clone(), vec![ended(0, "a", 1, 1, "done"), added(0, "c", 3, 3)]].concat());
        bad(P, &plan, &[two, vec![added(0, "c", 3, 3)]].concat());
    }
}
