//! One logical database: keys, values, and when they lapse.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::Rng;
use rand::rngs::SmallRng;

use super::Context;

/// One logical database. A clone shares the values until one of the two changes them.
#[derive(Clone, Debug, Default)]
pub struct Db {
    entries: BTreeMap<Bytes, Entry>,
    /// The keys that lapse, in the order in which the cycle walks them: by hash, as in Redis.
    volatile: BTreeSet<(u64, Bytes)>,
}

#[derive(Clone, Debug)]
struct Entry {
    lapses_ms: Option<u64>,
}

impl Db {
    /// An empty one. The order in which the cycle of expiry walks the keys depends on the seed, as it does on Redis's.
    pub fn new(_seed: u64) -> Db {
        Db::default()
    }

    /// One slow cycle of expiry, to be called `hz` times a second: looks at 20 keys (and 5 more per `effort` above 1) of
    /// all those that lapse, and again while more than a tenth had lapsed, at most `loops` times (Redis has a limit of
    /// time). True if the limit ended it.
    pub fn expire_cycle(&mut self, _cx: &mut Context, _effort: u32, _loops: u32) -> bool {
        false
    }

    /// When the next key lapses, by the server's clock.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.volatile.iter().filter_map(|(_, key)| self.entries.get(key)?.lapses_ms).min()
    }

    /// All keys, lapsed ones too, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.entries.keys()
    }

    /// The number of keys, lapsed ones too.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of keys that lapse: `expires` of INFO.
    pub fn volatile_len(&self) -> usize {
        self.volatile.len()
    }

    /// Whether the key is there and has not lapsed; touches nothing.
    pub fn has(&self, key: &[u8], now_ms: u64) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.lapses_ms.is_none_or(|at| now_ms <= at))
    }

    /// Roughly what the values take, in bytes.
    pub fn memory(&self) -> usize {
        0
    }

    /// Removes every key, without events.
    pub fn flush(&mut self) {
        *self = Db::default();
    }

    /// Removes the keys that have lapsed, without events, as loading a snapshot does.
    pub fn drop_lapsed(&mut self, _now_ms: u64) -> usize {
        0
    }

    /// Removes a key with the event `evicted`. False if there is none.
    pub fn evict(&mut self, _cx: &mut Context, _key: &[u8]) -> bool {
        false
    }

    /// Any key, or any of those that lapse: what an eviction takes.
    pub fn any_key(&self, rng: &mut SmallRng, volatile: bool) -> Option<Bytes> {
        let count = if volatile { self.volatile.len() } else { self.entries.len() };
        if count == 0 {
            return None;
        }
        let at = rng.random_range(0..count);
        if volatile {
            self.volatile.iter().nth(at).map(|(_, key)| key.clone())
        } else {
            self.entries.keys().nth(at).cloned()
        }
    }
}
