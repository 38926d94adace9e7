//! Sentinels that are dead, silent, refuse, or know less than others: played, in virtual time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use redis::RedisConnectionInfo;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex},
    time::Instant,
};

use super::*;

/// What stands at a port.
#[derive(Clone, Copy)]
enum Stands {
    Nothing,
    /// It accepts, and says nothing.
    Silent,
    /// A sentinel that names the server at this port as the primary, with this epoch.
    Sentinel {
        primary: u16,
        epoch: u64,
    },
    /// A sentinel that knows nobody of that name.
    Ignorant,
    Server,
}

#[derive(Clone, Default)]
struct World {
    stands: Arc<Mutex<BTreeMap<u16, Stands>>>,
    dialled: Arc<Mutex<Vec<u16>>>,
    /// The far ends of connections on which nothing is said.
    silent: Arc<Mutex<Vec<DuplexStream>>>,
    /// How long a sentinel takes for an answer.
    slow_by: Arc<Mutex<Duration>>,
}

impl World {
    fn with(all: &[(u16, Stands)]) -> World {
        let world = World::default();
        all.iter().for_each(|(port, stands)| world.put(*port, *stands));
        world
    }

    fn put(&self, port: u16, stands: Stands) {
        self.stands.lock().unwrap().insert(port, stands);
    }

    fn sentinel(&self, ports: &[u16]) -> Sentinel {
        self.sentinel_for(ports, Duration::from_secs(1))
    }

    fn sentinel_for(&self, ports: &[u16], call_timeout: Duration) -> Sentinel {
        Sentinel::new(Sentinels {
            primary: "p".to_owned(),
            addresses: ports.iter().map(|port| address(*port)).collect(),
            login: RedisConnectionInfo::default(),
            dial: Arc::new(self.clone()),
            server_login: RedisConnectionInfo::default(),
            server_tls: false,
            server_dial: Arc::new(self.clone()),
            call_timeout,
        })
    }

    /// The servers that were dialled, in order.
    fn servers(&self) -> Vec<u16> {
        self.dialled.lock().unwrap().iter().copied().filter(|port| *port >= 1_000).collect()
    }
}

fn address(port: u16) -> Address {
    Address::Tcp { host: "h".to_owned(), port, tls: false }
}

impl Dial for World {
    fn dial(&self, address: &Address) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let Address::Tcp { port, .. } = *address else { unreachable!() };
        self.dialled.lock().unwrap().push(port);
        let stands = self.stands.lock().unwrap().get(&port).copied().unwrap_or(Stands::Nothing);
        let (near, far) = duplex(64 * 1024);
        match stands {
            Stands::Nothing => return futures::future::err(io::ErrorKind::ConnectionRefused.into()).boxed(),
            Stands::Silent | Stands::Server => self.silent.lock().unwrap().push(far),
            Stands::Sentinel { .. } | Stands::Ignorant => {
                tokio::spawn(serve(far, port, self.clone()));
            }
        }
        let near: Box<dyn ByteStream> = Box::new(near);
        futures::future::ok(near).boxed()
    }
}

/// Plays the sentinel at this port, until something else stands there.
async fn serve(bytes: DuplexStream, port: u16, world: World) {
    let mut bytes = BufReader::new(bytes);
    while let Some(words) = command(&mut bytes).await {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (now, slow_by) = (world.stands.lock().unwrap().get(&port).copied(), *world.slow_by.lock().unwrap());
        tokio::time::sleep(slow_by).await;
        let reply = match (&*words, now) {
            (["HELLO", ..], _) => "%1\r\n+mode\r\n+sentinel\r\n".to_owned(),
            (["SUBSCRIBE", channel], _) => format!(">3\r\n+subscribe\r\n+{channel}\r\n:1\r\n"),
            (["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "p"], Some(Stands::Sentinel { primary, .. })) => {
                format!("*2\r\n+h\r\n+{primary}\r\n")
            }
            (["SENTINEL", "GET-MASTER-ADDR-BY-NAME", _], Some(Stands::Ignorant)) => "*-1\r\n".to_owned(),
            (["SENTINEL", "MASTER", "p"], Some(Stands::Sentinel { epoch, .. })) => {
                format!("*2\r\n+config-epoch\r\n+{epoch}\r\n")
            }
            (["SENTINEL", "SENTINELS", "p"], Some(Stands::Sentinel { .. })) => "*0\r\n".to_owned(),
            (["SENTINEL", ..], Some(Stands::Sentinel { .. } | Stands::Ignorant)) => {
                "-ERR No such master\r\n".to_owned()
            }
            (["CLIENT", ..], _) => "+OK\r\n".to_owned(),
            _ => return,
        };
        if bytes.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn command(bytes: &mut BufReader<DuplexStream>) -> Option<Vec<String>> {
    let number = async |bytes: &mut BufReader<DuplexStream>| -> Option<usize> {
        let mut line = String::new();
        bytes.read_line(&mut line).await.ok().filter(|size| *size > 0)?;
        line.trim_end()[1..].parse().ok()
    };
    let mut words = Vec::new();
    for _ in 0..number(bytes).await? {
        let mut word = vec![0; number(bytes).await? + 2];
        bytes.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8(word).ok()?);
    }
    Some(words)
}

async fn open(sentinel: &Sentinel) -> Result<(), Trouble> {
    let opened = sentinel.open(Link::Commands).await;
    opened.map(drop).map_err(|error| error.downcast::<Trouble>().unwrap_or_else(Trouble::connection))
}

const SERVERS: [(u16, Stands); 2] = [(1_000, Stands::Server), (2_000, Stands::Server)];

fn naming(primary: u16, epoch: u64) -> Stands {
    Stands::Sentinel { primary, epoch }
}

#[tokio::test(start_paused = true)]
async fn dead_and_silent_sentinels_cost_little() {
    let world =
        World::with(&[&SERVERS[..], &[(1, Stands::Nothing), (2, Stands::Silent), (3, naming(1_000, 0))]].concat());
    let sentinel = world.sentinel(&[1, 2, 3]);
    let begin = Instant::now();
    open(&sentinel).await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(200), "{:?}", begin.elapsed());
    // Who answered is asked first from now on.
    let begin = Instant::now();
    open(&sentinel).await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(50), "{:?}", begin.elapsed());
    assert_eq!(world.servers(), [1_000, 1_000]);
}

#[tokio::test(start_paused = true)]
async fn if_nobody_answers_each_sentinel_is_named() {
    let world = World::with(&[(1, Stands::Nothing), (2, Stands::Silent)]);
    let begin = Instant::now();
    let trouble = open(&world.sentinel(&[1, 2])).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(1), "the caller's own limit was not reached");
    assert_eq!(trouble.kind, streamkeeper_core::trouble::TroubleKind::Connection);
    assert!(trouble.message.contains("redis://h:1:") && trouble.message.contains("redis://h:2:"), "{trouble}");
    world.put(2, Stands::Ignorant);
    let trouble = open(&world.sentinel(&[1, 2])).await.unwrap_err();
    assert_eq!(trouble.kind, streamkeeper_core::trouble::TroubleKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_before_does_not_win_against_a_newer_one() {
    let world = World::with(&[&SERVERS[..], &[(1, naming(1_000, 4)), (2, naming(2_000, 5))]].concat());
    let sentinel = world.sentinel(&[1, 2]);
    // The first one to answer may be believed until the other one is heard: then everyone has to move.
    let moved = sentinel.moved();
    open(&sentinel).await.unwrap();
    moved.await;
    for latest in [1, 2, 1] {
        // Whoever is asked first.
        sentinel.shared.known().answered(&address(latest), Vec::new());
        open(&sentinel).await.unwrap();
    }
    assert_eq!(world.servers()[1..], [2_000, 2_000, 2_000]);
    assert!(sentinel.moved().now_or_never().is_none(), "once is enough");
    // Nobody but the one that knows less is left: better than nobody.
    world.put(2, Stands::Nothing);
    open(&sentinel).await.unwrap();
    assert_eq!(world.servers().last(), Some(&1_000));
}

#[tokio::test(start_paused = true)]
async fn sentinels_that_were_set_up_anew_are_believed() {
    let world = World::with(&[&SERVERS[..], &[(1, naming(1_000, 9)), (2, naming(1_000, 9))]].concat());
    let sentinel = world.sentinel(&[1, 2]);
    open(&sentinel).await.unwrap();
    for port in [1, 2] {
        world.put(port, naming(2_000, 0));
    }
    open(&sentinel).await.unwrap();
    assert_eq!(world.servers(), [1_000, 2_000]);
}

#[tokio::test(start_paused = true)]
async fn everyone_who_waits_hears_of_a_failover() {
    let world = World::with(&[&SERVERS[..], &[(1, naming(1_000, 0)), (2, naming(1_000, 0))]].concat());
    let sentinel = world.sentinel(&[1, 2]);
    open(&sentinel).await.unwrap();
    let all = [sentinel.moved(), sentinel.moved(), sentinel.moved()];
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Nobody publishes anything here: the second sentinel is asked now and then.
    world.put(2, naming(2_000, 1));
    futures::future::join_all(all).await;
    assert!(sentinel.moved().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_before_the_first_connection_nor_after_the_end() {
    let world = World::with(&[&SERVERS[..], &[(1, naming(1_000, 0))]].concat());
    let sentinel = world.sentinel(&[1]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*world.dialled.lock().unwrap(), [0; 0]);
    open(&sentinel).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    // The question, the server, and whoever listens: nobody else in a quiet minute.
    assert_eq!(world.dialled.lock().unwrap().len(), 3);
    drop(sentinel);
    world.put(1, Stands::Nothing);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.dialled.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn dead_sentinels_are_tried_with_pauses() {
    let world = World::with(&[&SERVERS[..], &[(1, naming(1_000, 0))]].concat());
    let sentinel = world.sentinel(&[1, 2, 3]);
    open(&sentinel).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let tried = world.dialled.lock().unwrap().iter().filter(|port| matches!(port, 2 | 3)).count();
    assert!((40..100).contains(&tried), "{tried} times in a minute");
    // Back again, one of them is listened to.
    world.put(3, naming(2_000, 1));
    sentinel.moved().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_longer_for_calls_waits_longer_for_sentinels() {
    let world = World::with(&[&SERVERS[..], &[(1, naming(1_000, 0))]].concat());
    // Four answers for a connection, and one question of three.
    *world.slow_by.lock().unwrap() = Duration::from_millis(150);
    let trouble = open(&world.sentinel(&[1])).await.unwrap_err();
    assert!(trouble.message.contains("redis://h:1: no answer within 500ms"), "{trouble}");
    open(&world.sentinel_for(&[1], Duration::from_secs(3))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_sentinel_is_listened_to() {
    let world = World::with(&[&SERVERS[..], &[(1, naming(1_000, 0))]].concat());
    let sentinel = world.sentinel(&[1]);
    open(&sentinel).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Three answers for one question. Calls to the server, over a link as slow, succeed: whoever does not hear of a failover
    // goes on with a former primary.
    *world.slow_by.lock().unwrap() = Duration::from_millis(300);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.dialled.lock().unwrap().len(), 3, "the connection is kept");
    world.put(1, naming(2_000, 1));
    sentinel.moved().await;
}
