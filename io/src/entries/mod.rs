//! Work on owned streams: their entries in order, how far they were worked on, and effects that happen exactly once.
//!
//! A stream has one owner at a time, so its entries are read in order by one consumer. What was worked on is committed,
//! fenced by the lease: the next owner begins right behind the last commit, and what a late owner commits changes
//! nothing.
//!
//! ```no_run
//! # async fn example(client: streamkeeper::Client) -> Result<(), streamkeeper::Error> {
//! use streamkeeper::EntriesError;
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     item: String,
//! }
//!
//! client
//!     .run(|lease| async move {
//!         let mut orders = lease.entries_as::<Order>();
//!         while let Some(batch) = orders.next_batch().await {
//!             match batch {
//!                 Ok(batch) => batch.iter().for_each(|order| println!("{}: {}", order.id, order.value.item)),
//!                 Err(error) if error.is_last() => return Err(error),
//!                 Err(error) => eprintln!("{error}"), // a gap, an entry that is no order (set aside): it goes on
//!             }
//!             // asking for the next batch commits this one
//!         }
//!         Ok::<(), EntriesError>(())
//!     })
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! * [`Lease::entries`](crate::Lease::entries), [`entries_as`](crate::Lease::entries_as) and
//!   [`read`](crate::Lease::read) read; [`Entries`] is the stream of entries.
//! * [`Lease::commit`](crate::Lease::commit) commits a position; [`commit_with`](crate::Lease::commit_with) the
//!   application's own writes with it, all or nothing.
//! * [`Lease::draining`](crate::Lease::draining) tells when it is time to hand the stream over.
//! * [`Processor`] and [`Client::process`](crate::Client::process) do all of that for every owned stream.
//!
//! All streams of a client are read over one connection, and committed over another, both apart from the one for
//! heartbeats; they are made when they are first needed. What is promised, every setting, and recipes for effects outside
//! Redis: `docs/entries.md`.

mod calls;
mod desk;
mod driver;
mod entry;
mod errors;
mod idle;
mod inbox;
mod lease;
mod log;
mod meters;
mod process;
mod processing;
mod processor;
mod reader;
mod reading;
#[cfg(test)]
mod tests;
mod work;
mod writes;

pub use entry::{Entry, Fields};
pub use errors::{CommitError, EntriesError};
pub use lease::Committing;
pub use processing::{Idle, Processing};
pub use processor::{Next, Processor};
pub use reader::Entries;
pub use reading::{Commits, Reading, Undecodable};
pub use streamkeeper_core::entries::{Settings, call::Start};
pub use writes::Writes;

pub use crate::messages::{CodecError, Decode, Json, Raw};

pub(crate) use calls::scripts;
pub(crate) use desk::{Desk, Parts};
pub(crate) use meters::Meters;
pub(crate) use work::Work;
