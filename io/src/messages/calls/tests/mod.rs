//! The calls against a real server, one server a test.

mod cost;
mod fence;
mod limits;
mod prepare;
mod rate;
mod reclaim;
mod send;
mod settle;
mod smoke;
mod status;
mod sweep;

use std::{future::Future, time::Duration};

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    id::EntryId,
    messages::{Answer, Call, Config, Consumer, Keys, Settings, call::*},
    trouble::Trouble,
};

use super::{Calls, value};
use crate::wire::{script, server::Redis};

/// A consumer of the group `g` on the stream `m`, on a connection of its own.
struct Peer {
    calls: Calls,
    connection: MultiplexedConnection,
}

/// How long a message may be idle in these tests.
const IDLE: Duration = Duration::from_secs(2);

fn settings() -> Settings {
    Settings {
        reclaim_idle: IDLE,
        block: Duration::from_millis(10),
        reclaim_interval: Duration::from_millis(100),
        call_timeout: Duration::from_millis(500),
        ..Settings::default()
    }
}

/// Runs a test on a server of its own.
fn on_redis<F: Future<Output = ()>>(arguments: &[&str], test: impl FnOnce(Redis) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { test(Redis::start(arguments).await).await });
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn body(text: &str) -> Fields {
    fields(&[("body", text)])
}

impl Peer {
    async fn new(redis: &Redis, consumer: &str) -> Peer {
        Peer::with(redis, consumer, settings(), false).await
    }

    /// A peer that has prepared the group.
    async fn ready(redis: &Redis, consumer: &str) -> Peer {
        let mut peer = Peer::new(redis, consumer).await;
        peer.call(Call::Prepare).await.unwrap();
        peer
    }

    async fn with(redis: &Redis, consumer: &str, settings: Settings, resp3: bool) -> Peer {
        Peer { calls: calls(consumer, "g", settings), connection: redis.connect(resp3).await }
    }

    fn me(&self) -> String {
        self.calls.0.consumer.as_str().to_owned()
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
        match script::send(&mut self.connection, &cmd).await {
            Ok(value) => value,
            Err(error) => panic!("{line}: {error}"),
        }
    }

    async fn text(&mut self, line: &str) -> String {
        value::text(&self.raw(line).await).unwrap_or_default().into_owned()
    }

    async fn int(&mut self, line: &str) -> i64 {
        match self.raw(line).await {
            Value::Int(n) => n,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// Sends a message as a Go producer does.
    async fn add(&mut self, text: &str) -> EntryId {
        value::entry_id(&self.raw(&format!("XADD m * body {text}")).await).unwrap()
    }

    async fn read(&mut self, count: usize) -> Vec<Hold> {
        match self.call(Call::Read { count, block: Duration::from_millis(1) }).await.unwrap() {
            Answer::Read(all) => all.into_iter().map(|(entry, _)| Hold { entry, deliveries: 1 }).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Sends and reads.
    async fn given(&mut self, text: &str) -> Hold {
        let entry = self.add(text).await;
        let hold = self.read(1_000).await.pop().unwrap();
        assert_eq!(hold.entry, entry);
        hold
    }

    async fn due(&mut self, count: usize) -> (Vec<Delivery>, Option<Duration>) {
        match self.call(Call::Due { count }).await.unwrap() {
            Answer::Due { deliveries, next, .. } => (deliveries, next),
            other => panic!("{other:?}"),
        }
    }

    /// Takes the one message that is due.
    async fn take(&mut self) -> Delivery {
        let (mut due, _) = self.due(10).await;
        assert_eq!(due.len(), 1, "{due:?}");
        due.pop().unwrap()
    }

    async fn mark(&mut self, hold: Hold, mark: Mark) -> Fenced {
        match self.call(Call::Mark(vec![MarkItem { hold, mark }])).await.unwrap() {
            Answer::Marked(mut all) => all.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn dying(&mut self, hold: Hold, error: &str) -> Fenced {
        self.mark(hold, Mark::Dying { reason: Reason::Failed, error: Some(error.into()) }).await
    }

    async fn refresh(&mut self, hold: Hold) -> Fenced {
        match self.call(Call::Refresh(vec![hold])).await.unwrap() {
            Answer::Refreshed(mut all) => all.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn park_for(&mut self, hold: Hold, delay_ms: u64, failure: Option<&str>) -> Fenced {
        let item = ParkItem { hold, delay: Duration::from_millis(delay_ms), failure: failure.map(Into::into) };
        match self.call(Call::Park(vec![item])).await.unwrap() {
            Answer::Parked(mut all) => all.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn park(&mut self, hold: Hold, failure: Option<&str>) -> Fenced {
        self.park_for(hold, 0, failure).await
    }

    async fn bury_item(&mut self, hold: Hold, reason: Reason, gone: Option<Fields>) -> Fenced {
        let item = BuryItem { hold, reason, error: "no such order".into(), gone };
        match self.call(Call::Bury(vec![item])).await.unwrap() {
            Answer::Buried(mut all) => all.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn bury(&mut self, hold: Hold) -> Fenced {
        self.bury_item(hold, Reason::Rejected, None).await
    }

    async fn ack(&mut self, entry: EntryId) -> u64 {
        match self.call(Call::Ack(vec![AckItem { entry, recorded: true, processed: None }])).await.unwrap() {
            Answer::Acked(n) => n,
            other => panic!("{other:?}"),
        }
    }

    /// The record of a message as it stands.
    async fn record(&mut self, entry: EntryId) -> String {
        self.text(&format!("HGET m:g:attempts {entry}")).await
    }

    /// Who has a message, for how long in ms, and how often it was delivered.
    async fn pending(&mut self, entry: EntryId) -> Option<(String, u64, u64)> {
        let Value::Array(all) = self.raw(&format!("XPENDING m g {entry} {entry} 1")).await else { panic!() };
        let Value::Array(parts) = all.first()? else { panic!() };
        let owner = value::text(&parts[1])?.into_owned();
        Some((owner, value::number(&parts[2])?, value::number(&parts[3])?))
    }

    /// Lets time pass for a message: as if nobody had touched it for so long.
    async fn idle(&mut self, entry: EntryId, idle_ms: u64) {
        let (owner, ..) = self.pending(entry).await.unwrap();
        self.raw(&format!("XCLAIM m g {owner} 0 {entry} IDLE {idle_ms} JUSTID")).await;
    }
}

fn calls(consumer: &str, group: &str, settings: Settings) -> Calls {
    let consumer = Consumer::new(consumer, 7).unwrap();
    Calls::new(Keys::plain("m", group).unwrap(), consumer, Config::new(settings).unwrap())
}
