//! Who announces streams: a host of its own, which the consumers' faults do not hit, but Redis's do.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use streamkeeper::{AskError, Client, Connect, Link, Service};
use streamkeeper_core::id::LEASE_SEPARATOR;
use tokio::sync::mpsc;

use super::{SERVICE, actor::Orders, scene::Scene, sender::Sender, servers};
use crate::{
    facts::What,
    plan::{Sending, Topology},
    stage::Boot,
};

/// How long a producer waits before it says again what certainly was not announced.
pub(super) const AGAIN: Duration = Duration::from_millis(300);

/// What a producer is told.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Announce these streams.
    Announce(Vec<String>),
    /// Announce something that is no announcement, of this kind.
    Malformed(u8),
    /// Send messages, numbered from here on.
    Send(Sending, u64),
}

/// The producers, as the director knows them.
pub(crate) struct Producer {
    connect: Arc<dyn Connect>,
    topology: Topology,
    scene: Scene,
    seed: u64,
    orders: mpsc::UnboundedSender<Order>,
    told: RefCell<Option<mpsc::UnboundedReceiver<Order>>>,
}

impl Producer {
    pub(crate) fn new(connect: Arc<dyn Connect>, topology: Topology, scene: Scene, seed: u64) -> Rc<Producer> {
        let (orders, told) = mpsc::unbounded_channel();
        Rc::new(Producer { connect, topology, scene, seed, orders, told: RefCell::new(Some(told)) })
    }

    /// What their host runs: producers, and whoever asks what everybody believes.
    pub(crate) fn boot(self: &Rc<Self>) -> Boot {
        let this = self.clone();
        Rc::new(move || {
            let this = this.clone();
            async move {
                if let Some(told) = this.told.take() {
                    futures::join!(this.work(told), probe(&this.scene));
                }
            }
            .boxed_local()
        })
    }

    async fn work(&self, mut told: mpsc::UnboundedReceiver<Order>) {
        let sender = match Sender::new(self.connect.clone(), self.scene.clone(), self.seed) {
            Ok(sender) => sender,
            Err(error) => return self.scene.note(What::Note { text: format!("no sender: {error}") }),
        };
        let service = Client::builder(SERVICE).connect_with(self.connect.clone()).metrics(None);
        let service = service.hash_tagged(self.topology == Topology::Cluster).service();
        let service = match service {
            Ok(service) => service,
            Err(error) => return self.scene.note(What::Note { text: format!("no producer: {error}") }),
        };
        let dice = RefCell::new(SmallRng::seed_from_u64(self.seed));
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(()) = under_way.next() => {}
                Some(order) = told.recv() => under_way.push(self.obey(order, &service, &sender, &dice)),
            }
        }
    }

    async fn obey(&self, order: Order, service: &Service, sender: &Sender, dice: &RefCell<SmallRng>) {
        match order {
            Order::Send(sending, first) => sender.send(&sending, first).await,
            Order::Announce(streams) => self.announce(streams, service, dice).await,
            Order::Malformed(kind) => self.announce_malformed(kind).await,
        }
    }

    /// Announces streams, and those again that certainly were not announced. What was not answered is repeated now and
    /// then: so a stream is announced twice.
    async fn announce(&self, mut streams: Vec<String>, service: &Service, dice: &RefCell<SmallRng>) {
        while !streams.is_empty() {
            let results = service.announce_many(streams.iter().map(String::as_str)).await;
            let mut again = Vec::new();
            for (stream, result) in streams.into_iter().zip(results) {
                let name: Arc<str> = stream.as_str().into();
                match result {
                    Ok(entry) => {
                        self.scene.note(What::Announced { stream: name, entry: entry.to_string().into() });
                    }
                    Err(AskError::Unanswered(_)) => {
                        self.scene.note(What::AnnounceUnknown { stream: name });
                        if dice.borrow_mut().random_bool(0.5) {
                            again.push(stream);
                        }
                    }
                    Err(AskError::Malformed { .. }) => {}
                    Err(_) => again.push(stream),
                }
            }
            streams = again;
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Tries until it was sent: whether it arrived is nobody's concern.
    async fn announce_malformed(&self, kind: u8) {
        loop {
            if let Ok(Ok(mut redis)) = tokio::time::timeout(Duration::from_secs(1), self.connected()).await {
                let (field, value) = malformed(kind);
                let mut add = redis::cmd("XADD");
                add.arg(lbs(self.topology)).arg("*").arg(field).arg(value);
                let _ = redis.send_packed_command(&add).await;
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn connected(&self) -> redis::RedisResult<MultiplexedConnection> {
        let bytes = self.connect.open(Link::Commands).await?;
        let settings = AsyncConnectionConfig::new();
        let (redis, running) = MultiplexedConnection::new_with_config(&self.connect.login(), bytes, settings).await?;
        self.connect.spawn(Box::pin(running));
        Ok(redis)
    }
}

impl Orders for Producer {
    fn tell(&self, order: Order) {
        // They run as long as the run does.
        let _ = self.orders.send(order);
    }
}

/// The LBS of the simulated service.
fn lbs(topology: Topology) -> String {
    servers::keys(topology).map(|keys| keys.lbs()).unwrap_or_default()
}

/// Something that is no announcement: a field and its value.
pub(super) fn malformed(kind: u8) -> (&'static str, Vec<u8>) {
    let (field, value) = match kind % 8 {
        0 => ("other", r#"{"DataStreamName":"x"}"#.to_owned()),
        1 => ("lbs-input", "no JSON".to_owned()),
        2 => ("lbs-input", r#"{"Info":{}}"#.to_owned()),
        3 => ("lbs-input", r#"{"DataStreamName":""}"#.to_owned()),
        4 => ("lbs-input", format!(r#"{{"DataStreamName":"a{LEASE_SEPARATOR}b"}}"#)),
        5 => ("lbs-input", r#"{"DataStreamName":7}"#.to_owned()),
        6 => ("lbs-input", String::new()),
        _ => return ("lbs-input", vec![0xff, 0xfe, 0x00]),
    };
    (field, value.into_bytes())
}

/// Asks everybody what they believe, every 10 ms while more than one lease of a stream is held.
async fn probe(scene: &Scene) {
    loop {
        scene.crowded().await;
        while scene.note_beliefs() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper_core::announcement::Announcement;

    use super::*;

    #[test]
    fn nothing_malformed_is_an_announcement() {
        for kind in 0..=255 {
            let (field, value) = malformed(kind);
            let read = Announcement::parse([(field.as_bytes(), value.as_slice())]);
            assert!(read.is_err(), "{kind}: {read:?}");
        }
    }
}
