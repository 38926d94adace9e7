//! Who owns which stream, as the applications are told, and how long those that lost their owner had none.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use streamkeeper::Time;

/// All streams by their numbers, and all consumers by theirs.
pub(crate) struct Ledger {
    streams: Vec<Stream>,
    /// How many each consumer owns.
    loads: Vec<usize>,
    owned: usize,
    /// Ownerships that ended though nobody had ended them, by reason.
    pub(crate) disowned: BTreeMap<&'static str, u64>,
    /// Streams that were granted to somebody while somebody else still trusted in owning them.
    pub(crate) doubled: u64,
    /// How long streams were without an owner, from the last heartbeat of the one that crashed.
    pub(crate) since_heartbeat: Vec<Duration>,
    /// The same from the crash.
    pub(crate) since_crash: Vec<Duration>,
}

#[derive(Clone, Copy, Default)]
struct Stream {
    owner: Option<u32>,
    /// Its owner crashed: when it was last heard of, and when it crashed.
    lost: Option<(Time, Time)>,
}

/// How evenly streams are spread over the consumers that live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The fewest that one of them owns.
    pub min: usize,
    /// As many as the one in the middle owns.
    pub median: usize,
    /// The most that one of them owns.
    pub max: usize,
}

impl Ledger {
    pub(crate) fn new(consumers: usize, streams: usize) -> Ledger {
        Ledger {
            streams: vec![Stream::default(); streams],
            loads: vec![0; consumers],
            owned: 0,
            disowned: BTreeMap::new(),
            doubled: 0,
            since_heartbeat: Vec::new(),
            since_crash: Vec::new(),
        }
    }

    pub(crate) fn owned(&self) -> usize {
        self.owned
    }

    pub(crate) fn owner_of(&self, stream: usize) -> Option<usize> {
        self.streams.get(stream)?.owner.map(|owner| owner as usize)
    }

    /// A consumer was told that a stream is its own.
    pub(crate) fn added(&mut self, consumer: usize, stream: usize, now: Time) {
        self.ended(stream);
        let Some(place) = self.streams.get_mut(stream) else { return };
        place.owner = u32::try_from(consumer).ok();
        self.owned += 1;
        self.loads[consumer] += 1;
        if let Some((heard, crashed)) = place.lost.take() {
            self.since_heartbeat.push(now.since(heard));
            self.since_crash.push(now.since(crashed));
        }
    }

    /// A consumer was told that a stream is no longer its own.
    pub(crate) fn disowned(&mut self, consumer: usize, stream: usize, reason: &'static str) {
        *self.disowned.entry(reason).or_default() += 1;
        // Somebody else may have it already.
        if self.owner_of(stream) == Some(consumer) {
            self.ended(stream);
        }
    }

    /// A consumer has crashed; `heard` is when Redis last heard of a stream's owner.
    pub(crate) fn crashed(&mut self, consumer: usize, now: Time, heard: impl Fn(usize) -> Time) {
        for number in 0..self.streams.len() {
            if self.owner_of(number) == Some(consumer) {
                self.ended(number);
                self.streams[number].lost = Some((heard(number), now));
            }
        }
    }

    /// How the streams are spread over these consumers.
    pub(crate) fn share(&self, consumers: impl Iterator<Item = usize>) -> Share {
        let mut loads: Vec<usize> = consumers.map(|consumer| self.loads[consumer]).collect();
        loads.sort_unstable();
        let at = |place: usize| loads.get(place).copied().unwrap_or_default();
        Share { min: at(0), median: at(loads.len() / 2), max: at(loads.len().saturating_sub(1)) }
    }

    fn ended(&mut self, stream: usize) {
        let Some(place) = self.streams.get_mut(stream) else { return };
        if let Some(owner) = place.owner.take() {
            self.owned -= 1;
            self.loads[owner as usize] -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_measured_until_the_next_owner() {
        let ms = Time::from_millis;
        let mut ledger = Ledger::new(3, 4);
        for (consumer, stream) in [(0, 0), (0, 1), (1, 2), (2, 3)] {
            ledger.added(consumer, stream, ms(10));
        }
        assert_eq!((ledger.owned(), ledger.share(0..3)), (4, Share { min: 1, median: 1, max: 2 }));
        ledger.crashed(0, ms(100), |stream| ms(90 + stream as u64));
        assert_eq!((ledger.owned(), ledger.owner_of(0), ledger.owner_of(2)), (2, None, Some(1)));
        ledger.added(1, 0, ms(1_000));
        ledger.added(1, 1, ms(1_001));
        assert_eq!(ledger.since_heartbeat, [910, 910].map(Duration::from_millis));
        assert_eq!(ledger.since_crash, [900, 901].map(Duration::from_millis));
        assert_eq!(ledger.share(1..3), Share { min: 1, median: 3, max: 3 });
        ledger.disowned(2, 0, "taken");
        assert_eq!(ledger.owner_of(0), Some(1), "it was somebody else's");
        ledger.disowned(1, 0, "expired");
        assert_eq!((ledger.owned(), ledger.disowned["expired"], ledger.disowned["taken"]), (3, 1, 1));
    }
}
