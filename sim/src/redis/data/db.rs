//! One logical database: keys, values, and when they lapse.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::SmallRng;

use super::value::Value;
use super::{Context, KeyEvent};

/// One logical database. A clone shares the values until one of the two changes them.
#[derive(Clone, Debug, Default)]
pub struct Db {
    entries: BTreeMap<Bytes, Entry>,
    /// The keys that lapse, in the order in which the cycle walks them: by hash, as in Redis.
    volatile: BTreeSet<Place>,
    /// The same keys by when they lapse.
    due: BTreeSet<(u64, Bytes)>,
    /// Where the cycle was last.
    walked: Option<Place>,
    seed: u64,
}

/// A key's hash, and the key.
type Place = (u64, Bytes);

#[derive(Clone, Debug, Hash)]
pub(crate) struct Entry {
    pub(crate) value: Arc<Value>,
    pub(crate) lapses_ms: Option<u64>,
}

impl Entry {
    pub(crate) fn has_lapsed(&self, now_ms: u64) -> bool {
        self.lapses_ms.is_some_and(|at_ms| now_ms > at_ms)
    }
}

impl Db {
    /// An empty one. The order in which the cycle of expiry and SCAN walk the keys depends on the seed, as it does in
    /// Redis.
    pub fn new(seed: u64) -> Db {
        Db { seed, ..Db::default() }
    }

    /// One slow cycle of expiry, to be called `hz` times a second: looks at 20 keys (and 5 more per `effort` above 1) of
    /// all those that lapse, and again while more than a tenth (a hundredth less per `effort` above 1) had lapsed, at
    /// most `loops` times (Redis has a limit of time). True if the limit ended it.
    pub fn expire_cycle(&mut self, cx: &mut Context, effort: u32, loops: u32) -> bool {
        let effort = effort.clamp(1, 10) - 1;
        let per_loop = 20 + 5 * effort as usize;
        let acceptable_percent = 10 - effort as usize;
        for _ in 0..loops {
            let count = per_loop.min(self.volatile.len());
            let mut lapsed = 0;
            for _ in 0..count {
                let Some(place) = self.next_place() else { return false };
                if self.entries.get(&place.1).is_some_and(|entry| entry.has_lapsed(cx.now_ms)) {
                    self.expire(cx, &place.1);
                    lapsed += 1;
                }
                self.walked = Some(place);
            }
            if lapsed * 100 <= acceptable_percent * count {
                return false;
            }
        }
        true
    }

    /// When the next key lapses, by the server's clock.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.due.first().map(|(lapses_ms, _)| *lapses_ms)
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
        self.entries.get(key).is_some_and(|entry| !entry.has_lapsed(now_ms))
    }

    /// Roughly what the values take, in bytes.
    pub fn memory(&self) -> usize {
        // What a key takes besides its bytes and its value: a dictionary's entry, and another if it lapses.
        const KEY: usize = 72;
        self.entries.iter().map(|(key, entry)| KEY + key.len() + entry.value.memory()).sum()
    }

    /// Removes every key, without events.
    pub fn flush(&mut self) {
        *self = Db::new(self.seed);
    }

    /// Removes the keys that have lapsed, without events, as loading a snapshot does. How many there were.
    pub fn drop_lapsed(&mut self, now_ms: u64) -> usize {
        let lapsed = |(_, key): &&Place| self.entries.get(key).is_some_and(|entry| entry.has_lapsed(now_ms));
        let lapsed: Vec<Place> = self.volatile.iter().filter(lapsed).cloned().collect();
        lapsed.iter().for_each(|(_, key)| drop(self.remove(key)));
        lapsed.len()
    }

    /// Removes a key with the event `evicted`. False if there is none.
    pub fn evict(&mut self, cx: &mut Context, key: &[u8]) -> bool {
        let key = Bytes::copy_from_slice(key);
        let was_there = self.remove(&key).is_some();
        if was_there {
            cx.events.push(KeyEvent { class: 'e', name: "evicted", key });
        }
        was_there
    }

    /// Any key, or any of those that lapse: what an eviction takes.
    pub fn any_key(&self, rng: &mut SmallRng, volatile: bool) -> Option<Bytes> {
        let count = if volatile { self.volatile.len() } else { self.entries.len() };
        if count == 0 {
            return None;
        }
        let at = rng.random_range(0..count);
        if volatile {
            return self.volatile.iter().nth(at).map(|(_, key)| key.clone());
        }
        self.entries.keys().nth(at).cloned()
    }

    /// What stands under its keys, and until when.
    pub(crate) fn digest(&self, into: &mut impl Hasher) {
        self.entries.hash(into);
    }

    /// Whether a stream has this entry; `None`: there is no such stream.
    pub(crate) fn stream_has(&self, key: &[u8], id: (u64, u64)) -> Option<bool> {
        match &*self.entries.get(key)?.value {
            Value::Stream(stream) => Some(stream.has(id)),
            _ => None,
        }
    }

    /// When this key lapses, in milliseconds since 1970.
    pub(crate) fn lapses_ms(&self, key: &[u8]) -> Option<u64> {
        self.entries.get(key)?.lapses_ms
    }

    pub(crate) fn entry(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn entry_mut(&mut self, key: &[u8]) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    /// Puts a value there, instead of any other. Whether the key is new.
    pub(crate) fn put(&mut self, key: &Bytes, value: Arc<Value>, lapses_ms: Option<u64>) -> bool {
        let before = self.entries.insert(key.clone(), Entry { value, lapses_ms });
        self.note_lapse(key, before.as_ref().and_then(|entry| entry.lapses_ms), lapses_ms);
        before.is_none()
    }

    /// Sets when a key that is there lapses, or that it does not.
    pub(crate) fn set_lapse(&mut self, key: &Bytes, lapses_ms: Option<u64>) {
        if let Some(entry) = self.entries.get_mut(key) {
            let before = std::mem::replace(&mut entry.lapses_ms, lapses_ms);
            self.note_lapse(key, before, lapses_ms);
        }
    }

    pub(crate) fn remove(&mut self, key: &Bytes) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.note_lapse(key, entry.lapses_ms, None);
        Some(entry)
    }

    /// Removes a key that has lapsed, with its event.
    pub(crate) fn expire(&mut self, cx: &mut Context, key: &Bytes) {
        if self.remove(key).is_some() {
            cx.dirty += 1;
            cx.events.push(KeyEvent { class: 'x', name: "expired", key: key.clone() });
        }
    }

    /// The order of SCAN and its like.
    pub(crate) fn hash(&self, item: &[u8]) -> u64 {
        hash(self.seed, item)
    }

    fn note_lapse(&mut self, key: &Bytes, before_ms: Option<u64>, now_ms: Option<u64>) {
        if before_ms == now_ms {
            return;
        }
        if let Some(before_ms) = before_ms {
            self.due.remove(&(before_ms, key.clone()));
        }
        if let Some(now_ms) = now_ms {
            self.due.insert((now_ms, key.clone()));
        }
        if before_ms.is_some() != now_ms.is_some() {
            let place = (self.hash(key), key.clone());
            match now_ms {
                Some(_) => self.volatile.insert(place),
                None => self.volatile.remove(&place),
            };
        }
    }

    /// The place that the cycle comes to next: after the last one there is the first one.
    fn next_place(&self) -> Option<Place> {
        let after = self.walked.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        self.volatile.range((after, Bound::Unbounded)).next().or_else(|| self.volatile.first()).cloned()
    }
}

/// 48 bits that look random: SCAN's cursors are made of them, and a larger one would not fit a script's numbers.
pub(crate) fn hash(seed: u64, item: &[u8]) -> u64 {
    let mut hash = seed ^ 0xcbf2_9ce4_8422_2325;
    for byte in item {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // FNV leaves the upper bits of short items alike: mixed once more.
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (hash ^ (hash >> 29)) & 0xffff_ffff_ffff
}
