//! `kept`: an announced stream that nobody has finished is owned again within `lease_ttl` and half a second of its
//! owner's last heartbeat, while a consumer with free capacity reaches Redis and Redis accepts writes.
//!
//! Judged throughout: a stream's time begins with its last heartbeat, or when the conditions were restored. So a
//! stream that is owned but not renewed comes to light here, too.

mod doubts;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper::Time;

use stream::Stream;

use super::{
    Judge, Kind, Violation,
    conditions::{Conditions, NEVER, takes},
};
use crate::{
    facts::{Fact, Forgot, Owned, What, Who},
    plan::{Action, Persistence, Plan, RedisFault},
};

/// Of the promise.
const HALF_A_SECOND: Duration = Duration::from_millis(500);
/// How often everything is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long an answer may be on its way.
const ANSWER: Duration = Duration::from_secs(3);
/// How long it takes an application to finish what it owns.
const TO_FINISH: Duration = Duration::from_secs(3);
/// Every announced stream and when it is due.
pub(super) struct Kept {
    conditions: Conditions,
    streams: BTreeMap<Arc<str>, Stream>,
    /// Which stream an announcement speaks of.
    by_entry: BTreeMap<Arc<str>, Arc<str>>,
    /// When it was announced.
    announced: BTreeMap<Arc<str>, Time>,
    /// What is over, since when, and which stream it spoke of: Redis may forget it.
    ended: BTreeMap<Arc<str>, (Time, Arc<str>)>,
    /// What is over: its producer may hear of it later than everybody else.
    over: BTreeSet<Arc<str>>,
    /// What may be gone, and which stream it speaks of: a heartbeat or its release shows that it is not.
    doubtful: BTreeMap<Arc<str>, Arc<str>>,
    /// What each Go peer has asked to finish, and has heard no answer to.
    finishing: BTreeMap<Who, BTreeSet<Arc<str>>>,
    /// What a Go peer was finishing as it ended: gone at any time, since its word may be on its way, and asks for no fence.
    unfenced: BTreeSet<Arc<str>>,
    /// What is gone, and which stream it spoke of: while its owner does not know, other announcements of it wait.
    gone: BTreeMap<Arc<str>, Arc<str>>,
    /// Since when Redis is down.
    down: Option<Time>,
    /// Half of the keys may be on another node.
    moving: bool,
    /// A node was started again meanwhile: what it forgets and what the other one keeps do not go together.
    torn: bool,
    /// When announcements were last taken away by hand.
    swept: Option<Time>,
    /// When Redis last forgot, and how long an answer of before may still be on its way.
    forgot: Option<Time>,
    trips: Duration,
    /// The streams that each life owns, as far as Redis knows.
    owned: BTreeMap<Who, BTreeSet<Arc<str>>>,
    /// Since when each consumer has had room for all that wait.
    room: BTreeMap<usize, Time>,
    /// Those that had none once.
    full: BTreeSet<usize>,
    allowance: Duration,
    /// Go peers take part.
    with_go: bool,
    /// From when on the applications finish everything that they own, if they do.
    finish: Option<Time>,
    /// The most that a crash or a failover forgets.
    forgets: Duration,
    /// At this many crashes in a row a stream is set aside, by the strictest consumer.
    max_takeovers: Option<u32>,
    next_look: Time,
}

/// How long a primary has been alone at most: no replica heard it, or everybody followed another one already.
fn longest_alone_ms(plan: &Plan) -> u64 {
    let alone = plan.actions.iter().map(|timed| match timed.action {
        Action::Redis(RedisFault::Detach { ms } | RedisFault::Switch { ms, .. } | RedisFault::Kill { ms, .. }) => ms,
        _ => 0,
    });
    alone.max().unwrap_or(0)
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
        let behind_ms = plan.redis.replica_lag_ms.saturating_add(longest_alone_ms(plan));
        let forgets_ms = persisted_ms.max(behind_ms) + 1_000;
        let limits = ours().map(|consumer| consumer.max_takeovers).filter(|limit| *limit > 0);
        Kept {
            conditions: Conditions::new(plan),
            streams: BTreeMap::new(),
            by_entry: BTreeMap::new(),
            announced: BTreeMap::new(),
            ended: BTreeMap::new(),
            over: BTreeSet::new(),
            doubtful: BTreeMap::new(),
            finishing: BTreeMap::new(),
            unfenced: BTreeSet::new(),
            gone: BTreeMap::new(),
            down: None,
            moving: false,
            torn: false,
            swept: None,
            forgot: None,
            trips,
            owned: BTreeMap::new(),
            room: BTreeMap::new(),
            full: BTreeSet::new(),
            allowance: HALF_A_SECOND + Duration::from_millis(slower_ms) + trips,
            with_go: plan.consumers.iter().any(|consumer| consumer.go),
            finish: plan.finish.then(|| Time::ZERO + plan.heal_at + plan.calm / 2),
            forgets: Duration::from_millis(forgets_ms),
            max_takeovers: limits.min(),
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
        let span = self.conditions.ttl + stream.suspicion(self.max_takeovers, self.conditions.ttl);
        // What nobody has owned yet may have been handed to somebody who fell out: that looks like a heartbeat.
        let handed = if stream.owner.is_none() { self.conditions.fell_out.min(takers) } else { Time::ZERO };
        let since = stream.beat.max(handed);
        let lapsed = self.conditions.by_redis(since, since + span);
        let taken = if stream.is_anew() { takers + span } else { takers };
        let paused = stream.paused.map_or(Time::ZERO, |(since, until)| self.conditions.by_redis(since, until));
        let from = lapsed.max(taken).max(paused);
        // If the reaper fell out just then, another one has to find it.
        if self.conditions.reaper > lapsed {
            from.max(self.conditions.reaper) + self.allowance
        } else {
            from + self.allowance
        }
    }

    fn look(&mut self, now: Time, verdicts: &mut Vec<Violation>) {
        let ttl = self.conditions.ttl;
        let waiting = self.streams.values().filter(|stream| stream.waits(now, ttl)).count();
        for (consumer, member) in &self.conditions.members {
            let Some(setup) = self.conditions.setup(*consumer).filter(|setup| takes(setup)) else { continue };
            let owned = member.who.and_then(|who| self.owned.get(&who)).map_or(0, BTreeSet::len);
            if owned + waiting >= setup.capacity {
                self.room.remove(consumer);
                self.full.insert(*consumer);
            } else if !self.room.contains_key(consumer) {
                // What it was handed while it was full is pending under its name until it is looked for.
                let grace = if self.full.contains(consumer) { ttl } else { Duration::ZERO };
                self.room.insert(*consumer, now + grace);
            }
        }
        let takers = self.takers();
        if takers >= now {
            return;
        }
        // Nobody knows what a Go peer has done with an announcement that was never one of ours.
        let ours = |stream: &Stream| if self.with_go { stream.is_ours() } else { !stream.is_go() };
        let overdue = |stream: &Stream| {
            let waits = !stream.reported && !stream.entries.is_empty() && stream.is_disbelieved();
            waits && ours(stream) && self.due(stream, takers) < now
        };
        let late: Vec<Arc<str>> =
            self.streams.iter().filter(|(_, stream)| overdue(stream)).map(|(name, _)| name.clone()).collect();
        for name in late {
            if let Some(stream) = self.streams.get_mut(&name) {
                stream.reported = true;
                let since = now.since(stream.beat).as_secs_f64();
                let owner = stream.owner.as_ref().map_or("nobody yet", |owner| &*owner.value);
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
        for (name, stream) in self.streams.iter().filter(|(_, stream)| !stream.given_back && !stream.is_go()) {
            let Some(owner) = &stream.owner else { continue };
            let Some(who) = self.conditions.life(&owner.value) else { continue };
            let since = finish.max(owner.since).max(self.conditions.hold_for(who));
            if now.since(since) > TO_FINISH && stream.beat + self.conditions.ttl >= now {
                let how = format!("{name} is owned by {}, who finishes everything, and is not finished", owner.value);
                verdicts.push(Violation { promise: "finished", kind: Kind::Liveness, at: now, how });
            }
        }
    }

    fn announced(&mut self, at: Time, stream: &Arc<str>, entry: &Arc<str>) {
        if self.unfenced.contains(entry) {
            return;
        }
        let known = self.streams.entry(stream.clone()).or_insert_with(|| Stream::new(at));
        if known.entries.is_empty() {
            known.beat = at;
        }
        known.entries.insert(entry.clone());
        // An id is given away twice where Redis has forgotten the latest announcements, and its clock was set back.
        let before = self.by_entry.insert(entry.clone(), stream.clone()).filter(|before| before != stream);
        if let Some(before) = before.and_then(|before| self.streams.get_mut(&before)) {
            before.doubt(entry);
        }
        self.announced.entry(entry.clone()).or_insert(at);
    }

    fn granted(&mut self, at: Time, value: &Arc<str>, owned: &Owned) {
        for streams in self.owned.values_mut() {
            streams.remove(&owned.stream);
        }
        if let Some(who) = self.conditions.life(value) {
            self.owned.entry(who).or_default().insert(owned.stream.clone());
        }
        let gone = self.gone.get(&owned.entry).and_then(|name| self.streams.get_mut(name));
        if let Some(stream) = gone.filter(|stream| stream.token == owned.token) {
            // Whoever asks again, having missed the answer, is answered by its lease, without a look at the announcement.
            stream.beat = at;
            return;
        }
        self.announced(at, &owned.stream, &owned.entry);
        let Some(stream) = self.streams.get_mut(&owned.stream) else { return };
        stream.granted(at, value, owned.token, self.conditions.ttl * 20);
    }

    fn given_back(&mut self, at: Time, value: &Arc<str>, entry: &Arc<str>) {
        self.disown(entry);
        self.is_there(at, entry);
        // Of what may be gone nobody knows whether it is there; but a failure is counted.
        let name = self.by_entry.get(entry).or_else(|| self.gone.get(entry));
        if let Some(stream) = name.and_then(|name| self.streams.get_mut(name)) {
            stream.given_back(at, value);
        }
    }

    fn of_entry(&mut self, entry: &Arc<str>) -> Option<&mut Stream> {
        self.by_entry.get(entry).and_then(|name| self.streams.get_mut(name))
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
        self.ended.insert(entry.clone(), (at, name.clone()));
        let Some(stream) = self.streams.get_mut(&name) else { return };
        stream.over(at, entry);
    }

    fn is_go(&self, who: Who) -> bool {
        self.conditions.setup(who.consumer).is_some_and(|setup| setup.go)
    }
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
                    self.is_there(at, entry);
                    let name = self.by_entry.get(entry).or_else(|| self.gone.get(entry));
                    if let Some(stream) = name.and_then(|name| self.streams.get_mut(name)) {
                        stream.beat = at;
                        stream.reported = false;
                    }
                }
            }
            What::Claimed { entries } => {
                for entry in entries {
                    if let Some(stream) = self.of_entry(entry) {
                        stream.beat = at;
                    }
                }
            }
            What::Finished { entry, .. } | What::SetAside { entry, .. } => {
                self.over.insert(entry.clone());
                self.doubtful.remove(entry);
                self.gone(at, entry);
            }
            What::GivenBack { value, entry, .. } => self.given_back(at, value, entry),
            What::Asked { who, owned, .. } if self.is_go(*who) => {
                self.finishing.entry(*who).or_default().insert(owned.entry.clone());
            }
            What::Asked { owned, end, .. } => {
                if let Some(owner) = self.of_entry(&owned.entry).and_then(|stream| stream.owner_with(owned.token)) {
                    owner.asked = Some(end);
                }
            }
            // Redis's own word on what a Go peer does is not heard.
            What::Added { who, owned, .. } if self.is_go(*who) => {
                self.granted(at, &"go".into(), owned);
                if let Some(stream) = self.streams.get_mut(&owned.stream) {
                    stream.believed(*who);
                }
            }
            What::Ended { who, owned, how } if self.is_go(*who) => {
                if let Some(finishing) = self.finishing.get_mut(who) {
                    finishing.remove(&owned.entry);
                }
                if let Some(stream) = self.streams.get_mut(&owned.stream) {
                    stream.disbelieved(at, *who);
                }
                match *how {
                    "done" => self.gone(at, &owned.entry),
                    // Acknowledged, but not deleted: nobody is ever handed it again, whoever owns it meanwhile.
                    "unknown" => self.doubt_entry(&owned.entry),
                    _ => {}
                }
            }
            What::Ended { who, owned, .. } => {
                if let Some(owner) = self.of_entry(&owned.entry).and_then(|stream| stream.owner_with(owned.token)) {
                    owner.heard = true;
                }
                if let Some(streams) = self.owned.get_mut(who) {
                    streams.remove(&owned.stream);
                }
            }
            What::Crashed { who } | What::Stopped { who } | What::Terminated { who, .. } => {
                self.owned.remove(who);
                self.room.remove(&who.consumer);
                self.disbelieve(at, *who);
            }
            What::RedisUp { forgot: Forgot::Latest } => {
                self.forgot = Some(at);
                let down = self.down.take().unwrap_or(at);
                let since = down - self.forgets;
                self.streams.values_mut().for_each(|stream| stream.forget(since));
                self.doubt(since);
                self.doubt_ends(since);
                self.tear();
            }
            What::RedisUp { forgot: Forgot::All } => {
                self.forgot = Some(at);
                self.down = None;
                self.doubt(Time::ZERO);
                self.tear();
            }
            What::RedisUp { .. } => self.down = None,
            What::Over { kind: "redis move-slot", .. } => self.moving = false,
            What::Struck { kind, .. } => self.struck(at, kind),
            _ => {}
        }
    }

    fn end(&mut self, at: Time, verdicts: &mut Vec<Violation>) {
        self.look(at, verdicts);
        self.look_at_the_end(at, verdicts);
    }
}
