//! Ending an ownership: done, release, giving back what was lost, and stopping altogether (DESIGN 5.6).

use std::{collections::BTreeSet, time::Duration};

use super::{
    End, Link, LostReason, Machine, Notification, Phase, Report, SetAside,
    call::{Call, DoneItem, Failure, Finished, MOST_ENDED, ReleaseItem, Released},
    event::Command,
    lease::{Asking, Finishing, Lease, Owned, State as LeaseState},
};
use crate::{
    backoff::pause,
    id::{Attempt, EntryId, StreamName, Token},
    time::Time,
};

/// A released lease is gone after a millisecond; a touch after this makes Redis say so.
const HINT_DELAY: Duration = Duration::from_millis(2);
/// The longest rest that a stream is given.
const LONGEST_REST: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How many lost ownerships are remembered to be given back; the rest lapse by themselves.
const GIVE_BACK_LIMIT: usize = 100_000;

/// What Redis is still to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Ends that no call has been made for, or whose call failed: each of them once.
    unsent: BTreeSet<EntryId>,
    /// Ownerships that ended here without Redis being told: it is told that they were no crashes.
    give_back: Vec<ReleaseItem>,
    retry_at: Option<Time>,
    /// Leases to touch, and when.
    hints: Vec<(Time, StreamName, EntryId)>,
}

impl State {
    /// What is true between two events.
    pub(super) fn check(&self, now: Time, connected: bool) {
        assert!(self.give_back.len() <= GIVE_BACK_LIMIT, "{} ownerships are to be given back", self.give_back.len());
        let told = !connected || self.retry_at.is_some() || self.unsent.is_empty();
        assert!(told, "{} ends are told to nobody, and Redis could be asked", self.unsent.len());
        let given = !connected || self.retry_at.is_some() || self.give_back.is_empty();
        assert!(given, "{} ownerships are not given back, and Redis could be asked", self.give_back.len());
        assert!(
            !connected || self.retry_at.is_none_or(|at| at > now),
            "told again at {:?}, which is over",
            self.retry_at
        );
    }

    /// Whether this end is in no call.
    pub(super) fn is_unsent(&self, entry: EntryId) -> bool {
        self.unsent.contains(&entry)
    }

    /// How many ends are in no call.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }
}

impl Machine {
    /// The application ends an ownership. Its validity ends here, before Redis hears of it.
    pub(super) fn end(&mut self, entry: EntryId, end: End, error: Option<Box<str>>) {
        self.end_owned(entry, end, |machine, owned| error.map(|error| machine.failure(owned, error)));
    }

    /// The application gives a stream back for a while. That is no failure, and ends no row of them.
    pub(super) fn rest(&mut self, entry: EntryId, pause: Duration) {
        let pause = pause.min(LONGEST_REST);
        self.end_owned(entry, End::Release, |_, owned| {
            Some(Failure { error: "".into(), failures: owned.failures, pause, set_aside: false })
        });
    }

    fn end_owned(&mut self, entry: EntryId, end: End, failure: impl FnOnce(&mut Machine, &Owned) -> Option<Failure>) {
        if !matches!(self.leases.lease(entry), Some(Lease { state: LeaseState::Owned(_), .. })) {
            return;
        }
        let Some(Lease { stream, attempt, state: LeaseState::Owned(owned) }) = self.leases.take(entry) else { return };
        assert!(owned.deadline > self.now, "{entry} ends by wish, and has ended by its deadline");
        let failure = failure(self, &owned);
        let state = LeaseState::Finishing(Finishing {
            token: owned.token,
            identity: owned.identity,
            end,
            failure,
            deadline: self.now + self.config.trust(),
            sent: 0,
        });
        self.leases.put(entry, Lease { stream, attempt, state });
        let new = self.ends.unsent.insert(entry);
        assert!(new, "an end of {entry} is still to be told");
        assert!(!self.owns(entry, self.now), "{entry} is valid after its end");
    }

    /// An end is over before Redis could be told: nothing is told of it any more.
    pub(super) fn forget_unsent(&mut self, entry: EntryId) {
        self.ends.unsent.remove(&entry);
    }

    fn failure(&mut self, owned: &Owned, error: Box<str>) -> Failure {
        // A long life in between makes it the first failure again.
        let lived = self.now.since(owned.gained) >= self.config.settled_life();
        let failures = if lived { 1 } else { owned.failures.saturating_add(1) };
        let s = &self.config;
        let set_aside = s.max_failures > 0 && failures >= s.max_failures;
        let pause = pause(failures, s.failure_backoff, s.failure_backoff_limit, &mut self.dice).min(LONGEST_REST);
        assert!(failures > 0, "a failure counts");
        assert!(!set_aside || failures >= s.max_failures, "set aside after {failures} of {} failures", s.max_failures);
        Failure { error, failures, pause, set_aside }
    }

    /// Remembers to tell Redis that an ownership has ended here without a crash.
    pub(super) fn give_back(&mut self, entry: EntryId, lease: &Lease, token: Token) {
        assert!(token <= self.floor, "token {token} is greater than any that was granted here: {}", self.floor);
        self.give_back_attempt(entry, lease.stream.clone(), lease.attempt);
    }

    pub(super) fn give_back_attempt(&mut self, entry: EntryId, stream: StreamName, attempt: Attempt) {
        assert_eq!(attempt.incarnation, self.incarnation, "{entry} was another machine's");
        assert!(self.leases.finishing_mut(entry, attempt).is_none(), "{entry} is being ended, and given back besides");
        assert!(self.leases.owned_mut(entry, attempt).is_none(), "{entry} is owned, and given back");
        if self.ends.give_back.len() < GIVE_BACK_LIMIT {
            self.ends.give_back.push(ReleaseItem { entry, stream, attempt, failure: None });
        }
    }

    /// Tells Redis what has ended.
    pub(super) fn send_ends(&mut self) {
        if self.ends.retry_at.is_some_and(|at| at > self.now) {
            return;
        }
        if !self.links.is_up(Link::Commands) {
            return;
        }
        self.ends.retry_at = None;
        let (mut done, mut release) = (Vec::new(), Vec::new());
        for entry in std::mem::take(&mut self.ends.unsent) {
            let Lease { stream, attempt, .. } =
                self.leases.lease(entry).cloned().expect("what is ending is in the table");
            let finishing = self.leases.finishing_mut(entry, attempt).expect("what is to be told of is ending");
            assert!(finishing.deadline >= self.now, "the end of {entry} is told, though no answer counts any more");
            finishing.sent = finishing.sent.saturating_add(1);
            match finishing.end {
                End::Done => done.push(DoneItem { entry, stream, attempt, identity: finishing.identity.clone() }),
                End::Release => {
                    release.push(ReleaseItem { entry, stream, attempt, failure: finishing.failure.clone() });
                }
            }
        }
        release.append(&mut self.ends.give_back);
        while !done.is_empty() {
            let rest = done.split_off(done.len().min(MOST_ENDED));
            assert!(done.len() <= MOST_ENDED, "{} are finished in one call", done.len());
            self.ask(Call::Done(std::mem::replace(&mut done, rest)));
        }
        while !release.is_empty() {
            let rest = release.split_off(release.len().min(MOST_ENDED));
            assert!(release.len() <= MOST_ENDED, "{} are given back in one call", release.len());
            self.ask(Call::Release(std::mem::replace(&mut release, rest)));
        }
        self.touch_released();
    }

    fn touch_released(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.ends.hints.extract_if(.., |(at, ..)| *at <= now).map(|(_, s, e)| (s, e)).collect();
        for chunk in due.chunks(MOST_ENDED) {
            self.ask(Call::Hint(chunk.to_vec()));
        }
    }

    pub(super) fn ends_wake(&self) -> Option<Time> {
        if !self.links.is_up(Link::Commands) {
            return None;
        }
        // What is to be told again goes first, and leases are touched behind it.
        self.ends.retry_at.or_else(|| self.ends.hints.iter().map(|(at, ..)| *at).min())
    }

    pub(super) fn done_answered(&mut self, items: Vec<DoneItem>, answers: Vec<Finished>) {
        assert_eq!(items.len(), answers.len(), "each end is judged");
        for (item, answer) in items.into_iter().zip(answers) {
            let Some(finishing) = self.leases.finishing_mut(item.entry, item.attempt) else { continue };
            assert_eq!(finishing.end, End::Done, "{} was to be given back, and is answered as finished", item.entry);
            assert!(finishing.sent > 0, "the end of {} is answered, and was never told", item.entry);
            let (token, repeated) = (finishing.token, finishing.sent > 1);
            let lease = self.leases.take(item.entry);
            let (entry, stream) = (item.entry, item.stream);
            assert!(lease.is_some_and(|lease| lease.stream == stream), "{entry} announces {stream}, and nothing else");
            assert!(!self.ends.is_unsent(entry), "the end of {entry} is answered, and is to be told again");
            match answer {
                Finished::Done => self.finished(entry, stream, token),
                // Its first answer was lost.
                Finished::Gone if repeated => self.finished(entry, stream, token),
                Finished::Gone => self.lost_at_end(entry, stream, token, LostReason::Gone),
                Finished::Fenced => self.lost_at_end(entry, stream, token, LostReason::Fenced),
                Finished::Broken(error) => {
                    self.remark(super::Remark::Broken { entry, error });
                    self.lost_at_end(entry, stream, token, LostReason::Unknown(End::Done));
                }
            }
        }
    }

    fn finished(&mut self, entry: EntryId, stream: StreamName, token: Token) {
        self.count_end(|report| &mut report.done);
        self.notify(Notification::Done { entry, stream, token });
    }

    pub(super) fn release_answered(&mut self, items: Vec<ReleaseItem>, answers: Vec<Released>) {
        let touch_at = self.now + HINT_DELAY;
        assert_eq!(items.len(), answers.len(), "each release is judged");
        for (item, answer) in items.into_iter().zip(answers) {
            let (entry, stream) = (item.entry, item.stream);
            if answer == Released::Released {
                self.ends.hints.push((touch_at, stream.clone(), entry));
                // Others first: the releaser waits longer than any of them.
                self.orphans.hold_firmly(entry, self.now + self.config.claim_delay * 2);
                if self.is_reaper() && self.is_in_a_crowd() {
                    self.reaping.rung.stand_aside(entry, self.config.heirs);
                }
            }
            let Some(finishing) = self.leases.finishing_mut(entry, item.attempt) else { continue };
            assert_eq!(finishing.end, End::Release, "{entry} was to be finished, and is answered as given back");
            assert!(finishing.sent > 0, "the release of {entry} is answered, and was never told");
            let token = finishing.token;
            let lease = self.leases.take(entry);
            assert!(lease.is_some_and(|lease| lease.stream == stream), "{entry} announces {stream}, and nothing else");
            assert!(!self.ends.is_unsent(entry), "the release of {entry} is answered, and is to be told again");
            match answer {
                Released::Released => self.released(entry, stream, token),
                Released::SetAside => {
                    self.released(entry, stream.clone(), token);
                    let error = item.failure.map(|failure| failure.error).unwrap_or_default();
                    let (stream, reason) = (Some(stream), SetAside::Failed);
                    self.notify(Notification::Rejected { entry, stream, reason, error });
                }
                Released::Fenced => self.lost_at_end(entry, stream, token, LostReason::Fenced),
                Released::Broken(error) => {
                    self.remark(super::Remark::Broken { entry, error });
                    self.lost_at_end(entry, stream, token, LostReason::Unknown(End::Release));
                }
            }
        }
    }

    fn released(&mut self, entry: EntryId, stream: StreamName, token: Token) {
        self.count_end(|report| &mut report.released);
        self.notify(Notification::Released { entry, stream, token });
    }

    fn lost_at_end(&mut self, entry: EntryId, stream: StreamName, token: Token, reason: LostReason) {
        self.count_end(|report| &mut report.disowned);
        self.notify(Notification::Disowned { entry, stream, token, reason });
    }

    /// A call was not answered, or with a trouble: what it was to end is told again.
    pub(super) fn end_failed(&mut self, call: &Call) {
        match call {
            Call::Done(items) => {
                for item in items {
                    if self.leases.finishing_mut(item.entry, item.attempt).is_some() {
                        let new = self.ends.unsent.insert(item.entry);
                        assert!(new, "the end of {} is told by one call at a time", item.entry);
                    }
                }
            }
            Call::Release(items) => {
                for item in items {
                    if self.leases.finishing_mut(item.entry, item.attempt).is_some() {
                        let new = self.ends.unsent.insert(item.entry);
                        assert!(new, "the release of {} is told by one call at a time", item.entry);
                    } else if self.ends.give_back.len() < GIVE_BACK_LIMIT {
                        self.ends.give_back.push(item.clone());
                    }
                }
            }
            _ => {}
        }
        self.ends.retry_at = Some(self.now + (self.config.heartbeat / 10).max(Duration::from_millis(5)));
    }

    /// Stops taking, and ends everything this way. A second wish may only bring the deadline forward.
    pub(super) fn shut_down(&mut self, end: End, deadline: Time) {
        if let Phase::Stopping { deadline: first, .. } = &mut self.phase {
            *first = deadline.min(*first);
        }
        self.drain();
        let Phase::Draining(report) = self.phase else { return };
        self.phase = Phase::Stopping { deadline, report };
        for entry in self.leases.entries() {
            self.end(entry, end, None);
        }
        assert_eq!(self.leases.owned(), 0, "whoever stops ends everything");
    }

    /// Stops taking: from now on there are only fewer.
    pub(super) fn drain(&mut self) {
        if !self.is_running() {
            return;
        }
        self.phase = Phase::Draining(Report::default());
        self.links.close(Link::Reader, self.now);
        self.command(Command::Disconnect(Link::Reader));
        for entry in self.leases.entries() {
            if let Some(Lease { state: LeaseState::Asking(asking), .. }) = self.leases.lease(entry) {
                let asking = asking.clone();
                self.abandon(entry, &asking);
            }
        }
        for entry in self.orphans.entries() {
            let claimed = self.orphans.take(entry).is_some_and(|candidate| candidate.claimed);
            self.refuse(entry, claimed, None);
        }
        assert_eq!(self.leases.len(), self.leases.told(), "whoever takes nothing more asks for nothing");
        assert!(!self.links.is_up(Link::Reader), "whoever takes nothing more does not read");
    }

    /// Wants an announcement no more. It was asked for, and the answer may have been lost: it is given back blindly.
    fn abandon(&mut self, entry: EntryId, asking: &Asking) {
        let Some(lease) = self.leases.take(entry) else { return };
        assert!(matches!(lease.state, LeaseState::Asking(_)), "{entry} is given up, and is not only asked for");
        self.acquiring.forget(entry);
        self.refuse(entry, asking.claimed, Some(lease.stream.clone()));
        self.give_back_attempt(entry, lease.stream, lease.attempt);
    }

    /// Reports once everything has ended, or the time is up.
    pub(super) fn stop_if_finished(&mut self) {
        let Phase::Stopping { deadline, mut report } = self.phase else { return };
        let told = self.ends.give_back.is_empty() && self.ends.hints.is_empty() && !self.is_telling();
        if self.leases.is_empty() && (told || !self.links.is_up(Link::Commands)) {
            // Everything has ended.
        } else if self.now >= deadline {
            report.unanswered += self.leases.len();
            self.phase = Phase::Stopping { deadline, report: Report::default() };
            self.drop_everything();
        } else {
            return;
        }
        assert!(self.leases.is_empty() && self.told == 0, "it stops, and {} streams have not ended", self.told);
        self.notify(Notification::Stopped(report));
        self.stop();
    }

    fn is_telling(&self) -> bool {
        // A grant may still be on its way, too, and is to be given back.
        let telling = |call: &Call| matches!(call, Call::Release(_) | Call::Done(_) | Call::Hint(_) | Call::Acquire(_));
        self.calls.values().any(|asked| telling(&asked.call))
    }

    pub(super) fn count_end(&mut self, field: fn(&mut Report) -> &mut usize) {
        if let Phase::Draining(report) | Phase::Stopping { report, .. } = &mut self.phase {
            *field(report) += 1;
        }
    }
}

#[cfg(test)]
mod tests;
