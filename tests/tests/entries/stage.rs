//! A server, a service on it, and streams with entries that are numbered.

use std::time::Duration;

use redis::{Commands, Connection};
use streamkeeper::{Announce, Builder, Client, EntryId, Lease};
use streamkeeper_tests::{flavor::Flavor, server::Server, wait};

/// The service of every test.
pub(crate) const SERVICE: &str = "svc";

pub(crate) struct Stage {
    pub(crate) server: Server,
}

impl Stage {
    pub(crate) fn on(flavor: Flavor) -> Stage {
        Stage { server: Server::start(flavor) }
    }

    pub(crate) fn connection(&self) -> Connection {
        self.server.try_connect().expect("the server answers")
    }

    /// A consumer that is not taken for dead when the machine is busy.
    pub(crate) fn consumer(&self, name: &str) -> Builder {
        let builder = Client::builder(SERVICE).redis(self.server.url()).name(name);
        builder.lease_ttl(Duration::from_secs(10)).heartbeat(Duration::from_secs(3))
    }

    pub(crate) fn announce(&self, streams: &[String]) {
        let service = Client::builder(SERVICE).redis(self.server.url()).service().expect("good settings");
        let announced = block_on(service.announce_many(streams.iter().map(Announce::new)));
        assert!(announced.iter().all(Result::is_ok), "{announced:?}");
    }

    /// Adds the numbers of `range` to a stream: entry `n + 1`-0 says `n`.
    pub(crate) fn add(&self, stream: &str, range: std::ops::Range<u64>) {
        let mut connection = self.connection();
        let mut pipe = redis::pipe();
        for n in range {
            pipe.cmd("XADD").arg(stream).arg(format!("{}-0", n + 1)).arg("body").arg(n).ignore();
        }
        pipe.query::<()>(&mut connection).expect("entries are added");
    }

    pub(crate) fn position(&self, stream: &str) -> Option<EntryId> {
        let record: Option<String> = self.connection().hget(format!("{SERVICE}-checkpoints"), stream).expect("a hash");
        record.map(|record| record.split(' ').next().unwrap_or_default().parse().expect("an id"))
    }
}

pub(crate) fn id(n: u64) -> EntryId {
    EntryId { ms: n + 1, seq: 0 }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

/// Waits until a client owns a stream.
pub(crate) async fn owned(client: &Client, stream: &str) -> Lease {
    within(async {
        loop {
            if let Some(lease) = client.lease(stream) {
                return lease;
            }
            tokio::time::sleep(wait::GLANCE).await;
        }
    })
    .await
}

/// What does not come within the limit never comes.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(wait::LIMIT, work).await.expect("it comes within the limit")
}
