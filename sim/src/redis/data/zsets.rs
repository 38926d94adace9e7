//! Sorted sets.

use std::collections::BTreeMap;

use bytes::Bytes;

/// A sorted set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zset {
    scores: BTreeMap<Bytes, f64>,
}

impl Zset {
    pub(crate) fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Bytes> {
        self.scores.keys()
    }

    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).copied()
    }
}
