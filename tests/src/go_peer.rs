//! A consumer of redis-stream-client-go, played by its exact command sequence (REDIS.md section 0): what a Rust
//! consumer meets on the wire when it shares a service with a Go one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::Connection;
use redis::streams::{StreamId, StreamReadReply};

use crate::keys::{Keys, SEPARATOR};
use crate::server::{Server, run_on};

/// The script that extends a lease (redsync's `touchWithSetNX`), byte for byte.
pub const EXTEND: &str = "
\tif redis.call(\"GET\", KEYS[1]) == ARGV[1] then
\t\treturn redis.call(\"PEXPIRE\", KEYS[1], ARGV[2])
\telseif redis.call(\"SET\", KEYS[1], ARGV[1], \"PX\", ARGV[2], \"NX\") then
\t\treturn 1
\telse
\t\treturn 0
\tend
";

/// The script that gives a lease back (redsync's `delete`), byte for byte.
pub const UNLOCK: &str = "
\tlocal val = redis.call(\"GET\", KEYS[1])
\tif val == ARGV[1] then
\t\treturn redis.call(\"DEL\", KEYS[1])
\telseif val == false then
\t\treturn -1
\telse
\t\treturn 0
\tend
";

/// Its lease time.
pub const TTL: Duration = Duration::from_secs(2);

/// A Go consumer. Dropping it is its crash: nothing is given back.
pub struct GoPeer {
    keys: Keys,
    id: String,
    connection: Mutex<Connection>,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    crashed: AtomicBool,
    /// Lease key by stream.
    owned: Mutex<BTreeMap<String, String>>,
}

impl GoPeer {
    /// Starts one as a pod of this name: creates the group, subscribes, extends what it owns.
    ///
    /// # Panics
    /// If the server refuses what the Go library sends.
    #[must_use]
    pub fn start(server: &Server, service: &str, pod: &str) -> Self {
        let (keys, id) = (Keys::of(service), format!("redis-consumer-{pod}"));
        let mut connection = server.connect();
        let created = run_on::<()>(&mut connection, &["XGROUP", "CREATE", &keys.lbs(), &keys.group(), "$", "MKSTREAM"]);
        assert!(created.as_ref().err().is_none_or(|error| error.code() == Some("BUSYGROUP")), "{created:?}");
        let flags =
            run_on::<Vec<String>>(&mut connection, &["CONFIG", "GET", "notify-keyspace-events"]).expect("flags");
        if flags[1].is_empty() {
            run_on::<()>(&mut connection, &["CONFIG", "SET", "notify-keyspace-events", "KEx"]).expect("flags are set");
        }
        let state = Arc::new(State::default());
        let extender = extend_all(server.connect(), Arc::clone(&state), id.clone());
        Self { keys, id, connection: Mutex::new(connection), state, threads: vec![extender] }
    }

    /// Claims every lapsed lease it hears of, as an application does that answers each StreamExpired with Claim.
    pub fn claim_what_expires(&mut self, server: &Server) {
        let (keys, id, state) = (self.keys.clone(), self.id.clone(), Arc::clone(&self.state));
        let (mut listening, mut claiming) = (server.connect(), server.connect());
        let (subscribed, ready) = std::sync::mpsc::channel();
        self.threads.push(std::thread::spawn(move || {
            let mut events = listening.as_pubsub();
            let pattern = format!("__keyspace@0__:*{SEPARATOR}*");
            events.psubscribe(pattern).expect("a subscription");
            events.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
            subscribed.send(()).expect("somebody waits");
            while !state.crashed.load(Ordering::Relaxed) {
                let Ok(message) = events.get_message() else { continue };
                let payload: String = message.get_payload().unwrap_or_default();
                let lease = message.get_channel_name().trim_start_matches("__keyspace@0__:").to_owned();
                if payload == "expired" && !claim(&mut claiming, &keys, &id, &lease, &state) {
                    eprintln!("{id}: {lease} was already claimed");
                }
            }
        }));
        ready.recv().expect("the subscription");
    }

    /// Startup recovery: takes over whatever has been pending for 40 s, then locks each.
    ///
    /// Answers how many entries Redis handed over.
    ///
    /// # Panics
    /// If the server refuses the command.
    pub fn recover(&self) -> usize {
        let mut connection = self.connection.lock().unwrap();
        let (lbs, group) = (self.keys.lbs(), self.keys.group());
        let words = ["XAUTOCLAIM", &lbs, &group, &self.id, "40000", "0-0", "COUNT", "1000"];
        // Where to go on, the entries and, from Redis 7 on, the ids of those that are gone.
        let reply: Vec<redis::Value> = run_on(&mut connection, &words).expect("XAUTOCLAIM");
        let entries: Vec<StreamEntry> = redis::from_redis_value(reply[1].clone()).expect("entries");
        for entry in &entries {
            self.lock_entry(&mut connection, entry);
        }
        entries.len()
    }

    /// One read without COUNT, then a lock on each announcement it got. Answers the streams locked.
    ///
    /// # Panics
    /// If the server refuses the command.
    pub fn read(&self) -> Vec<String> {
        let mut connection = self.connection.lock().unwrap();
        let (lbs, group) = (self.keys.lbs(), self.keys.group());
        let words = ["XREADGROUP", "GROUP", &group, &self.id, "STREAMS", &lbs, ">"];
        let reply: Option<StreamReadReply> = run_on(&mut connection, &words).expect("XREADGROUP");
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        entries
            .filter_map(|StreamId { id, map, .. }| {
                let payload: String = redis::from_redis_value(map.get("lbs-input")?.clone()).ok()?;
                self.lock_entry(&mut connection, &(id, vec!["lbs-input".to_owned(), payload]))
            })
            .collect()
    }

    fn lock_entry(&self, connection: &mut Connection, (id, fields): &StreamEntry) -> Option<String> {
        let payload: serde_json::Value = serde_json::from_str(fields.get(1)?).ok()?;
        let stream = payload["DataStreamName"].as_str()?.to_owned();
        let lease = self.keys.lease(&stream, id);
        lock(connection, &lease, &self.id).then(|| {
            self.state.owned.lock().unwrap().insert(stream.clone(), lease);
            stream
        })
    }

    /// Finishes a stream: unlock, XACK, XDEL. Answers what the unlock script said.
    ///
    /// # Panics
    /// If it does not own the stream or the server refuses a command.
    pub fn done(&self, stream: &str) -> i64 {
        let lease = self.state.owned.lock().unwrap().remove(stream).expect("an owned stream");
        let id = lease.rsplit(SEPARATOR).next().expect("an entry id").to_owned();
        let mut connection = self.connection.lock().unwrap();
        let answer = redis::Script::new(UNLOCK).key(&lease).arg(&self.id).invoke(&mut *connection).expect("unlock");
        let (lbs, group) = (self.keys.lbs(), self.keys.group());
        run_on::<i64>(&mut connection, &["XACK", &lbs, &group, &id]).expect("XACK");
        run_on::<i64>(&mut connection, &["XDEL", &lbs, &id]).expect("XDEL");
        answer
    }

    /// What it believes to own.
    #[must_use]
    pub fn owned(&self) -> Vec<String> {
        self.state.owned.lock().unwrap().keys().cloned().collect()
    }

    /// Its consumer id, which is also the value of its leases.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Stops everything it does at once, and gives nothing back.
    pub fn crash(&mut self) {
        self.state.crashed.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for GoPeer {
    fn drop(&mut self) {
        self.crash();
    }
}

type StreamEntry = (String, Vec<String>);

/// redsync's Lock: SET NX, 32 times, 10 ms apart.
fn lock(connection: &mut Connection, lease: &str, id: &str) -> bool {
    let ttl = TTL.as_millis().to_string();
    (0..32).any(|_| {
        let set: Option<String> = run_on(connection, &["SET", lease, id, "PX", &ttl, "NX"]).expect("SET NX");
        if set.is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        set.is_some()
    })
}

/// The Go library's Claim: XCLAIM with MINIDLE, then Lock.
fn claim(connection: &mut Connection, keys: &Keys, id: &str, lease: &str, state: &State) -> bool {
    let Some((stream, entry)) = lease.split_once(SEPARATOR) else { return false };
    let ttl = TTL.as_millis().to_string();
    let words = ["XCLAIM", &keys.lbs(), &keys.group(), id, &ttl, entry];
    let claimed: Vec<redis::Value> = run_on(connection, &words).unwrap_or_default();
    let locked = !claimed.is_empty() && lock(connection, lease, id);
    if locked {
        state.owned.lock().unwrap().insert(stream.to_owned(), lease.to_owned());
    }
    locked
}

/// Extends every owned lease; forgets what another one holds. The library does so each half of the time; here it is an
/// eighth, since a peer that this machine kept waiting would be one that crashed.
fn extend_all(mut connection: Connection, state: Arc<State>, id: String) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let script = redis::Script::new(EXTEND);
        while !state.crashed.load(Ordering::Relaxed) {
            let leases: Vec<(String, String)> = state.owned.lock().unwrap().clone().into_iter().collect();
            for (stream, lease) in leases {
                let ttl = u64::try_from(TTL.as_millis()).expect("short");
                let extended: redis::RedisResult<i64> = script.key(&lease).arg(&id).arg(ttl).invoke(&mut connection);
                if !matches!(extended, Ok(1)) {
                    state.owned.lock().unwrap().remove(&stream);
                }
            }
            for _ in 0..5 {
                if !state.crashed.load(Ordering::Relaxed) {
                    std::thread::sleep(TTL / 40);
                }
            }
        }
    })
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
}
