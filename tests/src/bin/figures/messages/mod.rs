//! Working on messages: how fast, and what it costs, as shares of what Redis itself does in the same run.
//!
//! Everything that is measured runs in a child process of its own (`child.rs`), so that its CPU time and memory are its
//! own. The limit is a raw loop: XREADGROUP of 1,000 messages and one XACK for them in one write.

pub(crate) mod child;

use std::time::{Duration, Instant};

use redis::Connection;
use streamkeeper_tests::{flavor::Flavor, server::Server};

use crate::{
    measure::{Table, cpu, resident, server_cpu, wait},
    measured::Measured,
};
use child::{GROUP, STREAM};

/// How many messages wait before a consumer starts.
const BACKLOG: usize = 300_000;

/// What a child does, and what its row is called.
const CONSUMERS: [(&str, &[&str]); 7] = [
    ("raw XREADGROUP 1,000 + XACK: the limit", &["raw"]),
    ("empty handler, concurrency 1", &["consume", "1", "empty"]),
    ("empty handler, concurrency 100", &["consume", "100", "empty"]),
    ("empty handler, concurrency 256", &["consume", "256", "empty"]),
    ("empty handler, concurrency 5,000", &["consume", "5000", "empty"]),
    ("handler that awaits, 256 at once", &["consume", "256", "yield"]),
    ("handler that awaits, 5,000 at once", &["consume", "5000", "yield"]),
];

/// Messages per second, consumed from a backlog.
pub(crate) fn consume() -> Table {
    let mut table = Table::new(["consume a backlog", "messages/s", "of the limit", "client µs each", "Redis µs each"]);
    // In turns, and the best of each: whatever else the machine does is shared among them.
    let mut best: Vec<Drained> = CONSUMERS.iter().map(|(_, words)| drain(words)).collect();
    for _ in 1..3 {
        for (best, (_, words)) in best.iter_mut().zip(CONSUMERS) {
            let drained = drain(words);
            if drained.took < best.took {
                *best = drained;
            }
        }
    }
    let rate = |drained: &Drained| BACKLOG as f64 / drained.took.as_secs_f64();
    for (drained, (name, _)) in best.iter().zip(CONSUMERS) {
        let each = |used: Duration| format!("{:.2}", used.as_secs_f64() * 1e6 / BACKLOG as f64);
        let share = format!("{:.2}", rate(drained) / rate(&best[0]));
        let rate = format!("{:.0}", rate(drained));
        table.row([name.to_owned(), rate, share, each(drained.client), each(drained.redis)]);
    }
    table
}

struct Drained {
    took: Duration,
    client: Duration,
    redis: Duration,
}

fn drain(words: &[&str]) -> Drained {
    let server = Server::start(Flavor::Redis);
    preload(&server, BACKLOG);
    let mut measured = Measured::start(&server, words);
    measured.expect("ready");
    let pid = measured.pid();
    let (client, redis, started) = (cpu(pid), server_cpu(&server), Instant::now());
    measured.begin();
    let mut connection = server.connect();
    assert!(wait_fine(|| is_drained(&mut connection)), "{words:?} does not end");
    let drained = Drained {
        took: started.elapsed(),
        client: cpu(pid).saturating_sub(client),
        redis: server_cpu(&server).saturating_sub(redis),
    };
    measured.end();
    drained
}

/// How fast messages are sent: by a raw loop that is synchronous, by one through the redis crate's asynchronous
/// connection, and by a producer.
pub(crate) fn produce() -> Table {
    let mut table = Table::new(["send", "messages/s", "of the raw loop", "client µs each", "Redis µs each"]);
    let rows = [
        ("one by one, raw XADD", "raw-one", "raw-one"),
        ("one by one, raw XADD, asynchronous", "async-one", "raw-one"),
        ("one by one", "one", "raw-one"),
        ("64 tasks on one connection, raw XADD, asynchronous", "raw-64", "raw-64"),
        ("64 tasks on one producer", "64", "raw-64"),
        ("batches of 1,000, raw pipelined XADD", "raw-batch", "raw-batch"),
        ("batches of 1,000, raw pipelined XADD, asynchronous", "async-batch", "raw-batch"),
        ("batches of 1,000", "batch", "raw-batch"),
    ];
    // In turns: whatever else the machine does is shared among them.
    let mut best = std::collections::BTreeMap::<&str, Produced>::new();
    for _ in 0..3 {
        for (_, how, _) in rows {
            let produced = produced(how);
            let best = best.entry(how).or_insert(produced);
            if produced.rate > best.rate {
                *best = produced;
            }
        }
    }
    for (name, how, of) in rows {
        let Produced { rate, client, redis } = best[how];
        let share = rate / best[of].rate;
        let cells = [format!("{rate:.0}"), format!("{share:.2}"), format!("{client:.2}"), format!("{redis:.2}")];
        let [rate, share, client, redis] = cells;
        table.row([name.to_owned(), rate, share, client, redis]);
    }
    table
}

/// Messages per second, and what each took of CPU time, in microseconds.
#[derive(Clone, Copy)]
struct Produced {
    rate: f64,
    client: f64,
    redis: f64,
}

/// The child says itself how fast it was.
fn produced(how: &str) -> Produced {
    let server = Server::start(Flavor::Redis);
    let mut measured = Measured::start(&server, &["produce", how]);
    measured.expect("ready");
    let pid = measured.pid();
    let (client, redis) = (cpu(pid), server_cpu(&server));
    measured.begin();
    let [sent, rate] = measured.numbers();
    let each = |used: Duration| used.as_secs_f64() * 1e6 / sent;
    let (client, redis) = (each(cpu(pid).saturating_sub(client)), each(server_cpu(&server).saturating_sub(redis)));
    measured.end();
    Produced { rate, client, redis }
}

/// From sending to the handler, at half of what an empty handler at this concurrency manages.
pub(crate) fn latency() -> Table {
    let mut table = Table::new(["latency at half load", "messages/s", "p50 µs", "p99 µs", "max µs"]);
    for concurrency in ["16", "256"] {
        let rate = BACKLOG as f64 / drain(&["consume", concurrency, "empty"]).took.as_secs_f64() / 2.0;
        // The producer takes its share of two cores, too.
        for rate in [1_000.0, (rate / 2.0).min(50_000.0)] {
            let server = Server::start(Flavor::Redis);
            let mut measured = Measured::start(&server, &["latency", concurrency, &format!("{rate:.0}")]);
            measured.expect("ready");
            measured.begin();
            let said = measured.line();
            let cells: Vec<&str> = said.split(' ').collect();
            let [p50, p99, max] = cells[..] else { panic!("p50 p99 max, and not `{said}`") };
            let name = format!("concurrency {concurrency}");
            table.row([name, format!("{rate:.0}"), p50.to_owned(), p99.to_owned(), max.to_owned()]);
            measured.end();
        }
    }
    table
}

/// What a message that is being worked on takes up.
pub(crate) fn in_flight() -> Table {
    const FLIGHT: usize = 20_000;
    let mut table =
        Table::new(["messages in flight", "client bytes each", "Redis µs a message and refresh", "client µs"]);
    let server = Server::start(Flavor::Redis);
    let concurrency = FLIGHT.to_string();
    let mut measured = Measured::start(&server, &["consume", &concurrency, "forever"]);
    measured.expect("ready");
    measured.begin();
    std::thread::sleep(Duration::from_secs(1));
    let (pid, before) = (measured.pid(), resident(measured.pid()));
    preload(&server, FLIGHT);
    let mut connection = server.connect();
    wait(Duration::from_secs(30), || pending(&mut connection) == FLIGHT as u64);
    std::thread::sleep(Duration::from_secs(1));
    let bytes = resident(pid).saturating_sub(before) / FLIGHT as u64;
    // Each is refreshed once in a quarter to a half of `reclaim_idle`, which the child has set to 4 s.
    let (client, redis, span) = (cpu(pid), server_cpu(&server), Duration::from_secs(20));
    std::thread::sleep(span);
    let refreshes = FLIGHT as f64 * span.as_secs_f64() / 2.0;
    let each = |used: Duration| format!("{:.2}", used.as_secs_f64() * 1e6 / refreshes);
    let (redis, client) = (each(server_cpu(&server) - redis), each(cpu(pid) - client));
    table.row([FLIGHT.to_string(), bytes.to_string(), redis, client]);
    measured.end();
    table
}

fn preload(server: &Server, count: usize) {
    let mut connection = server.connect();
    let group = redis::cmd("XGROUP").arg(&["CREATE", STREAM, GROUP, "0", "MKSTREAM"]).query::<()>(&mut connection);
    drop(group); // there already
    for chunk in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let mut pipe = redis::pipe();
        for id in chunk {
            pipe.cmd("XADD").arg(STREAM).arg("*").arg("body").arg(child::body(*id as u64)).ignore();
        }
        pipe.query::<()>(&mut connection).expect("XADD");
    }
}

fn is_drained(connection: &mut Connection) -> bool {
    let groups: Vec<std::collections::HashMap<String, redis::Value>> =
        redis::cmd("XINFO").arg("GROUPS").arg(STREAM).query(connection).expect("XINFO GROUPS");
    let number = |name: &str| groups.first().and_then(|group| group.get(name)).cloned();
    number("lag") == Some(redis::Value::Int(0)) && number("pending") == Some(redis::Value::Int(0))
}

fn pending(connection: &mut Connection) -> u64 {
    let summary: Vec<redis::Value> = redis::cmd("XPENDING").arg(STREAM).arg(GROUP).query(connection).expect("XPENDING");
    match summary.first() {
        Some(redis::Value::Int(count)) => u64::try_from(*count).unwrap_or(0),
        _ => 0,
    }
}

/// Waits for an end that is measured to a few milliseconds.
fn wait_fine(mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(120) {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    false
}
