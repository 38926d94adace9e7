//! The pure state machine of Streamkeeper.

pub mod announcement;
mod backoff;
pub mod config;
pub mod id;
pub mod keys;
pub mod streams;
pub mod time;
pub mod trouble;
