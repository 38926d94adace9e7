//! A service that is spread over several partitions: each is a service of its own, `{S:i}`, on whichever node of a cluster
//! serves its slot, and one client works on all of them (`docs/protocol.md`, Partitions).
//!
//! ```text
//!                    Client: one name, one capacity, one queue of notifications
//!                        │
//!   serving.rs ──────────┼──────────────────┬──────────────── … one driver and one machine a partition,
//!                     {S:0}              {S:1}                  each with its own connections
//!
//!   places.rs, homes.rs: announcers and operators ask the partition that a stream lives in, or all
//! ```

pub(crate) mod capacity;
mod homes;
pub(crate) mod muster;
mod operators;
pub(crate) mod places;
pub(crate) mod serving;

/// What a builder was told: how many partitions there are to be, at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted(pub(crate) u32);
