//! The second half: workers that share one stream of messages through a consumer group. The same plans, hosts, network
//! and simulated Redis as for streams; its own facts, witness and judges.

pub mod facts;
pub mod judge;
pub mod sometimes;
pub(crate) mod stock;
pub(crate) mod trace;
pub(crate) mod witness;

use crate::{plan::RedisFault, redis::clock::EPOCH_US};

/// The stream of messages of the simulation.
pub const STREAM: &str = "jobs";
/// The group of its workers.
pub const GROUP: &str = "workers";

/// What Redis's clock shows at the beginning of a run, in milliseconds since 1970.
pub(crate) const EPOCH_MS: u64 = EPOCH_US / 1_000;

/// Somebody lays hands on the stream, its group or its records.
pub(crate) fn alters(fault: &RedisFault) -> bool {
    matches!(
        fault,
        RedisFault::DestroyGroup
            | RedisFault::DeleteLbs
            | RedisFault::Trim { .. }
            | RedisFault::FlushAll
            | RedisFault::Evict { .. }
            | RedisFault::DeleteConsumer { .. }
            | RedisFault::Redeliver
            | RedisFault::WrongType { .. }
            | RedisFault::DeleteAttempts
            | RedisFault::DeleteDelayed
            | RedisFault::Unpark { .. }
    )
}

/// Messages with idempotency keys are numbered from here on.
const ONCE: u64 = 1_000_000_000;

/// The number of the message with this idempotency key.
pub(crate) fn once(key: u64) -> u64 {
    ONCE.saturating_add(key)
}

/// Whether the message with this number has an idempotency key.
pub(crate) fn is_once(number: u64) -> bool {
    number >= ONCE
}
