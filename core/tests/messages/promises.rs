//! The promises of `docs/messages.md`, in as many worlds as `PROPTEST_CASES` says. What a run finds is printed with its
//! plan, as small as it can be made; it becomes a story.

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::{plan::plans, world::World};

/// Some seconds, for every day.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/messages/regressions.txt"))), ..ProptestConfig::default() })]

    #[test]
    fn hold_whatever_happens(plan in plans()) {
        World::new(plan).live();
    }
}
