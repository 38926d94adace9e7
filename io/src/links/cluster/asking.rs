//! Asking the nodes of a cluster who serves the slot, until one knows.

use std::{io, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
use streamkeeper_core::{
    link::Link,
    trouble::{Trouble, TroubleKind},
};
use tokio::time::timeout;

use super::{Map, Shared};
use crate::{
    links::{
        address::Address,
        connect::{ByteStream, Connect},
        credentials::Login,
        dial::Dial,
        open::shake_hands,
    },
    wire::{script, troubles::trouble},
};

/// How long one node may take to answer.
const ANSWERED: Duration = Duration::from_secs(2);

/// How long the nodes that were asked are waited for before another one is asked, too: one that hangs takes no time from
/// those that do not.
const PATIENCE: Duration = Duration::from_millis(100);

impl Shared {
    /// The node that serves the slot, and all nodes, from the first node that knows.
    ///
    /// # Errors
    /// None of them knows: what the most telling one said, and what is to be done.
    pub(super) async fn ask_around(&self) -> Result<(Address, Vec<Address>), Trouble> {
        let mut candidates = self.candidates().into_iter();
        let mut asked = FuturesUnordered::new();
        let mut failures = Vec::new();
        loop {
            match candidates.next() {
                Some(address) => asked.push(self.ask(address)),
                None if asked.is_empty() => return Err(self.nobody_knows(failures)),
                None => {}
            }
            match timeout(PATIENCE, asked.next()).await {
                Ok(Some((_, Ok((serving, nodes))))) => return Ok((serving, nodes)),
                Ok(Some((address, Err(trouble)))) => failures.push((address, trouble)),
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// Whom to ask, in this order: another one first in each round, and the one that served the slot last, because it is
    /// the one that may have died.
    fn candidates(&self) -> Vec<Address> {
        let mut view = self.view();
        view.rounds = view.rounds.wrapping_add(1);
        let mut all: Vec<Address> = Vec::new();
        for address in view.nodes.iter().chain(&self.seeds) {
            if !all.contains(address) && view.serving.as_ref() != Some(address) {
                all.push(address.clone());
            }
        }
        if !all.is_empty() {
            let first = (view.rounds - 1) % all.len();
            all.rotate_left(first);
        }
        all.extend(view.serving.clone());
        all
    }

    async fn ask(&self, address: Address) -> (Address, Result<(Address, Vec<Address>), Trouble>) {
        let answer = timeout(ANSWERED, self.slots(&address)).await;
        let answer = answer.unwrap_or_else(|_| Err(Trouble::connection(format!("no answer within {ANSWERED:?}"))));
        let known = answer.and_then(|map| match map.serving {
            Some(serving) => Ok((serving, map.nodes)),
            None => Err(self.uncovered()),
        });
        (address, known)
    }

    async fn slots(&self, address: &Address) -> Result<Map, Trouble> {
        let node = Node { dial: self.dial.clone(), address: address.clone(), login: self.login.clone() };
        let settings = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWERED));
        let connection = shake_hands(&node, Link::Commands, ProtocolVersion::RESP2, settings, || ()).await?;
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = script::send(&mut connection.handle(), &command).await.map_err(|e| advise(trouble(&e)))?;
        Map::read(&answer, self.slot, address)
            .ok_or_else(|| Trouble::other(format!("an answer to CLUSTER SLOTS that makes no sense: {answer:?}")))
    }

    fn uncovered(&self) -> Trouble {
        let message = format!(
            "CLUSTERDOWN no node serves slot {} of the cluster: `redis-cli --cluster check` shows what is missing, \
             `--cluster fix` mends it",
            self.slot
        );
        Trouble { kind: TroubleKind::NotNow, message: message.into() }
    }

    /// The failure that says most: that a node refuses us says more than that another one is away.
    fn nobody_knows(&self, failures: Vec<(Address, Trouble)>) -> Trouble {
        let telling = failures.iter().map(|(_, trouble)| trouble.kind).max_by_key(|kind| match kind {
            TroubleKind::Connection => 0,
            TroubleKind::Other => 1,
            TroubleKind::NotNow => 2,
            _ => 3,
        });
        let said = |(address, trouble): &(Address, Trouble)| {
            let (address, said) = (address.to_string(), trouble.to_string());
            if said.contains(&address) { said } else { format!("{address}: {said}") }
        };
        let kind = telling.unwrap_or(TroubleKind::Connection);
        let texts: Vec<_> = failures.iter().filter(|(_, trouble)| trouble.kind == kind).map(said).collect();
        let message = match kind {
            TroubleKind::Connection => format!("none of its nodes answered ({})", texts.join("; ")),
            _ => texts.first().cloned().unwrap_or_default(),
        };
        Trouble { kind, message: format!("{}: {message}", self.describe()).into() }
    }
}

/// What a person can do about a node that does not tell.
fn advise(trouble: Trouble) -> Trouble {
    let text = &trouble.message;
    match trouble.kind {
        TroubleKind::Refused => {
            let message = format!("{text}; allow it: ACL SETUSER <user> +cluster|slots");
            Trouble { kind: trouble.kind, message: message.into() }
        }
        TroubleKind::Other if text.contains("cluster support disabled") => {
            Trouble::unsupported(format!("{text}: it is no node of a cluster, so give its URL as redis://…"))
        }
        _ => trouble,
    }
}

/// One node, to be asked.
struct Node {
    dial: Arc<dyn Dial>,
    address: Address,
    login: Login,
}

impl Connect for Node {
    fn open(&self, _link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        self.dial.dial(&self.address)
    }

    fn login(&self) -> RedisConnectionInfo {
        self.login.of_url.clone()
    }

    fn login_now(&self) -> BoxFuture<'static, io::Result<RedisConnectionInfo>> {
        self.login.now()
    }

    fn describe(&self) -> String {
        self.address.to_string()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.dial.spawn(task);
    }
}
