//! A Redis without a network or a clock: bytes and times in, bytes out. What it does and says is held against real
//! servers by the conformance suite; the faults that it can be told to have are those of real servers.
//!
//! ```text
//!   accept / receive / hang_up / tick (now)  ->  Redis  ->  poll(): Send | Close | Executed
//! ```

pub mod data;
pub mod reply;
