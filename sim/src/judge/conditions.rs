//! Since when the conditions hold under which something is promised in time: who runs and reaches Redis, whether Redis
//! serves, and what the plan's faults do to that. Rather too cautious than wrong: whatever strikes starts the clock anew.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use streamkeeper::Time;

use crate::{
    facts::{Fact, What, Who},
    plan::{Action, ConsumerPlan, Plan, RedisFault, Refusal, Topology},
    redis::CLUSTER_WRITABLE_DELAY,
};

/// Until connections that broke or hung stand again, at the longest: a call is given up (1 s), a connection is tried
/// again (up to 1.25 s), and the server is left alone for a while (up to 1.25 s).
pub(super) const RECONNECT: Duration = Duration::from_secs(4);
/// How long a stream is left alone under whose lease's name something else stands.
const BROKEN_PAUSE: Duration = Duration::from_secs(10);
/// The end of what has no end in sight.
pub(super) const NEVER: Time = Time::from_micros(u64::MAX);

/// The longest `lease_ttl` of the fleet.
pub(super) fn longest_ttl(plan: &Plan) -> Duration {
    Duration::from_millis(plan.consumers.iter().map(|consumer| consumer.ttl_ms).max().unwrap_or(3_000))
}

/// By how much this fault sets Redis's clock, in milliseconds.
pub(super) fn steps_clock(action: &str) -> Option<i64> {
    match action.parse() {
        Ok(Action::Redis(RedisFault::ClockStep { by_ms })) => Some(by_ms),
        _ => None,
    }
}

/// Announcements may be gone without having been finished.
pub(super) fn takes_announcements(kind: &str) -> bool {
    loses_data(kind) || matches!(kind, "redis delete-lbs" | "redis trim")
}

/// Records and tokens are gone.
pub(super) fn loses_data(kind: &str) -> bool {
    kind == "redis flush-all"
}

/// Whether an application takes notice of its streams as soon as it can.
pub(super) fn reads_at_once(setup: &ConsumerPlan) -> bool {
    !setup.app.never_reads && (setup.app.runs || setup.app.reads_every_ms == 0)
}

/// Whether a consumer takes what it finds by itself, and is never behind with it: one whose buffer is full takes nothing.
pub(super) fn takes(setup: &ConsumerPlan) -> bool {
    !setup.go && !setup.manual && reads_at_once(setup) && setup.output_buffer >= 10
}

/// A consumer as the facts show it.
pub(super) struct Member {
    /// Its latest life, while it runs.
    pub(super) who: Option<Who>,
    pub(super) id: Arc<str>,
    /// Since when it is ready and nothing has befallen it: possibly a time to come.
    pub(super) well: Time,
    draining: bool,
    paused: bool,
    /// Since when it has not stood still: possibly a time to come.
    awake: Time,
}

/// Since when the conditions hold.
pub(super) struct Conditions {
    plan: Plan,
    pub(super) ttl: Duration,
    pub(super) members: BTreeMap<usize, Member>,
    /// Until when what struck each consumer may be felt.
    struck: BTreeMap<usize, Time>,
    /// Since when Redis serves: possibly a time to come.
    redis: Time,
    /// It is down, and will say when it is back.
    down: bool,
    /// It was started again: how long it refuses everything once it is back.
    refuses_for: Duration,
    /// It may have forgotten, and nobody has been granted anything since: whoever comes first waits for a ttl from then on.
    unsettled: bool,
    /// Nobody has been ready yet: what is announced now makes the service look like one of before.
    unborn: bool,
    /// Until then it does not say who it is, INFO being refused: what it grants does not show that the fleet has settled.
    nameless: Time,
    /// By how much its clock has been set, all steps together, and the latest that it has ever shown, in milliseconds.
    clock_ms: i64,
    latest_ms: i64,
    /// When it was set, and by how much, in milliseconds.
    steps: Vec<(Time, i64)>,
    /// Until when its clock shows what it has shown before, and a ttl more: idle times count anew, and no heal sets it
    /// right.
    behind: Time,
    /// Until when what stood under a key of a wrong type may be left alone.
    left_alone: Time,
    /// Until when something that befell any consumer may still be felt by the others: it may have been the reaper.
    pub(super) reaper: Time,
    /// When somebody fell out last, who may have been handed announcements until then and never have come to own them.
    pub(super) fell_out: Time,
}

impl Conditions {
    pub(super) fn new(plan: &Plan) -> Conditions {
        Conditions {
            ttl: longest_ttl(plan),
            plan: plan.clone(),
            members: BTreeMap::new(),
            struck: BTreeMap::new(),
            redis: Time::ZERO,
            down: false,
            refuses_for: Duration::ZERO,
            unsettled: is_young(plan),
            unborn: true,
            nameless: Time::ZERO,
            clock_ms: 0,
            latest_ms: 0,
            steps: Vec::new(),
            behind: Time::ZERO,
            left_alone: Time::ZERO,
            reaper: Time::ZERO,
            fell_out: Time::ZERO,
        }
    }

    /// How a consumer is set up.
    pub(super) fn setup(&self, consumer: usize) -> Option<&ConsumerPlan> {
        self.plan.consumers.get(consumer)
    }

    /// The life that runs under this id.
    pub(super) fn life(&self, id: &str) -> Option<Who> {
        let id = id.split('#').next().unwrap_or(id);
        self.members.values().find(|member| &*member.id == id).and_then(|member| member.who)
    }

    /// Whether Redis is up, and nothing that struck it is felt any more.
    pub(super) fn redis_serves(&self, at: Time) -> bool {
        !self.down && self.redis <= at
    }

    /// Since when this consumer has run, reached Redis and been left in peace; Redis, too.
    pub(super) fn hold_for(&self, who: Who) -> Time {
        match self.members.get(&who.consumer) {
            Some(member) if member.who == Some(who) && !member.draining && member.well != NEVER && !self.down => {
                // Everybody waits by the own clock, from when it has seen that server last without a break.
                let wait = if self.unsettled { self.ttl } else { Duration::ZERO };
                member.well.max(self.redis) + wait
            }
            _ => NEVER,
        }
    }

    /// When what Redis keeps by its clock, from then until then, is over: later, if its clock was set back meanwhile.
    pub(super) fn by_redis(&self, since: Time, until: Time) -> Time {
        let steps_ms: i64 = self.steps.iter().filter(|(at, _)| *at >= since).map(|(_, by_ms)| by_ms).sum();
        until + Duration::from_millis(steps_ms.min(0).unsigned_abs())
    }

    /// Since when this process has not stood still, whatever else has befallen it.
    pub(super) fn awake(&self, who: Who) -> Time {
        self.members.get(&who.consumer).filter(|member| member.who == Some(who)).map_or(NEVER, |member| member.awake)
    }

    pub(super) fn hear(&mut self, fact: &Fact) {
        let at = fact.at;
        match &fact.what {
            What::Started { who, id, .. } => {
                let member =
                    Member { who: Some(*who), id: id.clone(), well: NEVER, draining: false, paused: false, awake: at };
                self.members.insert(who.consumer, member);
            }
            What::Ready { who } => {
                self.unborn = false;
                let struck = self.struck.get(&who.consumer).copied().unwrap_or(Time::ZERO);
                if let Some(member) = self.member(*who).filter(|member| member.well == NEVER) {
                    // It is ready with one connection; what struck it while it started may concern the others.
                    member.well = at.max(struck);
                }
            }
            What::Granted { .. } if self.unsettled && at >= self.nameless => {
                // The fleet has settled on it: the others hear of it at their next heartbeat.
                self.unsettled = false;
                self.redis = self.redis.max(at);
                for (consumer, member) in self.members.iter_mut().filter(|(_, member)| member.who.is_some()) {
                    let heartbeat_ms = self.plan.consumers.get(*consumer).map_or(0, |setup| setup.heartbeat_ms);
                    let hears = at + Duration::from_millis(heartbeat_ms);
                    if member.well == NEVER {
                        // It is about to be ready, and may have asked just before.
                        let struck = self.struck.entry(*consumer).or_insert(Time::ZERO);
                        *struck = (*struck).max(hears);
                    } else {
                        member.well = member.well.max(hears);
                    }
                }
            }
            What::Draining { who } => {
                self.disturbed(at);
                self.fell_out = self.fell_out.max(at);
                if let Some(member) = self.member(*who) {
                    member.draining = true;
                }
            }
            What::Stopped { who } | What::Terminated { who, .. } | What::Crashed { who } => {
                self.disturbed(at);
                self.fell_out = self.fell_out.max(at);
                if let Some(member) = self.member(*who) {
                    (member.who, member.well) = (None, NEVER);
                }
            }
            What::Paused { who, ms } => {
                self.disturbed(at + Duration::from_millis(*ms));
                self.fell_out = self.fell_out.max(at);
                self.unwell(who.consumer, at + Duration::from_millis(*ms));
                if let Some(member) = self.member(*who) {
                    member.paused = true;
                    member.awake = at + Duration::from_millis(*ms);
                }
            }
            What::Resumed { who } => {
                self.disturbed(at);
                self.unwell(who.consumer, at);
                if let Some(member) = self.member(*who) {
                    member.paused = false;
                    member.awake = at;
                }
            }
            What::Struck { kind: "announce" | "malformed", .. } => self.unsettled |= self.unborn,
            What::Struck { action, kind, consumer, ms } => {
                let until = at + Duration::from_millis(ms.unwrap_or(0));
                match (consumer, action.parse()) {
                    (None, Ok(Action::Redis(fault))) => self.redis_struck(at, &fault),
                    (None, _) if *kind == "redis" || kind.starts_with("redis ") => {
                        self.redis_unwell(until, self.ttl * 2);
                    }
                    (None, _) => {}
                    (Some(_), Ok(Action::Redis(RedisFault::DeleteConsumer { .. }))) => {
                        self.redis_unwell(at, self.ttl);
                    }
                    (Some(_), Ok(Action::Start { .. } | Action::Note(_) | Action::Announce { .. })) => {}
                    (Some(consumer), _) => {
                        self.disturbed(until);
                        // Who stands still is handed nothing more.
                        let handed = if matches!(*kind, "pause" | "suspend") { at } else { until };
                        self.fell_out = self.fell_out.max(handed);
                        self.unwell(*consumer, until);
                    }
                }
            }
            What::Over { kind, consumer } => match consumer {
                Some(consumer) => {
                    self.disturbed(at);
                    self.unwell(*consumer, at);
                }
                None if is_harmless(kind) => {}
                None if matches!(*kind, "redis refuse readonly" | "redis refuse masterdown") => {
                    // Promoted again, it is another server.
                    self.unsettled = true;
                    self.redis_unwell(at, self.ttl);
                }
                None => self.redis_unwell(at, Duration::ZERO),
            },
            What::RedisUp { .. } => {
                self.down = false;
                self.unsettled = true;
                // The fleet waits for a ttl before it settles on a server that may have forgotten. What else struck the
                // server goes on.
                let refuses_for = std::mem::take(&mut self.refuses_for);
                self.redis_unwell(at, refuses_for);
            }
            What::Healed => self.heal(at),
            _ => {}
        }
    }

    fn member(&mut self, who: Who) -> Option<&mut Member> {
        self.members.get_mut(&who.consumer).filter(|member| member.who == Some(who))
    }

    /// Who was the reaper is replaced by another within one and a half intervals.
    fn disturbed(&mut self, until: Time) {
        self.reaper = self.reaper.max(until + self.succession());
    }

    fn succession(&self) -> Duration {
        let reap_ms = self.plan.consumers.iter().map(|consumer| consumer.reap_ms).max().unwrap_or(200);
        Duration::from_millis(reap_ms * 3 / 2)
    }

    fn unwell(&mut self, consumer: usize, until: Time) {
        let struck = self.struck.entry(consumer).or_insert(Time::ZERO);
        *struck = (*struck).max(until + RECONNECT);
        if let Some(member) = self.members.get_mut(&consumer)
            && member.well != NEVER
        {
            member.well = member.well.max(until + RECONNECT);
        }
    }

    fn redis_unwell(&mut self, until: Time, more: Duration) {
        self.redis = self.redis.max(until + RECONNECT + more);
    }

    fn redis_struck(&mut self, at: Time, fault: &RedisFault) {
        let after = |ms: &u64| at + Duration::from_millis(*ms);
        let ttl = self.ttl;
        match fault {
            // It says when it is back.
            RedisFault::Crash { .. } | RedisFault::Restart { .. } => {
                self.down = true;
                self.refuses_for = self.rejoins();
            }
            RedisFault::Failover { .. } => self.down = true,
            // It says when another one is the primary; whoever hears of it late comes late.
            RedisFault::Switch { after_ms, spread_ms, .. } => {
                self.down = true;
                self.redis_unwell(after(&after_ms.saturating_add(*spread_ms)), ttl);
            }
            RedisFault::Cut { ms, .. } | RedisFault::Freeze { ms, .. } => self.redis_unwell(after(ms), ttl),
            RedisFault::Kill { ms, .. } => self.redis_unwell(after(ms) + self.rejoins(), ttl),
            RedisFault::MoveSlot { ms } | RedisFault::Stale { ms, .. } => self.redis_unwell(after(ms), ttl),
            // What is kept by the clock of Redis is kept for longer: leases, idle times, the reaper's role.
            RedisFault::ClockStep { by_ms } => {
                let now_ms = (at.as_micros() / 1_000) as i64;
                self.latest_ms = self.latest_ms.max(now_ms + self.clock_ms);
                self.clock_ms += by_ms;
                self.steps.push((at, *by_ms));
                let longer = (self.latest_ms - self.clock_ms - now_ms).max(0);
                let again = at + Duration::from_millis(longer.unsigned_abs());
                self.redis_unwell(again, ttl);
                self.behind = self.behind.max(again + ttl);
            }
            RedisFault::Refuse { ms, with } => {
                if *with == Refusal::NoPerm {
                    self.nameless = self.nameless.max(after(ms));
                }
                self.redis_unwell(after(ms), ttl);
            }
            RedisFault::Stall { ms } => self.redis_unwell(after(ms), ttl),
            RedisFault::Disconnect => self.redis_unwell(at, Duration::ZERO),
            RedisFault::DestroyGroup | RedisFault::DeleteLbs | RedisFault::FlushAll | RedisFault::Redeliver => {
                self.unsettled |= *fault == RedisFault::FlushAll;
                self.redis_unwell(at, ttl * 2);
            }
            RedisFault::DeleteConsumer { .. } => self.redis_unwell(at, ttl),
            RedisFault::WrongType { ms, .. } => {
                self.left_alone = self.left_alone.max(after(ms) + BROKEN_PAUSE + ttl);
                self.redis_unwell(after(ms), BROKEN_PAUSE + ttl);
            }
            RedisFault::Detach { .. }
            | RedisFault::DropMessages { .. }
            | RedisFault::DelayMessages { .. }
            | RedisFault::DoubleMessages { .. }
            | RedisFault::ClearFlags
            | RedisFault::ForgetScripts
            | RedisFault::Trim { .. }
            | RedisFault::TrimData { .. }
            | RedisFault::DeleteAttempts
            | RedisFault::DeleteDelayed
            | RedisFault::Unpark { .. }
            | RedisFault::Evict { .. } => {}
        }
    }

    /// For how long a node of a cluster that was started again refuses everything.
    fn rejoins(&self) -> Duration {
        if self.plan.servers.topology == Topology::Cluster { CLUSTER_WRITABLE_DELAY } else { Duration::ZERO }
    }

    /// What lasted is over, but for who still stands still.
    fn heal(&mut self, at: Time) {
        self.reaper = self.reaper.min(at + self.succession());
        self.fell_out = self.fell_out.min(at);
        let latest = at + RECONNECT;
        self.redis = self.redis.min(latest + self.ttl * 2).max(self.behind).max(self.left_alone);
        for (consumer, member) in self.members.iter_mut().filter(|(_, member)| !member.paused) {
            if member.well != NEVER {
                member.well = member.well.min(latest);
            }
            if let Some(struck) = self.struck.get_mut(consumer) {
                *struck = (*struck).min(latest);
            }
        }
    }
}

/// A server that has not been up for long may have forgotten what nobody here knows of.
fn is_young(plan: &Plan) -> bool {
    plan.redis.uptime_s * 1_000 <= longest_ttl(plan).as_millis() as u64 + 2_000
}

/// What a promise does not depend on.
fn is_harmless(kind: &str) -> bool {
    matches!(kind, "redis drop-messages" | "redis delay-messages" | "redis double-messages")
}
