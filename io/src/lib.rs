//! Every Redis stream owned by exactly one live consumer.
//!
//! Producers *announce* data streams. Each consumer of the service takes its share, and holds a *lease* on each stream
//! that it owns. When a consumer crashes, hangs or is cut off, the others take its streams over within its lease time,
//! and the old owner can no longer write: every lease carries a fencing *token* that only grows.
//!
//! # Quick start
//!
//! Write what to do with one stream, and run it for every stream that is owned:
//!
//! ```no_run
//! use std::time::Duration;
//! use streamkeeper::Client;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), streamkeeper::Error> {
//!     let client = Client::builder("orders").redis("redis://localhost:6379").start().await?;
//!     client
//!         .run(|lease| async move {
//!             while lease.is_valid() {
//!                 // read the next entries of `lease.stream()`, write with `lease.token()`, and break when finished
//!                 tokio::time::sleep(Duration::from_millis(100)).await;
//!             }
//!             Ok::<(), std::io::Error>(())
//!         })
//!         .await?;
//!     Ok(())
//! }
//! ```
//!
//! and announce streams from anywhere:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let orders = streamkeeper::Client::builder("orders").redis("redis://localhost:6379").service()?;
//! orders.announce("orders-17").await?;
//! # Ok(()) }
//! ```
//!
//! Or read the [`Notification`]s yourself:
//!
//! ```no_run
//! # async fn example(client: streamkeeper::Client) {
//! use futures::StreamExt;
//! use streamkeeper::Notification;
//!
//! let mut notifications = client.notifications();
//! while let Some(notification) = notifications.next().await {
//!     match notification {
//!         Notification::Added(lease) => println!("{} is ours", lease.stream()),
//!         Notification::Disowned { stream, reason, .. } => println!("{stream} is lost: {}", reason.label()),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! # What is promised
//!
//! At any instant at most one consumer's lease on a stream is valid by its own clock; an announced stream that nobody
//! has finished is owned again within the lease time and half a second of its owner's last heartbeat; what an owner
//! writes with an old token changes nothing. What no lease can promise: an owner that was *paused* may believe that it
//! owns until it looks at the clock ([`Lease::is_valid`]); data outside Redis is protected by the
//! [token](Lease::token) alone. `docs/invariants.md` has every promise with its test.
//!
//! # Features
//!
//! * `tower`: services and layers of `tower` as workers of [`messages`].
//! * `cli`: the command line `streamkeeper` (work, announce, dead, status; send, consume, scheduled, messages).

#![cfg_attr(test, allow(clippy::disallowed_methods))] // tests are no part of the simulation

mod announce;
mod builder;
mod calls;
mod client;
mod clock;
mod draining;
mod driver;
pub mod entries;
mod errors;
mod identity;
mod lease;
mod leases;
mod links;
mod log;
pub mod messages;
mod metrics;
mod notification;
mod outages;
mod outbox;
mod partitions;
#[doc(hidden)]
pub mod protocol;
mod runner;
mod service;
mod start;
mod wire;
mod witnesses;

pub use announce::Announce;
pub use builder::Builder;
pub use calls::{Dead, Features, Orphan, Owner, PartitionStatus, Status, scripts};
pub use client::Client;
pub use client::Client as Streamkeeper;
pub use clock::Clock;
pub use entries::{CommitError, Commits, Entries, EntriesError, Entry, Writes};
pub use errors::{AskError, ClaimError, Error, FinishError};
pub use lease::{Lease, Lost};
pub use links::{
    address::Address,
    cluster::Cluster,
    connect::{ByteStream, Connect},
    credentials::Credentials,
    dial::Dial,
    sentinel::{Sentinel, Sentinels},
    tcp::Tcp,
    tls::Tls,
};
pub use notification::Notification;
pub use outbox::Notifications;
pub use redis::RedisConnectionInfo;
pub use service::Service;
pub use streamkeeper_core::{
    config::{ClaimMode, ConfigError, Retry, Settings},
    id::{ConsumerId, EntryId, IdError, StreamName, Token},
    link::Link,
    partitions::PartitionsError,
    streams::{ClaimLost, End, LostReason, Report, SetAside},
    time::Time,
    trouble::{Trouble, TroubleKind},
};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../docs/migration.md")]
struct Migration;

#[cfg(doctest)]
#[doc = include_str!("../../docs/entries.md")]
struct EntriesInProse;
