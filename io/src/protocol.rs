//! The protocol without the shell: for worlds that have no network and drive the machine themselves, such as the
//! simulation's exploration. No part of the API.

use redis::aio::ConnectionLike;
use streamkeeper_core::{
    config::Config,
    id::ConsumerId,
    keys::Keys,
    streams::call::{Answer, Call},
    trouble::Trouble,
};

use crate::calls::Calls;

/// The calls of one consumer, made and understood exactly as the shell does it.
#[derive(Clone)]
pub struct Protocol(Calls);

impl Protocol {
    /// Of this consumer. `process` tells it from a namesake.
    pub fn new(keys: Keys, consumer: ConsumerId, config: Config, process: u64) -> Protocol {
        Protocol(Calls::new(keys, consumer, config, None, process))
    }

    /// Executes a call on whatever answers commands.
    ///
    /// # Errors
    /// What Redis refuses, and what makes no sense as an answer.
    pub async fn execute(&self, connection: &mut impl ConnectionLike, call: &Call) -> Result<Answer, Trouble> {
        self.0.execute(connection, call).await
    }
}
