//! `kept`: an announced stream that nobody has finished is owned again within `lease_ttl` and half a second of its
//! owner's last heartbeat, while a consumer with free capacity reaches Redis and Redis accepts writes.
//!
//! Judged throughout: a stream's time begins with its last heartbeat, or when the conditions were restored. So a
//! stream that is owned but not renewed comes to light here, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper::Time;

use super::{
    Judge, Kind, Violation,
    conditions::{self, Conditions, NEVER, reads_at_once},
};
use crate::{
    facts::{Fact, Forgot, Owned, What, Who},
    plan::{ConsumerPlan, Persistence, Plan},
};

/// Of the promise.
const HALF_A_SECOND: Duration = Duration::from_millis(500);
/// How often everything is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long an answer may be on its way.
const ANSWER: Duration = Duration::from_secs(3);
/// How long it takes an application to finish what it owns.
const TO_FINISH: Duration = Duration::from_secs(3);
/// A handler's failure pauses its stream: the first and the longest pause, give or take a quarter.
const FAILURE_PAUSE_MS: (u64, u64) = (1_250, 75_000);

/// A data stream, under one or several announcements.
struct Stream {
    entries: BTreeSet<Arc<str>>,
    /// Its last heartbeat, or whatever else its time begins with.
    beat: Time,
    granted: Option<(Arc<str>, Time)>,
    /// The latest owner has given it back.
    given_back: bool,
    /// Whoever owned it last is a Go peer.
    go: bool,
    /// Failures in a row, and crashes in a row.
    failures: u32,
    crashes: u32,
    /// It is left alone on purpose until then.
    paused: Time,
    reported: bool,
}

impl Stream {
    fn new(beat: Time) -> Stream {
        Stream {
            entries: BTreeSet::new(),
            beat,
            granted: None,
            given_back: false,
            go: false,
            failures: 0,
            crashes: 0,
            paused: Time::ZERO,
            reported: false,
        }
    }
}

/// Every announced stream and when it is due.
pub(super) struct Kept {
    conditions: Conditions,
    streams: BTreeMap<Arc<str>, Stream>,
    /// Which stream an announcement speaks of.
    by_entry: BTreeMap<Arc<str>, Arc<str>>,
    /// When it was announced.
    announced: BTreeMap<Arc<str>, Time>,
    /// What is over: its producer may hear of it later than everybody else.
    over: BTreeSet<Arc<str>>,
    /// When announcements were last taken away by hand.
    swept: Option<Time>,
    /// What applications asked for, and heard: by announcement and token.
    asked: BTreeMap<(Arc<str>, u64), &'static str>,
    heard: BTreeSet<(Arc<str>, u64)>,
    /// The streams that each life owns, as far as Redis knows.
    owned: BTreeMap<Who, BTreeSet<Arc<str>>>,
    /// Since when each consumer has had room for all that wait.
    room: BTreeMap<usize, Time>,
    allowance: Duration,
    /// From when on the applications finish everything that they own, if they do.
    finish: Option<Time>,
    /// The most that a crash or a failover forgets.
    forgets: Duration,
    /// From this many crashes in a row on, a stream is a suspect.
    suspect: Option<u32>,
    next_look: Time,
}

impl Kept {
    pub(super) fn new(plan: &Plan) -> Kept {
        let ours = || plan.consumers.iter().filter(|consumer| !consumer.go);
        // The promise speaks of default settings: reap every 200 ms, leave to others for 150 ms at most.
        let reap_ms = ours().map(|consumer| consumer.reap_ms).max().unwrap_or(200);
        let delay_ms = ours().map(|consumer| consumer.claim_delay_ms).max().unwrap_or(150);
        let slower_ms = (reap_ms.saturating_sub(200) * 3 / 2) + delay_ms.saturating_sub(150) * 2;
        let trips = Duration::from_micros(plan.latency_us.1 * 8);
        let persisted_ms = match plan.redis.persistence {
            Persistence::None => 0,
            Persistence::Rdb { every_ms } => every_ms,
            Persistence::Aof => 2_000,
            Persistence::AofAlways => 0,
        };
        let forgets_ms = persisted_ms.max(plan.redis.replica_lag_ms) + 1_000;
        let limits = ours().map(|consumer| consumer.max_takeovers).filter(|limit| *limit > 0);
        Kept {
            conditions: Conditions::new(plan),
            streams: BTreeMap::new(),
            by_entry: BTreeMap::new(),
            announced: BTreeMap::new(),
            over: BTreeSet::new(),
            swept: None,
            asked: BTreeMap::new(),
            heard: BTreeSet::new(),
            owned: BTreeMap::new(),
            room: BTreeMap::new(),
            allowance: HALF_A_SECOND + Duration::from_millis(slower_ms) + trips,
            finish: plan.finish.then(|| Time::ZERO + plan.heal_at + plan.calm / 2),
            forgets: Duration::from_millis(forgets_ms),
            suspect: limits.min().map(|limit| limit.div_ceil(2).max(1)),
            next_look: Time::ZERO,
        }
    }

    /// Since when somebody could have taken what waits.
    fn takers(&self) -> Time {
        let takers = self.conditions.members.iter().filter_map(|(consumer, member)| {
            let room = *self.room.get(consumer)?;
            Some(self.conditions.hold_for(member.who?).max(room))
        });
        takers.min().unwrap_or(NEVER)
    }

    /// When a stream is due, if somebody has been able to take it since `takers`.
    fn due(&self, stream: &Stream, takers: Time) -> Time {
        let lapsed = stream.beat + self.conditions.ttl + self.suspicion(stream);
        let from = lapsed.max(takers).max(stream.paused);
        // If the reaper fell out just then, another one has to find it.
        if self.conditions.reaper > lapsed {
            from.max(self.conditions.reaper) + self.allowance
        } else {
            from + self.allowance
        }
    }

    fn look(&mut self, now: Time, verdicts: &mut Vec<Violation>) {
        let ttl = self.conditions.ttl;
        let waiting =
            self.streams.values().filter(|stream| stream.granted.is_none() || stream.beat + ttl < now).count();
        for (consumer, member) in &self.conditions.members {
            let Some(setup) = self.conditions.setup(*consumer).filter(|setup| takes(setup)) else { continue };
            let owned = member.who.and_then(|who| self.owned.get(&who)).map_or(0, BTreeSet::len);
            if owned + waiting < setup.capacity {
                self.room.entry(*consumer).or_insert(now);
            } else {
                self.room.remove(consumer);
            }
        }
        let takers = self.takers();
        if takers >= now {
            return;
        }
        let overdue = |stream: &Stream| !stream.reported && !stream.go && self.due(stream, takers) < now;
        let late: Vec<Arc<str>> =
            self.streams.iter().filter(|(_, stream)| overdue(stream)).map(|(name, _)| name.clone()).collect();
        for name in late {
            if let Some(stream) = self.streams.get_mut(&name) {
                stream.reported = true;
                let since = now.since(stream.beat).as_secs_f64();
                let owner = stream.granted.as_ref().map_or("nobody yet", |(value, _)| &**value);
                let how = format!(
                    "{name} has had no heartbeat for {since:.3} s; its last owner: {owner}; it could have been taken \
                     since {:.3} s",
                    takers.as_micros() as f64 / 1e6
                );
                verdicts.push(Violation { promise: "kept", kind: Kind::Liveness, at: now, how });
            }
        }
    }

    /// In the calm everything that is owned is finished, too.
    fn look_at_the_end(&self, now: Time, verdicts: &mut Vec<Violation>) {
        let Some(finish) = self.finish else { return };
        for (name, stream) in self.streams.iter().filter(|(_, stream)| !stream.given_back && !stream.go) {
            let Some((value, granted)) = &stream.granted else { continue };
            let Some(who) = self.conditions.life(value) else { continue };
            let since = finish.max(*granted).max(self.conditions.hold_for(who));
            if now.since(since) > TO_FINISH && stream.beat + self.conditions.ttl >= now {
                let how = format!("{name} is owned by {value}, who finishes everything, and is not finished");
                verdicts.push(Violation { promise: "finished", kind: Kind::Liveness, at: now, how });
            }
        }
    }

    fn announced(&mut self, at: Time, stream: &Arc<str>, entry: &Arc<str>) {
        let known = self.streams.entry(stream.clone()).or_insert_with(|| Stream::new(at));
        known.entries.insert(entry.clone());
        self.by_entry.insert(entry.clone(), stream.clone());
        self.announced.entry(entry.clone()).or_insert(at);
    }

    fn granted(&mut self, at: Time, value: &Arc<str>, owned: &Owned) {
        self.announced(at, &owned.stream, &owned.entry);
        for streams in self.owned.values_mut() {
            streams.remove(&owned.stream);
        }
        if let Some(who) = self.conditions.life(value) {
            self.owned.entry(who).or_default().insert(owned.stream.clone());
        }
        let Some(stream) = self.streams.get_mut(&owned.stream) else { return };
        if stream.granted.as_ref().is_some_and(|(before, _)| before != value) {
            let lived =
                stream.granted.as_ref().is_some_and(|(_, since)| stream.beat.since(*since) >= self.conditions.ttl * 20);
            stream.crashes = if stream.given_back || lived { 0 } else { stream.crashes + 1 };
        }
        stream.granted = Some((value.clone(), at));
        (stream.given_back, stream.go, stream.reported) = (false, !value.contains('#'), false);
        stream.beat = at;
        // The next to take it, if this one crashes, has to leave a suspect alone.
        stream.paused = Time::ZERO;
    }

    /// How long the next owner leaves a stream alone whose owners crash, behind its ttl.
    fn suspicion(&self, stream: &Stream) -> Duration {
        match self.suspect {
            Some(from) if stream.crashes + 1 >= from => {
                let doublings = (stream.crashes + 1 - from).min(6);
                Duration::from_millis((1_000 << doublings).min(60_000)) + self.conditions.ttl
            }
            _ => Duration::ZERO,
        }
    }

    fn given_back(&mut self, at: Time, value: &Arc<str>, entry: &Arc<str>) {
        self.disown(entry);
        let failed = self.has_failed(value, entry);
        let Some(stream) = self.by_entry.get(entry).and_then(|name| self.streams.get_mut(name)) else { return };
        stream.beat = at;
        stream.given_back = true;
        stream.crashes = 0;
        if failed {
            let (first, longest) = FAILURE_PAUSE_MS;
            let pause_ms = (first << stream.failures.min(6)).min(longest);
            stream.failures += 1;
            stream.paused = at + Duration::from_millis(pause_ms);
        }
    }

    /// Whether a stream was given back since its handler failed. A panic is not asked for.
    fn has_failed(&self, value: &Arc<str>, entry: &Arc<str>) -> bool {
        let Some(stream) = self.by_entry.get(entry).and_then(|name| self.streams.get(name)) else { return false };
        let current = stream.granted.as_ref().is_some_and(|(owner, _)| owner == value);
        let asked = |wanted: &str| {
            self.asked
                .range((entry.clone(), 0)..=(entry.clone(), u64::MAX))
                .next_back()
                .is_some_and(|(_, end)| *end == wanted)
        };
        let heard = self.heard.range((entry.clone(), 0)..=(entry.clone(), u64::MAX)).next().is_some();
        current && (asked("fail") || (!asked("release") && !heard))
    }

    /// Nobody owns this announcement any more.
    fn disown(&mut self, entry: &Arc<str>) {
        if let Some(stream) = self.by_entry.get(entry) {
            for streams in self.owned.values_mut() {
                streams.remove(stream);
            }
        }
    }

    fn gone(&mut self, at: Time, entry: &Arc<str>) {
        self.disown(entry);
        let Some(name) = self.by_entry.remove(entry) else { return };
        self.announced.remove(entry);
        let Some(stream) = self.streams.get_mut(&name) else { return };
        stream.entries.remove(entry);
        // Another announcement of the same stream had to wait for this one.
        (stream.beat, stream.failures, stream.crashes) = (at, 0, 0);
        if stream.entries.is_empty() {
            self.streams.remove(&name);
        }
    }

    /// Announcements since then may be gone: nothing is asked of them before they are granted again.
    fn doubt(&mut self, at: Time, since: Time) {
        let young: Vec<Arc<str>> = self
            .announced
            .iter()
            .filter(|(_, announced)| **announced >= since)
            .map(|(entry, _)| entry.clone())
            .collect();
        for entry in young {
            self.gone(at, &entry);
        }
    }

    fn struck(&mut self, at: Time, kind: &str) {
        // Without its place in the pending list, an announcement is handed to nobody, unless its owner lives.
        if conditions::takes_announcements(kind) || kind == "redis delete-consumer" {
            self.doubt(at, Time::ZERO);
            self.swept = Some(at);
        }
    }

    /// Whether an announcement that its producer has just heard of may be gone already.
    fn is_swept(&self, at: Time, entry: &Arc<str>) -> bool {
        self.over.contains(entry) || self.swept.is_some_and(|swept| at.since(swept) < ANSWER)
    }
}

/// Whether a consumer takes orphans by itself whenever it has room.
fn takes(setup: &ConsumerPlan) -> bool {
    !setup.go && !setup.manual && reads_at_once(setup)
}

impl Judge for Kept {
    fn hear(&mut self, fact: &Fact, verdicts: &mut Vec<Violation>) {
        let at = fact.at;
        if at >= self.next_look {
            self.look(at, verdicts);
            self.next_look = at + LOOK;
        }
        self.conditions.hear(fact);
        match &fact.what {
            What::Announced { stream, entry } if !self.is_swept(at, entry) => self.announced(at, stream, entry),
            What::Granted { value, owned } => self.granted(at, value, owned),
            What::Renewed { entries, .. } => {
                for entry in entries {
                    if let Some(stream) = self.by_entry.get(entry).and_then(|name| self.streams.get_mut(name)) {
                        stream.beat = at;
                        stream.reported = false;
                    }
                }
            }
            What::Finished { entry, .. } | What::SetAside { entry, .. } => {
                self.over.insert(entry.clone());
                self.gone(at, entry);
            }
            What::GivenBack { value, entry, .. } => self.given_back(at, value, entry),
            What::Asked { owned, end, .. } => {
                self.asked.insert((owned.entry.clone(), owned.token), end);
            }
            What::Ended { who, owned, .. } => {
                self.heard.insert((owned.entry.clone(), owned.token));
                if let Some(streams) = self.owned.get_mut(who) {
                    streams.remove(&owned.stream);
                }
            }
            What::Crashed { who } | What::Stopped { who } | What::Terminated { who, .. } => {
                self.owned.remove(who);
                self.room.remove(&who.consumer);
            }
            What::RedisUp { forgot: Forgot::All } => self.doubt(at, Time::ZERO),
            What::RedisUp { forgot: Forgot::Latest } => self.doubt(at, at - self.forgets - self.conditions.ttl),
            What::Struck { kind, .. } => self.struck(at, kind),
            _ => {}
        }
    }

    fn end(&mut self, at: Time, verdicts: &mut Vec<Violation>) {
        self.look(at, verdicts);
        self.look_at_the_end(at, verdicts);
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use crate::facts::Fact;

    const P: &str = "kept";

    /// Two consumers; the first owns a stream, and sends its last heartbeat after 10 s.
    fn one_owner() -> Vec<Fact> {
        let mut facts = vec![timed(0, started(0)), timed(0, started(1)), timed(10, ready(0)), timed(10, ready(1))];
        facts.push(timed(15, announced("s", 1)));
        facts.push(timed(20, granted("c0#1", "s", 1, 5)));
        facts.extend((1..=10).map(|s| timed(s * 1_000, renewed("c0", &[1]))));
        facts
    }

    /// What follows, and somebody who looks at these times.
    fn then(more: &[(u64, crate::facts::What)]) -> Vec<Fact> {
        let mut facts = one_owner();
        facts.extend(more.iter().map(|(ms, what)| timed(*ms, what.clone())));
        facts
    }

    #[test]
    fn a_takeover_comes_in_time() {
        let plan = plan(2);
        let taken = |ms| then(&[(10_100, crashed(0)), (ms, granted("c1#1", "s", 1, 9)), (ms + 500, note())]);
        good_timed(P, &plan, &taken(13_400));
        bad_timed(P, &plan, &taken(13_700));
        bad_timed(P, &plan, &then(&[(10_100, crashed(0)), (13_800, note())]));
        bad_timed(P, &plan, &then(&[(13_800, note())]));
    }

    #[test]
    fn what_ends_needs_no_owner() {
        let plan = plan(2);
        good_timed(P, &plan, &then(&[(10_100, finished("c0#1", "s", 1)), (20_000, note())]));
        good_timed(P, &plan, &then(&[(10_100, set_aside(1, "failed")), (20_000, note())]));
        bad_timed(P, &plan, &then(&[(10_100, given_back("c0#1", "s", 1)), (20_000, note())]));
        good_timed(P, &plan, &then(&[(10_100, struck_as("redis trim", "redis trim 0")), (20_000, note())]));
        good_timed(P, &plan, &then(&[(10_100, redis_up("all")), (40_000, note())]));
    }

    #[test]
    fn a_new_announcement_is_taken_even_if_its_first_reader_dies() {
        let plan = plan(2);
        bad_timed(
            P,
            &plan,
            &then(&[
                (10_100, renewed("c0", &[1])),
                (10_200, announced("t", 2)),
                (13_000, renewed("c0", &[1])),
                (14_500, note()),
            ]),
        );
        good_timed(
            P,
            &plan,
            &then(&[(10_200, announced("t", 2)), (12_900, granted("c1#1", "t", 2, 9)), (13_200, note())]),
        );
    }

    #[test]
    fn conditions_that_do_not_hold_excuse_and_begin_anew() {
        let plan = plan(2);
        let both =
            |ms| then(&[(10_100, crashed(0)), (11_000, struck_as("partition", "partition c1 5s")), (ms, note())]);
        good_timed(P, &plan, &both(20_400));
        bad_timed(P, &plan, &both(20_900));
        let stall =
            |ms| then(&[(10_100, crashed(0)), (11_000, struck_as("redis stall", "redis stall 5s")), (ms, note())]);
        good_timed(P, &plan, &stall(23_400));
        bad_timed(P, &plan, &stall(23_900));
        good_timed(P, &plan, &then(&[(10_100, crashed(0)), (10_200, crashed(1)), (40_000, note())]));
        let healed = |ms| {
            then(&[
                (10_100, crashed(0)),
                (11_000, struck_as("partition", "partition c1 60s")),
                (15_000, healed()),
                (ms, note()),
            ])
        };
        good_timed(P, &plan, &healed(19_400));
        bad_timed(P, &plan, &healed(19_800));
        let dropped = struck_as("redis drop-messages", "redis drop-messages 60s");
        bad_timed(P, &plan, &then(&[(10_000, dropped), (10_100, crashed(0)), (13_800, note())]));
    }

    #[test]
    fn a_failure_has_its_pause() {
        let plan = plan(2);
        let failed =
            |ms| then(&[(10_100, asked(0, "s", 1, 5, "fail")), (10_200, given_back("c0#1", "s", 1)), (ms, note())]);
        good_timed(P, &plan, &failed(13_600));
        bad_timed(P, &plan, &failed(14_000));
        let again = |ms| {
            let mut facts = failed(10_300);
            let more = [
                (11_500, granted("c1#1", "s", 1, 9)),
                (11_600, asked(1, "s", 1, 9, "fail")),
                (11_700, given_back("c1#1", "s", 1)),
                (12_900, granted("c0#2", "s", 1, 10)),
                (13_000, asked(0, "s", 1, 10, "fail")),
                (13_100, given_back("c0#2", "s", 1)),
                (ms, note()),
            ];
            facts.extend(more.into_iter().map(|(ms, what)| timed(ms, what)));
            facts
        };
        good_timed(P, &plan, &again(18_500));
        bad_timed(P, &plan, &again(19_000));
    }

    #[test]
    fn in_the_end_everything_is_finished() {
        let mut plan = plan(2);
        (plan.heal_at, plan.calm) = (std::time::Duration::from_secs(4), std::time::Duration::from_secs(4));
        good_timed("finished", &plan, &one_owner());
        plan.finish = true;
        bad_timed("finished", &plan, &one_owner());
        good_timed("finished", &plan, &then(&[(10_000, finished("c0#1", "s", 1))]));
        good_timed("finished", &plan, &then(&[(10_000, granted("c1#1", "s", 1, 9))]));
        plan.calm = std::time::Duration::from_secs(8);
        good_timed("finished", &plan, &one_owner());
    }

    #[test]
    fn a_full_fleet_takes_nothing() {
        let mut plan = plan(2);
        plan.consumers[1].capacity = 1;
        good_timed(P, &plan, &then(&[(10_100, crashed(0)), (40_000, note())]));
        plan.consumers[1].capacity = 2;
        bad_timed(P, &plan, &then(&[(10_100, crashed(0)), (40_000, note())]));
        plan.consumers[1].manual = true;
        good_timed(P, &plan, &then(&[(10_100, crashed(0)), (40_000, note())]));
    }
}
