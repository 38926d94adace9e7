//! The promises of `docs/entries.md`, in worlds where everything goes wrong. `PROPTEST_CASES=20000 cargo test -p
//! streamkeeper-core --test entries --release` looks longer. What is found is printed as a plan, as small as it can be
//! made; it becomes a story, since seeds mean something else as soon as plans change.

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::{plan::plans, world::World};

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
