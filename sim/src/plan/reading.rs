//! What an application does that reads the entries of the streams that it owns.

use std::time::Duration;

/// How it reads and commits.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// `batch`: how many entries it asks for at once.
    pub batch: usize,
    /// `prefetch`: how many it has room for.
    pub prefetch: usize,
    /// `prefetch-total`: how many all readers of a consumer have room for together.
    pub prefetch_total: usize,
    /// How long it works on a batch, in milliseconds: at least and at most.
    pub takes_ms: (u64, u64),
    /// How it commits.
    pub commits: Commits,
}

/// How an application commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    /// By itself, after each batch.
    Batch,
    /// By itself, every so many milliseconds.
    Every(u64),
    /// By hand, each batch.
    Hand,
    /// By hand, each batch together with its effects.
    Effects,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading { batch: 100, prefetch: 200, prefetch_total: 100_000, takes_ms: (1, 10), commits: Commits::Batch }
    }
}

impl Reading {
    /// How much later than it is read an entry is committed at the latest. By itself a batch is committed when the next
    /// one is asked for: the last one of all when the reading ends.
    pub(super) fn commits_within(&self) -> Option<Duration> {
        let (_, takes_ms) = self.takes_ms;
        match self.commits {
            Commits::Batch | Commits::Hand | Commits::Effects => Some(Duration::from_millis(takes_ms)),
            Commits::Every(ms) => Some(Duration::from_millis(ms + takes_ms)),
        }
    }
}
