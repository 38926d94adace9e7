//! The second half: many workers share one stream through a consumer group, message by message, at least once.

mod calls;
