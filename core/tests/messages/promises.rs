//! The promises of `docs/messages.md`, in as many worlds as `PROPTEST_CASES` says.

use proptest::prelude::*;

use super::{plan::plans, world::World};

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn hold_whatever_happens(plan in plans()) {
        World::new(plan).live();
    }
}
