//! Who this server is: what changes when it restarts or is replaced.

use rand::{Rng, rngs::SmallRng};

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) run_id: String,
    /// The history of the data that it continues.
    pub(crate) replid: String,
    /// The history that it continued before, and up to where.
    pub(crate) earlier: Option<(String, u64)>,
    /// By the wall clock.
    pub(crate) started_ms: u64,
}

impl Node {
    pub(crate) fn new(rng: &mut SmallRng, started_ms: u64) -> Node {
        Node { run_id: id(rng), replid: id(rng), earlier: None, started_ms }
    }
}

/// 40 hexadecimal digits.
fn id(rng: &mut SmallRng) -> String {
    (0..40).map(|_| char::from_digit(rng.random_range(0..16), 16).unwrap_or('0')).collect()
}
