//! Keeping what is owned: heartbeats in batches, and the local deadline (DESIGN 5.3).

use std::time::Duration;

use super::{
    Link, LostReason, Machine, Notification, Output, Remark,
    call::{Call, RenewCall, RenewException, RenewItem, Renewed},
    epoch::Epoch,
    lease::{Lease, Owned, State as LeaseState},
};
use crate::{
    config::Config,
    id::{EntryId, Identity, StreamName, Token},
    time::Time,
    trouble::TroubleKind,
};

/// How many batches are under way at once: enough to hide the round trip, few enough that others get a turn.
const BATCHES_AT_ONCE: usize = 4;

/// Where the current round of renewals stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    round: Round,
    /// Another round is to follow this one at once.
    again: bool,
    under_way: usize,
    retry_at: Option<Time>,
    /// When the oldest ownership of the last round was gained.
    oldest: Option<Time>,
    oldest_so_far: Option<Time>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Round {
    #[default]
    Over,
    /// Everything behind this entry is still to be renewed.
    Behind(Option<EntryId>),
}

impl State {
    /// Whether a stream of ours has lived long enough to show that the service works in principle.
    pub(super) fn lived(&self, now: Time, config: &Config) -> bool {
        self.oldest.is_some_and(|gained| now.since(gained) >= config.settled_life())
    }

    /// There is something left to renew in this round.
    pub(super) fn is_under_way(&self) -> bool {
        self.round != Round::Over
    }

    /// What is true between two events, with so many batches under way.
    pub(super) fn check(&self, now: Time, batches: usize) {
        assert!(self.under_way <= BATCHES_AT_ONCE, "{} batches are under way at once", self.under_way);
        assert_eq!(self.under_way, batches, "each batch that is counted is under way");
        assert!(!self.again || self.is_under_way(), "another round follows one that is over");
        assert!(self.oldest.is_none_or(|gained| gained <= now), "gained at {:?}, which is still to come", self.oldest);
        assert!(self.oldest_so_far.is_none() || self.is_under_way(), "the ages of a round that is over are known");
        assert!(self.retry_at.is_none_or(|at| at > now), "renewed again at {:?}, which is over", self.retry_at);
    }
}

impl Machine {
    /// Starts a round of renewals, or another one behind that which is under way.
    pub(super) fn start_renewing(&mut self) {
        self.renewals.retry_at = None;
        match self.renewals.round {
            Round::Over => self.renewals.round = Round::Behind(None),
            Round::Behind(_) => self.renewals.again = true,
        }
        assert!(self.renewals.is_under_way(), "a round that was started is under way");
    }

    /// Issues the batches that the round has left, a few at a time.
    pub(super) fn renew_leases(&mut self) {
        if self.renewals.retry_at.is_some_and(|at| at <= self.now) {
            self.start_renewing();
        }
        // Until the epoch is known, a lease that the server forgot could not be told from one that was lost.
        let epoch_known = self.server.epoch != Epoch::Unknown || self.server.epoch_failed;
        if !self.links.is_up(Link::Commands) || !epoch_known {
            return;
        }
        while self.renewals.under_way < BATCHES_AT_ONCE {
            let Round::Behind(after) = self.renewals.round else { return };
            let items = self.next_batch(after);
            let Some(last) = items.last() else {
                self.end_round();
                continue;
            };
            assert!(after.is_none_or(|after| last.entry > after), "a round goes on behind {after:?}");
            assert!(items.len() <= self.config.renew_batch, "{} leases are renewed in one call", items.len());
            self.renewals.round = Round::Behind(Some(last.entry));
            self.renewals.under_way += 1;
            let recreate = self.server.epoch.wait().cloned();
            self.ask(Call::Renew(RenewCall { items: items.into(), recreate }));
        }
    }

    fn next_batch(&mut self, after: Option<EntryId>) -> Vec<RenewItem> {
        let mut items = Vec::new();
        let mut oldest = self.renewals.oldest_so_far;
        for (entry, lease) in self.leases.iter_after(after) {
            if let LeaseState::Owned(owned) = &lease.state {
                oldest = Some(oldest.map_or(owned.gained, |at| at.min(owned.gained)));
                if owned.renewing.is_none() {
                    let (stream, attempt, token) = (lease.stream.clone(), lease.attempt, owned.token);
                    items.push(RenewItem { entry, stream, attempt, token });
                    if items.len() == self.config.renew_batch {
                        break;
                    }
                }
            }
        }
        self.renewals.oldest_so_far = oldest;
        for item in &items {
            let owned = self.leases.owned_mut(item.entry, item.attempt).expect("what is owned is renewed");
            assert!(owned.deadline > self.now, "{} has ended by its deadline, and is renewed", item.entry);
            owned.renewing = Some(self.now);
        }
        items
    }

    fn end_round(&mut self) {
        assert!(self.renewals.is_under_way(), "a round ends that did not begin");
        self.renewals.oldest = self.renewals.oldest_so_far.take();
        self.renewals.round = if self.renewals.again { Round::Behind(None) } else { Round::Over };
        self.renewals.again = false;
    }

    pub(super) fn renewals_wake(&self) -> Option<Time> {
        self.renewals.retry_at
    }

    /// A batch was answered: what it says counts from the instant at which it was issued.
    pub(super) fn renewed(&mut self, call: RenewCall, issued: Time, answer: Renewed) {
        assert!(self.renewals.under_way > 0, "a batch is answered, and none is under way");
        self.renewals.under_way -= 1;
        let until = issued + self.config.trust();
        let mut exceptions = answer.exceptions.into_iter().peekable();
        let mut extended = Vec::with_capacity(call.items.len());
        for (index, item) in call.items.iter().enumerate() {
            let exception = exceptions.next_if(|(at, _)| *at == index).map(|(_, exception)| exception);
            let Some(owned) = self.leases.owned_mut(item.entry, item.attempt) else { continue };
            let since = owned.renewing.take();
            assert_eq!(since, Some(issued), "{} is renewed by one batch at a time", item.entry);
            let longest = since.map(|since| since + self.config.trust());
            assert!(Some(until) <= longest, "a renewal is trusted from when it was asked for, not from its answer");
            assert_eq!(owned.token, item.token, "an ownership of {} has one token", item.entry);
            if let Some(exception) = exception
                && !self.keeps(item, exception)
            {
                continue;
            }
            let Some(owned) = self.leases.owned_mut(item.entry, item.attempt) else { continue };
            assert!(owned.deadline > self.now, "a late answer for {} is heard before its lease has ended", item.entry);
            if until > owned.deadline {
                owned.deadline = until;
                extended.push(item.entry);
            }
        }
        assert!(exceptions.next().is_none(), "each exception is one of the batch");
        if !extended.is_empty() {
            assert!(until > self.now, "leases are extended until {until:?}, which is over");
            self.outputs.push_back(Output::Extended { until, entries: extended });
        }
        if answer.group_lost.is_some() {
            self.group_lost();
            self.hold();
        }
    }

    /// What an exception means for an ownership; whether it goes on for another ttl.
    fn keeps(&mut self, item: &RenewItem, exception: RenewException) -> bool {
        let entry = item.entry;
        assert!(self.owns(entry, self.now), "{entry} was renewed, and is not owned");
        match exception {
            RenewException::TakenBack => self.remark(Remark::TakenBack(entry)),
            RenewException::Recreated => {
                // It belongs to the server that it now lives on; if that is not known yet, to none.
                let identity = self.server.epoch.identity().cloned().unwrap_or_else(|| Identity::new(""));
                if let Some(owned) = self.leases.owned_mut(entry, item.attempt) {
                    owned.identity = identity;
                }
                self.remark(Remark::Recreated(entry));
            }
            RenewException::Lost(holder) => {
                self.disown(entry, holder.map_or(LostReason::Vanished, LostReason::Taken));
                return false;
            }
            RenewException::Gone => {
                self.disown(entry, LostReason::Gone);
                return false;
            }
            RenewException::Broken(error) => {
                self.remark(Remark::Broken { entry, error });
                return false;
            }
        }
        true
    }

    /// A batch was not answered, or with a trouble: nothing is extended, and it is tried again soon.
    pub(super) fn renewal_failed(&mut self, call: &RenewCall, kind: TroubleKind) {
        assert!(self.renewals.under_way > 0, "a batch fails, and none is under way");
        self.renewals.under_way -= 1;
        for item in call.items.iter() {
            if let Some(owned) = self.leases.owned_mut(item.entry, item.attempt) {
                assert!(owned.renewing.is_some(), "a renewal of {} fails that is not under way", item.entry);
                owned.renewing = None;
            }
        }
        if !kind.needs_new_connection() {
            let soon = self.now + (self.config.heartbeat / 4).max(Duration::from_millis(10));
            self.renewals.retry_at.get_or_insert(soon);
        }
    }

    /// What the clock has ended ends, asking nobody.
    pub(super) fn expire_leases(&mut self) {
        while let Some((entry, lease)) = self.leases.take_expired(self.now) {
            match &lease.state {
                LeaseState::Owned(owned) => {
                    let reason = self.why_expired(owned);
                    self.give_back(entry, &lease, owned.token);
                    self.disowned(entry, lease.stream, owned.token, reason);
                }
                LeaseState::Finishing(finishing) => {
                    let (token, end) = (finishing.token, finishing.end);
                    self.forget_unsent(entry);
                    self.count_end(|report| &mut report.unanswered);
                    self.disowned(entry, lease.stream, token, LostReason::Unknown(end));
                }
                LeaseState::Asking(_) => unreachable!("a question has no deadline"),
            }
        }
    }

    fn why_expired(&self, owned: &Owned) -> LostReason {
        assert!(owned.deadline <= self.now, "what is trusted until {:?} has not expired", owned.deadline);
        let silent = self.now.since(self.server.heard);
        match self.paused {
            Some(paused) => LostReason::Paused(paused),
            None if !self.links.is_up(Link::Commands) || silent > self.config.heartbeat + self.config.call_timeout => {
                LostReason::Unreachable(silent)
            }
            None => LostReason::Expired(self.now.since(owned.deadline)),
        }
    }

    /// An ownership ends for this reason, now.
    pub(super) fn disown(&mut self, entry: EntryId, reason: LostReason) {
        let Some(lease) = self.leases.take(entry) else { return };
        assert!(matches!(lease.state, LeaseState::Owned(_)), "{entry} is disowned, and was not owned");
        if let LeaseState::Owned(owned) = &lease.state {
            let token = owned.token;
            // The record still says that we own it, which would keep others waiting, or stand there for ever.
            if matches!(reason, LostReason::Vanished | LostReason::Gone) {
                self.give_back(entry, &lease, token);
            }
            self.disowned(entry, lease.stream, token, reason);
        }
    }

    fn disowned(&mut self, entry: EntryId, stream: StreamName, token: Token, reason: LostReason) {
        if !matches!(reason, LostReason::Unknown(_)) {
            self.count_end(|report| &mut report.disowned);
        }
        self.notify(Notification::Disowned { entry, stream, token, reason });
    }

    /// Ends everything at once, telling the application but not Redis.
    pub(super) fn drop_everything(&mut self) {
        let silent = self.now.since(self.server.heard);
        for entry in self.leases.entries() {
            let Some(Lease { stream, state, .. }) = self.leases.take(entry) else { continue };
            match state {
                LeaseState::Owned(owned) => {
                    self.disowned(entry, stream, owned.token, LostReason::Unreachable(silent));
                }
                LeaseState::Finishing(end) => {
                    self.disowned(entry, stream, end.token, LostReason::Unknown(end.end));
                }
                LeaseState::Asking(asking) => self.refuse(entry, asking.claimed, Some(stream)),
            }
        }
        for entry in self.orphans.entries() {
            let claimed = self.orphans.take(entry).is_some_and(|candidate| candidate.claimed);
            self.refuse(entry, claimed, None);
        }
        assert!(self.leases.is_empty() && self.told == 0, "{} streams end without a word", self.told);
        assert_eq!(self.orphans.len(), 0, "claims are left without an answer");
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tested::machine, *};

    #[test]
    fn a_stream_that_has_lived_for_20_ttl_shows_that_the_service_works() {
        let (config, gained) = (&machine(|_| {}).config, Time::from_millis(100));
        for (oldest, now, lived) in [(Some(gained), 60_099, false), (Some(gained), 60_100, true), (None, 60_100, false)]
        {
            let state = State { oldest, ..State::default() };
            assert_eq!(state.lived(Time::from_millis(now), config), lived, "{oldest:?} at {now} ms");
        }
    }

    #[test]
    fn a_lease_that_was_not_renewed_in_time_ended_for_a_reason() {
        for (connected, silent, paused, unreachable) in [
            (true, 2_000, None, false),
            (true, 2_001, None, true),
            (false, 0, None, true),
            (false, 2_001, Some(Duration::from_secs(9)), false),
        ] {
            let mut machine = machine(|_| {});
            machine.links.due(Time::ZERO, &[Link::Commands]);
            assert!(!connected || machine.links.connected(Link::Commands));
            (machine.now, machine.paused) = (Time::from_millis(10_000), paused);
            machine.server.heard = machine.now - Duration::from_millis(silent);
            let deadline = machine.now - Duration::from_millis(3);
            let identity = Identity::new("a");
            let owned = Owned { token: Token(1), failures: 0, gained: Time::ZERO, identity, deadline, renewing: None };
            let reason = match paused {
                Some(paused) => LostReason::Paused(paused),
                None if unreachable => LostReason::Unreachable(Duration::from_millis(silent)),
                None => LostReason::Expired(Duration::from_millis(3)),
            };
            assert_eq!(machine.why_expired(&owned), reason, "connected: {connected}, silent for {silent} ms");
        }
    }
}
