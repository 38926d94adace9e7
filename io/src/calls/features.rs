//! What of the server is used where it is there: looked at when it is connected to, and told by `status`.

use redis::{Value, aio::ConnectionLike};
use streamkeeper_core::trouble::Trouble;

use super::{
    Calls,
    prepare::announces_expiry,
    value::{list, number},
};
use crate::wire::{info::Info, troubles::refused};

/// What the server has and lets this user use. Nothing of it is needed; what is missing costs something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// INFO. Without it, a failover that keeps connections open goes unnoticed.
    pub info: bool,
    /// CONFIG GET. Without it, nobody can say whether expiries are announced, and consumers cannot see to it.
    pub config: bool,
    /// The expiry of leases is announced; `None` if that cannot be asked. Without it, orphans are found by looking.
    pub expiry_notifications: Option<bool>,
    /// How many connections listen to the service's doorbell on this server: one for each consumer that is connected to
    /// it. `None` if that may not be asked.
    pub listening: Option<u64>,
    /// CLIENT UNBLOCK. Without it, a stream that is newly opened is read up to 100 ms later.
    pub wakes_readers: bool,
    /// The group's lag is counted: Redis 7 and newer. Without it, up to 1,000 unread entries are counted by hand.
    pub counts_lag: bool,
}

impl Features {
    /// What is missing and what that costs, in words.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let all = [
            (self.info, "INFO: a failover that keeps connections open goes unnoticed"),
            (self.config, "CONFIG: consumers cannot switch on expiry notifications, nor see whether they are on"),
            (self.expiry_notifications != Some(false), "expiry notifications: orphans are found by looking"),
            (self.wakes_readers, "CLIENT UNBLOCK: a stream that is newly opened is read up to 100 ms later"),
            (self.counts_lag, "lag: the server does not count it, as Redis 7 and newer do"),
        ];
        all.into_iter().filter(|(there, _)| !there).map(|(_, what)| what).collect()
    }
}

impl Calls {
    pub(super) async fn features(
        &self,
        connection: &mut impl ConnectionLike,
        info: Option<&Info>,
        flags: Option<&str>,
    ) -> Result<Features, Trouble> {
        let mut listeners = redis::cmd("PUBSUB");
        listeners.arg("NUMSUB").arg(&self.0.orphans);
        let listening = self.if_allowed(connection, &listeners).await?.and_then(list);
        // Nobody has this number: nobody is woken.
        let mut wake = redis::cmd("CLIENT");
        wake.arg("UNBLOCK").arg(0);
        Ok(Features {
            info: info.is_some(),
            config: flags.is_some(),
            expiry_notifications: flags.map(announces_expiry),
            // The channel and its number.
            listening: listening.and_then(|pair| pair.get(1).and_then(number)),
            wakes_readers: self.if_allowed(connection, &wake).await?.is_some(),
            counts_lag: info.and_then(Info::major).is_some_and(|major| major >= 7),
        })
    }

    async fn if_allowed(
        &self,
        connection: &mut impl ConnectionLike,
        cmd: &redis::Cmd,
    ) -> Result<Option<Value>, Trouble> {
        match self.send(connection, cmd).await {
            Ok(value) => Ok(Some(value)),
            Err(trouble) if refused(&trouble) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }
}
