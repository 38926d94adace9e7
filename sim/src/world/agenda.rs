//! What the director still has to do, in order of time.

use std::collections::BTreeMap;

use streamkeeper::Time;

use super::servers::Step;
use crate::plan::Action;

/// What is to happen, in order of time; at one time, in the order in which it was put down.
#[derive(Default)]
pub(super) struct Agenda {
    items: BTreeMap<(Time, u64), Item>,
    pub(super) next: u64,
}

pub(super) enum Item {
    Act(Action),
    Over(u64),
    /// A part of a change of roles among servers.
    Step(Step),
    Heal,
    Finish,
    End,
}

impl Agenda {
    pub(super) fn put(&mut self, at: Time, item: Item) {
        self.items.insert((at, self.next), item);
        self.next += 1;
    }

    pub(super) fn take(&mut self) -> Option<(Time, Item)> {
        self.items.pop_first().map(|((at, _), item)| (at, item))
    }
}
