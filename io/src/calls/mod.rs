//! Placeholder: the calls are written elsewhere.
use redis::{RedisError, aio::MultiplexedConnection};
use streamkeeper_core::{config::Config, id::ConsumerId, keys::Keys, streams::{Answer, Call}, trouble::Trouble};

pub struct Calls;
impl Calls {
    pub fn new(_keys: Keys, _consumer: ConsumerId, _config: &Config) -> Calls { Calls }
    pub async fn execute(&self, _redis: &mut MultiplexedConnection, _call: &Call) -> Result<Answer, Trouble> {
        Err(Trouble::other("not yet"))
    }
}
pub fn trouble(error: &RedisError) -> Trouble {
    match error.code() {
        Some(code) => Trouble::from_reply(code, error.detail().unwrap_or_default()),
        None => Trouble::connection(error),
    }
}
