//! Since when the conditions hold under which something is promised in time: who works, reaches Redis and has room,
//! whether Redis serves, and what the plan's faults do to that. Rather too cautious than wrong: whatever strikes starts the
//! clock anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use streamkeeper::Time;

use crate::{
    facts::{Fact, What, Who},
    messages::facts::Said,
    plan::{Action, Plan, RedisFault, WorkerPlan},
};

/// Until connections that broke or hung stand again, at the longest: a call is given up (1 s), a connection is tried
/// again (up to 1.25 s), and the server is left alone for a while (up to 1.25 s).
const RECONNECT: Duration = Duration::from_secs(4);
/// The end of what has no end in sight.
pub(super) const NEVER: Time = Time::from_micros(u64::MAX);

/// A worker as the facts show it.
struct Member {
    /// Its latest life, while it runs.
    who: Option<Who>,
    /// Since when it is ready and nothing has befallen it: possibly a time to come.
    well: Time,
    /// The same of one that is not ready yet.
    struck: Time,
    paused: bool,
    draining: bool,
    /// Something befell it, and it has had no room since: whether its reader's connection stands shows by the next
    /// question, and it has none to ask.
    unproven: bool,
    runs: BTreeSet<u64>,
    /// Since when it has had room for a run; and for any run at all, having none.
    free: Time,
    idle: Time,
}

/// Since when the conditions hold.
pub(super) struct Fleet {
    workers: Vec<Option<WorkerPlan>>,
    /// There and back.
    pub(super) trip: Duration,
    /// Redis looks so often who has waited long enough: until then, the room for what is due is kept by a reader.
    pub(super) tick: Duration,
    members: BTreeMap<usize, Member>,
    /// Since when Redis serves: possibly a time to come.
    redis: Time,
    down: bool,
    /// Until when its clock shows what it has shown before.
    behind: Time,
    /// Who looks for what is idle.
    reclaimer: Option<Who>,
    /// Until when who looked for what is idle could not: another has to become it first.
    pub(super) reclaimer_lost: Time,
}

impl Fleet {
    pub(super) fn new(plan: &Plan) -> Fleet {
        Fleet {
            workers: plan.consumers.iter().map(|consumer| consumer.worker.clone()).collect(),
            trip: Duration::from_micros(plan.latency_us.1 * 4),
            tick: Duration::from_millis(1_000 / u64::from(plan.redis.hz.max(1))),
            members: BTreeMap::new(),
            redis: Time::ZERO,
            down: false,
            behind: Time::ZERO,
            reclaimer: None,
            reclaimer_lost: Time::ZERO,
        }
    }

    /// How a worker is set up.
    pub(super) fn setup(&self, consumer: usize) -> Option<&WorkerPlan> {
        self.workers.get(consumer)?.as_ref()
    }

    /// All settings of workers.
    pub(super) fn setups(&self) -> impl Iterator<Item = &WorkerPlan> {
        self.workers.iter().flatten()
    }

    /// The longest `reclaim_idle` of the fleet.
    pub(super) fn longest_idle(&self) -> Duration {
        Duration::from_millis(self.setups().map(|worker| worker.idle_ms).max().unwrap_or(30_000))
    }

    /// This process's `reclaim_idle`.
    pub(super) fn idle(&self, who: Who) -> Duration {
        Duration::from_millis(self.setup(who.consumer).map_or(30_000, |worker| worker.idle_ms))
    }

    /// The shortest `reclaim_idle` of the fleet.
    pub(super) fn shortest_idle(&self) -> Duration {
        Duration::from_millis(self.setups().map(|worker| worker.idle_ms).min().unwrap_or(30_000))
    }

    /// The runs that a process has now.
    pub(super) fn runs(&self, who: Who) -> usize {
        self.members.get(&who.consumer).filter(|member| member.who == Some(who)).map_or(0, |member| member.runs.len())
    }

    /// Whether a process lives.
    pub(super) fn lives(&self, who: Who) -> bool {
        self.members.get(&who.consumer).is_some_and(|member| member.who == Some(who))
    }

    /// Since when this process has worked, reached Redis and been left in peace; Redis, too.
    pub(super) fn well(&self, who: Who) -> Time {
        match self.members.get(&who.consumer) {
            Some(member) if member.who == Some(who) && !member.draining => member.well.max(self.redis),
            _ => NEVER,
        }
    }

    /// Since when this process has had room as well: `alone`: for somebody who runs alone.
    pub(super) fn room(&self, who: Who, alone: bool) -> Time {
        let Some(member) = self.members.get(&who.consumer) else { return NEVER };
        let Some(setup) = self.setup(who.consumer) else { return NEVER };
        // What waits for its turn by key or by rate looks like room.
        if setup.rate.is_some() || setup.group_rate.is_some() {
            return NEVER;
        }
        let free = if alone || setup.ordered { member.idle } else { member.free };
        self.well(who).max(free)
    }

    /// Since when one and the same process has had room.
    pub(super) fn any_room(&self, alone: bool) -> Time {
        let living = self.members.values().filter_map(|member| member.who);
        living.map(|who| self.room(who, alone)).min().unwrap_or(NEVER)
    }

    /// Since when one and the same process has been well.
    pub(super) fn any_well(&self) -> Time {
        let living = self.members.values().filter_map(|member| member.who);
        living.map(|who| self.well(who)).min().unwrap_or(NEVER)
    }

    /// Hears what happened.
    pub(super) fn hear(&mut self, fact: &Fact) {
        let at = fact.at;
        match &fact.what {
            What::Started { who, .. } => {
                // What struck its host goes on.
                let before = self.members.get(&who.consumer).map_or(at, |member| member.struck);
                let member = Member {
                    who: Some(*who),
                    well: NEVER,
                    struck: at.max(before),
                    paused: false,
                    draining: false,
                    unproven: false,
                    runs: BTreeSet::new(),
                    free: at,
                    idle: at,
                };
                self.members.insert(who.consumer, member);
            }
            What::Ready { who } => {
                if let Some(member) = self.member(*who) {
                    // It is ready with one connection; what struck it while it started may concern the others.
                    member.well = if member.well == NEVER { at.max(member.struck) } else { member.well };
                }
            }
            What::Draining { who } => {
                if let Some(member) = self.member(*who) {
                    member.draining = true;
                }
            }
            What::Stopped { who } | What::Terminated { who, .. } | What::Crashed { who } => {
                self.loses_reclaimer(who.consumer, at);
                if let Some(member) = self.member(*who) {
                    (member.who, member.well) = (None, NEVER);
                }
            }
            What::Paused { who, ms } => {
                self.unwell(who.consumer, at + Duration::from_millis(*ms));
                if let Some(member) = self.member(*who) {
                    member.paused = true;
                }
            }
            What::Resumed { who } => {
                self.unwell(who.consumer, at);
                if let Some(member) = self.member(*who) {
                    member.paused = false;
                }
            }
            What::Struck { action, consumer, ms, .. } => {
                let until = at + Duration::from_millis(ms.unwrap_or(0));
                match (consumer, action.parse()) {
                    (_, Ok(Action::Redis(fault))) => self.redis_struck(at, &fault),
                    (Some(_), Ok(Action::Start { .. } | Action::Drain { .. } | Action::Note(_))) => {}
                    (Some(consumer), _) => self.unwell(*consumer, until),
                    (None, _) => {}
                }
            }
            What::Over { consumer: Some(consumer), .. } => self.unwell(*consumer, at),
            What::Over { kind, consumer: None } if is_harmless(kind) => {}
            What::Over { consumer: None, .. } => self.redis_unwell(at),
            What::RedisUp { .. } => {
                self.down = false;
                self.redis_unwell(at);
            }
            What::Healed => self.heal(at),
            What::Message(Said::Reclaims { by }) => self.reclaimer = *by,
            What::Message(Said::Began { who, run, deliveries, .. }) => {
                let concurrency = self.setup(who.consumer).map_or(1, |worker| worker.concurrency);
                if let Some(member) = self.member(*who) {
                    member.runs.insert(*run);
                    member.idle = NEVER;
                    member.free = if member.runs.len() >= concurrency { NEVER } else { member.free };
                    // What is new came from its reader.
                    let unproven = member.unproven || (member.free == NEVER && at < member.well);
                    member.unproven = *deliveries > 1 && unproven;
                }
            }
            What::Message(Said::Ended { who, run, .. }) => {
                if let Some(member) = self.member(*who) {
                    member.runs.remove(run);
                    member.idle = if member.runs.is_empty() { at } else { NEVER };
                    if member.free == NEVER {
                        member.free = at;
                        if std::mem::take(&mut member.unproven) && member.well != NEVER {
                            member.well = member.well.max(at + RECONNECT);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn member(&mut self, who: Who) -> Option<&mut Member> {
        self.members.get_mut(&who.consumer).filter(|member| member.who == Some(who))
    }

    fn loses_reclaimer(&mut self, consumer: usize, until: Time) {
        if self.reclaimer.is_some_and(|who| who.consumer == consumer) {
            self.reclaimer_lost = self.reclaimer_lost.max(until);
        }
    }

    fn unwell(&mut self, consumer: usize, until: Time) {
        self.loses_reclaimer(consumer, until);
        let Some(member) = self.members.get_mut(&consumer) else { return };
        member.struck = member.struck.max(until + RECONNECT);
        if member.well != NEVER {
            member.well = member.well.max(until + RECONNECT);
            member.unproven |= member.free == NEVER;
        }
    }

    fn redis_unwell(&mut self, until: Time) {
        self.redis = self.redis.max(until + RECONNECT);
    }

    fn redis_struck(&mut self, at: Time, fault: &RedisFault) {
        let after = |ms: &u64| at + Duration::from_millis(*ms);
        match fault {
            RedisFault::Crash { ms }
            | RedisFault::Restart { ms }
            | RedisFault::Failover { ms }
            | RedisFault::Switch { ms, .. } => {
                self.down = true;
                self.redis_unwell(after(ms));
            }
            // What is kept by the clock of Redis is kept for longer: idle times, due times, the reclaimer's role.
            RedisFault::ClockStep { by_ms } => {
                let longer = Duration::from_millis(by_ms.min(&0).unsigned_abs());
                let idle = self.longest_idle();
                // Steps back add up.
                let settled = at.max(self.behind - idle) + longer + idle;
                self.redis_unwell(settled);
                self.behind = self.behind.max(settled);
            }
            RedisFault::Stall { ms }
            | RedisFault::Refuse { ms, .. }
            | RedisFault::Cut { ms, .. }
            | RedisFault::Freeze { ms, .. }
            | RedisFault::Kill { ms, .. }
            | RedisFault::MoveSlot { ms }
            | RedisFault::Stale { ms, .. } => self.redis_unwell(after(ms)),
            // A wrong type hides what is parked: it is found by who sweeps.
            RedisFault::WrongType { ms, .. } => self.redis_unwell(after(ms) + self.longest_idle()),
            RedisFault::Disconnect
            | RedisFault::DestroyGroup
            | RedisFault::DeleteLbs
            | RedisFault::FlushAll
            | RedisFault::Evict { .. }
            | RedisFault::Redeliver
            | RedisFault::DeleteConsumer { .. } => self.redis_unwell(at),
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
            | RedisFault::Unpark { .. } => {}
        }
    }

    /// What lasted is over, but for who still stands still.
    fn heal(&mut self, at: Time) {
        let latest = at + RECONNECT;
        if !self.down {
            self.redis = self.redis.min(latest + self.longest_idle()).max(self.behind);
        }
        for member in self.members.values_mut().filter(|member| !member.paused) {
            member.struck = member.struck.min(latest);
            member.well = if member.well == NEVER { NEVER } else { member.well.min(latest) };
        }
    }
}

/// What a promise does not depend on.
fn is_harmless(kind: &str) -> bool {
    matches!(kind, "redis drop-messages" | "redis delay-messages" | "redis double-messages")
}
