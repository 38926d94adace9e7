//! Who works on which message: the machine of the second half. Many workers share one stream through a consumer group,
//! message by message, at least once. `docs/messages.md` is the protocol in prose.

pub mod call;
pub mod config;
pub mod event;
pub mod keys;

pub use call::{Answer, Call};
pub use config::{Config, Settings};
pub use event::{Command, Event, Fate, Notification, Outcome, Output, Remark, Report, Run, RunId, Stage};
pub use keys::{Consumer, Keys, NameError};
