//! The second half against real servers: every situation on Redis 7.0 and on Valkey 9, judged from outside.
//!
//! One file a family of situations. Each situation is a function of the server's [`Flavor`](streamkeeper_tests::flavor::Flavor),
//! turned into one test for each server by [`on_both!`]. What was measured of other libraries as a defect (PEERS.md) is
//! a test that passes here; its comment names the row.

#[macro_use]
extern crate streamkeeper_tests;

mod backlog;
mod broken;
mod commands;
mod connections;
mod crash;
mod dead_letters;
mod in_process;
mod life;
mod outage;
mod pause;
mod poison;
mod privileges;
mod retries;
mod scheduled;
mod send;
mod settings;
mod shutdown;
mod slow;
