//! Streamkeeper against real servers: every situation on Redis 7.0 and on Valkey 9, judged from outside.
//!
//! One file a family of situations. Each situation is a function of the server's [`Flavor`](streamkeeper_tests::flavor::Flavor),
//! turned into one test for each server by [`on_both!`].

#[macro_use]
extern crate streamkeeper_tests;

mod announcements;
mod commands;
mod connections;
mod crash;
mod crash_loop;
mod damage;
mod distribution;
mod failing_handler;
mod go_peers;
mod harness;
mod managed;
mod names;
mod notifications;
mod partitions;
mod pause;
mod privileges;
mod process_entries;
mod processes;
mod restart;
mod rotation;
mod services;
mod shutdown;
mod slow_application;
mod trouble;
mod versions;
