//! From a hint to an ownership: looking at what a hint names, sharing a crowd of orphans fairly, acquiring in batches
//! (DESIGN 5.2, 5.4, 5.5).

use std::{collections::BTreeMap, time::Duration};

use super::{
    Added, ClaimLost, Link, Machine, Notification, Remark, SetAside,
    call::{AcquireCall, AcquireItem, Acquired, Call, Delivery, Fleet, Grant},
    lease::{Asking, Lease, Owned, State as LeaseState},
    orphans::{Candidate, Source, Stage, Turn},
};
use crate::{
    announcement::Announcement,
    config::ClaimMode,
    id::{EntryId, StreamName},
    time::Time,
};

/// Hints that arrive within this time are looked at in one call.
const GATHER: Duration = Duration::from_millis(3);
/// How many payloads are read in one call.
const LOOK_BATCH: usize = 500;
/// How many acquisitions are under way at once.
const CALLS_AT_ONCE: usize = 2;
/// How long a stream that cannot be judged is left alone.
const BROKEN_PAUSE: Duration = Duration::from_secs(10);
/// How many orphans are offered to an application that claims by hand.
const OFFER_LIMIT: usize = 100_000;
/// Candidates beyond the capacity: what is more than that will be found again.
const SPARE_CANDIDATES: usize = 10_000;

/// What is being claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    looking: bool,
    acquiring: usize,
    /// Who shared the service's streams when it was last seen, and the fair share of each.
    fleet: Fleet,
    share: u64,
    /// Leases that no call asks for at the moment.
    unasked: std::collections::BTreeSet<EntryId>,
    /// Orphans that the application was told of, and may claim by hand.
    offers: BTreeMap<EntryId, Offer>,
    /// Malformed announcements, and what is wrong with them, until they are set aside.
    malformed: BTreeMap<EntryId, Box<str>>,
    bury_at: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Offer {
    stream: StreamName,
    info: Option<Box<str>>,
    until: Time,
}

impl Machine {
    /// A notification says that a key has expired.
    pub(super) fn key_expired(&mut self, key: &str) {
        let Ok((stream, entry)) = self.keys.parse_lease(key) else { return self.remark(Remark::HintDropped) };
        self.remark(Remark::HintSeen);
        self.hint(entry, Some(stream), Source::Rumour);
    }

    /// Somebody rang: a list of ids, separated by spaces.
    pub(super) fn doorbell(&mut self, text: &str) {
        for word in text.split(' ').take(LOOK_BATCH * 2) {
            match word.parse() {
                Ok(entry) => self.hint(entry, None, Source::Rumour),
                Err(_) => self.remark(Remark::HintDropped),
            }
        }
    }

    /// This announcement may be without an owner.
    pub(super) fn hint(&mut self, entry: EntryId, stream: Option<StreamName>, source: Source) {
        let known = self.leases.contains(entry) || self.orphans.contains(entry);
        let offered = self.is_offered(entry);
        let room = self.orphans.len() < self.config.capacity + SPARE_CANDIDATES;
        if known || offered || !room || !self.is_running() || self.claims.malformed.contains_key(&entry) {
            return;
        }
        if self.taking.backlogged {
            return; // nothing new for an application that is behind; it is looked for once it has caught up
        }
        let held = match source {
            Source::Rumour => self.orphans.is_held_firmly(entry, self.now),
            Source::Reaped | Source::Mine => self.orphans.is_held(entry, self.now),
        };
        if held {
            return;
        }
        let automatic = self.config.claim == ClaimMode::Auto || source == Source::Mine;
        // Of a crowd, what is likely to be others' to take is looked at when they have had the time to: then it is mostly
        // gone.
        let crowd = self.orphans.len() >= LOOK_BATCH;
        let theirs = crowd && source != Source::Mine && !is_turn_of(self.claims.fleet, entry);
        let patience = if theirs { self.config.claim_delay * 2 / 5 } else { Duration::ZERO };
        let (since, stage) = (Some(self.now), Stage::Hinted(self.now + GATHER + patience, stream));
        let turn = Turn::Anybodys;
        let candidate = Candidate { orphan_since: since, claimed: false, automatic, source, turn, stage };
        self.orphans.put(entry, candidate);
    }

    /// Whether the application was told of it a short while ago, and may claim it by hand.
    pub(super) fn is_offered(&self, entry: EntryId) -> bool {
        self.claims.offers.get(&entry).is_some_and(|offer| offer.until > self.now)
    }

    /// The application claims by hand.
    pub(super) fn claim(&mut self, entry: EntryId) {
        match self.leases.lease(entry) {
            Some(Lease { state: LeaseState::Asking(_), .. }) => {
                self.leases.asking_mut(entry).expect("it is asked for").claimed = true;
                return;
            }
            Some(lease) => {
                let stream = Some(lease.stream.clone());
                return self.notify(Notification::ClaimLost { entry, stream, why: ClaimLost::Owned });
            }
            None => {}
        }
        let offer = self.claims.offers.remove(&entry);
        let stream = offer.as_ref().map(|offer| offer.stream.clone());
        if !self.is_running() {
            return self.notify(Notification::ClaimLost { entry, stream, why: ClaimLost::Unavailable });
        }
        if self.leases.len() >= self.config.capacity {
            return self.notify(Notification::ClaimLost { entry, stream, why: ClaimLost::Full });
        }
        let before = self.orphans.take(entry);
        let orphan_since = Some(before.as_ref().and_then(|c| c.orphan_since).unwrap_or(self.now));
        let stage = match (before.map(|c| c.stage), offer) {
            (Some(Stage::Ready(_, stream, info)), _) => Stage::Ready(self.now, stream, info),
            (Some(Stage::Looking(stream)), _) => Stage::Looking(stream),
            (_, Some(offer)) => Stage::Ready(self.now, offer.stream, offer.info),
            (_, None) => Stage::Hinted(self.now, None),
        };
        self.orphans.put(
            entry,
            Candidate { orphan_since, claimed: true, automatic: true, source: Source::Mine, turn: Turn::Ours, stage },
        );
    }

    /// Reads the payloads behind the hints.
    pub(super) fn look_at_hints(&mut self) {
        self.set_malformed_aside();
        if !self.may_acquire() || self.claims.looking {
            return;
        }
        // Without room there is nothing to win; whoever waits for an answer gets one.
        let entries = self.orphans.start_looking(LOOK_BATCH, self.now);
        if !entries.is_empty() {
            self.claims.looking = true;
            self.ask(Call::Look(entries));
        }
    }

    /// The payloads: each orphan gets its time.
    pub(super) fn looked(&mut self, asked: &[EntryId], fleet: Fleet, deliveries: Vec<(Delivery, Duration)>) {
        self.claims.looking = false;
        let mut quota = self.quota(fleet);
        for (Delivery { entry, fields }, idle) in deliveries {
            // It may have been delivered to us since: then there is nothing left to look for.
            let Some(candidate) = self.is_looking_at(entry).then(|| self.orphans.take(entry)).flatten() else {
                continue;
            };
            let Stage::Looking(hinted) = candidate.stage else { continue };
            // A heartbeat was heard since: somebody has got it already, whose takeover may be what we heard of.
            if candidate.source != Source::Mine && !candidate.claimed && idle < self.config.lease_ttl / 3 {
                self.remark(Remark::HintDropped);
                continue;
            }
            let Some(fields) = fields else {
                self.trimmed(entry);
                self.refuse(entry, candidate.claimed, hinted);
                continue;
            };
            let pairs = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
            let announcement = match Announcement::parse(pairs) {
                Ok(announcement) => announcement,
                Err(error) => {
                    self.refuse(entry, candidate.claimed, hinted);
                    self.malformed(entry, error.to_string().into());
                    continue;
                }
            };
            // Another service's lease, whose entry id happens to be one of ours.
            // (Compared by the key: in the tagged layout a name with the tag and one without share theirs.)
            let key = |stream: &StreamName| self.keys.lease(stream, entry);
            if hinted.is_some_and(|stream| key(&stream) != key(&announcement.stream)) {
                self.remark(Remark::HintDropped);
                self.refuse(entry, candidate.claimed, Some(announcement.stream));
                continue;
            }
            if !candidate.automatic {
                self.offer(entry, announcement);
                continue;
            }
            let (turn, delay) =
                if candidate.claimed { (Turn::Ours, Duration::ZERO) } else { self.turn(fleet, entry, &mut quota) };
            let at = self.now + delay;
            let stage = Stage::Ready(at, announcement.stream, announcement.info);
            self.orphans.put(entry, Candidate { turn, stage, ..candidate });
        }
        for &entry in asked {
            // Not among the answers: not pending.
            if self.is_looking_at(entry) {
                let claimed = self.orphans.take(entry).is_some_and(|candidate| candidate.claimed);
                if claimed {
                    self.notify(Notification::ClaimLost { entry, stream: None, why: ClaimLost::Gone });
                } else {
                    self.remark(Remark::HintDropped);
                }
            }
        }
    }

    /// The payloads could not be read. Who waits is told; everything else will be found again.
    pub(super) fn look_failed(&mut self, asked: &[EntryId]) {
        self.claims.looking = false;
        for &entry in asked {
            if self.is_looking_at(entry) {
                let claimed = self.orphans.take(entry).is_some_and(|candidate| candidate.claimed);
                self.refuse(entry, claimed, None);
            }
        }
    }

    fn is_looking_at(&self, entry: EntryId) -> bool {
        self.orphans.stage(entry).is_some_and(|stage| matches!(stage, Stage::Looking(_)))
    }

    /// How many more streams make up this consumer's fair share.
    fn quota(&mut self, fleet: Fleet) -> u64 {
        self.claims.fleet = fleet;
        self.claims.share = fleet.announced.div_ceil(u64::from(fleet.consumers.max(1)));
        let ours = self.leases.len() + self.orphans.ours();
        self.claims.share.saturating_sub(ours as u64)
    }

    /// Whose turn an orphan is, and how long it is left to others. Everybody goes by its id, however it was heard of, so
    /// everybody's turn is different: first those whose turn it is, then whoever has less than the fair share, then
    /// anybody.
    fn turn(&mut self, fleet: Fleet, entry: EntryId, quota: &mut u64) -> (Turn, Duration) {
        let longest = self.config.claim_delay;
        if fleet.consumers <= 1 {
            return (Turn::Ours, Duration::ZERO);
        }
        let jitter = self.dice.below(longest / 15);
        if *quota == 0 {
            return (Turn::Anybodys, longest * 4 / 5 + jitter);
        }
        if is_turn_of(fleet, entry) {
            *quota -= 1;
            return (Turn::Ours, jitter);
        }
        (Turn::Theirs, longest * 3 / 5 + jitter)
    }

    fn offer(&mut self, entry: EntryId, announcement: Announcement) {
        let now = self.now;
        self.claims.offers.retain(|_, offer| offer.until > now);
        if self.claims.offers.len() >= OFFER_LIMIT || self.taking.backlogged {
            return; // it is found again by the reaper
        }
        let stream = announcement.stream;
        let until = now + self.config.lease_ttl;
        self.claims.offers.insert(entry, Offer { stream: stream.clone(), info: announcement.info, until });
        self.notify(Notification::Expired { entry, stream });
    }

    /// A new announcement was handed to this consumer.
    pub(super) fn took(&mut self, delivery: Delivery) {
        let Delivery { entry, fields } = delivery;
        if self.leases.contains(entry) {
            return;
        }
        // A hint of it may be known already, after a group has started anew: what is handed to us is ours to own now, and
        // it looks as fresh as if somebody else had got it.
        let claimed = self.orphans.take(entry).is_some_and(|hinted| hinted.claimed);
        let Some(fields) = fields else {
            self.refuse(entry, claimed, None);
            return self.trimmed(entry);
        };
        let pairs = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        match Announcement::parse(pairs) {
            Ok(Announcement { stream, info }) => {
                let stage = Stage::Ready(self.now, stream, info);
                let source = Source::Mine;
                let new = Candidate { orphan_since: None, claimed, automatic: true, source, turn: Turn::Ours, stage };
                self.orphans.put(entry, new);
            }
            Err(error) => {
                self.refuse(entry, claimed, None);
                self.malformed(entry, error.to_string().into());
            }
        }
    }

    /// Asks for what is ready, batch by batch.
    pub(super) fn acquire_candidates(&mut self) {
        if !self.may_acquire() {
            return;
        }
        while self.claims.acquiring < CALLS_AT_ONCE {
            self.choose_candidates();
            let chosen: Vec<EntryId> = self.claims.unasked.iter().take(self.config.acquire_batch).copied().collect();
            let Some(identity) = self.server.epoch.settled().cloned() else { return };
            let mut items = Vec::with_capacity(chosen.len());
            for entry in chosen {
                self.claims.unasked.remove(&entry);
                let Some(asking) = self.leases.asking_mut(entry) else { continue };
                asking.asked = asking.asked.saturating_add(1);
                let (other, fresh) = (asking.other, asking.orphan_since.is_none() && asking.asked == 1);
                let lease = self.leases.lease(entry).expect("it is asked for");
                let (stream, attempt) = (lease.stream.clone(), lease.attempt);
                items.push(AcquireItem { entry, stream, attempt, other, fresh });
            }
            if items.is_empty() {
                return;
            }
            self.claims.acquiring += 1;
            self.ask(Call::Acquire(AcquireCall { items, identity, floor: self.floor }));
        }
    }

    /// Turns candidates whose time has come into questions.
    fn choose_candidates(&mut self) {
        while self.claims.unasked.len() < self.config.acquire_batch {
            let Some((entry, candidate)) = self.orphans.take_ready(self.now) else { return };
            // Left to others, unless it was handed to us or asked for by hand.
            if self.taking.backlogged && candidate.orphan_since.is_some() && !candidate.claimed {
                continue;
            }
            if candidate.turn == Turn::Theirs && self.leases.len() as u64 >= self.claims.share {
                self.leave_to_others(entry, candidate);
                continue;
            }
            let Candidate { claimed, orphan_since, stage: Stage::Ready(_, stream, info), .. } = candidate else {
                continue;
            };
            // What was handed to us stands under our name: others see it only if we give it back.
            let handed = orphan_since.is_none();
            if self.leases.len() >= self.config.capacity && !handed {
                if claimed {
                    self.notify(Notification::ClaimLost { entry, stream: Some(stream), why: ClaimLost::Full });
                }
                continue; // it is found again once there is room
            }
            if self.leases.of_stream(&stream).is_some() {
                // The stream is ours under another announcement: one owner, one announcement at a time.
                self.hold_candidate(entry, claimed, Some(stream), self.config.lease_ttl);
                continue;
            }
            let attempt = self.next_attempt();
            let asking = Asking { info, other: None, claimed, orphan_since, asked: 0 };
            self.leases.put(entry, Lease { stream, attempt, state: LeaseState::Asking(asking) });
            self.claims.unasked.insert(entry);
        }
    }

    /// This consumer has got its share by now: those who have not go first.
    fn leave_to_others(&mut self, entry: EntryId, candidate: Candidate) {
        let Stage::Ready(at, stream, info) = candidate.stage else { return };
        let stage = Stage::Ready(at + self.config.claim_delay / 5, stream, info);
        self.orphans.put(entry, Candidate { turn: Turn::Anybodys, stage, ..candidate });
    }

    fn hold_candidate(&mut self, entry: EntryId, claimed: bool, stream: Option<StreamName>, span: Duration) {
        // Longer than a ttl would be longer than an ownership that we do not hear of.
        let hold = span.clamp(Duration::from_millis(1), self.config.lease_ttl);
        self.orphans.hold(entry, self.now + hold);
        if claimed {
            self.notify(Notification::ClaimLost { entry, stream, why: ClaimLost::Held(span) });
        }
    }

    /// Whether something is being asked for, or will be.
    pub(super) fn is_acquiring(&self) -> bool {
        self.claims.acquiring > 0 || !self.claims.unasked.is_empty()
    }

    pub(super) fn claims_wake(&self) -> Option<Time> {
        if !self.links.is_up(Link::Commands) || !self.server.is_prepared() {
            return None;
        }
        let bury = self.claims.bury_at.filter(|_| !self.claims.malformed.is_empty());
        if self.server.epoch.settled().is_none() || !self.is_running() {
            return bury;
        }
        let look = self.orphans.next_look().filter(|_| !self.claims.looking);
        let ready = self.orphans.next_ready().filter(|_| self.claims.acquiring < CALLS_AT_ONCE);
        let unasked = (!self.claims.unasked.is_empty() && self.claims.acquiring < CALLS_AT_ONCE)
            .then_some(self.server.hold_until);
        let first = [look, ready, unasked].into_iter().flatten().min();
        first.map(|at| at.max(self.server.hold_until)).into_iter().chain(bury).min()
    }

    /// A batch was judged, item by item. What was granted counts from the instant at which the call was issued.
    pub(super) fn acquired(&mut self, call: AcquireCall, issued: Time, answers: Vec<Acquired>) {
        self.claims.acquiring -= 1;
        let deadline = issued + self.config.trust();
        for (item, answer) in call.items.into_iter().zip(answers) {
            let ours = self.leases.lease(item.entry).is_some_and(|lease| lease.attempt == item.attempt);
            let Some(asking) = self.leases.asking_mut(item.entry).filter(|_| ours) else {
                // Wanted no more. A grant must not stand.
                if let Acquired::Granted(grant) = answer {
                    self.floor = self.floor.max(grant.token);
                    if !ours {
                        self.give_back_attempt(item.entry, item.stream, item.attempt);
                    }
                }
                continue;
            };
            let asking = asking.clone();
            match answer {
                Acquired::Granted(grant) => self.granted(item, asking, grant, call.identity.clone(), deadline),
                Acquired::Other(other) if asking.asked < 8 => {
                    if let Some(asking) = self.leases.asking_mut(item.entry) {
                        asking.other = Some(other);
                        self.claims.unasked.insert(item.entry);
                    }
                }
                answer => {
                    self.leases.take(item.entry);
                    self.not_granted(item, &asking, answer);
                }
            }
        }
    }

    fn granted(
        &mut self,
        item: AcquireItem,
        asking: Asking,
        grant: Grant,
        identity: crate::id::Identity,
        deadline: Time,
    ) {
        let AcquireItem { entry, stream, attempt, .. } = item;
        self.floor = self.floor.max(grant.token);
        self.leases.take(entry);
        let held_here = self.leases.of_stream(&stream).is_some();
        let full = self.leases.told() >= self.config.capacity;
        if self.now >= deadline || held_here || full || !self.is_running() {
            self.remark(Remark::LateGrant(entry));
            self.refuse(entry, asking.claimed, Some(stream.clone()));
            return self.give_back_attempt(entry, stream, attempt);
        }
        if let Some(since) = asking.orphan_since {
            self.remark(Remark::TakenOver(self.now.since(since)));
        }
        let owned = Owned {
            token: grant.token,
            failures: grant.failures,
            gained: self.now,
            identity,
            deadline,
            renewing: false,
        };
        self.leases.put(entry, Lease { stream: stream.clone(), attempt, state: LeaseState::Owned(owned) });
        self.notify(Notification::Added(Added {
            entry,
            stream,
            token: grant.token,
            info: asking.info,
            takeover: grant.takeover,
            takeovers: grant.takeovers,
            failures: grant.failures,
            deliveries: grant.deliveries,
            valid_until: deadline,
        }));
    }

    fn not_granted(&mut self, item: AcquireItem, asking: &Asking, answer: Acquired) {
        let (entry, stream) = (item.entry, Some(item.stream));
        let why = match answer {
            Acquired::Held(span) | Acquired::Busy(span) => {
                return self.hold_candidate(entry, asking.claimed, stream, span);
            }
            Acquired::Granted(_) | Acquired::Other(_) => {
                // The record changes faster than we ask.
                return self.hold_candidate(entry, asking.claimed, stream, self.config.heartbeat);
            }
            Acquired::Gone => ClaimLost::Gone,
            Acquired::Trimmed => {
                self.trimmed(entry);
                ClaimLost::Gone
            }
            Acquired::SetAside(takeovers) => {
                let error = format!("its last {takeovers} owners ended without releasing it").into();
                let (stream, reason) = (stream.clone(), SetAside::CrashLoop);
                self.notify(Notification::Rejected { entry, stream, reason, error });
                ClaimLost::SetAside
            }
            Acquired::Broken(error) => {
                self.orphans.hold_firmly(entry, self.now + BROKEN_PAUSE);
                self.remark(Remark::Broken { entry, error: error.clone() });
                ClaimLost::Broken(error)
            }
        };
        if asking.claimed {
            self.notify(Notification::ClaimLost { entry, stream, why });
        }
    }

    /// A batch was not answered, or nothing was judged: it is asked for again, as the same attempts.
    pub(super) fn acquire_failed(&mut self, call: &AcquireCall) {
        self.claims.acquiring -= 1;
        for item in &call.items {
            if self.leases.lease(item.entry).is_some_and(|lease| lease.attempt == item.attempt)
                && self.leases.asking_mut(item.entry).is_some()
            {
                self.claims.unasked.insert(item.entry);
            }
        }
    }

    /// Whoever waits for a claim is told that there is none.
    pub(super) fn refuse(&mut self, entry: EntryId, claimed: bool, stream: Option<StreamName>) {
        if claimed {
            self.notify(Notification::ClaimLost { entry, stream, why: ClaimLost::Unavailable });
        }
    }

    fn malformed(&mut self, entry: EntryId, error: Box<str>) {
        if self.claims.malformed.len() < SPARE_CANDIDATES {
            self.claims.malformed.insert(entry, error);
            self.claims.bury_at.get_or_insert(self.now);
        }
    }

    fn set_malformed_aside(&mut self) {
        let ready = self.links.is_up(Link::Commands) && self.server.is_prepared();
        if !ready || self.claims.bury_at.is_none_or(|at| at > self.now) || self.claims.malformed.is_empty() {
            return;
        }
        self.claims.bury_at = Some(self.now + self.config.lease_ttl);
        let all: Vec<(EntryId, Box<str>)> =
            self.claims.malformed.iter().take(LOOK_BATCH).map(|(entry, error)| (*entry, error.clone())).collect();
        for (entry, error) in all {
            self.ask(Call::Bury { entry, error });
        }
    }

    pub(super) fn buried(&mut self, entry: EntryId, error: Box<str>, was_there: bool) {
        self.claims.malformed.remove(&entry);
        if self.claims.malformed.is_empty() {
            self.claims.bury_at = None;
        }
        if was_there {
            self.notify(Notification::Rejected { entry, stream: None, reason: SetAside::Malformed, error });
        }
    }

    /// An announcement without payload: nobody can own it. It is acknowledged once nobody can be its owner any more.
    fn trimmed(&mut self, entry: EntryId) {
        if self.reaping.trimmed.len() < SPARE_CANDIDATES {
            self.reaping.trimmed.insert(entry);
        }
        self.orphans.hold_firmly(entry, self.now + self.config.lease_ttl);
    }
}

/// Whether it is this consumer's turn to take an orphan, in a fleet as it was seen.
fn is_turn_of(fleet: Fleet, entry: EntryId) -> bool {
    let place = entry.ms.wrapping_add(entry.seq);
    fleet.consumers <= 1 || place % u64::from(fleet.consumers) == u64::from(fleet.rank)
}
