//! The pure state machine of Streamkeeper.
#![doc = ""]

pub mod announcement;
pub mod config;
pub mod id;
pub mod keys;
pub mod streams;
pub mod time;
pub mod trouble;
