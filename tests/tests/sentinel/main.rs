//! Behind sentinels: one primary, two replicas and three sentinels as processes, and what befalls the primary under load.
//!
//! Every situation on Redis 7.0 and on Valkey 9, judged from outside.

#[macro_use]
extern crate streamkeeper_tests;

mod access;
mod failover;
mod load;
mod messages;
mod replicas;
