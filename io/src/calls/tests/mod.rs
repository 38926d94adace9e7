//! The calls against a real redis-server, one server a test.

mod acquire;
mod admin;
mod cost;
mod epoch;
mod finish;
mod limits;
mod look;
mod partitions;
mod prepare;
mod renew;
mod smoke;
mod suspects;

use std::{future::Future, time::Duration};

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    config::{Config, Settings},
    id::{Attempt, ConsumerId, EntryId, Identity, StreamName, Token},
    keys::Keys,
    streams::call::*,
    trouble::Trouble,
};

use super::{Calls, admin::ToAnnounce};
use crate::wire::server::Redis;

/// A consumer on a connection of its own.
struct Peer {
    calls: Calls,
    connection: MultiplexedConnection,
    incarnation: u64,
    number: u64,
}

/// The lease time in these tests.
const TTL: Duration = Duration::from_secs(2);

fn settings() -> Settings {
    Settings {
        lease_ttl: TTL,
        heartbeat: Duration::from_millis(600),
        call_timeout: Duration::from_secs(1),
        ..Settings::default()
    }
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

/// Runs a test on a server of its own.
fn on_redis<F: Future<Output = ()>>(arguments: &[&str], test: impl FnOnce(Redis) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { test(Redis::start(arguments).await).await });
}

impl Peer {
    async fn new(redis: &Redis, consumer: &str) -> Peer {
        Peer::with(redis, consumer, settings(), false).await
    }

    async fn with(redis: &Redis, consumer: &str, settings: Settings, resp3: bool) -> Peer {
        let keys = Keys::plain("svc").unwrap();
        let config = Config::new(settings).unwrap();
        let incarnation = consumer.bytes().fold(0, |h, b| h * 31 + u64::from(b));
        let calls = Calls::new(keys, ConsumerId::named(consumer).unwrap(), config, Some(100), incarnation);
        Peer { calls, connection: redis.connect(resp3).await, incarnation, number: 0 }
    }

    async fn call(&mut self, call: Call) -> Result<Answer, Trouble> {
        self.calls.execute(&mut self.connection, &call).await
    }

    /// A plain command, written as one line; `\x20` is a space inside an argument.
    async fn raw(&mut self, line: &str) -> Value {
        let mut words = line.split(' ').map(|word| word.replace("\\x20", " "));
        let mut cmd = redis::cmd(&words.next().unwrap());
        for word in words {
            cmd.arg(word);
        }
        match super::script::send(&mut self.connection, &cmd).await {
            Ok(value) => value,
            Err(error) => panic!("{line}: {error}"),
        }
    }

    async fn text(&mut self, line: &str) -> String {
        super::value::text(&self.raw(line).await).unwrap_or_default().into_owned()
    }

    async fn int(&mut self, line: &str) -> i64 {
        match self.raw(line).await {
            Value::Int(n) => n,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// A service that exists, on a server that the fleet has settled on.
    async fn settle(&mut self) -> Identity {
        let Answer::Prepared(server) = self.call(Call::Prepare).await.unwrap() else { panic!() };
        let id = server.identity.as_str().to_owned();
        self.raw(&format!("HSET svc-epoch id {id} ttl 2000")).await;
        server.identity
    }

    async fn announce(&mut self, stream: &str) -> EntryId {
        let item = ToAnnounce { stream: name(stream), info: None, once: None };
        self.calls.announce(&mut self.connection, &[item]).await.pop().unwrap().unwrap()
    }

    /// Announces and takes.
    async fn given(&mut self, stream: &str) -> EntryId {
        let entry = self.announce(stream).await;
        self.take(1_000).await;
        entry
    }

    async fn take(&mut self, count: usize) -> Vec<EntryId> {
        match self.call(Call::Take { count, share: None }).await.unwrap() {
            Answer::Taken { deliveries, .. } => deliveries.into_iter().map(|d| d.entry).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn attempt(&mut self) -> Attempt {
        self.number += 1;
        Attempt { incarnation: self.incarnation, number: self.number }
    }

    fn item(&mut self, entry: EntryId, stream: &str) -> AcquireItem {
        AcquireItem { entry, stream: name(stream), attempt: self.attempt(), other: None, fresh: false }
    }

    async fn acquire_items(&mut self, items: &[AcquireItem]) -> Vec<Acquired> {
        let call = AcquireCall { items: items.to_vec(), identity: Identity::new(""), floor: Token(0) };
        match self.call(Call::Acquire(call)).await.unwrap() {
            Answer::Acquired(all) => all,
            other => panic!("{other:?}"),
        }
    }

    async fn acquire_item(&mut self, item: &AcquireItem) -> Acquired {
        self.acquire_items(std::slice::from_ref(item)).await.pop().unwrap()
    }

    /// Owns; panics if it is not granted.
    async fn own(&mut self, entry: EntryId, stream: &str) -> RenewItem {
        let item = self.item(entry, stream);
        match self.acquire_item(&item).await {
            Acquired::Granted(grant) => {
                RenewItem { entry, stream: item.stream, attempt: item.attempt, token: grant.token }
            }
            other => panic!("{other:?}"),
        }
    }

    async fn renew(&mut self, items: &[RenewItem], recreate: Option<&str>) -> Renewed {
        let call = RenewCall { items: items.into(), recreate: recreate.map(Into::into) };
        match self.call(Call::Renew(call)).await.unwrap() {
            Answer::Renewed(renewed) => renewed,
            other => panic!("{other:?}"),
        }
    }

    async fn done(&mut self, item: &RenewItem, identity: &Identity) -> Finished {
        let item = DoneItem {
            entry: item.entry,
            stream: item.stream.clone(),
            attempt: item.attempt,
            identity: identity.clone(),
        };
        match self.call(Call::Done(vec![item])).await.unwrap() {
            Answer::Done(mut all) => all.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn release(&mut self, item: &RenewItem, failure: Option<Failure>) -> Released {
        let item = ReleaseItem { entry: item.entry, stream: item.stream.clone(), attempt: item.attempt, failure };
        match self.call(Call::Release(vec![item])).await.unwrap() {
            Answer::Released(mut all) => all.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass for an entry: as if nobody had touched it for so long.
    async fn idle(&mut self, entry: EntryId, idle_ms: u64) {
        let pending = self.raw(&format!("XPENDING svc-input svc-group {entry} {entry} 1")).await;
        let Value::Array(list) = pending else { panic!("{pending:?}") };
        let Value::Array(parts) = &list[0] else { panic!("{list:?}") };
        let owner = super::value::text(&parts[1]).unwrap().into_owned();
        self.raw(&format!("XCLAIM svc-input svc-group {owner} 0 {entry} IDLE {idle_ms} JUSTID")).await;
    }
}
