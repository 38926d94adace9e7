//! Whether the server may have forgotten leases (DESIGN 5.8): nothing is acquired before the fleet has settled on it,
//! and where it has not, every consumer first waits for the longest ttl, by its own clock.

use std::{sync::Arc, time::Duration};

use super::call::EpochAnswer;
use crate::{id::Identity, time::Time};

/// Where this consumer stands with the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Epoch {
    /// It has not asked since it connected, or was told that its view is old.
    Unknown,
    /// It saw this wait on that server, and sits it out.
    Waiting { wait: Arc<str>, identity: Identity, since: Time, longest_ttl: Duration },
    /// The fleet has settled on that server.
    Settled { identity: Identity },
}

impl Epoch {
    /// Takes in what the server says at `now`. An observed wait is sat out from the answer on, never from the question.
    pub(super) fn learn(&mut self, answer: &EpochAnswer, now: Time) {
        let goes_on = self.wait() == answer.wait.as_ref() && self.identity() == Some(&answer.identity);
        let before = self.over_at().filter(|_| goes_on);
        self.take_in(answer, now);
        let after = self.over_at();
        assert!(before.is_none() || after >= before, "a wait that goes on was to end at {before:?}, not at {after:?}");
        assert!(goes_on || after.is_none_or(|after| after >= now), "a wait that begins is not over before: {after:?}");
        assert_eq!(self.identity(), Some(&answer.identity), "the server that answered is the one that is known");
        assert_eq!(self.wait(), answer.wait.as_ref(), "who is told to wait waits, who is not has settled");
        assert!(self.settled().is_none() || after.is_none(), "who has settled waits for nothing");
    }

    fn take_in(&mut self, answer: &EpochAnswer, now: Time) {
        let Some(wait) = &answer.wait else {
            *self = Epoch::Settled { identity: answer.identity.clone() };
            return;
        };
        match self {
            Epoch::Waiting { wait: known, identity, longest_ttl, .. }
                if known == wait && *identity == answer.identity =>
            {
                *longest_ttl = answer.longest_ttl.max(*longest_ttl);
            }
            _ => {
                *self = Epoch::Waiting {
                    wait: wait.clone(),
                    identity: answer.identity.clone(),
                    since: now,
                    longest_ttl: answer.longest_ttl,
                };
            }
        }
    }

    /// The server that leases are granted by.
    pub(super) fn settled(&self) -> Option<&Identity> {
        match self {
            Epoch::Settled { identity } => Some(identity),
            _ => None,
        }
    }

    /// The server that was seen last on this connection.
    pub(super) fn identity(&self) -> Option<&Identity> {
        match self {
            Epoch::Unknown => None,
            Epoch::Waiting { identity, .. } | Epoch::Settled { identity } => Some(identity),
        }
    }

    /// The wait during which lost leases may be created again by their owners.
    pub(super) fn wait(&self) -> Option<&Arc<str>> {
        match self {
            Epoch::Waiting { wait, .. } => Some(wait),
            _ => None,
        }
    }

    /// When the wait is over.
    pub(super) fn over_at(&self) -> Option<Time> {
        match self {
            Epoch::Waiting { since, longest_ttl, .. } => Some(*since + *longest_ttl),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(wait: Option<&str>, identity: &str, ttl_ms: u64) -> EpochAnswer {
        EpochAnswer {
            identity: Identity::new(identity),
            wait: wait.map(Into::into),
            longest_ttl: Duration::from_millis(ttl_ms),
            consumers: 1,
        }
    }

    #[test]
    fn a_wait_runs_from_when_it_was_first_seen() {
        let mut epoch = Epoch::Unknown;
        epoch.learn(&answer(Some("wait:1"), "a", 3_000), Time::from_millis(10));
        assert_eq!(epoch.over_at(), Some(Time::from_millis(3_010)));
        epoch.learn(&answer(Some("wait:1"), "a", 3_000), Time::from_millis(500));
        assert_eq!(epoch.over_at(), Some(Time::from_millis(3_010)), "the same wait goes on");
        epoch.learn(&answer(Some("wait:1"), "a", 9_000), Time::from_millis(600));
        assert_eq!(epoch.over_at(), Some(Time::from_millis(9_010)), "a longer ttl came to light");
        epoch.learn(&answer(Some("wait:2"), "a", 3_000), Time::from_millis(700));
        assert_eq!(epoch.over_at(), Some(Time::from_millis(3_700)), "another wait starts again");
        epoch.learn(&answer(Some("wait:2"), "b", 3_000), Time::from_millis(800));
        assert_eq!(epoch.over_at(), Some(Time::from_millis(3_800)), "another server starts again");
        epoch.learn(&answer(None, "b", 3_000), Time::from_millis(900));
        assert_eq!(epoch.settled(), Some(&Identity::new("b")));
    }
}
