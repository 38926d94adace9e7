//! Streamkeeper on a Redis Cluster of real processes, Redis 7.0 and Valkey 9: by the URL alone, judged from outside.
//!
//! One file a family of situations; `cargo test -p streamkeeper-tests --test cluster -- --nocapture` prints the figures that
//! `docs/operations.md` has.

#[macro_use]
extern crate streamkeeper_tests;

mod asking;
mod commands;
mod entries;
mod gaps;
mod messages;
mod partitions;
mod streams;
mod tls;
