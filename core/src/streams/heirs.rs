//! Who is to take an orphan in a large fleet. There not everybody looks at each orphan and asks for it, but its heirs
//! only: those who stand at the front of its line. A crash costs the same then, however many consumers there are.
//!
//! Everybody finds the own place in a line alone, from the own name, the orphan's id and how many consumers there are,
//! about. So places are a matter of chance: nobody may stand at the front, or only who is dead or full. The reaper
//! therefore stands in every line, behind the heirs, and rings for more of them each time that it finds an orphan again.

use std::{collections::BTreeMap, time::Duration};

use super::{Machine, orphans::Turn};
use crate::{
    backoff::Dice,
    id::{ConsumerId, EntryId},
};

/// So many times more heirs are rung for with each look that finds an orphan again.
const WIDER: u32 = 4;
/// How many orphans the reaper remembers to have rung for: for those beyond it rings as if for the first time.
const RUNG_LIMIT: usize = 100_000;

/// What the reaper has rung for, and for how many heirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rung {
    /// In the look before this one.
    before: BTreeMap<EntryId, u32>,
    /// In this one, page by page.
    now: BTreeMap<EntryId, u32>,
}

impl Rung {
    /// An orphan is found that nobody here knows of: for how many heirs the bell is to ring.
    fn wider(&mut self, entry: EntryId, heirs: u32) -> u32 {
        let heirs = self.before.get(&entry).map_or(heirs, |before| before.saturating_mul(WIDER));
        assert!(heirs > 0, "the bell rings for nobody");
        self.remember(entry, heirs);
        heirs
    }

    /// What it remembers has a limit.
    pub(super) fn check(&self) {
        assert!(self.before.len() <= RUNG_LIMIT, "{} were rung for in the last look", self.before.len());
        assert!(self.now.len() <= RUNG_LIMIT, "{} were rung for in this look", self.now.len());
    }

    /// An orphan is found that is being dealt with here.
    pub(super) fn keep(&mut self, entry: EntryId) {
        if let Some(&heirs) = self.before.get(&entry) {
            self.remember(entry, heirs);
        }
    }

    /// This consumer has given it back and does not take it for a while: should it be found, more are to look at once.
    pub(super) fn stand_aside(&mut self, entry: EntryId, heirs: u32) {
        if self.before.len() < RUNG_LIMIT {
            self.before.insert(entry, heirs);
        }
        self.remember(entry, heirs);
    }

    fn remember(&mut self, entry: EntryId, heirs: u32) {
        if self.now.len() < RUNG_LIMIT {
            self.now.insert(entry, heirs);
        }
    }

    /// A look is over: what it has not found is no orphan any more.
    pub(super) fn turn_over(&mut self) {
        self.before = std::mem::take(&mut self.now);
        self.check();
    }

    /// A look has failed.
    pub(super) fn break_off(&mut self) {
        self.now.clear();
    }
}

impl Machine {
    /// Whether this consumer is one of a crowd.
    pub(super) fn is_in_a_crowd(&self) -> bool {
        self.config.is_crowd(self.claims.consumers)
    }

    /// Where this consumer stands in the line for an orphan, from 0 on; `None` in a small fleet, where nobody queues.
    pub(super) fn place_in_line(&self, entry: EntryId) -> Option<u32> {
        self.is_in_a_crowd().then(|| place(&self.consumer, entry, self.claims.consumers))
    }

    /// How long an orphan that is rung for so many heirs is left to those in front of this place.
    pub(super) fn leave_to_those_in_front(&self, place: u32, heirs: u32) -> Duration {
        let longest = self.config.claim_delay * 3 / 5;
        let patience = longest * place.min(heirs) / heirs.max(1);
        assert!(patience <= longest, "an orphan is left to those in front for {patience:?}");
        patience
    }

    /// Whose turn an orphan is that this consumer has queued for since then, and how long it is left to others still.
    pub(super) fn turn_in_line(&self, entry: EntryId, waited: Duration, quota: &mut u64) -> (Turn, Duration) {
        if *quota == 0 {
            // With the fair share already: behind all heirs that have not, in line once more.
            let (longest, heirs) = (self.config.claim_delay, self.config.heirs);
            let place = self.place_in_line(entry).map_or(heirs, |place| place.min(heirs));
            let patience = longest * 4 / 5 + longest / 5 * place / heirs;
            assert!(patience <= longest, "an orphan is left to those with less than their share for {patience:?}");
            return (Turn::Anybodys, patience.saturating_sub(waited));
        }
        assert!(self.is_in_a_crowd(), "in a small fleet nobody queues");
        *quota -= 1;
        (Turn::Ours, Duration::ZERO)
    }

    /// The reaper rings for these, which it has found: by how many are to look at them.
    pub(super) fn rings(&mut self, orphans: &[EntryId]) -> Vec<(Option<u32>, Vec<EntryId>)> {
        if !self.is_in_a_crowd() {
            return vec![(None, orphans.to_vec())];
        }
        let usual = self.config.heirs;
        let mut rings: BTreeMap<u32, Vec<EntryId>> = BTreeMap::new();
        for &entry in orphans {
            rings.entry(self.reaping.rung.wider(entry, usual)).or_default().push(entry);
        }
        let rung_for: usize = rings.values().map(Vec::len).sum();
        assert_eq!(rung_for, orphans.len(), "the bell rings for each that was found, once");
        assert!(
            rings.first_key_value().is_none_or(|(heirs, _)| *heirs >= usual),
            "the bell rings for fewer than usual"
        );
        rings.into_iter().map(|(heirs, entries)| ((heirs > usual).then_some(heirs), entries)).collect()
    }
}

/// The place of a consumer in the line for an orphan, 0 to `consumers` - 1: each equally likely, and several may have the
/// same.
fn place(consumer: &ConsumerId, entry: EntryId, consumers: u32) -> u32 {
    let name = consumer
        .as_str()
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    let id = Dice::new(Dice::new(entry.ms).roll() ^ entry.seq).roll();
    let chance = Dice::new(name ^ id).roll();
    let place = u32::try_from((u128::from(chance) * u128::from(consumers)) >> 64).unwrap_or(u32::MAX);
    assert!(place < consumers, "place {place} in a line of {consumers}");
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumers(count: u32) -> Vec<ConsumerId> {
        (0..count).map(|number| ConsumerId::named(&format!("pod-{number}")).unwrap()).collect()
    }

    #[test]
    fn an_orphan_has_as_many_heirs_as_wanted_about_and_each_consumer_its_part_of_them() {
        let fleet = consumers(200);
        let mut places = vec![0_u32; fleet.len()];
        let mut heirs_of = vec![0_u32; fleet.len()];
        let mut without = 0;
        // Of announcements that come in crowds, ids differ in few bits.
        let entries: Vec<EntryId> =
            (0..2_000).map(|n| EntryId { ms: 1_700_000_000_000 + n / 50, seq: n % 50 }).collect();
        for &entry in &entries {
            let in_line = fleet.iter().map(|consumer| place(consumer, entry, 200));
            let mut heirs = 0;
            for (consumer, place) in in_line.enumerate() {
                places[place as usize] += 1;
                heirs_of[consumer] += u32::from(place < 8);
                heirs += u32::from(place < 8);
            }
            without += u32::from(heirs == 0);
        }
        let mean = places[..8].iter().sum::<u32>() / 2_000;
        assert!((7..=8).contains(&mean), "{mean} heirs on average");
        assert!(places.iter().all(|count| (1_800..2_200).contains(count)), "each place is as likely: {places:?}");
        assert!(heirs_of.iter().all(|count| (40..130).contains(count)), "80 for each, about: {heirs_of:?}");
        assert!(without <= 5, "one in e^8 has none: {without}");
    }

    #[test]
    fn places_hardly_change_with_the_size_that_somebody_believes_in() {
        let (one, entry) = (ConsumerId::named("pod-1").unwrap(), EntryId { ms: 7, seq: 3 });
        let exact = f64::from(place(&one, entry, 1_000_000)) / 1e6;
        for consumers in [17, 90, 100, 1_000] {
            assert_eq!(place(&one, entry, consumers), (exact * f64::from(consumers)) as u32);
        }
    }

    #[test]
    fn the_bell_rings_for_more_each_time() {
        let mut rung = Rung::default();
        let entry = |ms| EntryId { ms, seq: 0 };
        assert_eq!((rung.wider(entry(1), 8), rung.wider(entry(2), 8)), (8, 8));
        rung.turn_over();
        assert_eq!(rung.wider(entry(1), 8), 32);
        rung.keep(entry(2));
        rung.turn_over();
        assert_eq!((rung.wider(entry(1), 8), rung.wider(entry(2), 8)), (128, 32), "what is dealt with waits");
        assert_eq!(rung.wider(entry(4), 8), 8);
        rung.break_off();
        assert_eq!(rung.wider(entry(1), 8), 128, "a look that failed has rung for nobody");
        rung.turn_over();
        assert_eq!(rung.wider(entry(4), 8), 8, "nor for what only it had found");
        rung.turn_over();
        rung.turn_over();
        assert_eq!(rung.wider(entry(1), 8), 8, "it was no orphan in between");
        assert_eq!(
            (0..20).fold(8, |heirs, _| {
                rung.before.insert(entry(3), heirs);
                rung.wider(entry(3), 8)
            }),
            u32::MAX
        );
    }

    #[test]
    fn the_memory_of_what_was_rung_for_has_a_limit() {
        let mut rung = Rung::default();
        for ms in 0..RUNG_LIMIT as u64 + 2 {
            rung.stand_aside(EntryId { ms, seq: 0 }, 8);
        }
        assert_eq!((rung.before.len(), rung.now.len()), (RUNG_LIMIT, RUNG_LIMIT));
    }
}
