//! Messages: many workers share one stream through a consumer group, message by message, at least once.
//!
//! A [`Producer`] sends; a [`Consumer`] hands each message to a [`Worker`], and does what its [`Outcome`] says: forgets
//! it, tries it again after a pause that blocks nobody, or moves it to the dead letter stream. Messages of a consumer
//! that has crashed go to the others; those of one that is alive stay its own, however long a run takes.
//!
//! ```no_run
//! use std::time::Duration;
//! use streamkeeper::messages::{Consumer, Context, Producer};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Order {
//!     item: String,
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let producer = Producer::<Order>::builder("orders").redis("redis://localhost:6379").build()?;
//!     producer.send(&Order { item: "tea".to_owned() }).await?;
//!
//!     let consumer = Consumer::builder("orders", "billing")
//!         .redis("redis://localhost:6379")
//!         .start(|order: Order, context: Context| async move {
//!             println!("{} wanted, attempt {}", order.item, context.attempt());
//!             Ok::<(), std::io::Error>(())
//!         })
//!         .await?;
//!     tokio::time::sleep(Duration::from_secs(1)).await;
//!     consumer.shutdown(Duration::from_secs(10)).await;
//!     Ok(())
//! }
//! ```
//!
//! What is promised, every setting, and what it is called in goxstreams and redstream: `docs/messages.md`.

mod builder;
mod calls;
mod codec;
mod consumer;
mod context;
mod driver;
mod errors;
mod flat;
mod flight;
mod handler;
mod health;
mod letter;
mod log;
mod message;
mod meters;
mod operator;
mod outcome;
mod producer;
mod producing;
mod runs;
mod settings;
mod settled;
mod start;
#[cfg(test)]
mod tests;
#[cfg(feature = "tower")]
mod tower;
mod worker;

pub use builder::Builder;
pub use calls::{DeadLetter, Holder, Retried, Scheduled, Status};
pub use codec::{CodecError, Decode, Encode, Json, Payload, Raw};
pub use consumer::Consumer;
pub use context::Context;
pub use errors::{Error, SendError};
pub use flat::Flat;
pub use health::Health;
pub use message::{Message, Sent};
pub use operator::Messages;
pub use outcome::Outcome;
pub use producer::Producer;
pub use producing::ProducerBuilder;
pub use settled::{Settled, Settlements};
pub use streamkeeper_core::{
    config::{ConfigError, Retry},
    id::EntryId,
    messages::{
        Fate, NameError, Report, Settings,
        call::{Fields, History, Reason},
        config::{Backoff, Begin, DeadFailure, Processed, Rate},
    },
};
#[cfg(feature = "tower")]
pub use tower::{FromService, Request, from_service};
pub use worker::{Broken, Dead, Worker};

pub(crate) use calls::scripts;
