//! What is known of the sentinels and of the primary.

use std::collections::BTreeSet;

use super::super::address::Address;

/// How many sentinels that others tell of are remembered.
const TOLD: usize = 32;

/// A server that is said to be the primary. The epoch grows with every failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Primary {
    pub(super) address: Address,
    pub(super) epoch: u64,
}

/// The sentinels, and what they have said.
#[derive(Debug)]
pub(super) struct Known {
    given: Vec<Address>,
    /// Those of which the latest answer told.
    told: Vec<Address>,
    /// Who has answered last: who is dead or slow is not asked first again.
    latest: Option<Address>,
    primary: Option<Primary>,
    /// To whom somebody listens.
    listened_to: BTreeSet<Address>,
}

impl Known {
    pub(super) fn new(given: Vec<Address>) -> Known {
        Known { given, told: Vec::new(), latest: None, primary: None, listened_to: BTreeSet::new() }
    }

    /// All sentinels, in the order in which they are to be asked.
    pub(super) fn sentinels(&self) -> Vec<Address> {
        let mut all = self.all();
        all.sort_by_key(|sentinel| Some(sentinel) != self.latest.as_ref());
        all
    }

    /// Whether this server was named last.
    pub(super) fn is_primary(&self, address: &Address) -> bool {
        self.primary.as_ref().is_some_and(|primary| primary.address == *address)
    }

    /// Whether a newer answer was heard.
    pub(super) fn is_old(&self, epoch: u64) -> bool {
        self.primary.as_ref().is_some_and(|primary| epoch < primary.epoch)
    }

    /// This sentinel has answered, and told of these others: they take the place of those told of before.
    pub(super) fn answered(&mut self, sentinel: &Address, others: Vec<(String, u16)>) {
        let tls = sentinel.speaks_tls();
        self.latest = Some(sentinel.clone());
        let mut told: Vec<Address> =
            others.into_iter().take(TOLD).map(|(host, port)| Address::Tcp { host, port, tls }).collect();
        // Nobody tells of itself.
        if !self.given.contains(sentinel) {
            told.push(sentinel.clone());
        }
        told.retain(|other| !self.given.contains(other));
        self.told = told;
    }

    /// This is the primary now, as the newest answer of one round says. From where to where it has moved, if it has.
    pub(super) fn choose(&mut self, primary: Primary) -> Option<(Address, Address)> {
        let to = primary.address.clone();
        let from = self.primary.replace(primary)?.address;
        (from != to).then_some((from, to))
    }

    /// The same, if it is newer than what is known.
    pub(super) fn hear(&mut self, primary: Primary) -> Option<(Address, Address)> {
        let newer = self.primary.as_ref().is_none_or(|known| primary.epoch > known.epoch);
        if newer { self.choose(primary) } else { None }
    }

    /// A sentinel to whom nobody listens, behind this one if it is in the list.
    pub(super) fn listen(&mut self, behind: Option<&Address>) -> Option<Address> {
        let all = self.all();
        let first = all.iter().position(|sentinel| Some(sentinel) == behind).map_or(0, |at| at + 1);
        let mut in_order = all.iter().cycle().skip(first).take(all.len());
        let free = in_order.find(|sentinel| !self.listened_to.contains(*sentinel))?.clone();
        self.listened_to.insert(free.clone());
        Some(free)
    }

    /// Nobody listens to this one any more.
    pub(super) fn stop_listening(&mut self, sentinel: &Address) {
        self.listened_to.remove(sentinel);
    }

    fn all(&self) -> Vec<Address> {
        self.given.iter().chain(&self.told).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address::Tcp { host: "h".to_owned(), port, tls: false }
    }

    fn primary(port: u16, epoch: u64) -> Primary {
        Primary { address: at(port), epoch }
    }

    #[test]
    fn what_is_heard_counts_only_if_it_is_newer() {
        let mut known = Known::new(vec![at(1)]);
        assert_eq!(known.hear(primary(10, 3)), None, "the first one has come from nowhere");
        assert_eq!(known.hear(primary(11, 2)), None, "of before");
        assert_eq!(known.hear(primary(11, 3)), None, "no newer");
        assert!(known.is_old(2) && !known.is_old(3));
        assert_eq!(known.hear(primary(10, 4)), None, "the same server");
        assert_eq!(known.hear(primary(11, 5)), Some((at(10), at(11))));
    }

    #[test]
    fn what_a_whole_round_says_counts_even_if_it_is_older() {
        let mut known = Known::new(vec![at(1)]);
        assert_eq!(known.choose(primary(10, 5)), None);
        assert_eq!(known.choose(primary(11, 0)), Some((at(10), at(11))), "the sentinels were set up anew");
        assert_eq!(known.hear(primary(10, 1)), Some((at(11), at(10))));
    }

    #[test]
    fn who_answered_last_is_asked_first_and_who_is_told_of_is_asked_too() {
        let mut known = Known::new(vec![at(1), at(2)]);
        let told = |ports: &[u16]| ports.iter().map(|port| ("h".to_owned(), *port)).collect::<Vec<_>>();
        known.answered(&at(2), told(&[1, 3]));
        assert_eq!(known.sentinels(), [at(2), at(1), at(3)]);
        known.answered(&at(3), told(&[1, 4]));
        assert_eq!(known.sentinels(), [at(3), at(1), at(2), at(4)]);
        known.answered(&at(1), told(&[2]));
        assert_eq!(known.sentinels(), [at(1), at(2)], "3 and 4 are not told of any more");
        known.answered(&at(1), told(&(1_000..2_000).collect::<Vec<_>>()));
        assert_eq!(known.sentinels().len(), 2 + TOLD);
    }

    #[test]
    fn each_sentinel_is_listened_to_once() {
        let mut known = Known::new(vec![at(1), at(2), at(3)]);
        assert_eq!(known.listen(None), Some(at(1)));
        assert_eq!(known.listen(None), Some(at(2)));
        known.stop_listening(&at(1));
        assert_eq!(known.listen(Some(&at(1))), Some(at(3)), "the next one first");
        assert_eq!(known.listen(Some(&at(3))), Some(at(1)));
        assert_eq!(known.listen(None), None);
    }
}
