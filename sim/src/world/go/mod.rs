//! A consumer of redis-stream-client-go beside ours: it follows the Go library's protocol, defects included. What the
//! library sends is in `docs/migration.md`; where it does harm, the judges speak only of our own consumers.

mod wire;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{Rng, rngs::SmallRng};
use redis::{RedisResult, Value, streams::StreamReadReply};
use streamkeeper::Connect;
use streamkeeper_core::{id::LEASE_SEPARATOR, keys::Keys};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use wire::{Wire, subscribe};

use super::{consumer::Order, scene::Scene};
use crate::{
    facts::{Owned, What, Who},
    plan::{App, Wish},
};

/// redsync's `touchWithSetNX`, byte for byte: it extends a lease, or takes it again if it has lapsed.
const EXTEND: &str = "
\tif redis.call(\"GET\", KEYS[1]) == ARGV[1] then
\t\treturn redis.call(\"PEXPIRE\", KEYS[1], ARGV[2])
\telseif redis.call(\"SET\", KEYS[1], ARGV[1], \"PX\", ARGV[2], \"NX\") then
\t\treturn 1
\telse
\t\treturn 0
\tend
";

/// redsync's `delete`, byte for byte.
const UNLOCK: &str = "
\tlocal val = redis.call(\"GET\", KEYS[1])
\tif val == ARGV[1] then
\t\treturn redis.call(\"DEL\", KEYS[1])
\telseif val == false then
\t\treturn -1
\telse
\t\treturn 0
\tend
";

/// Startup recovery takes over what nobody has touched for so long, in milliseconds.
const RECOVER_IDLE_MS: u64 = 40_000;
/// How often the reader's errors in a row are survived.
const READ_ERRORS: u32 = 5;

/// One process of a Go consumer. Cheap to clone.
#[derive(Clone)]
pub(super) struct Peer(Arc<Process>);

struct Process {
    who: Who,
    id: String,
    ttl_ms: u64,
    keys: Keys,
    app: App,
    connect: Arc<dyn Connect>,
    scene: Scene,
    wire: Wire,
    dice: Mutex<SmallRng>,
    /// By stream, as the library keeps them: a second announcement of a stream replaces the first.
    owned: Mutex<BTreeMap<String, Held>>,
    stopped: CancellationToken,
}

#[derive(Clone, PartialEq, Eq)]
struct Held {
    lease: String,
    entry: String,
}

impl Peer {
    #[expect(clippy::too_many_arguments, reason = "what a process consists of")]
    pub(super) fn new(
        who: Who,
        id: String,
        ttl_ms: u64,
        keys: Keys,
        app: &App,
        connect: Arc<dyn Connect>,
        scene: Scene,
        dice: SmallRng,
    ) -> Peer {
        Peer(Arc::new(Process {
            who,
            id,
            ttl_ms,
            keys,
            app: app.clone(),
            wire: Wire::new(connect.clone()),
            connect,
            scene,
            dice: Mutex::new(dice),
            owned: Mutex::default(),
            stopped: CancellationToken::new(),
        }))
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// Its start has failed.
    pub(super) async fn run(&self, told: &mut mpsc::UnboundedReceiver<Order>) -> Result<(), String> {
        // Dropped at the end: everything that was spawned ends with it.
        let _ends = self.0.stopped.clone().drop_guard();
        self.start().await.map_err(|error| error.to_string())?;
        self.0.scene.note(What::Ready { who: self.0.who });
        while let Some(order) = told.recv().await {
            match order {
                Order::Wish(stream, Wish::Done) => {
                    self.clone().spawn(move |peer| async move { peer.done(&stream).await });
                }
                // The library has no way to give a stream back.
                Order::Wish(..) => {}
                Order::Finish => self.finish_all().await,
                Order::Drain(_) => {
                    self.0.scene.note(What::Draining { who: self.0.who });
                    // Its `Done()`: everything that it owns is finished, not handed over.
                    self.finish_all().await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn start(&self) -> RedisResult<()> {
        let (lbs, group) = (self.0.keys.lbs(), self.0.keys.group());
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&lbs).arg(&group).arg("$").arg("MKSTREAM");
        if let Err(error) = self.0.wire.query::<Value>(&create).await
            && error.code() != Some("BUSYGROUP")
        {
            return Err(error);
        }
        let flags: Vec<String> =
            self.0.wire.query(redis::cmd("CONFIG").arg("GET").arg("notify-keyspace-events")).await?;
        if flags.get(1).is_none_or(String::is_empty) {
            let mut set = redis::cmd("CONFIG");
            self.0.wire.query::<Value>(set.arg("SET").arg("notify-keyspace-events").arg("KEx")).await?;
        }
        let pattern = Keys::expiry_pattern(0);
        let subscription = subscribe(&*self.0.connect, &pattern).await?;
        self.clone().spawn(|peer| async move { peer.listen(pattern, subscription).await });
        self.recover().await?;
        self.clone().spawn(|peer| async move { peer.read().await });
        Ok(())
    }

    /// Takes over whatever nobody has touched for long. Aborts at the first that cannot be locked.
    async fn recover(&self) -> RedisResult<()> {
        let mut command = redis::cmd("XAUTOCLAIM");
        command.arg(self.0.keys.lbs()).arg(self.0.keys.group()).arg(&self.0.id).arg(RECOVER_IDLE_MS).arg("0-0");
        let (_, entries, _): (String, Vec<Entry>, Vec<String>) =
            self.0.wire.query(command.arg("COUNT").arg(1_000)).await?;
        for (entry, fields) in entries {
            let Some(stream) = fields.get(1).and_then(|payload| stream_of(payload)) else { return Ok(()) };
            if !self.lock(&stream, &entry, true).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes everything new at once. A malformed announcement or one that cannot be locked ends the reader.
    async fn read(&self) {
        let wire = Wire::patient(self.0.connect.clone());
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(self.0.keys.group()).arg(&self.0.id).arg("BLOCK").arg(0);
        command.arg("STREAMS").arg(self.0.keys.lbs()).arg(">");
        let mut errors = 0;
        while errors < READ_ERRORS {
            let Ok(reply) = wire.query::<Option<StreamReadReply>>(&command).await else {
                errors += 1;
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            errors = 0;
            for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids) {
                let payload = entry.map.get("lbs-input").cloned().and_then(|value| redis::from_redis_value(value).ok());
                let stream = payload.and_then(|payload: String| stream_of(&payload));
                let locked = match &stream {
                    Some(stream) => self.lock(stream, &entry.id, false).await.unwrap_or(false),
                    None => false,
                };
                if !locked {
                    return;
                }
            }
        }
    }

    /// Hears of leases that have lapsed, and claims each, as an application does that answers StreamExpired with Claim.
    async fn listen(
        &self,
        pattern: String,
        subscription: (redis::aio::MultiplexedConnection, mpsc::UnboundedReceiver<redis::PushInfo>),
    ) {
        let mut subscription = Some(subscription);
        loop {
            if let Some((_connection, mut pushed)) = subscription.take() {
                while let Some(push) = pushed.recv().await {
                    if push.kind == redis::PushKind::Disconnection {
                        break;
                    }
                    if let Some(lease) = expired(&push) {
                        self.clone().spawn(move |peer| async move { drop(peer.claim(&lease).await) });
                    }
                }
            }
            sleep(Duration::from_millis(100)).await;
            subscription = subscribe(&*self.0.connect, &pattern).await.ok();
        }
    }

    /// The entry first, the lock second.
    async fn claim(&self, lease: &str) -> RedisResult<()> {
        let Some((stream, entry)) = lease.split_once(LEASE_SEPARATOR) else { return Ok(()) };
        let mut command = redis::cmd("XCLAIM");
        command.arg(self.0.keys.lbs()).arg(self.0.keys.group()).arg(&self.0.id).arg(self.0.ttl_ms).arg(entry);
        let claimed: Vec<Value> = self.0.wire.query(&command).await?;
        if !claimed.is_empty() {
            self.lock(stream, entry, true).await?;
        }
        Ok(())
    }

    /// redsync's Lock: SET NX, 32 times, 10 ms apart; what it fails to lock it gives free if it holds its own value.
    async fn lock(&self, stream: &str, entry: &str, takeover: bool) -> RedisResult<bool> {
        let lease = format!("{stream}{LEASE_SEPARATOR}{entry}");
        let mut set = redis::cmd("SET");
        set.arg(&lease).arg(&self.0.id).arg("PX").arg(self.0.ttl_ms).arg("NX");
        for _ in 0..32 {
            if self.0.wire.query::<Option<String>>(&set).await?.is_some() {
                self.locked(stream, Held { lease, entry: entry.to_owned() }, takeover);
                return Ok(true);
            }
            self.0.wire.script::<i64>(UNLOCK, &lease, &[&self.0.id]).await?;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(false)
    }

    fn locked(&self, stream: &str, held: Held, takeover: bool) {
        if let Some(before) = self.owned().insert(stream.to_owned(), held.clone()) {
            self.note_end(stream, &before, "vanished");
        }
        self.0.scene.note(What::Added { who: self.0.who, owned: owned_as(stream, &held.entry), takeover });
        let name = stream.to_owned();
        self.clone().spawn(move |peer| async move { peer.keep(&name, &held).await });
        let name = stream.to_owned();
        self.clone().spawn(move |peer| async move { peer.work(&name).await });
    }

    /// Extends a lease every half of its time, until that fails once.
    async fn keep(&self, stream: &str, held: &Held) {
        let ttl = self.0.ttl_ms.to_string();
        loop {
            sleep(Duration::from_millis(self.0.ttl_ms / 2)).await;
            if self.owned().get(stream) != Some(held) {
                return;
            }
            let extended = self.0.wire.script::<i64>(EXTEND, &held.lease, &[&self.0.id, &ttl]).await;
            if !matches!(extended, Ok(1)) {
                return self.let_go(stream, held, "taken");
            }
        }
    }

    async fn work(&self, stream: &str) {
        let Some((least, most)) = self.0.app.work_ms else { return };
        let ms = {
            let mut dice = self.0.dice.lock().unwrap_or_else(PoisonError::into_inner);
            dice.random_range(least..=most.max(least))
        };
        sleep(Duration::from_millis(ms)).await;
        self.done(stream).await;
    }

    async fn finish_all(&self) {
        let streams: Vec<String> = self.owned().keys().cloned().collect();
        for stream in streams {
            self.done(&stream).await;
        }
    }

    /// Forgets the stream first; then unlocks it, acknowledges and deletes its announcement, whoever owns it by then.
    async fn done(&self, stream: &str) {
        let Some(held) = self.owned().remove(stream) else { return };
        let owned = owned_as(stream, &held.entry);
        self.0.scene.note(What::Asked { who: self.0.who, owned, end: "done" });
        let how = match self.finish(&held).await {
            Ok(()) => "done",
            Err(_) => "unknown",
        };
        self.note_end(stream, &held, how);
    }

    async fn finish(&self, held: &Held) -> RedisResult<()> {
        let (lbs, group) = (self.0.keys.lbs(), self.0.keys.group());
        self.0.wire.script::<i64>(UNLOCK, &held.lease, &[&self.0.id]).await?;
        self.0.wire.query::<i64>(redis::cmd("XACK").arg(&lbs).arg(&group).arg(&held.entry)).await?;
        self.0.wire.query::<i64>(redis::cmd("XDEL").arg(&lbs).arg(&held.entry)).await.map(drop)
    }

    fn let_go(&self, stream: &str, held: &Held, how: &'static str) {
        let mut owned = self.owned();
        if owned.get(stream) == Some(held) {
            owned.remove(stream);
            drop(owned);
            self.note_end(stream, held, how);
        }
    }

    fn note_end(&self, stream: &str, held: &Held, how: &'static str) {
        self.0.scene.note(What::Ended { who: self.0.who, owned: owned_as(stream, &held.entry), how });
    }

    fn owned(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.0.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A goroutine: it ends with the process.
    fn spawn<F: Future<Output = ()> + Send + 'static>(self, task: impl FnOnce(Peer) -> F) {
        let (stopped, connect) = (self.0.stopped.clone(), self.0.connect.clone());
        let task = task(self);
        connect.spawn(Box::pin(async move {
            let _ = stopped.run_until_cancelled(task).await;
        }));
    }
}

/// An entry of the LBS: its id, and its fields and values by turns.
type Entry = (String, Vec<String>);

/// The lease of which a notification says that it has expired.
fn expired(push: &redis::PushInfo) -> Option<String> {
    let [_, Value::BulkString(channel), Value::BulkString(event)] = push.data.as_slice() else { return None };
    let lease = std::str::from_utf8(channel).ok()?.strip_prefix(&Keys::expiry_prefix(0))?;
    (event == b"expired").then(|| lease.to_owned())
}

/// The stream that an announcement names, as Go decodes it.
fn stream_of(payload: &str) -> Option<String> {
    let payload: serde_json::Map<String, serde_json::Value> = serde_json::from_str(payload).ok()?;
    let name = payload.iter().find(|(field, _)| field.eq_ignore_ascii_case("DataStreamName"))?.1.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// What a Go consumer owns: its leases have no token.
fn owned_as(stream: &str, entry: &str) -> Owned {
    Owned { stream: stream.into(), entry: entry.into(), token: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_are_those_of_the_go_library() {
        let hash = |code| redis::Script::new(code).get_hash().to_owned();
        assert_eq!(hash(EXTEND), "b6b55c439e02c6f52ffb8be7ec8c0d0ac816ea79");
        assert_eq!(hash(UNLOCK), "e950836ed1e694540c503ef9972b8de518044d3b");
    }

    #[test]
    fn fields_are_found_as_go_finds_them() {
        assert_eq!(stream_of(r#"{"datastreamname":"a","Info":null}"#).as_deref(), Some("a"));
        assert_eq!(stream_of(r#"{"DataStreamName":""}"#), None);
        assert_eq!(stream_of("[]"), None);
    }
}
