//! Announcements that name no stream: told of, set aside, and kept from everybody's hands until they are.

use std::{collections::BTreeMap, time::Duration};

use super::{Link, Machine, Notification, SetAside, call::Call};
use crate::{id::EntryId, time::Time};

/// How many are set aside at once.
const BATCH: usize = 500;
/// How many are known at most: what is more than that will be found again.
const MOST: usize = 10_000;

/// Those that are not set aside yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// And what is wrong with them.
    found: BTreeMap<EntryId, Box<str>>,
    aside_at: Option<Time>,
}

impl State {
    pub(super) fn contains(&self, entry: EntryId) -> bool {
        self.found.contains_key(&entry)
    }

    /// When they are to be set aside.
    pub(super) fn wake(&self) -> Option<Time> {
        self.aside_at
    }

    /// What is true between two events.
    pub(super) fn check(&self, now: Time, lease_ttl: Duration) {
        assert!(self.found.len() <= MOST, "{} malformed announcements are known", self.found.len());
        assert_eq!(self.aside_at.is_none(), self.found.is_empty(), "what is malformed has a time to be set aside");
        assert!(
            self.aside_at.is_none_or(|at| at <= now + lease_ttl),
            "set aside once a ttl, not at {:?}",
            self.aside_at
        );
    }
}

impl Machine {
    pub(super) fn malformed(&mut self, entry: EntryId, error: Box<str>) {
        if self.malformed.found.len() < MOST {
            self.malformed.found.insert(entry, error);
            self.malformed.aside_at.get_or_insert(self.now);
        }
    }

    pub(super) fn set_malformed_aside(&mut self) {
        let ready = self.links.is_up(Link::Commands) && self.server.is_prepared();
        if !ready || self.malformed.aside_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.malformed.aside_at = Some(self.now + self.config.lease_ttl);
        let all: Vec<(EntryId, Box<str>)> =
            self.malformed.found.iter().take(BATCH).map(|(entry, error)| (*entry, error.clone())).collect();
        for (entry, error) in all {
            self.ask(Call::Bury { entry, error });
        }
    }

    pub(super) fn buried(&mut self, entry: EntryId, error: Box<str>, was_there: bool) {
        self.malformed.found.remove(&entry);
        if self.malformed.found.is_empty() {
            self.malformed.aside_at = None;
        }
        if was_there {
            self.notify(Notification::Rejected { entry, stream: None, reason: SetAside::Malformed, error });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tested::{entry, machine};

    #[test]
    fn those_that_are_known_have_a_limit() {
        let mut machine = machine(|_| {});
        for number in 0..super::MOST as u64 + 2 {
            machine.malformed(entry(number), "".into());
        }
        assert_eq!(machine.malformed.found.len(), super::MOST);
    }
}
