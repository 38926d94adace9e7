//! The machine of entries: golden stories, one situation each, told as text in `told/` (`INSTA_UPDATE=always cargo test
//! --test entries` writes them anew; read the difference before you believe it); and the promises, in worlds where
//! everything goes wrong.

mod application;
mod committing;
mod ending;
mod gaps;
mod judges;
mod lines;
mod network;
mod plan;
mod promises;
mod reading;
mod redis;
mod story;
mod waiting;
mod words;
mod world;
