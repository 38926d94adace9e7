//! Work on owned streams against real servers: every situation on Redis 7.0 and on Valkey 9.
//!
//! One file a family of situations. What is judged is what stands in Redis, and in which order entries came.

#[macro_use]
extern crate streamkeeper_tests;

mod child;
mod commits;
mod crash;
mod handover;
mod idle;
mod processor;
mod reading;
mod sqlite;
mod stage;
