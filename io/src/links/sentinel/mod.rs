//! The primary that sentinels name: found, followed when it becomes another one, and never believed without its `ROLE`.
//!
//! Sentinels may disagree: one that was cut off still names the primary of before. Each answer has an epoch, which grows
//! with every failover, so up to three sentinels are listened to all the time, and an answer that is older than what one
//! of them has said is put to all others: the newest is believed. That is why
//! [`wrong_server`](Connect::wrong_server) needs nothing here: a server that turns out to be a replica is either one that
//! an old answer named, and the newer one is known or heard soon; or no sentinel knows better yet. Only among the answers
//! of one round do epochs decide, so that sentinels that were set up anew, and count from zero, are believed, too.

mod answer;
mod ask;
mod follow;
mod known;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use redis::RedisConnectionInfo;
use streamkeeper_core::{link::Link, trouble::Trouble};
use tokio::sync::{oneshot, watch};

use self::{
    answer::Answer,
    ask::Asking,
    known::{Known, Primary},
};
use super::{
    address::Address,
    connect::{ByteStream, Connect},
    dial::Dial,
};
use crate::clock::Clock;

/// Who is asked for which primary, and how sentinels and servers are reached.
#[derive(Clone)]
pub struct Sentinels {
    /// The name under which the sentinels know the primary.
    pub primary: String,
    /// The sentinels; others of which they tell are remembered.
    pub addresses: Vec<Address>,
    /// User and password of the sentinels.
    pub login: RedisConnectionInfo,
    /// How they are reached.
    pub dial: Arc<dyn Dial>,
    /// User, password and database number of the servers.
    pub server_login: RedisConnectionInfo,
    /// Whether the servers speak TLS.
    pub server_tls: bool,
    /// How they are reached, and where tasks run.
    pub server_dial: Arc<dyn Dial>,
    /// How long a call may take, and with it a connection: one sentinel may take half of it for connection and answer,
    /// but no less than 500 ms.
    pub call_timeout: Duration,
}

/// Connects to the primary that sentinels name.
pub struct Sentinel {
    shared: Arc<Shared>,
    /// Ends the task that follows the primary when it is dropped, and says whether there is one.
    following: Mutex<Option<oneshot::Sender<()>>>,
}

/// What connections in the making and the task that follows have in common.
struct Shared {
    asking: Asking,
    sentinels: String,
    servers: Arc<dyn Dial>,
    server_login: RedisConnectionInfo,
    server_tls: bool,
    known: Mutex<Known>,
    /// How often the primary has become another one.
    switches: watch::Sender<u64>,
}

impl Sentinel {
    /// Asks nobody yet: that begins with the first connection.
    pub fn new(sentinels: Sentinels) -> Sentinel {
        let Sentinels { primary, addresses, login, dial, server_login, server_tls, server_dial, call_timeout } =
            sentinels;
        let shared = Shared {
            asking: Asking { primary, login, dial, call_timeout },
            sentinels: addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(", "),
            servers: server_dial,
            server_login,
            server_tls,
            known: Mutex::new(Known::new(addresses)),
            switches: watch::Sender::new(0),
        };
        Sentinel { shared: Arc::new(shared), following: Mutex::default() }
    }

    /// Follows the primary, if nobody does: the runtime on which somebody did may be gone.
    fn follow(&self) {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        if following.as_ref().is_some_and(|task| !task.is_closed()) {
            return;
        }
        let (task, dropped) = oneshot::channel();
        *following = Some(task);
        let shared = self.shared.clone();
        self.shared.servers.spawn(Box::pin(async move {
            tokio::select! {
                biased;
                _ = dropped => {}
                () = follow::follow(&shared) => {}
            }
        }));
    }
}

impl Connect for Sentinel {
    fn open(&self, _link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        self.follow();
        let shared = self.shared.clone();
        Box::pin(async move {
            loop {
                let primary = shared.find().await.map_err(io::Error::other)?;
                let bytes = shared.servers.dial(&primary).await?;
                // While it was dialled, somebody may have heard that it is another one.
                if shared.known().is_primary(&primary) {
                    return Ok(bytes);
                }
            }
        })
    }

    fn login(&self) -> RedisConnectionInfo {
        self.shared.server_login.clone()
    }

    fn describe(&self) -> String {
        format!("the primary `{}` of the sentinels {}", self.shared.asking.primary, self.shared.sentinels)
    }

    fn asks_role(&self) -> bool {
        true
    }

    fn moved(&self) -> BoxFuture<'static, ()> {
        let mut switches = self.shared.switches.subscribe();
        Box::pin(async move {
            if switches.changed().await.is_err() {
                // There is nobody left who could connect.
                std::future::pending::<()>().await;
            }
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.shared.servers.spawn(task);
    }

    fn drive(&self, name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        self.shared.servers.drive(name, driver)
    }

    fn clock(&self) -> Clock {
        self.shared.servers.clock()
    }
}

impl Shared {
    /// Where the primary is, asked now.
    async fn find(&self) -> Result<Address, Trouble> {
        let sentinels = self.known().sentinels();
        let is_old = |answer: &Answer| self.known().is_old(answer.epoch);
        let (sentinel, answer) = self.asking.first_that_is_new(sentinels, is_old).await?;
        let primary = self.primary(&answer);
        let address = primary.address.clone();
        self.learn(&sentinel, answer, |known| known.choose(primary));
        Ok(address)
    }

    /// A sentinel said this by itself: it counts if it is newer.
    fn hear(&self, sentinel: &Address, answer: Answer) {
        let primary = self.primary(&answer);
        self.learn(sentinel, answer, |known| known.hear(primary));
    }

    /// Remembers an answer, and tells everyone if the primary is another one thereby.
    fn learn(&self, sentinel: &Address, answer: Answer, change: impl FnOnce(&mut Known) -> Option<(Address, Address)>) {
        let moved = {
            let mut known = self.known();
            known.answered(sentinel, answer.others);
            change(&mut known)
        };
        if let Some((from, to)) = moved {
            let name = &self.asking.primary;
            tracing::info!(primary = %name, %sentinel, %from, %to, "the primary has become another server");
            self.switches.send_modify(|switches| *switches = switches.wrapping_add(1));
        }
    }

    fn primary(&self, answer: &Answer) -> Primary {
        let (host, port) = answer.primary.clone();
        Primary { address: Address::Tcp { host, port, tls: self.server_tls }, epoch: answer.epoch }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
