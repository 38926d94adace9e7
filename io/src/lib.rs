//! The shell.
#![allow(dead_code)]

mod calls;

pub use calls::{Dead, Orphan, Owner, Status};
