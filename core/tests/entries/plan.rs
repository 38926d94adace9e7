//! What happens in a world: who adds what, how the applications work, and what goes wrong. Made by proptest, which makes a
//! plan that shows a defect smaller until nothing can be left out.

use std::time::Duration;

use proptest::prelude::*;
use streamkeeper_core::entries::Settings;

/// How many consumers there are.
pub(crate) const NODES: usize = 2;
/// How many streams there are.
pub(crate) const STREAMS: usize = 3;
/// No fault begins later, and none lasts longer than `LONGEST`.
pub(crate) const LAST_FAULT: u64 = 8_000;
pub(crate) const LONGEST: u64 = 2_000;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) batch: usize,
    pub(crate) prefetch: usize,
    pub(crate) prefetch_total: usize,
    pub(crate) commit_batch: usize,
    /// How many entries an application works on at once.
    pub(crate) bite: usize,
    /// How long that takes.
    pub(crate) work_ms: u64,
    /// For each stream whether every entry has an effect in Redis, to be made exactly once; else only positions are
    /// committed, several at once.
    pub(crate) effects: Vec<bool>,
    /// When how many entries are added to which stream.
    pub(crate) adds: Vec<(u64, usize, u64)>,
    pub(crate) faults: Vec<(u64, Fault)>,
    /// Redis older than 7.
    pub(crate) does_not_count: bool,
    pub(crate) no_client: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A connection of a node breaks; whether it is told before or after its calls are answered is left to chance.
    Break(usize, bool),
    /// Half of what a node sends and receives is lost.
    Cut(usize, u64),
    /// The server does not answer.
    Outage(u64),
    /// A stream goes to another node; the one before hears of it later.
    Hand(usize, usize, u64),
    /// A lease is not there for a while.
    Lapse(usize, u64),
    /// All but so many of the newest entries are trimmed.
    Trim(usize, usize),
    /// The key is of a wrong type for a while.
    Spoil(usize, u64),
    /// The record cannot be read, until all is mended.
    Odd(usize),
    /// The dead entries cannot be written, until all is mended.
    OddDead,
    /// The application reads anew.
    Reread(usize),
    /// The stream is deleted.
    Delete(usize),
    /// The server forgets the last so many milliseconds, and all leases.
    Forget(u64),
    /// A node stops, within so many milliseconds; the other takes over what it owns. The first never does.
    Stop(u64),
}

impl Plan {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            batch: self.batch,
            prefetch: self.prefetch,
            prefetch_total: self.prefetch_total.max(self.prefetch),
            block: Duration::from_millis(700),
            commit_batch: self.commit_batch,
            call_timeout: Duration::from_millis(300),
            ..Settings::default()
        }
    }

    fn has(&self, is: fn(&Fault) -> bool) -> bool {
        self.faults.iter().any(|(_, fault)| is(fault))
    }

    /// Commits, entries and leases may be forgotten.
    pub(crate) fn forgets(&self) -> bool {
        self.has(|fault| matches!(fault, Fault::Forget(_)))
    }

    /// Keys are of a wrong type, for a while.
    pub(crate) fn breaks(&self) -> bool {
        self.has(|fault| matches!(fault, Fault::Spoil(..) | Fault::Odd(..) | Fault::OddDead))
    }

    /// Somebody is taken back: commits were forgotten, or one turns out to stand there that nobody knew of.
    pub(crate) fn may_roll_back(&self) -> bool {
        self.forgets() || self.breaks()
    }

    pub(crate) fn deletes(&self) -> bool {
        self.has(|fault| matches!(fault, Fault::Delete(_)))
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    let span = || 10..LONGEST;
    prop_oneof![
        4 => (0..NODES, any::<bool>()).prop_map(|(node, reader)| Fault::Break(node, reader)),
        3 => (0..NODES, span()).prop_map(|(node, ms)| Fault::Cut(node, ms)),
        1 => span().prop_map(Fault::Outage),
        4 => (0..STREAMS, 0..NODES, 0..500_u64).prop_map(|(stream, node, ms)| Fault::Hand(stream, node, ms)),
        2 => (0..STREAMS, span()).prop_map(|(stream, ms)| Fault::Lapse(stream, ms)),
        4 => (0..STREAMS, 0..4_usize).prop_map(|(stream, left)| Fault::Trim(stream, left)),
        2 => (0..STREAMS, span()).prop_map(|(stream, ms)| Fault::Spoil(stream, ms)),
        1 => (0..STREAMS).prop_map(Fault::Odd),
        1 => Just(Fault::OddDead),
        2 => (0..STREAMS).prop_map(Fault::Reread),
        1 => (0..STREAMS).prop_map(Fault::Delete),
        1 => (1..1_500_u64).prop_map(Fault::Forget),
        1 => (0..LONGEST).prop_map(Fault::Stop),
    ]
}

prop_compose! {
    pub(crate) fn plans()(
        seed in any::<u64>(),
        (batch, prefetch, prefetch_total) in (1..6_usize, 1..9_usize, 2..14_usize),
        commit_batch in 1..4_usize,
        (bite, work_ms) in (1..5_usize, prop_oneof![3 => 0..5_u64, 1 => 5..200_u64]),
        effects in prop::collection::vec(any::<bool>(), STREAMS),
        adds in prop::collection::vec((0..LAST_FAULT, 0..STREAMS, 1..12_u64), 1..20),
        faults in prop::collection::vec((0..LAST_FAULT, fault()), 0..10),
        (does_not_count, no_client) in (prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
    ) -> Plan {
        Plan {
            seed, batch, prefetch, prefetch_total, commit_batch, bite, work_ms, effects, adds, faults, does_not_count,
            no_client,
        }
    }
}
