//! The machine's calls without a network: each is made and understood by the shell's own code
//! ([`Protocol`](streamkeeper::protocol::Protocol)), which takes whatever answers commands for a connection. All worlds
//! that drive machines by themselves share this.
//!
//! ```text
//!   explore, scale   at_once(protocol, wire, call)     all commands of a call at one instant
//!   engine           UnderWay: step, told, step …      one command after the other, each when its answer is there
//! ```

mod answers;
mod at_once;
mod pushes;
mod under_way;

pub(crate) use answers::answers;
pub(crate) use at_once::{Wire, at_once};
pub(crate) use pushes::{hint, text, understand};
pub(crate) use under_way::{Step, UnderWay};
