//! What is measured: consumers, producers, and the raw loops beside them, each in a process of its own.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use redis::{Connection, Value};
use serde::{Deserialize, Serialize};
use streamkeeper::messages::{Consumer, Context, Producer};

use crate::measured::begin;

/// The stream that is worked on.
pub(crate) const STREAM: &str = "orders";
/// The group that works on it.
pub(crate) const GROUP: &str = "billing";

/// How many messages a producer sends.
const SENT: usize = 100_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    id: u64,
    item: String,
    amount: u32,
    sent_us: u64,
}

fn order(id: u64) -> Order {
    Order { id, item: "a book about streams".to_owned(), amount: 3, sent_us: now_us() }
}

/// The body of a message.
pub(crate) fn body(id: u64) -> String {
    serde_json::to_string(&order(id)).expect("JSON")
}

/// Does what the words say.
pub(crate) fn run(words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [url, "raw"] => raw_consume(url),
        [url, "consume", concurrency, handler] => {
            runtime().block_on(consume(url, concurrency.parse().expect("a number"), handler));
        }
        [url, "produce", "raw-one"] => raw_produce(url, 1),
        [url, "produce", "raw-batch"] => raw_produce(url, 1_000),
        // A task, as in an application: what `block_on` runs is on a thread of its own, and each wake-up crosses over.
        [url, "produce", how] => {
            let (url, how) = (url.to_owned(), how.to_owned());
            runtime().block_on(async { tokio::spawn(async move { produce(&url, &how).await }).await.expect("a task") });
        }
        [url, "latency", concurrency, rate] => {
            let (concurrency, rate) = (concurrency.parse().expect("a number"), rate.parse().expect("a number"));
            runtime().block_on(latency(url, concurrency, rate));
        }
        _ => panic!("unknown: {words:?}"),
    }
}

/// As an application has it.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A raw connection.
pub(crate) fn connect(url: &str) -> Connection {
    redis::Client::open(url).expect("a URL").get_connection().expect("a connection")
}

fn raw_consume(url: &str) {
    let mut connection = connect(url);
    begin();
    let mut ids: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut pipe = redis::pipe();
        if !ids.is_empty() {
            pipe.cmd("XACK").arg(STREAM).arg(GROUP).arg(&ids).ignore();
        }
        pipe.cmd("XREADGROUP").arg(&["GROUP", GROUP, "me", "COUNT", "1000", "STREAMS", STREAM, ">"]);
        let (reply,): (Value,) = pipe.query(&mut connection).expect("XREADGROUP");
        ids = read_ids(reply);
        if ids.is_empty() {
            std::thread::sleep(Duration::from_secs(3_600));
        }
    }
}

fn read_ids(reply: Value) -> Vec<Vec<u8>> {
    let list = |value: Value| match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    let stream = list(reply).pop().map(list).unwrap_or_default();
    let entries = stream.into_iter().nth(1).map(list).unwrap_or_default();
    let id = |entry: Value| match list(entry).into_iter().next() {
        Some(Value::BulkString(id)) => Some(id),
        _ => None,
    };
    entries.into_iter().filter_map(id).collect()
}

async fn consume(url: &str, concurrency: usize, handler: &str) {
    begin();
    let builder = Consumer::builder(STREAM, GROUP).redis(url).concurrency(concurrency).prefetch(concurrency.max(1_000));
    let started = match handler {
        "empty" => builder.start(|_: Order, _: Context| async {}).await,
        "yield" => {
            builder
                .start(|_: Order, _: Context| async {
                    tokio::task::yield_now().await;
                })
                .await
        }
        "forever" => {
            let builder = builder.reclaim_idle(Duration::from_secs(4));
            builder.start(|_: Order, _: Context| std::future::pending::<()>()).await
        }
        other => panic!("no handler: {other}"),
    };
    let consumer = started.expect("a consumer");
    consumer.ended().await.expect("nothing ends it but a kill");
}

fn raw_produce(url: &str, batch: usize) {
    let mut connection = connect(url);
    begin();
    let started = Instant::now();
    for chunk in (0..SENT / if batch == 1 { 4 } else { 1 }).collect::<Vec<_>>().chunks(batch) {
        let mut pipe = redis::pipe();
        for id in chunk {
            pipe.cmd("XADD").arg(STREAM).arg("*").arg("body").arg(body(*id as u64)).ignore();
        }
        pipe.query::<()>(&mut connection).expect("XADD");
    }
    let sent = SENT / if batch == 1 { 4 } else { 1 };
    said(sent, started);
}

/// How many messages were sent, and how many in a second.
fn said(sent: usize, started: Instant) {
    println!("{sent} {:.0}", sent as f64 / started.elapsed().as_secs_f64());
}

async fn produce(url: &str, how: &str) {
    let producer = Producer::<Order>::builder(STREAM).redis(url).build().expect("a producer");
    producer.send(&order(0)).await.expect("the first message");
    let client = redis::Client::open(url).expect("a URL");
    let mut raw = client.get_multiplexed_async_connection().await.expect("a connection");
    begin();
    let started = Instant::now();
    let sent = match how {
        "one" => {
            for id in 0..SENT / 4 {
                producer.send(&order(id as u64)).await.expect("sent");
            }
            SENT / 4
        }
        "batch" => {
            for chunk in (0..SENT as u64).collect::<Vec<_>>().chunks(1_000) {
                for sent in producer.send_batch(chunk.iter().map(|id| order(*id))).await {
                    sent.expect("sent");
                }
            }
            SENT
        }
        "64" => {
            each_of_64(move |id| {
                let producer = producer.clone();
                async move { drop(producer.send(&order(id)).await.expect("sent")) }
            })
            .await
        }
        "raw-64" => {
            each_of_64(move |id| {
                let mut raw = raw.clone();
                async move { drop(xadd(id).query_async::<String>(&mut raw).await.expect("XADD")) }
            })
            .await
        }
        "async-one" => {
            for id in 0..SENT / 4 {
                xadd(id as u64).query_async::<String>(&mut raw).await.expect("XADD");
            }
            SENT / 4
        }
        "async-batch" => {
            for chunk in (0..SENT as u64).collect::<Vec<_>>().chunks(1_000) {
                let mut pipe = redis::pipe();
                for id in chunk {
                    pipe.add_command(xadd(*id)).ignore();
                }
                pipe.query_async::<()>(&mut raw).await.expect("XADD");
            }
            SENT
        }
        other => panic!("no way to send: {other}"),
    };
    said(sent, started);
}

fn xadd(id: u64) -> redis::Cmd {
    let mut cmd = redis::cmd("XADD");
    cmd.arg(STREAM).arg("*").arg("body").arg(body(id));
    cmd
}

/// 64 tasks that each send one after the other.
async fn each_of_64<F, S>(send: F) -> usize
where
    F: Fn(u64) -> S + Clone + Send + 'static,
    S: Future<Output = ()> + Send,
{
    let mut tasks = Vec::new();
    for task in 0..64 {
        let send = send.clone();
        tasks.push(tokio::spawn(async move {
            for n in 0..SENT / 64 {
                send((task * SENT + n) as u64).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a task");
    }
    SENT / 64 * 64
}

/// Sends for five seconds at that rate, and says after how long handlers began: p50, p99 and max in µs.
async fn latency(url: &str, concurrency: usize, rate: f64) {
    let seen = Arc::new(Mutex::new(Vec::<i64>::new()));
    let handler = {
        let seen = seen.clone();
        move |order: Order, _: Context| {
            let took = now_us().saturating_sub(order.sent_us);
            seen.lock().expect("no panic").push(i64::try_from(took).unwrap_or(i64::MAX));
            async {}
        }
    };
    let consumer = Consumer::builder(STREAM, GROUP).redis(url).concurrency(concurrency).start(handler).await;
    let _consumer = consumer.expect("a consumer");
    let producer = Producer::<Order>::builder(STREAM).redis(url).build().expect("a producer");
    begin();
    let (started, span) = (Instant::now(), Duration::from_secs(5));
    let (mut sent, mut id) = (Vec::new(), 0_u64);
    while started.elapsed() < span {
        let due = (started.elapsed().as_secs_f64() * rate) as u64;
        while id < due {
            let (producer, order) = (producer.clone(), order(id));
            sent.push(tokio::spawn(async move { producer.send(&order).await.map(drop) }));
            id += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for sent in sent {
        sent.await.expect("a task").expect("sent");
    }
    while (seen.lock().expect("no panic").len() as u64) < id {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut took = seen.lock().expect("no panic").clone();
    took.sort_unstable();
    let at = |share| crate::measure::percentile(&took, share);
    println!("{} {} {}", at(0.5), at(0.99), at(1.0));
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
