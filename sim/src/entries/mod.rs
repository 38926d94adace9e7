//! Work on owned streams: applications that read the entries of what they own, commit how far they are, and write effects
//! with it. The same plans, hosts, network and simulated Redis as for ownership; its own facts, witness and judges, which
//! judge beside those of ownership.

pub mod facts;
pub mod judge;
pub mod sometimes;
pub(crate) mod stock;
pub(crate) mod trace;
pub(crate) mod witness;

use streamkeeper_core::id::LEASE_SEPARATOR;

use crate::{plan::RedisFault, world::SERVICE};

/// What the names of data streams begin with in plans of this kind: all keys of such a run begin with the service's name,
/// so that one observer hears them all.
pub const DATA: &str = "simulated:data-";
/// What the keys begin with that hold the effects of a stream's entries: one field for each entry, a count.
pub const EFFECTS: &str = "simulated:effects:";

/// Whether this key is a data stream's: leases of data streams begin like them.
pub(crate) fn is_data(key: &[u8]) -> bool {
    let lease = LEASE_SEPARATOR.as_bytes();
    key.starts_with(DATA.as_bytes()) && !key.windows(lease.len()).any(|part| part == lease)
}

/// What stands in the n-th entry of a run: now and then something that cannot be decoded.
pub(crate) fn body(number: u64) -> String {
    if number % 17 == 16 { "no JSON".to_owned() } else { format!("{{\"n\":{number}}}") }
}

/// Somebody lays hands on positions, effects or data streams.
pub(crate) fn alters(fault: &RedisFault) -> bool {
    matches!(fault, RedisFault::FlushAll)
}

/// Where positions stand.
pub(crate) fn checkpoints() -> String {
    format!("{SERVICE}-checkpoints")
}

/// Where the effects of this stream's entries stand.
pub(crate) fn effects(stream: &str) -> String {
    format!("{EFFECTS}{stream}")
}
