//! Asking for streams, batch by batch, and what becomes of each that was asked for (DESIGN 5.2, 5.5).

use std::{collections::BTreeSet, time::Duration};

use super::{
    Added, ClaimLost, Machine, Notification, Remark, SetAside,
    call::{AcquireCall, AcquireItem, Acquired, Call, Grant},
    lease::{Asking, Lease, Owned, State as LeaseState},
    orphans::{Candidate, Stage, Turn},
};
use crate::{
    id::{EntryId, Identity, StreamName},
    time::Time,
};

/// How many acquisitions are under way at once.
const CALLS_AT_ONCE: usize = 2;
/// How long a stream that cannot be judged is left alone.
const BROKEN_PAUSE: Duration = Duration::from_secs(10);

/// What is being asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    calls: usize,
    /// Leases that no call asks for at the moment.
    unasked: BTreeSet<EntryId>,
}

impl State {
    /// Another call may be made.
    pub(super) fn has_a_call_left(&self) -> bool {
        self.calls < CALLS_AT_ONCE
    }

    /// A call could be made now, of what waits for one.
    pub(super) fn is_due(&self) -> bool {
        !self.unasked.is_empty() && self.has_a_call_left()
    }

    /// Nobody wants this announcement any more.
    pub(super) fn forget(&mut self, entry: EntryId) {
        self.unasked.remove(&entry);
    }

    /// Whether this announcement is to be asked for, and is not being asked for.
    pub(super) fn is_unasked(&self, entry: EntryId) -> bool {
        self.unasked.contains(&entry)
    }

    /// What is true between two events, with so many calls under way and so many leases that are only asked for.
    pub(super) fn check(&self, calls: usize, asking: usize) {
        assert!(self.calls <= CALLS_AT_ONCE, "{} acquisitions are under way at once", self.calls);
        assert_eq!(self.calls, calls, "each acquisition that is counted is under way");
        assert!(self.unasked.len() <= asking, "{} of {asking} leases are in no call", self.unasked.len());
        assert!(self.calls > 0 || self.unasked.len() == asking, "what is in no call is to be asked for");
    }
}

impl Machine {
    /// Asks for what is ready, batch by batch.
    pub(super) fn acquire_candidates(&mut self) {
        if !self.may_acquire() {
            return;
        }
        while self.acquiring.has_a_call_left() {
            self.choose_candidates();
            let chosen: Vec<EntryId> = self.acquiring.unasked.iter().take(self.config.acquire_batch).copied().collect();
            let identity = self.server.epoch.settled().cloned().expect("whoever may acquire has settled on the server");
            let mut items = Vec::with_capacity(chosen.len());
            for entry in chosen {
                self.acquiring.unasked.remove(&entry);
                let asking = self.leases.asking_mut(entry).expect("what is to be asked for is in the table");
                assert_eq!(asking.asked_at, None, "{entry} is asked for by one call at a time");
                asking.asked_at = Some(self.now);
                asking.asked = asking.asked.saturating_add(1);
                let (other, fresh) = (asking.other, asking.orphan_since.is_none() && asking.asked == 1);
                let lease = self.leases.lease(entry).expect("it is asked for");
                let (stream, attempt) = (lease.stream.clone(), lease.attempt);
                items.push(AcquireItem { entry, stream, attempt, other, fresh });
            }
            if items.is_empty() {
                return;
            }
            assert!(items.len() <= self.config.acquire_batch, "{} are asked for in one call", items.len());
            self.acquiring.calls += 1;
            self.ask(Call::Acquire(AcquireCall { items, identity, floor: self.floor }));
        }
    }

    /// Turns candidates whose time has come into questions.
    fn choose_candidates(&mut self) {
        while self.acquiring.unasked.len() < self.config.acquire_batch {
            let Some((entry, candidate)) = self.orphans.take_ready(self.now) else { return };
            assert!(!self.leases.contains(entry), "{entry} waits to be asked for, and is held or asked for already");
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
            if self.leases.len() >= self.capacity() && !handed {
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
            let asking = Asking { info, other: None, claimed, orphan_since, asked: 0, asked_at: None };
            self.leases.put(entry, Lease { stream, attempt, state: LeaseState::Asking(asking) });
            let new = self.acquiring.unasked.insert(entry);
            assert!(new, "{entry} was to be asked for before it was chosen");
        }
    }

    /// This consumer has got its share by now: those who have not go first.
    fn leave_to_others(&mut self, entry: EntryId, candidate: Candidate) {
        assert!(candidate.orphan_since.is_some(), "{entry} was handed to us: it is left to nobody");
        let Stage::Ready(at, stream, info) = candidate.stage else { return };
        assert!(at <= self.now, "{entry} is left to others before its time at {at:?}");
        let stage = Stage::Ready(at + self.config.claim_delay / 5, stream, info);
        self.orphans.put(entry, Candidate { turn: Turn::Anybodys, stage, ..candidate });
    }

    fn hold_candidate(&mut self, entry: EntryId, claimed: bool, stream: Option<StreamName>, span: Duration) {
        // Longer than a ttl would be longer than an ownership that we do not hear of.
        assert!(!self.orphans.contains(entry), "{entry} has an owner: it is no candidate any more");
        let hold = span.clamp(Duration::from_millis(1), self.config.lease_ttl);
        self.orphans.hold(entry, self.now + hold);
        if claimed {
            self.notify(Notification::ClaimLost { entry, stream, why: ClaimLost::Held(span) });
        }
    }

    /// Whether something is being asked for, or will be.
    pub(super) fn is_acquiring(&self) -> bool {
        self.acquiring.calls > 0 || !self.acquiring.unasked.is_empty()
    }

    /// A batch was judged, item by item. What was granted counts from the instant at which the call was issued.
    pub(super) fn acquired(&mut self, call: AcquireCall, issued: Time, answers: Vec<Acquired>) {
        assert!(self.acquiring.calls > 0, "an acquisition is judged, and none is under way");
        assert_eq!(call.items.len(), answers.len(), "each item is judged");
        self.acquiring.calls -= 1;
        let deadline = issued + self.config.trust();
        for (item, answer) in call.items.into_iter().zip(answers) {
            let ours = self.leases.lease(item.entry).is_some_and(|lease| lease.attempt == item.attempt);
            let Some(asking) = self.leases.asking_mut(item.entry).filter(|_| ours) else {
                // Wanted no more. A grant must not stand.
                assert!(!ours, "{} was in two calls at once", item.entry);
                assert!(!self.is_running(), "{} was given up, though nobody stops", item.entry);
                if let Acquired::Granted(grant) = answer {
                    self.floor = self.floor.max(grant.token);
                    self.give_back_attempt(item.entry, item.stream, item.attempt);
                }
                continue;
            };
            let asked_at = asking.asked_at.take();
            assert_eq!(asked_at, Some(issued), "{} is judged by the call that asked for it", item.entry);
            let longest = asked_at.map(|at| at + self.config.trust());
            assert!(Some(deadline) <= longest, "a grant is trusted from when it was asked for, not from its answer");
            let asking = asking.clone();
            match answer {
                Acquired::Granted(grant) => self.granted(item, asking, grant, call.identity.clone(), deadline),
                Acquired::Other(other) if asking.asked < 8 => {
                    if let Some(asking) = self.leases.asking_mut(item.entry) {
                        asking.other = Some(other);
                        let new = self.acquiring.unasked.insert(item.entry);
                        assert!(new, "{} was to be asked for again while it was being asked for", item.entry);
                    }
                }
                answer => {
                    self.leases.take(item.entry);
                    self.not_granted(item, &asking, answer);
                }
            }
        }
    }

    fn granted(&mut self, item: AcquireItem, asking: Asking, grant: Grant, identity: Identity, deadline: Time) {
        let AcquireItem { entry, stream, attempt, .. } = item;
        assert!(asking.asked > 0, "{entry} is granted, and was never asked for");
        self.floor = self.floor.max(grant.token);
        self.leases.take(entry);
        let held_here = self.leases.of_stream(&stream).is_some();
        if self.now >= deadline || held_here || self.is_full() || !self.is_running() {
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
            renewing: None,
        };
        self.leases.put(entry, Lease { stream: stream.clone(), attempt, state: LeaseState::Owned(owned) });
        assert!(
            self.leases.told() <= self.config.capacity,
            "{} streams are more than the capacity",
            self.leases.told()
        );
        self.notify(Notification::Added(Added {
            entry,
            stream,
            token: grant.token,
            attempt,
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
        assert!(!self.leases.contains(entry), "{entry} was not granted, and stands in the table");
        assert!(!matches!(answer, Acquired::Granted(_)), "{entry} was granted: that is not to be overheard");
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
        assert!(self.acquiring.calls > 0, "an acquisition fails, and none is under way");
        self.acquiring.calls -= 1;
        for item in &call.items {
            let ours = self.leases.lease(item.entry).is_some_and(|lease| lease.attempt == item.attempt);
            let Some(asking) = self.leases.asking_mut(item.entry).filter(|_| ours) else {
                assert!(!self.is_running(), "{} was given up, though nobody stops", item.entry);
                continue;
            };
            asking.asked_at = None;
            let new = self.acquiring.unasked.insert(item.entry);
            assert!(new, "{} was to be asked for again while it was being asked for", item.entry);
        }
    }
}
