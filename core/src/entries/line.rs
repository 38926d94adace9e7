//! Streams that wait for their turn.

use std::collections::BTreeMap;

use super::OwnedId;

/// A queue that can be left from anywhere in it, so that nothing stale piles up while nobody is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Line {
    waiting: BTreeMap<Turn, OwnedId>,
    last: u64,
}

/// A place in a [`Line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Turn(u64);

impl Line {
    /// Joins at the end.
    pub(super) fn join(&mut self, id: OwnedId) -> Turn {
        self.last += 1;
        let turn = Turn(self.last);
        assert!(self.waiting.last_key_value().is_none_or(|(last, _)| *last < turn), "{id:?} joins at the end");
        self.waiting.insert(turn, id);
        turn
    }

    pub(super) fn leave(&mut self, turn: Turn) {
        let left = self.waiting.remove(&turn);
        assert!(left.is_some(), "who leaves a line stands in it");
    }

    /// Who has waited for longest; it is in the line no more.
    pub(super) fn next(&mut self) -> Option<OwnedId> {
        let (turn, id) = self.waiting.pop_first()?;
        assert!(turn.0 <= self.last, "{id:?} never joined");
        Some(id)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Who stands there, for the checks.
    #[cfg(debug_assertions)]
    pub(super) fn at(&self, turn: Turn) -> Option<OwnedId> {
        self.waiting.get(&turn).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served_and_who_leaves_is_not() {
        let mut line = Line::default();
        let turns: Vec<Turn> = (1..=3).map(|id| line.join(OwnedId(id))).collect();
        line.leave(turns[1]);
        line.join(OwnedId(1));
        let served: Vec<u64> = std::iter::from_fn(|| line.next()).map(|id| id.0).collect();
        assert_eq!((served, line.is_empty()), (vec![1, 3, 1], true));
    }
}
