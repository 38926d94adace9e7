//! What is measured: an owner that reads in one of several ways, and the raw loop beside it, each in a process of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use redis::Value;
use serde::{Deserialize, Serialize};
use streamkeeper::{Client, Commits, Lease};
use tokio::sync::mpsc;

use crate::{
    measure::{SERVICE, percentile},
    measured::begin,
    messages::child::{connect, runtime},
};

/// What the streams' names begin with.
pub(crate) const STREAM: &str = "data-";

/// The key that the writes of a commit count in.
const COUNTER: &str = "counted";

#[derive(Debug, Serialize, Deserialize)]
struct Reading {
    id: u64,
    sensor: String,
    celsius: f64,
}

/// The name of a stream.
pub(crate) fn name(stream: usize) -> String {
    format!("{STREAM}{stream}")
}

/// The body of an entry.
pub(crate) fn body(id: u64) -> String {
    let reading = Reading { id, sensor: "greenhouse, by the north door".to_owned(), celsius: 21.5 };
    serde_json::to_string(&reading).expect("JSON")
}

/// Does what the words say: how, how many streams, how many entries.
pub(crate) fn run(url: &str, words: &[String]) {
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok()).expect("a number");
    let (how, streams, entries) = (words[0].as_str(), number(1), number(2));
    match how {
        "raw" => raw(url, streams, entries),
        "idle" => runtime().block_on(idle(url, streams)),
        "heir" => runtime().block_on(heir(url, streams)),
        "manual" | "batch" | "effects" => runtime().block_on(read(url, how, streams, entries)),
        other => panic!("unknown: {other}"),
    }
}

/// XREAD over up to a hundred streams, each decoded, round after round.
fn raw(url: &str, streams: usize, entries: usize) {
    let mut connection = connect(url);
    let mut after: Vec<(String, String)> = (0..streams).map(|stream| (name(stream), "0".to_owned())).collect();
    begin();
    let (started, mut count) = (Instant::now(), 0);
    while count < entries {
        for streams in after.chunks_mut(100) {
            let each = (1_000 / streams.len()).max(10);
            let mut read = redis::cmd("XREAD");
            read.arg("COUNT").arg(each).arg("STREAMS");
            let (names, ids): (Vec<&str>, Vec<&str>) = streams.iter().map(|(name, id)| (&name[..], &id[..])).unzip();
            read.arg(names).arg(ids);
            count += take(read.query(&mut connection).expect("XREAD"), streams);
        }
    }
    println!("{:.0}", entries as f64 / started.elapsed().as_secs_f64());
    std::thread::sleep(Duration::from_secs(3_600));
}

/// Decodes the entries of a reply, and notes how far each stream was read. How many they were.
fn take(reply: Value, streams: &mut [(String, String)]) -> usize {
    type Entries = Vec<(String, Vec<(String, Vec<u8>)>)>;
    let read: Vec<(String, Entries)> = redis::from_redis_value(reply).unwrap_or_default();
    let mut count = 0;
    for (stream, entries) in read {
        count += entries.len();
        for (_, fields) in &entries {
            let decoded: Reading = serde_json::from_slice(&fields[0].1).expect("JSON");
            std::hint::black_box(decoded);
        }
        if let (Some((last, _)), Some(mine)) = (entries.last(), streams.iter_mut().find(|(name, _)| *name == stream)) {
            mine.1.clone_from(last);
        }
    }
    count
}

/// A client, and what it comes to own.
async fn own(url: &str, streams: usize) -> (Client, mpsc::UnboundedReceiver<Lease>) {
    let client = Client::builder(SERVICE).redis(url).capacity(streams + 1).start().await.expect("a client");
    let (leases, owned) = mpsc::unbounded_channel();
    let running = client.clone();
    tokio::spawn(async move {
        let handler = move |lease: Lease| {
            let leases = leases.clone();
            async move {
                drop(leases.send(lease));
                std::future::pending::<Result<(), String>>().await
            }
        };
        running.run(handler).await.expect("it runs until it is killed");
    });
    (client, owned)
}

async fn all(owned: &mut mpsc::UnboundedReceiver<Lease>, streams: usize) -> Vec<Lease> {
    let mut leases = Vec::new();
    while leases.len() < streams {
        leases.push(owned.recv().await.expect("a lease"));
    }
    leases
}

async fn read(url: &str, how: &str, streams: usize, wanted: usize) {
    let (_client, mut owned) = own(url, streams).await;
    let leases = all(&mut owned, streams).await;
    begin();
    let (started, count) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let (over, mut ended) = mpsc::unbounded_channel();
    for lease in leases {
        let (how, count, over) = (how.to_owned(), count.clone(), over.clone());
        tokio::spawn(async move {
            let commits = if how == "batch" { Commits::AfterBatch } else { Commits::Manual };
            let mut entries = lease.read().commits(commits).open::<Reading>();
            while let Some(batch) = entries.next_batch().await {
                let batch = batch.expect("entries");
                if let ("effects", Some(last)) = (how.as_str(), batch.last()) {
                    let committing = lease.commit_with(last.id, |writes| {
                        writes.incr_by(COUNTER, batch.len() as i64);
                    });
                    committing.await.expect("a commit");
                }
                if count.fetch_add(batch.len(), Ordering::Relaxed) + batch.len() == wanted {
                    over.send(()).expect("somebody waits");
                }
            }
        });
    }
    ended.recv().await;
    println!("{:.0}", wanted as f64 / started.elapsed().as_secs_f64());
    std::future::pending::<()>().await;
}

async fn idle(url: &str, streams: usize) {
    let (_client, mut owned) = own(url, streams).await;
    let leases = all(&mut owned, streams).await;
    begin();
    for lease in leases {
        tokio::spawn(async move {
            let mut entries = lease.entries_as::<Reading>();
            let nothing = entries.next_batch().await;
            panic!("nothing is added: {nothing:?}");
        });
    }
    println!("open");
    std::future::pending::<()>().await;
}

async fn heir(url: &str, streams: usize) {
    let (_client, mut owned) = own(url, streams).await;
    println!("ready");
    let (firsts, mut first) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(lease) = owned.recv().await {
            let (gained, firsts) = (Instant::now(), firsts.clone());
            tokio::spawn(async move {
                let mut entries = lease.entries_as::<Reading>();
                entries.next_batch().await.expect("no end").expect("entries");
                firsts.send(gained.elapsed().as_micros() as i64).expect("somebody waits");
                while entries.next_batch().await.is_some() {}
            });
        }
    });
    let mut delays = Vec::new();
    while delays.len() < streams {
        delays.push(first.recv().await.expect("a first entry"));
    }
    delays.sort_unstable();
    let ms = |share: f64| percentile(&delays, share) as f64 / 1_000.0;
    println!("{} {} {}", ms(0.5), ms(0.99), ms(1.0));
    std::future::pending::<()>().await;
}
