//! What is true of a machine, whatever it was told. Nothing from outside can make it untrue: what does not fit is
//! refused before. So a check that fails shows an error in the machine, which ends here, rather than own what it does
//! not.
//!
//! What costs a comparison or a lookup is asserted in release builds, too; what goes through tables only in debug builds,
//! while they are small.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    End, Link, Machine, Notification, Phase,
    call::{Call, MOST_ENDED},
    lease::{Asking, Finishing, Lease, Owned, State},
    link_of,
};
use crate::id::{Attempt, EntryId};

/// With more in a table, going through all of it after each event would take longer than all else.
const MOST_GONE_THROUGH: usize = 2_000;

impl Machine {
    /// After each event.
    pub(super) fn check(&self) {
        if self.phase == Phase::Stopped {
            assert!(self.wake.is_none(), "who has stopped wants to be woken at {:?}", self.wake);
            assert!(self.calls.is_empty(), "who has stopped waits for {} answers", self.calls.len());
            return;
        }
        let (owned, told, all) = (self.leases.owned(), self.leases.told(), self.leases.len());
        assert!(self.told == told, "the application was told of {}, and {told} are held", self.told);
        assert!(told <= self.config.capacity, "{told} streams are more than the capacity");
        assert!(self.wake.is_some_and(|at| at >= self.now), "woken at {:?}, which is over", self.wake);
        assert!(self.leases.next_deadline().is_none_or(|at| at >= self.now), "what has ended is still held");
        if !self.is_running() {
            assert!(all == told, "whoever takes nothing more asks for {}", all - told);
            assert!(!self.links.is_up(Link::Reader), "whoever takes nothing more does not read");
        }
        if let Phase::Stopping { .. } = self.phase {
            assert!(owned == 0, "whoever stops still owns {owned}");
        }
        self.server.check(self.now, &self.config, self.links.is_up(Link::Commands));
        self.ends.check(self.now, self.links.is_up(Link::Commands));
        self.malformed.check(self.now, self.config.lease_ttl);
        if cfg!(debug_assertions) && all.max(self.orphans.len()).max(self.calls.len()) <= MOST_GONE_THROUGH {
            self.leases.check();
            self.orphans.check();
            self.check_calls();
            self.check_leases();
        }
    }

    /// Each question that a part waits for is under way, and none besides.
    fn check_calls(&self) {
        let count = |kind: fn(&Call) -> bool| self.calls.values().filter(|asked| kind(&asked.call)).count();
        let asking = self.leases.len() - self.leases.told();
        self.acquiring.check(count(|call| matches!(call, Call::Acquire(_))), asking);
        self.renewals.check(self.now, count(|call| matches!(call, Call::Renew(_))));
        self.claims.check(count(|call| matches!(call, Call::Look(_))), self.orphans.looking());
        self.server.check_calls(
            count(|call| matches!(call, Call::Epoch(_))),
            count(|call| matches!(call, Call::Ping)),
            count(|call| matches!(call, Call::Prepare)),
        );
        self.reaping.check(
            count(|call| matches!(call, Call::Reap { .. })),
            count(|call| matches!(call, Call::Mine { .. })),
            count(|call| matches!(call, Call::Forget { .. })),
        );
        if self.is_running() {
            self.taking.check(
                count(|call| matches!(call, Call::Read { .. })),
                count(|call| matches!(call, Call::Take { .. })),
            );
        } else {
            assert!(!self.orphans.is_any_claimed(), "whoever takes nothing more has refused what was claimed");
        }
        for (id, asked) in &self.calls {
            assert!(id.0 <= self.last_call, "{id:?} is under way, and the last one was {}", self.last_call);
            assert!(asked.issued <= self.now, "{id:?} was issued at {:?}, which is still to come", asked.issued);
        }
    }

    /// Each lease is in the one place where its state says that it is.
    fn check_leases(&self) {
        let mut asked: BTreeSet<(EntryId, Attempt)> = BTreeSet::new();
        let mut once = |entry, attempt| assert!(asked.insert((entry, attempt)), "{entry} is in two calls at once");
        for call in self.calls.values() {
            match &call.call {
                Call::Acquire(call) => call.items.iter().for_each(|item| once(item.entry, item.attempt)),
                Call::Renew(call) => call.items.iter().for_each(|item| once(item.entry, item.attempt)),
                _ => {}
            }
        }
        // What was given up while it was asked for is given back twice: a grant may come after the first time.
        let mut telling: BTreeMap<(EntryId, Attempt), usize> = BTreeMap::new();
        let mut count = |entry, attempt| *telling.entry((entry, attempt)).or_default() += 1;
        for call in self.calls.values() {
            match &call.call {
                Call::Done(items) => items.iter().for_each(|item| count(item.entry, item.attempt)),
                Call::Release(items) => items.iter().for_each(|item| count(item.entry, item.attempt)),
                _ => {}
            }
        }
        let (mut attempts, mut ending) = (BTreeSet::new(), 0);
        for (entry, Lease { attempt, state, .. }) in self.leases.iter_after(None) {
            assert!(attempts.insert(attempt.number), "{entry} has the attempt of another lease");
            assert_eq!(attempt.incarnation, self.incarnation, "{entry} is another machine's");
            assert!(attempt.number <= self.attempts, "{entry} is under an attempt that was not made");
            assert!(!self.orphans.contains(entry), "{entry} is held or asked for, and waits to be asked for");
            let is_asked = asked.contains(&(entry, *attempt));
            match state {
                State::Asking(asking) => self.check_asking(entry, asking, is_asked),
                State::Owned(owned) => self.check_owned(entry, owned, is_asked),
                State::Finishing(finishing) => {
                    ending += usize::from(self.ends.is_unsent(entry));
                    self.check_finishing(
                        entry,
                        finishing,
                        telling.get(&(entry, *attempt)).copied().unwrap_or_default(),
                    );
                }
            }
        }
        assert_eq!(self.ends.unsent(), ending, "what is to be told of is ending");
    }

    fn check_asking(&self, entry: EntryId, asking: &Asking, is_asked: bool) {
        assert_eq!(asking.asked_at.is_some(), is_asked, "{entry} knows whether it is asked for");
        assert_ne!(is_asked, self.acquiring.is_unasked(entry), "{entry} is asked for, or to be asked for");
        assert!(asking.asked_at.is_none_or(|at| at <= self.now), "{entry} was asked for before now");
        assert!(asking.orphan_since.is_none_or(|since| since <= self.now), "{entry} became an orphan before now");
    }

    fn check_owned(&self, entry: EntryId, owned: &Owned, is_asked: bool) {
        assert_eq!(owned.renewing.is_some(), is_asked, "{entry} knows whether it is being renewed");
        assert!(owned.token <= self.floor, "{entry} has token {}, beyond {}", owned.token, self.floor);
        assert!(owned.gained <= self.now, "{entry} was gained at {:?}, which is still to come", owned.gained);
        assert!(owned.deadline <= self.now + self.config.trust(), "{entry} is trusted until {:?}", owned.deadline);
        assert!(owned.deadline > self.now, "{entry} was trusted until {:?}", owned.deadline);
    }

    fn check_finishing(&self, entry: EntryId, finishing: &Finishing, calls: usize) {
        let unsent = usize::from(self.ends.is_unsent(entry));
        assert_eq!(calls + unsent, 1, "the end of {entry} is told by one call, or to be told");
        assert!(finishing.token <= self.floor, "{entry} has token {}, beyond {}", finishing.token, self.floor);
        assert!(finishing.deadline <= self.now + self.config.trust(), "an answer for {entry} counts for a ttl at most");
        assert!(finishing.failure.is_none() || finishing.end == End::Release, "{entry} failed, and is finished");
        assert!(calls == 0 || finishing.sent > 0, "the end of {entry} is told, and was never sent");
    }

    /// Before a call is issued.
    pub(super) fn check_call(&self, call: &Call) {
        // Whoever was the reaper rings, although the connection that told it of orphans is lost.
        let late = matches!(call, Call::Ring { .. } | Call::Clean);
        assert!(self.links.is_up(link_of(call)) || late, "{} is asked, and there is no connection", call.name());
        assert!(self.phase != Phase::Stopped, "{} is asked by who has stopped", call.name());
        let (size, most) = match call {
            Call::Acquire(call) => (call.items.len(), self.config.acquire_batch),
            Call::Renew(call) => (call.items.len(), self.config.renew_batch),
            Call::Done(items) => (items.len(), MOST_ENDED),
            Call::Release(items) => (items.len(), MOST_ENDED),
            Call::Hint(items) => (items.len(), MOST_ENDED),
            Call::Read { count, .. } | Call::Take { count, .. } => (*count, self.config.acquire_batch),
            _ => (1, 1),
        };
        assert!((1..=most).contains(&size), "{} is asked for {size} at once, of {most} at most", call.name());
        let takes = matches!(call, Call::Read { .. } | Call::Take { .. } | Call::Look(_) | Call::Mine { .. });
        if takes || matches!(call, Call::Acquire(_) | Call::Reap { .. } | Call::Forget { .. }) {
            assert!(self.is_running(), "{} is asked by who takes nothing more", call.name());
            assert!(self.server.is_prepared(), "{} is asked of a server that is not prepared", call.name());
            assert!(self.now >= self.server.hold_until, "{} is asked of a server to be left alone", call.name());
            assert!(self.server.epoch.settled().is_some(), "{} is asked of a server not settled on", call.name());
        }
        if let Call::Acquire(call) = call {
            assert_eq!(Some(&call.identity), self.server.epoch.settled(), "asked of the server that is settled on");
        }
    }

    /// Before the application is told: what it is told to own is held, what it is told to have lost is not, and nothing
    /// ends that did not begin.
    pub(super) fn keep_account(&mut self, notification: &Notification) {
        match notification {
            Notification::Added(added) => {
                assert!(self.is_running(), "{} is added for who takes nothing more", added.stream);
                assert!(self.owns(added.entry, self.now), "{} is told to be owned, and is not", added.stream);
                assert!(added.token <= self.floor, "a token of {} has not been seen: {}", added.stream, added.token);
                self.told += 1;
            }
            Notification::Disowned { entry, stream, .. }
            | Notification::Done { entry, stream, .. }
            | Notification::Released { entry, stream, .. } => {
                assert!(!self.leases.contains(*entry), "{stream} is told to have ended, and is still held");
                assert!(self.told > 0, "{stream} is told to have ended, and nobody was told that it began");
                self.told -= 1;
            }
            Notification::ClaimLost { entry, .. } => {
                let asking = matches!(self.leases.lease(*entry), Some(Lease { state: State::Asking(_), .. }));
                assert!(!asking, "a claim of {entry} is refused, and it is still asked for");
            }
            _ => {}
        }
    }

    /// How many streams whoever takes nothing more has, or has reported an end of.
    pub(super) fn answered_for(&self) -> Option<usize> {
        match self.phase {
            Phase::Draining(report) | Phase::Stopping { report, .. } => {
                Some(self.told + report.done + report.released + report.disowned + report.unanswered)
            }
            Phase::Running | Phase::Stopped => None,
        }
    }

    /// After an event of whoever takes nothing more: what has ended is in its report.
    pub(super) fn check_report(&self, before: Option<usize>) {
        let after = self.answered_for();
        assert!(
            before.is_none() || after.is_none() || before == after,
            "of {before:?} streams {after:?} are answered for"
        );
    }
}
