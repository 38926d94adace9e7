//! The size of a scaled world and its settings.

use std::time::Duration;

use streamkeeper::Settings;
use streamkeeper_core::{
    config::{Config, ConfigError},
    id::StreamName,
    keys::Keys,
};
use thiserror::Error;

use super::costs::Costs;
use crate::redis::lua;

/// What is built, and what befalls it.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// How many consumers.
    pub consumers: usize,
    /// How many streams are announced.
    pub streams: usize,
    /// Over how many services the streams are spread by a hash of their names; every consumer serves all of them, each
    /// with an even part of its capacity.
    pub partitions: usize,
    /// How many servers share the partitions.
    pub shards: usize,
    /// How many consumers crash at once, after the quiet time.
    pub kill: usize,
    /// How long everything is watched while nothing happens.
    pub quiet: Duration,
    /// How long is waited for all streams to be owned, each time.
    pub patience: Duration,
    /// The settings of each consumer; its capacity is split among the partitions.
    pub settings: Settings,
    /// How long things take.
    pub costs: Costs,
    /// What the consumers' dice and the servers' chance come from.
    pub seed: u64,
}

/// A world that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// A number is out of its range.
    #[error("{what} is {value}, but must be between {least} and {most}")]
    Number {
        /// Which.
        what: &'static str,
        /// What it is.
        value: usize,
        /// The least that it may be.
        least: usize,
        /// The most that it may be.
        most: usize,
    },
    /// The settings do not go together.
    #[error(transparent)]
    Settings(#[from] ConfigError),
}

impl Fleet {
    /// So many consumers and streams with leases of this length: one server, one crash.
    pub fn new(consumers: usize, streams: usize, lease_ttl: Duration) -> Fleet {
        let heartbeat = Duration::from_micros(u64::try_from(lease_ttl.as_micros() / 3).unwrap_or(u64::MAX));
        let each = streams.div_ceil(consumers.saturating_sub(1).max(1));
        let capacity = Settings::default().capacity.max(2 * each);
        Fleet {
            consumers,
            streams,
            partitions: 1,
            shards: 1,
            kill: 1,
            quiet: heartbeat * 3,
            patience: lease_ttl * 4 + Duration::from_secs(120),
            settings: Settings { lease_ttl, heartbeat, capacity, ..Settings::default() },
            costs: Costs::default(),
            seed: 1,
        }
    }

    /// Whether it can be built.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), Unfit> {
        let numbers = [
            ("the number of consumers", self.consumers, 1, 100_000),
            ("the number of streams", self.streams, 1, 100_000_000),
            ("the number of partitions", self.partitions, 1, 1_024),
            ("the number of shards", self.shards, 1, self.partitions),
            ("the number of consumers to be killed", self.kill, 0, self.consumers.saturating_sub(1)),
        ];
        for (what, value, least, most) in numbers {
            if !(least..=most).contains(&value) {
                return Err(Unfit::Number { what, value, least, most });
            }
        }
        self.config().map(drop)
    }

    /// The settings of one consumer in one partition.
    pub(crate) fn config(&self) -> Result<Config, Unfit> {
        let capacity = self.settings.capacity.div_ceil(self.partitions);
        Ok(Config::new(Settings { capacity, ..self.settings.clone() })?)
    }

    /// The keys of each partition.
    pub(crate) fn keys(&self) -> Vec<Keys> {
        let tagged = |partition: usize| Keys::hash_tagged(&format!("s:{partition}"));
        let keys = (0..self.partitions).map(|at| if self.partitions == 1 { Keys::plain("s") } else { tagged(at) });
        keys.map(|keys| keys.expect("a good name")).collect()
    }

    /// Where a stream lives.
    pub(crate) fn partition_of(&self, stream: &StreamName) -> usize {
        let hash = lua::hash(stream.as_str().as_bytes());
        let number = u64::from_str_radix(hash.get(..15).unwrap_or_default(), 16).unwrap_or_default();
        usize::try_from(number % self.partitions as u64).unwrap_or_default()
    }
}

/// The stream with this number.
pub(crate) fn stream(number: usize) -> StreamName {
    StreamName::new(&format!("{PREFIX}{number:08}")).expect("a good name")
}

/// The number of that stream.
pub(crate) fn number_of(stream: &StreamName) -> Option<usize> {
    stream.as_str().strip_prefix(PREFIX)?.parse().ok()
}

const PREFIX: &str = "orders-of-tenant-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_built_is_refused() {
        let good = || Fleet::new(10, 100, Duration::from_secs(10));
        assert_eq!(good().check(), Ok(()));
        type Change = fn(&mut Fleet);
        let cases: &[(&str, Change)] = &[
            ("the number of consumers is 0", |fleet| fleet.consumers = 0),
            ("the number of streams is 0", |fleet| fleet.streams = 0),
            ("the number of partitions is 0", |fleet| fleet.partitions = 0),
            ("the number of shards is 2", |fleet| fleet.shards = 2),
            ("the number of consumers to be killed is 10", |fleet| fleet.kill = 10),
            ("lease_ttl is 1s", |fleet| fleet.settings.lease_ttl = Duration::from_secs(1)),
        ];
        for (text, change) in cases {
            let mut fleet = good();
            change(&mut fleet);
            let error = fleet.check().unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn streams_spread_over_the_partitions() {
        let fleet = Fleet { partitions: 8, ..Fleet::new(10, 8_000, Duration::from_secs(10)) };
        let mut counts = [0_usize; 8];
        (0..fleet.streams).for_each(|number| counts[fleet.partition_of(&stream(number))] += 1);
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert_eq!(number_of(&stream(4_711)), Some(4_711));
        assert_eq!(number_of(&StreamName::new("other").unwrap()), None);
    }
}
