//! How long a machine leaves a kind of call alone that was refused: longer each time, until one goes well.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use crate::{
    backoff::{Dice, pause},
    time::Time,
};

/// The kinds of calls that were refused, and until when each is left alone. A kind that works is not in here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gates<K>(BTreeMap<K, Gate>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Gate {
    troubles: u32,
    until: Time,
}

impl<K> Default for Gates<K> {
    fn default() -> Gates<K> {
        Gates(BTreeMap::new())
    }
}

impl<K: Copy + Debug + Ord> Gates<K> {
    /// From when on a call of this kind may be issued.
    pub(crate) fn open_from(&self, kind: K) -> Time {
        self.0.get(&kind).map_or(Time::ZERO, |gate| gate.until)
    }

    /// A call of this kind was refused. Others that failed of the same cause change nothing. It is left alone for no
    /// longer than twice `limit`.
    pub(crate) fn close(&mut self, kind: K, now: Time, first: Duration, limit: Duration, dice: &mut Dice) {
        let gate = self.0.entry(kind).or_default();
        if gate.until > now {
            return;
        }
        gate.troubles = gate.troubles.saturating_add(1);
        gate.until = now + pause(gate.troubles, first, limit, dice);
        assert!(gate.until <= now + limit.saturating_mul(2), "{kind:?} is left alone for longer than the limit");
    }

    /// A call of this kind went well.
    pub(crate) fn open(&mut self, kind: K) {
        self.0.remove(&kind);
    }

    /// What must hold at any time: `limit` is that of `close`.
    #[cfg(debug_assertions)]
    pub(crate) fn check(&self, now: Time, limit: Duration) {
        let latest = now + limit.saturating_mul(2);
        for (kind, gate) in &self.0 {
            assert!(gate.troubles >= 1, "{kind:?} is left alone, and nothing was refused");
            assert!(gate.until <= latest, "{kind:?} is left alone for ever");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LIMIT: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn each_kind_by_itself_and_longer_each_time() {
        let (mut gates, mut dice) = (Gates::default(), Dice::new(1));
        gates.close('a', at(0), FIRST, LIMIT, &mut dice);
        let first = gates.open_from('a');
        assert!(first >= at(75) && first <= at(125), "{first:?}");
        assert_eq!(gates.open_from('b'), Time::ZERO);
        // The rest of those that failed of the same cause.
        gates.close('a', at(1), FIRST, LIMIT, &mut dice);
        assert_eq!(gates.open_from('a'), first);
        gates.close('a', at(1_000), FIRST, LIMIT, &mut dice);
        let second = gates.open_from('a');
        assert!(second >= at(1_150) && second <= at(1_250), "{second:?}");
        #[cfg(debug_assertions)]
        gates.check(at(1_000), LIMIT);
        gates.open('a');
        assert_eq!(gates, Gates::default());
        gates.close('a', at(3_000), FIRST, LIMIT, &mut dice);
        assert!(gates.open_from('a') <= at(3_125), "it began anew");
    }
}
