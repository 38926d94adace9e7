//! Reading what is owned: how fast, over few and many streams, and what idle ones cost; beside a raw loop in the same run.

pub(crate) mod child;

use std::time::{Duration, Instant};

use streamkeeper_tests::server::Server;

use crate::{
    measure::{Table, announce, cpu, resident, server, server_cpu},
    measured::Measured,
};

/// How many entries wait before the reading begins.
const BACKLOG: usize = 300_000;

/// How they are read, and what the row is called.
const HOW: [(&str, &str); 4] = [
    ("raw XREAD of 1,000 entries, 100 streams at once: the limit", "raw"),
    ("`entries`, commits by hand: none", "manual"),
    ("`entries`, a commit after each batch", "batch"),
    ("`commit_with` after each batch, one counter", "effects"),
];

/// Entries per second, of a backlog, through one consumer.
pub(crate) fn read() -> Table {
    let mut table =
        Table::new(["read a backlog", "streams", "entries/s", "of the limit", "client µs each", "Redis µs each"]);
    for streams in [1, 100, 10_000] {
        // In turns, and the best of each: whatever else the machine does is shared among them.
        let mut best = HOW.map(|(_, how)| drain(streams, how));
        for _ in 1..3 {
            for (best, (_, how)) in best.iter_mut().zip(HOW) {
                let drained = drain(streams, how);
                if drained.rate > best.rate {
                    *best = drained;
                }
            }
        }
        let limit = best[0].rate;
        for (drained, (name, _)) in best.iter().zip(HOW) {
            let each = |used: Duration| format!("{:.2}", used.as_secs_f64() * 1e6 / BACKLOG as f64);
            table.row([
                name.to_owned(),
                streams.to_string(),
                format!("{:.0}", drained.rate),
                format!("{:.2}", drained.rate / limit),
                each(drained.client),
                each(drained.redis),
            ]);
        }
    }
    table
}

struct Drained {
    /// Entries per second.
    rate: f64,
    client: Duration,
    redis: Duration,
}

fn drain(streams: usize, how: &str) -> Drained {
    let server = server();
    append(&server, streams, BACKLOG / streams);
    announce(&server, child::STREAM, streams);
    let (streams, backlog) = (streams.to_string(), BACKLOG.to_string());
    let mut measured = Measured::start(&server, &["entries", how, &streams, &backlog]);
    measured.expect("ready");
    let (client, redis) = (cpu(measured.pid()), server_cpu(&server));
    measured.begin();
    let [rate] = measured.numbers();
    let drained = Drained {
        rate,
        client: cpu(measured.pid()).saturating_sub(client),
        redis: server_cpu(&server).saturating_sub(redis),
    };
    measured.end();
    drained
}

/// What owned streams cost to which nothing is added, with a reader on each and without.
pub(crate) fn idle() -> Table {
    const SPAN: Duration = Duration::from_secs(20);
    let mut table = Table::new(["idle streams", "client bytes each", "client CPU %", "Redis CPU %"]);
    let percent = |used: Duration| format!("{:.1}", used.as_secs_f64() / SPAN.as_secs_f64() * 100.0);
    for streams in [1_000, 10_000] {
        let server = server();
        announce(&server, child::STREAM, streams);
        let mut measured = Measured::start(&server, &["entries", "idle", &streams.to_string(), "0"]);
        let pid = measured.pid();
        let before = resident(pid);
        measured.expect("ready");
        let mut look = |name: &str, before: u64| {
            std::thread::sleep(Duration::from_secs(2));
            let (client, redis) = (cpu(pid), server_cpu(&server));
            std::thread::sleep(SPAN);
            let (client, redis) = (cpu(pid).saturating_sub(client), server_cpu(&server).saturating_sub(redis));
            let now = resident(pid);
            let bytes = now.saturating_sub(before) / streams as u64;
            table.row([format!("{streams} {name}"), bytes.to_string(), percent(client), percent(redis)]);
            now
        };
        let owned = look("owned", before);
        measured.begin();
        measured.expect("open");
        look("owned and read: what the readers add in bytes", owned);
        measured.end();
    }
    table
}

/// From a takeover to the first entry: what a killed owner had committed is read on by its heir.
pub(crate) fn takeover() -> Table {
    let mut table = Table::new(["takeover after kill -9, owned → first entry", "p50 ms", "p99 ms", "max ms"]);
    for streams in [30, 1_000, 10_000] {
        let server = server();
        append(&server, streams, 10);
        announce(&server, child::STREAM, streams);
        let (count, entries) = (streams.to_string(), (10 * streams).to_string());
        let mut victim = Measured::start(&server, &["entries", "batch", &count, &entries]);
        victim.expect("ready");
        victim.begin();
        let [_rate] = victim.numbers();
        let started = Instant::now();
        while committed(&server) < streams && started.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut heir = Measured::start(&server, &["entries", "heir", &count, "0"]);
        heir.expect("ready");
        victim.end();
        append(&server, streams, 10);
        let [p50, p99, max] = heir.numbers::<3>().map(|ms| format!("{ms:.1}"));
        table.row([format!("{streams} streams at once"), p50, p99, max]);
        heir.end();
    }
    table
}

/// Appends as many entries to each stream.
fn append(server: &Server, streams: usize, entries: usize) {
    let mut connection = server.connect();
    for stream in 0..streams {
        for chunk in (0..entries).collect::<Vec<_>>().chunks(1_000) {
            let mut pipe = redis::pipe();
            for entry in chunk {
                let body = child::body(*entry as u64);
                pipe.cmd("XADD").arg(child::name(stream)).arg("*").arg("body").arg(body).ignore();
            }
            pipe.query::<()>(&mut connection).expect("XADD");
        }
    }
}

/// Of how many streams a position is committed.
fn committed(server: &Server) -> usize {
    let key = format!("{}-checkpoints", crate::measure::SERVICE);
    redis::cmd("HLEN").arg(key).query(&mut server.connect()).expect("HLEN")
}
