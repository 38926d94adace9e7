//! What random lives have found, as short lives of their own: seeds mean something else as soon as plans change.

use streamkeeper_core::streams::{End, Link};

use super::{
    IN_TIME_WHEN_REAPERS_CRASH, judge,
    plan::{Action, Fate, Kind, Plan, ServerFault, Setup, Wish},
};

const CALM: Setup = Setup {
    seed: 1,
    nodes: 3,
    namesake: false,
    small: false,
    manual: false,
    rates: [100; 4],
    active_expiry: false,
    anonymous: false,
    duplicates: false,
    in_time: None,
    survivor: None,
};

fn holds(setup: Setup, actions: Vec<Action>) {
    if let Err(story) = judge(&Plan { setup, actions }) {
        panic!("{story}");
    }
}

/// Whoever owns: this befalls the next call of that kind.
fn all(kind: Kind, fate: Fate) -> Vec<Action> {
    (0..3).map(|node| Action::Fare(node, kind, fate.clone())).collect()
}

/// The renewal that finds its announcement gone must not open the stream to others: its answer may be lost.
#[test]
fn trimmed_and_announced_again() {
    for wait in 0..40 {
        let mut actions = vec![Action::Run(10), Action::Announce(0), Action::Run(900)];
        actions.extend(all(Kind::Renew, Fate::LostBack));
        actions.extend([Action::Trim(0), Action::Run(80 + wait), Action::Announce(0), Action::Run(3_000)]);
        holds(Setup { duplicates: true, seed: wait, ..CALM }, actions);
    }
}

/// A failover to a replica that has not seen the latest ownership.
#[test]
fn failover_to_an_old_ownership() {
    for pause in [0, 2_000, 4_000] {
        let actions = vec![
            Action::Run(10),
            Action::Announce(0),
            Action::Run(20),
            Action::Server(ServerFault::Sync),
            Action::Pause(1, 4_300),
            Action::Pause(0, 3_900),
            Action::Run(3_600 + pause / 10),
            Action::Server(ServerFault::Failover),
            Action::Run(pause),
        ];
        holds(CALM, actions);
    }
}

/// FLUSHALL while some consumer is still in its first wait.
#[test]
fn flushed_during_the_first_wait() {
    let actions = vec![
        Action::Announce(4),
        Action::Run(176),
        Action::Pause(1, 3_857),
        Action::Run(3_825),
        Action::Server(ServerFault::FlushAll),
        Action::Run(33),
        Action::Announce(4),
        Action::Run(1),
    ];
    holds(Setup { nodes: 2, ..CALM }, actions);
}

/// Everything at once, in the order in which an operator would do it.
#[test]
fn a_bad_day() {
    let mut actions = vec![Action::Run(10)];
    actions.extend((0..6).map(Action::Announce));
    actions.extend([
        Action::Run(1_500),
        Action::Cut(0, Link::Commands),
        Action::Partition(1, 2_000),
        Action::App(2, 0, Wish::Done),
        Action::Run(400),
        Action::Server(ServerFault::RestartWithoutLeases),
        Action::Run(1_000),
        Action::Shutdown(0, End::Release, 500),
        Action::Run(2_500),
        Action::Freeze(2_500),
        Action::Run(4_000),
        Action::OutOfMemory(true),
        Action::Run(3_000),
        Action::Server(ServerFault::DestroyGroup),
        Action::Run(500),
    ]);
    holds(CALM, actions);
}

/// A reaper that crashes together with the owner.
#[test]
fn the_reaper_crashes_with_the_owner() {
    let actions = vec![
        Action::Announce(0),
        Action::Run(3_663),
        Action::Announce(1),
        Action::Crash(2),
        Action::Run(2_552),
        Action::Crash(1),
        Action::Run(880),
    ];
    holds(Setup { seed: 0, rates: [96, 100, 100, 100], in_time: Some(IN_TIME_WHEN_REAPERS_CRASH), ..CALM }, actions);
}
