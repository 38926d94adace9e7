//! The pure state machine of Streamkeeper: which consumer owns which Redis stream, and what is to be done about it.
//!
//! Nothing here reads a clock, talks to a server, starts a task, rolls dice that were not handed in, or depends on the
//! order of a hash table; clippy refuses the attempt (`core/clippy.toml`). Facts go in as [`Event`](streams::Event)s,
//! each with the time at which it became known; what is to be done comes out as [`Output`](streams::Output)s. The same
//! facts always give the same outputs, so that production, simulation, fuzzing and model checking run the very same
//! code.
//!
//! ```text
//!            LBS entry, expiry, doorbell, answers,            commands: connect, read, acquire, renew, …
//!            time, the application's wishes                   notifications: Added, Disowned, Done, …
//!  Redis ──────────────────────────▶ ┌───────────────────┐ ──────────────────────────▶ Redis, application
//!                                    │  streams::Machine │
//!            (the shell: `io/`)      └───────────────────┘            (the shell: `io/`)
//! ```
//!
//! Where to look: [`streams`] is the machine of the first half, [`messages`] that of the second; [`streams::call`] and
//! [`messages::call`] are the protocols as data, [`config`] and [`messages::config`] the settings and the relations
//! between them, [`keys`] and [`messages::keys`] every name in Redis, [`announcement`] what an LBS entry says,
//! [`trouble`] what each error code means.
//!
//! ```
//! use std::time::Duration;
//! use streamkeeper_core::{
//!     config::{Config, Settings},
//!     id::ConsumerId,
//!     keys::Keys,
//!     streams::{Command, Event, Link, Machine, Output},
//!     time::Time,
//! };
//!
//! let config = Config::new(Settings { lease_ttl: Duration::from_secs(5), ..Settings::default() })?;
//! let mut machine = Machine::new(Keys::plain("orders")?, ConsumerId::named("pod-1")?, config, 42);
//!
//! machine.handle(Event::Timeout, Time::ZERO);
//! assert_eq!(machine.poll(), Output::Command(Command::Connect(Link::Commands)));
//! assert_eq!(machine.poll(), Output::Command(Command::Connect(Link::Reader)));
//! assert_eq!(machine.poll(), Output::Command(Command::Connect(Link::Subscriber)));
//! assert!(matches!(machine.poll(), Output::Wait(Some(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod announcement;
mod backoff;
pub mod config;
pub mod entries;
mod gates;
pub mod id;
pub mod keys;
pub mod link;
pub mod messages;
pub mod partitions;
pub mod streams;
pub mod time;
pub mod trouble;
