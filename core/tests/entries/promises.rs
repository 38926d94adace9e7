//! The promises of `docs/entries.md`, in worlds where everything goes wrong. `PROPTEST_CASES=20000 cargo test -p
//! streamkeeper-core --test entries --release` looks longer. What is found is printed as a plan, as small as it can be
//! made; it becomes a story, since seeds mean something else as soon as plans change.

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::{
    plan::{Fault, Plan, plans},
    world::World,
};

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/entries/regressions.txt"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn promises_hold_in_every_world(plan in plans()) {
        World::new(plan).live();
    }
}

/// Two commits of one stream end alike in one answer: the application makes both again (it once forgot the second).
#[test]
fn two_commits_that_cannot_be_judged() {
    let adds = [
        (799, 0, 2),
        (1_877, 2, 4),
        (4_411, 0, 1),
        (5_316, 2, 7),
        (4_419, 0, 1),
        (4_428, 0, 8),
        (4_615, 2, 2),
        (4_218, 1, 1),
        (4_225, 1, 6),
        (705, 1, 1),
    ];
    let faults = [
        (5_411, Fault::Spoil(1, 10)),
        (5_335, Fault::Hand(0, 1, 0)),
        (3_524, Fault::Break(0, true)),
        (612, Fault::Forget(1)),
        (1_174, Fault::Hand(2, 0, 0)),
        (0, Fault::OddDead),
        (7, Fault::Break(1, true)),
    ];
    let plan = Plan {
        seed: 4_773_303_209_683_173_506,
        batch: 3,
        prefetch: 6,
        prefetch_total: 9,
        commit_batch: 1,
        bite: 1,
        work_ms: 3,
        effects: vec![true, true, false],
        adds: adds.to_vec(),
        faults: faults.to_vec(),
        does_not_count: false,
        no_client: false,
    };
    World::new(plan).live();
}
