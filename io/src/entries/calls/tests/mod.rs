//! The calls against a real server, one server a test.

mod aside;
mod commit;
mod cost;
mod limits;
mod random;
mod read;
mod refused;
mod smoke;
mod writes;

use std::{future::Future, time::Duration};

use redis::{RedisConnectionInfo, Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    entries::call::*,
    id::{Attempt, ConsumerId, EntryId, StreamName},
    keys::Keys,
    trouble::{Trouble, TroubleKind},
};

use super::{Calls, value};
use crate::wire::{script, server::Redis};

/// The consumer `a` of the service `svc`, on a connection of its own.
struct Peer {
    calls: Calls,
    connection: MultiplexedConnection,
}

/// Its ownership of every stream in these tests.
const ATTEMPT: Attempt = Attempt { incarnation: 0xab, number: 3 };
/// The announcement of every stream in these tests.
const ENTRY: EntryId = EntryId { ms: 7, seq: 1 };

/// Runs a test on a server of its own.
fn on_redis<F: Future<Output = ()>>(arguments: &[&str], test: impl FnOnce(Redis) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { test(Redis::start(arguments).await).await });
}

fn id(text: &str) -> EntryId {
    text.parse().unwrap()
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| (bytes(name), bytes(value))).collect()
}

fn key(text: &str) -> Key {
    text.as_bytes().into()
}

fn mark(number: u64) -> Option<Mark> {
    Some(Mark { attempt: ATTEMPT, number })
}

fn record(position: &str, read: Option<u64>, mark: Option<Mark>) -> Record {
    Record { position: id(position), read, mark }
}

/// A commit of a position alone, of a stream with no commit with writes.
fn position(of: &str, from: &str, to: &str) -> CommitItem {
    CommitItem {
        entry: ENTRY,
        stream: stream(of),
        attempt: ATTEMPT,
        from: (id(from), None),
        to: record(to, None, None),
        writes: [].into(),
    }
}

/// The first commit with writes, at 1-0.
fn with(of: &str, writes: impl Into<std::sync::Arc<[Write]>>) -> CommitItem {
    CommitItem { to: record("1-0", None, mark(1)), writes: writes.into(), ..position(of, "0-0", "1-0") }
}

fn calls(keys: Keys) -> Calls {
    Calls::new(keys, ConsumerId::named("a").unwrap(), Some(1_000))
}

impl Peer {
    async fn new(redis: &Redis) -> Peer {
        Peer::with(redis, Keys::plain("svc").unwrap(), false).await
    }

    async fn with(redis: &Redis, keys: Keys, resp3: bool) -> Peer {
        Peer { calls: calls(keys), connection: redis.connect(resp3).await }
    }

    /// A peer that logs in as this user.
    async fn user(redis: &Redis, name: &str) -> Peer {
        let info = RedisConnectionInfo::default().set_username(name).set_password("pw");
        Peer { calls: calls(Keys::plain("svc").unwrap()), connection: redis.login(false, info).await }
    }

    /// A peer that owns the stream `s`.
    async fn owner(redis: &Redis) -> Peer {
        let mut peer = Peer::new(redis).await;
        peer.own("s").await;
        peer
    }

    async fn own(&mut self, name: &str) {
        let lease = self.calls.0.lease(&stream(name), ENTRY);
        self.raw(&["SET", &lease, "redis-consumer-a#00000000000000ab.3"]).await;
    }

    async fn call(&mut self, call: Call) -> Result<Answer, Trouble> {
        self.calls.execute(&mut self.connection, &call).await
    }

    async fn try_raw(&mut self, words: &[&str]) -> Result<Value, redis::RedisError> {
        let mut cmd = redis::Cmd::new();
        for word in words {
            cmd.arg(word);
        }
        script::send(&mut self.connection, &cmd).await
    }

    async fn raw(&mut self, words: &[&str]) -> Value {
        self.try_raw(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// A plain command, written as one line.
    async fn line(&mut self, line: &str) -> Value {
        self.raw(&line.split(' ').collect::<Vec<_>>()).await
    }

    async fn text(&mut self, line: &str) -> String {
        match self.line(line).await {
            Value::Int(n) => n.to_string(),
            value => value::text(&value).unwrap_or_default().into_owned(),
        }
    }

    /// The major version of the server.
    async fn major(&mut self) -> u32 {
        let info = self.text("INFO server").await;
        crate::wire::info::Info::new(info).major().unwrap()
    }

    async fn commit_all(&mut self, items: Vec<CommitItem>) -> Vec<Committed> {
        match self.call(Call::Commit(items)).await {
            Ok(Answer::Committed(all)) => all,
            other => panic!("{other:?}"),
        }
    }

    async fn commit(&mut self, item: CommitItem) -> Committed {
        self.commit_all(vec![item]).await.pop().unwrap()
    }

    /// Commits with writes; why one was rejected.
    async fn rejected(&mut self, writes: impl Into<std::sync::Arc<[Write]>>) -> (usize, String) {
        match self.commit(with("s", writes)).await {
            Committed::Rejected(index, why) => (index, why.into()),
            other => panic!("{other:?}"),
        }
    }

    /// As `rejected`, of a stream that has a record already.
    async fn rejected_again(&mut self, writes: impl Into<std::sync::Arc<[Write]>>) -> (usize, String) {
        self.line("DEL svc-checkpoints").await;
        self.rejected(writes).await
    }

    /// The record of a stream as it stands.
    async fn stored(&mut self, name: &str) -> String {
        self.text(&format!("HGET svc-checkpoints {name}")).await
    }

    async fn fetch(&mut self, items: &[(&str, &str, usize)]) -> Vec<Fetched> {
        let item =
            |&(name, after, count): &(&str, &str, usize)| FetchItem { stream: stream(name), after: id(after), count };
        match self.call(Call::Fetch(items.iter().map(item).collect())).await.unwrap() {
            Answer::Fetched(all) => all,
            other => panic!("{other:?}"),
        }
    }

    async fn wait(&mut self, streams: &[(&str, &str)], block_ms: u64) -> Result<Vec<usize>, Trouble> {
        let streams = streams.iter().map(|(name, after)| (stream(name), id(after))).collect();
        match self.call(Call::Wait { streams, block: Duration::from_millis(block_ms) }).await? {
            Answer::Waited(all) => Ok(all),
            other => panic!("{other:?}"),
        }
    }

    async fn open(&mut self, items: &[(&str, bool)]) -> Result<Vec<Opened>, Trouble> {
        let items = items.iter().map(|&(name, last)| OpenItem { stream: stream(name), last }).collect();
        match self.call(Call::Open(items)).await? {
            Answer::Opened(all) => Ok(all),
            other => panic!("{other:?}"),
        }
    }

    async fn set_aside(&mut self, items: Vec<AsideItem>) -> Result<Vec<Aside>, Trouble> {
        match self.call(Call::SetAside(items)).await? {
            Answer::SetAside(all) => Ok(all),
            other => panic!("{other:?}"),
        }
    }
}
