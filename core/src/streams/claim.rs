//! From a hint to a question: looking at what a hint names, sharing a crowd of orphans fairly (DESIGN 5.4, 5.5).

use std::{collections::BTreeMap, time::Duration};

use super::{
    ClaimLost, Link, Machine, Notification, Remark,
    call::{Call, Delivery, Fleet, HEIRS},
    lease::{Lease, State as LeaseState},
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
/// How many orphans are offered to an application that claims by hand.
const OFFER_LIMIT: usize = 100_000;
/// Candidates beyond the capacity: what is more than that will be found again.
const SPARE_CANDIDATES: usize = 10_000;

/// What is being claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    looking: bool,
    /// Who shared the service's streams when it was last seen, and the fair share of each.
    fleet: Fleet,
    pub(super) share: u64,
    /// How many consumers there were when it was last heard.
    pub(super) consumers: u32,
    /// Orphans that the application was told of, and may claim by hand.
    offers: BTreeMap<EntryId, Offer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Offer {
    stream: StreamName,
    info: Option<Box<str>>,
    until: Time,
}

impl State {
    /// What is true between two events, with so many calls under way and so many candidates whose payload is awaited.
    pub(super) fn check(&self, calls: usize, looking: usize) {
        assert_eq!(usize::from(self.looking), calls, "payloads are read by one call at a time, or by none");
        assert!(self.looking || looking == 0, "{looking} candidates wait for a payload that no call reads");
        assert!(self.offers.len() <= OFFER_LIMIT, "{} orphans are offered", self.offers.len());
    }
}

impl Machine {
    /// A notification says that a key has expired.
    pub(super) fn key_expired(&mut self, key: &str) {
        let Ok((stream, entry)) = self.keys.parse_lease(key) else { return self.remark(Remark::HintDropped) };
        self.remark(Remark::HintSeen);
        self.hint(entry, Some(stream), Source::Rumour, self.config.heirs);
    }

    /// Somebody rang: a list of ids, separated by spaces, behind how many heirs are to look at them, where that is said.
    pub(super) fn doorbell(&mut self, text: &str) {
        let mut heirs = self.config.heirs;
        for word in text.split(' ').take(LOOK_BATCH * 2) {
            if let Some(count) = word.strip_prefix(HEIRS).and_then(|count| count.parse().ok()) {
                heirs = heirs.max(count);
                continue;
            }
            match word.parse() {
                Ok(entry) => self.hint(entry, None, Source::Rumour, heirs),
                Err(_) => self.remark(Remark::HintDropped),
            }
        }
    }

    /// This announcement may be without an owner; in a crowd, so many are to look at it.
    pub(super) fn hint(&mut self, entry: EntryId, stream: Option<StreamName>, source: Source, heirs: u32) {
        let known = self.leases.contains(entry) || self.orphans.contains(entry);
        let offered = self.is_offered(entry);
        let room = self.orphans.len() < self.config.capacity + SPARE_CANDIDATES;
        if known || offered || !room || !self.is_running() || self.malformed.contains(entry) {
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
        let patience = match self.place_in_line(entry) {
            // Its own application decides, or nobody else knows of it yet.
            Some(_) if !automatic || source == Source::Mine => Duration::ZERO,
            Some(place) if place < heirs || source == Source::Reaped || self.is_reaper() => {
                self.leave_to_those_in_front(place, heirs)
            }
            Some(_) => return self.remark(Remark::HintLeft),
            // Of very many, what is likely to be others' to take is looked at when they have had the time to: then it is
            // mostly gone.
            None => {
                let many = self.orphans.len() >= LOOK_BATCH;
                let theirs = many && source != Source::Mine && !is_turn_of(self.claims.fleet, entry);
                if theirs { self.config.claim_delay * 2 / 5 } else { Duration::ZERO }
            }
        };
        assert!(patience <= self.config.claim_delay, "{entry} is left to others for {patience:?}");
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
        if self.leases.len() >= self.capacity() {
            return self.notify(Notification::ClaimLost { entry, stream, why: ClaimLost::Full });
        }
        assert!(self.is_running(), "{entry} is claimed for a consumer that stops");
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
        assert_eq!(self.orphans.looking(), 0, "payloads are waited for, and no call reads any");
        let entries = self.orphans.start_looking(LOOK_BATCH, self.now);
        if !entries.is_empty() {
            self.claims.looking = true;
            self.ask(Call::Look(entries));
        }
    }

    /// The payloads: each orphan gets its time.
    pub(super) fn looked(&mut self, asked: &[EntryId], fleet: Fleet, deliveries: Vec<(Delivery, Duration)>) {
        assert!(self.claims.looking, "payloads come, and no call was under way");
        self.claims.looking = false;
        let mut quota = self.quota(fleet);
        for (Delivery { entry, fields }, idle) in deliveries {
            // It may have been delivered to us since: then there is nothing left to look for.
            let Some(candidate) = self.is_looking_at(entry).then(|| self.orphans.take(entry)).flatten() else {
                continue;
            };
            let Stage::Looking(hinted) = candidate.stage else { continue };
            assert!(candidate.orphan_since.is_some(), "{entry} is looked at since somebody called it an orphan");
            // A heartbeat was heard since: somebody has got it already, whose takeover may be what we heard of.
            if candidate.source != Source::Mine && idle < self.config.lease_ttl / 3 {
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
            let since = candidate.orphan_since.unwrap_or(self.now);
            let (turn, delay) = if candidate.claimed {
                (Turn::Ours, Duration::ZERO)
            } else {
                self.turn(fleet, entry, since, &mut quota)
            };
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
        assert_eq!(self.orphans.looking(), 0, "everything that was looked at has been judged");
    }

    /// The payloads could not be read. Who waits is told; everything else will be found again.
    pub(super) fn look_failed(&mut self, asked: &[EntryId]) {
        assert!(self.claims.looking, "payloads cannot be read, and no call was under way");
        self.claims.looking = false;
        for &entry in asked {
            if self.is_looking_at(entry) {
                let claimed = self.orphans.take(entry).is_some_and(|candidate| candidate.claimed);
                self.refuse(entry, claimed, None);
            }
        }
        assert_eq!(self.orphans.looking(), 0, "whoever was looked at is not waited for any more");
    }

    fn is_looking_at(&self, entry: EntryId) -> bool {
        self.orphans.stage(entry).is_some_and(|stage| matches!(stage, Stage::Looking(_)))
    }

    /// How many more streams make up this consumer's fair share.
    fn quota(&mut self, fleet: Fleet) -> u64 {
        self.claims.fleet = fleet;
        self.claims.consumers = fleet.consumers;
        self.claims.share = fleet.announced.div_ceil(u64::from(fleet.consumers.max(1)));
        let ours = self.leases.len() + self.orphans.ours();
        assert!(self.claims.share <= fleet.announced, "a share of {} of {}", self.claims.share, fleet.announced);
        self.claims.share.saturating_sub(ours as u64)
    }

    /// Whose turn an orphan is, and how long it is left to others. Everybody goes by its id, however it was heard of, so
    /// everybody's turn is different: first those whose turn it is, then whoever has less than the fair share, then
    /// anybody.
    fn turn(&mut self, fleet: Fleet, entry: EntryId, since: Time, quota: &mut u64) -> (Turn, Duration) {
        let longest = self.config.claim_delay;
        assert!(since <= self.now, "{entry} is to be an orphan since {since:?}, which is still to come");
        if self.config.is_crowd(fleet.consumers) {
            return self.turn_in_line(entry, self.now.since(since), quota);
        }
        if fleet.consumers <= 1 {
            return (Turn::Ours, Duration::ZERO);
        }
        let jitter = self.dice.below(longest / 15);
        assert!(longest * 4 / 5 + jitter <= longest, "an orphan is left to others for {longest:?} at most");
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
        assert!(!self.orphans.contains(entry), "{entry} is offered to the application, and taken without it");
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
        assert!(!claimed || self.is_running(), "{entry} is waited for by an application whose claims were refused");
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

    pub(super) fn claims_wake(&self) -> Option<Time> {
        if !self.links.is_up(Link::Commands) || !self.server.is_prepared() {
            return None;
        }
        let bury = self.malformed.wake();
        if self.server.epoch.settled().is_none() || !self.is_running() {
            return bury;
        }
        let look = self.orphans.next_look().filter(|_| !self.claims.looking);
        let ready = self.orphans.next_ready().filter(|_| self.acquiring.has_a_call_left());
        let unasked = self.acquiring.is_due().then_some(self.server.hold_until);
        assert!(look.is_none() || self.orphans.looking() == 0, "a payload is waited for that no call reads");
        let first = [look, ready, unasked].into_iter().flatten().min();
        first.map(|at| at.max(self.server.hold_until)).into_iter().chain(bury).min()
    }

    /// Whoever waits for a claim is told that there is none.
    pub(super) fn refuse(&mut self, entry: EntryId, claimed: bool, stream: Option<StreamName>) {
        if claimed {
            assert!(!self.orphans.contains(entry), "{entry} is refused to who claimed it, and is still a candidate");
            self.notify(Notification::ClaimLost { entry, stream, why: ClaimLost::Unavailable });
        }
    }

    /// An announcement without payload: nobody can own it. It is acknowledged once nobody can be its owner any more.
    pub(super) fn trimmed(&mut self, entry: EntryId) {
        if self.reaping.trimmed.len() < SPARE_CANDIDATES {
            self.reaping.trimmed.insert(entry);
        }
        assert!(self.reaping.trimmed.len() <= SPARE_CANDIDATES, "{} without payload", self.reaping.trimmed.len());
        self.orphans.hold_firmly(entry, self.now + self.config.lease_ttl);
    }
}

/// Whether it is this consumer's turn to take an orphan, in a fleet as it was seen.
fn is_turn_of(fleet: Fleet, entry: EntryId) -> bool {
    let place = entry.ms.wrapping_add(entry.seq);
    fleet.consumers <= 1 || place % u64::from(fleet.consumers) == u64::from(fleet.rank)
}

#[cfg(test)]
mod tests;
