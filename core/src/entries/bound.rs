//! How much goes into one call: less where the connection did not stand it.

/// From one to `MOST`. What is too much to be answered in time would never be if it were asked for again unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bound<const MOST: usize>(usize);

impl<const MOST: usize> Default for Bound<MOST> {
    fn default() -> Bound<MOST> {
        const { std::assert!(MOST >= 1, "a call may bring something") };
        Bound(MOST)
    }
}

impl<const MOST: usize> Bound<MOST> {
    /// How much there may be in the next call.
    pub(super) fn most(self) -> usize {
        self.0
    }

    /// A call with so much went well. By and by, or every other call would be too much where each is big.
    pub(super) fn raise(&mut self) {
        let before = self.0;
        self.0 = (before + (before / 8).max(1)).min(MOST);
        assert!(self.0 > before || self.0 == MOST, "after a call that went well there may be more: {before}");
    }

    /// The connection was lost over a call with so much.
    pub(super) fn lower(&mut self, asked: usize) {
        let before = self.0;
        self.0 = (before.min(asked) / 2).max(1);
        assert!((1..=before).contains(&self.0), "after a lost call there may be less, but something: {before}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_down_fast_and_up_again() {
        let mut bound = Bound::<1_000>::default();
        let mut seen = vec![bound.most()];
        for asked in [1_000, 600, 40, 3, 1, 0] {
            bound.lower(asked);
            seen.push(bound.most());
        }
        assert_eq!(seen, [1_000, 500, 250, 20, 1, 1, 1]);
        bound.raise();
        assert_eq!(bound.most(), 2);
        (0..60).for_each(|_| bound.raise());
        assert_eq!(bound.most(), 1_000);
    }
}
