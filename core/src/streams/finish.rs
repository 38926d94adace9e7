//! Ending an ownership: done, release, giving back what was lost, and stopping altogether (DESIGN 5.6).

use std::time::Duration;

use super::{
    End, Link, LostReason, Machine, Notification, Phase, Report, SetAside,
    call::{Call, DoneItem, Failure, Finished, ReleaseItem, Released},
    event::Command,
    lease::{Asking, Finishing, Lease, Owned, State as LeaseState},
};
use crate::{
    backoff::pause,
    id::{Attempt, EntryId, StreamName, Token},
    time::Time,
};

/// How many ends go into one call.
const BATCH: usize = 500;
/// A released lease is gone after a millisecond; a touch after this makes Redis say so.
const HINT_DELAY: Duration = Duration::from_millis(2);
/// How many lost ownerships are remembered to be given back; the rest lapse by themselves.
const GIVE_BACK_LIMIT: usize = 100_000;

/// What Redis is still to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Ends that no call has been made for, or whose call failed.
    unsent: Vec<EntryId>,
    /// Ownerships that ended here without Redis being told: it is told that they were no crashes.
    give_back: Vec<ReleaseItem>,
    retry_at: Option<Time>,
    /// Leases to touch, and when.
    hints: Vec<(Time, StreamName, EntryId)>,
}

impl Machine {
    /// The application ends an ownership. Its validity ends here, before Redis hears of it.
    pub(super) fn end(&mut self, entry: EntryId, end: End, error: Option<Box<str>>) {
        if !matches!(self.leases.lease(entry), Some(Lease { state: LeaseState::Owned(_), .. })) {
            return;
        }
        let Some(Lease { stream, attempt, state: LeaseState::Owned(owned) }) = self.leases.take(entry) else { return };
        let failure = error.map(|error| self.failure(&owned, error));
        let state = LeaseState::Finishing(Finishing {
            token: owned.token,
            identity: owned.identity,
            end,
            failure,
            deadline: self.now + self.config.trust(),
            sent: 0,
        });
        self.leases.put(entry, Lease { stream, attempt, state });
        self.ends.unsent.push(entry);
    }

    fn failure(&mut self, owned: &Owned, error: Box<str>) -> Failure {
        // A long life in between makes it the first failure again.
        let lived = self.now.since(owned.gained) >= self.config.settled_life();
        let failures = if lived { 1 } else { owned.failures.saturating_add(1) };
        let s = &self.config;
        let set_aside = s.max_failures > 0 && failures >= s.max_failures;
        let pause = pause(failures, s.failure_backoff, s.failure_backoff_limit, &mut self.dice);
        Failure { error, failures, pause, set_aside }
    }

    /// Remembers to tell Redis that an ownership has ended here without a crash.
    pub(super) fn give_back(&mut self, entry: EntryId, lease: &Lease, token: Token) {
        self.floor = self.floor.max(token);
        self.give_back_attempt(entry, lease.stream.clone(), lease.attempt);
    }

    pub(super) fn give_back_attempt(&mut self, entry: EntryId, stream: StreamName, attempt: Attempt) {
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
            let Some(Lease { stream, attempt, .. }) = self.leases.lease(entry).cloned() else { continue };
            let Some(finishing) = self.leases.finishing_mut(entry, attempt) else { continue };
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
            let rest = done.split_off(done.len().min(BATCH));
            self.ask(Call::Done(std::mem::replace(&mut done, rest)));
        }
        while !release.is_empty() {
            let rest = release.split_off(release.len().min(BATCH));
            self.ask(Call::Release(std::mem::replace(&mut release, rest)));
        }
        self.touch_released();
    }

    fn touch_released(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.ends.hints.extract_if(.., |(at, ..)| *at <= now).map(|(_, s, e)| (s, e)).collect();
        for chunk in due.chunks(BATCH) {
            self.ask(Call::Hint(chunk.to_vec()));
        }
    }

    pub(super) fn ends_wake(&self) -> Option<Time> {
        if !self.links.is_up(Link::Commands) {
            return None;
        }
        let hint = self.ends.hints.iter().map(|(at, ..)| *at).min();
        let waiting = !self.ends.unsent.is_empty() || !self.ends.give_back.is_empty();
        match self.ends.retry_at {
            Some(at) if waiting => Some(at),
            Some(at) => hint.map(|hint| hint.max(at)),
            None => hint,
        }
    }

    pub(super) fn done_answered(&mut self, items: Vec<DoneItem>, answers: Vec<Finished>) {
        for (item, answer) in items.into_iter().zip(answers) {
            let Some(finishing) = self.leases.finishing_mut(item.entry, item.attempt) else { continue };
            let (token, repeated) = (finishing.token, finishing.sent > 1);
            self.leases.take(item.entry);
            let (entry, stream) = (item.entry, item.stream);
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
        for (item, answer) in items.into_iter().zip(answers) {
            let (entry, stream) = (item.entry, item.stream);
            if answer == Released::Released {
                self.ends.hints.push((touch_at, stream.clone(), entry));
                // Others first: the releaser waits longer than any of them.
                self.orphans.hold_firmly(entry, self.now + self.config.claim_delay * 2);
            }
            let Some(finishing) = self.leases.finishing_mut(entry, item.attempt) else { continue };
            let token = finishing.token;
            self.leases.take(entry);
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
            Call::Done(items) => self.ends.unsent.extend(items.iter().map(|item| item.entry)),
            Call::Release(items) => {
                for item in items {
                    if self.leases.finishing_mut(item.entry, item.attempt).is_some() {
                        self.ends.unsent.push(item.entry);
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
        if !self.is_running() {
            return;
        }
        self.phase = Phase::Stopping { deadline, report: Report::default() };
        self.links.close(Link::Reader, self.now);
        self.command(Command::Disconnect(Link::Reader));
        for entry in self.leases.entries() {
            let asking = match self.leases.lease(entry) {
                Some(Lease { state: LeaseState::Owned(_), .. }) => {
                    self.end(entry, end, None);
                    continue;
                }
                Some(Lease { state: LeaseState::Asking(asking), .. }) => asking.clone(),
                _ => continue,
            };
            self.abandon(entry, &asking);
        }
        for entry in self.orphans.entries() {
            let claimed = self.orphans.take(entry).is_some_and(|candidate| candidate.claimed);
            self.refuse(entry, claimed, None);
        }
    }

    /// Wants an announcement no more. If it was asked for, the answer may have been lost: it is given back blindly.
    fn abandon(&mut self, entry: EntryId, asking: &Asking) {
        let Some(lease) = self.leases.take(entry) else { return };
        self.refuse(entry, asking.claimed, Some(lease.stream.clone()));
        if asking.asked > 0 {
            self.give_back_attempt(entry, lease.stream, lease.attempt);
        }
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
        self.notify(Notification::Stopped(report));
        self.stop();
    }

    fn is_telling(&self) -> bool {
        // A grant may still be on its way, too, and is to be given back.
        let telling = |call: &Call| matches!(call, Call::Release(_) | Call::Done(_) | Call::Hint(_) | Call::Acquire(_));
        self.calls.values().any(|asked| telling(&asked.call))
    }

    pub(super) fn count_end(&mut self, field: fn(&mut Report) -> &mut usize) {
        if let Phase::Stopping { report, .. } = &mut self.phase {
            *field(report) += 1;
        }
    }
}
