//! What happens when: of what is due at one instant, first what was put there first.

use std::collections::BTreeMap;

use streamkeeper::Time;

/// Everything that is still to happen.
pub(crate) struct Agenda<T> {
    due: BTreeMap<(Time, u64), T>,
    /// How many things have ever been put here: a number for each.
    count: u64,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Agenda<T> {
        Agenda { due: BTreeMap::new(), count: 0 }
    }

    pub(crate) fn put(&mut self, at: Time, what: T) {
        self.count += 1;
        self.due.insert((at, self.count), what);
    }

    /// What happens next, if it does by then.
    pub(crate) fn next_by(&mut self, deadline: Time) -> Option<(Time, T)> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= deadline)?;
        let ((at, _), what) = first.remove_entry();
        Some((at, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_and_then_in_the_order_in_which_they_came() {
        let mut agenda = Agenda::new();
        for (ms, what) in [(2, "c"), (1, "a"), (2, "d"), (1, "b"), (9, "e")] {
            agenda.put(Time::from_millis(ms), what);
        }
        let order: Vec<_> = std::iter::from_fn(|| agenda.next_by(Time::from_millis(8))).map(|(_, what)| what).collect();
        assert_eq!(order, ["a", "b", "c", "d"]);
        assert_eq!(agenda.next_by(Time::from_millis(9)), Some((Time::from_millis(9), "e")));
    }
}
