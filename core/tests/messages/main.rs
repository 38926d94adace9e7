//! The machine of messages: golden stories, one situation each, told as text in `told/` (`INSTA_UPDATE=always cargo test
//! --test messages` writes them anew; read the difference before you believe it); and the promises, in worlds where
//! everything goes wrong.

mod failing;
mod faults;
mod group;
mod judges;
mod keeping;
mod late;
mod network;
mod plan;
mod promises;
mod running;
mod stopping;
mod story;
mod verdicts;
mod words;
mod world;
