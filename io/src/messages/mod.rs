//! The second half: many workers share one stream through a consumer group, message by message, at least once.

#[allow(dead_code, unused_imports, reason = "the shell is to use them")]
mod calls;

pub(crate) use calls::scripts;
pub use calls::{DeadLetter, Holder, Retried, Scheduled, Status};
