//! A Redis Cluster: connections lead to the node that serves the one slot in which all keys of a service lie.
//!
//! The redis crate's own cluster client is not used: it spawns tasks, sends writes again by itself and subscribes at any
//! node (`docs/protocol.md`, "In a Redis Cluster"). What is left to do with one slot is to find its node: any node tells
//! it, and who has lost the slot tells who has it now.

mod asking;
mod map;
mod slot;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use redis::RedisConnectionInfo;
use streamkeeper_core::{link::Link, time::Time, trouble::Trouble};
use tokio::sync::watch;

use self::map::Map;
pub(crate) use self::slot::slot_of;
use super::{
    address::Address,
    connect::{ByteStream, Connect},
    credentials::Login,
    dial::Dial,
};
use crate::{clock::Clock, errors::Error};

/// For how long an answer is believed without asking again: what is opened at the same time asks once. A node that hangs
/// refuses no connection, so that only asking again finds out that another one serves its slots.
const BELIEVED: Duration = Duration::from_secs(1);

/// Connects to the node of a cluster that serves the slot of one key, and follows the slot when it moves.
pub struct Cluster(Arc<Shared>);

struct Shared {
    dial: Arc<dyn Dial>,
    /// Nodes that were given; there is at least one.
    seeds: Vec<Address>,
    login: Login,
    slot: u16,
    view: Mutex<View>,
    /// Only one at a time asks who serves the slot; the others wait for the answer.
    asking: tokio::sync::Mutex<()>,
    /// How often the slot has moved to another node.
    moves: watch::Sender<u64>,
}

/// What is known of the cluster.
#[derive(Debug, Default)]
struct View {
    /// The node that serves the slot, or did so last.
    serving: Option<Address>,
    /// When that was learnt, if it is not in doubt.
    learnt: Option<Time>,
    /// All nodes that were told of last.
    nodes: Vec<Address>,
    /// How often it was asked around.
    rounds: usize,
}

impl Cluster {
    /// Connects to the node that serves the slot of `key`, such as `{orders}-input`; all keys of a hash-tagged service lie
    /// there. `seeds` are some nodes of the cluster. Asks nobody yet: that begins with the first connection.
    ///
    /// # Errors
    /// No node was given.
    pub fn at(
        dial: Arc<dyn Dial>,
        seeds: Vec<Address>,
        login: RedisConnectionInfo,
        key: &str,
    ) -> Result<Cluster, Error> {
        if seeds.is_empty() {
            return Err(Error::Url { url: String::new(), why: "no node of the cluster was given".to_owned() });
        }
        Ok(Cluster::new(dial, seeds, Login { of_url: login, provider: None }, key))
    }

    /// Connects to the node that serves the slot of `key`. `seeds` are some nodes of the cluster, at least one.
    pub(crate) fn new(dial: Arc<dyn Dial>, seeds: Vec<Address>, login: Login, key: &str) -> Cluster {
        Cluster(Arc::new(Shared {
            dial,
            seeds,
            login,
            slot: slot_of(key),
            view: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            moves: watch::Sender::new(0),
        }))
    }
}

impl Connect for Cluster {
    fn open(&self, _link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let shared = self.0.clone();
        Box::pin(async move {
            loop {
                let address = shared.serving().await.map_err(io::Error::other)?;
                let doubt = Doubt(&shared);
                let bytes = shared.dial.dial(&address).await?;
                doubt.dispel();
                // Elsewhere it may have been learnt meanwhile that it is another one.
                if shared.view().serving.as_ref() == Some(&address) {
                    return Ok(bytes);
                }
            }
        })
    }

    fn login(&self) -> RedisConnectionInfo {
        self.0.login.of_url.clone()
    }

    fn login_now(&self) -> BoxFuture<'static, io::Result<RedisConnectionInfo>> {
        self.0.login.now()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn wrong_server(&self, _link: Link, said: &Trouble) {
        let shared = &self.0;
        let near = shared.view().serving.clone().or_else(|| shared.seeds.first().cloned());
        match near.and_then(|near| map::moved(&said.message, &near)) {
            Some((slot, address)) if slot == shared.slot => shared.served_by(address),
            // About a key that is not one of ours: our node is the right one.
            Some(_) => {}
            None => shared.view().learnt = None,
        }
    }

    fn asks_role(&self) -> bool {
        true
    }

    fn moved(&self) -> BoxFuture<'static, ()> {
        let shared = self.0.clone();
        let mut moves = shared.moves.subscribe();
        Box::pin(async move {
            // The sender is in `shared`, so it cannot be gone.
            let _ = moves.changed().await;
            drop(shared);
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.dial.spawn(task);
    }

    fn drive(&self, name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        self.0.dial.drive(name, driver)
    }

    fn clock(&self) -> Clock {
        self.0.dial.clock()
    }
}

impl Shared {
    /// The node that serves the slot: as was learnt just now, or as the nodes say.
    async fn serving(&self) -> Result<Address, Trouble> {
        if let Some(address) = self.believed() {
            return Ok(address);
        }
        let _asking = self.asking.lock().await;
        if let Some(address) = self.believed() {
            return Ok(address);
        }
        let (address, nodes) = self.ask_around().await?;
        self.view().nodes = nodes;
        // Who was sent away by a node meanwhile knows better than who asked before.
        if let Some(address) = self.believed() {
            return Ok(address);
        }
        self.served_by(address.clone());
        Ok(address)
    }

    fn describe(&self) -> String {
        let seeds: Vec<_> = self.seeds.iter().map(Address::to_string).collect();
        format!("the cluster at {}", seeds.join(", "))
    }

    fn believed(&self) -> Option<Address> {
        let now = self.dial.clock().now();
        let view = self.view();
        view.learnt.filter(|learnt| now.since(*learnt) < BELIEVED).and(view.serving.clone())
    }

    /// It was learnt that this node serves the slot.
    fn served_by(&self, address: Address) {
        let now = self.dial.clock().now();
        let mut view = self.view();
        view.learnt = Some(now);
        let before = view.serving.replace(address.clone());
        drop(view);
        if let Some(before) = before.filter(|before| *before != address) {
            tracing::info!(slot = self.slot, %before, now = %address, "another node of the cluster serves the slot now");
            self.moves.send_modify(|moves| *moves += 1);
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node that is being dialled: if that fails, or nobody waits for it any longer, who serves the slot is asked again.
struct Doubt<'a>(&'a Shared);

impl Doubt<'_> {
    fn dispel(self) {
        std::mem::forget(self);
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        self.0.view().learnt = None;
    }
}
