//! How long a stream is without an owner: after kill -9, and when its owner shuts down.

use std::collections::BTreeMap;
use std::time::Duration;

use streamkeeper_tests::{consumer::Consumer, event::Kind, event::now_us, keys::Keys, server::Server};

use crate::measure::{SERVICE, Table, announce, consumer, last_heartbeats, percentile, server, wait};

struct Situation {
    name: &'static str,
    victims: usize,
    neighbours: usize,
    other_keys: usize,
}

const SITUATIONS: [Situation; 4] = [
    Situation { name: "1,000 streams of the victim", victims: 1_000, neighbours: 0, other_keys: 0 },
    Situation { name: "10,000 streams of the victim", victims: 10_000, neighbours: 0, other_keys: 0 },
    Situation { name: "30 of the victim among 10,000 live", victims: 30, neighbours: 10_000, other_keys: 0 },
    Situation {
        name: "1,000 of the victim among 100,000 TTL keys",
        victims: 1_000,
        neighbours: 0,
        other_keys: 100_000,
    },
];

/// From the victim's last heartbeat to the next owner, for each stream.
pub(crate) fn takeover() -> Table {
    let mut table = Table::new(["takeover after kill -9", "p50 ms", "p99 ms", "max ms", "never", "limit ms"]);
    for situation in &SITUATIONS {
        let server = server();
        fill(&server, situation.other_keys);
        let neighbour = consumer(&server, "neighbour", &["--capacity", &situation.neighbours.max(1).to_string()]);
        announce(&server, "n", situation.neighbours.max(1));
        wait(Duration::from_secs(60), || neighbour.count(Kind::Added) >= situation.neighbours.max(1));
        let victim = consumer(&server, "victim", &["--capacity", "20000"]);
        announce(&server, "v", situation.victims);
        wait(Duration::from_secs(60), || victim.count(Kind::Added) >= situation.victims);
        let heirs =
            [consumer(&server, "a", &["--capacity", "20000"]), consumer(&server, "b", &["--capacity", "20000"])];
        std::thread::sleep(Duration::from_millis(2_300));

        victim.kill();
        let heartbeats = last_heartbeats(&server, &Keys::of(SERVICE), "redis-consumer-victim");
        let all = || heirs.iter().map(|heir| heir.count(Kind::Added)).sum::<usize>() >= situation.victims;
        wait(Duration::from_secs(60), all);
        let mut delays = delays(&heirs, &heartbeats);
        delays.sort_unstable();
        let ms = |us: i64| (us / 1_000).to_string();
        table.row([
            situation.name.to_owned(),
            ms(percentile(&delays, 0.5)),
            ms(percentile(&delays, 0.99)),
            ms(percentile(&delays, 1.0)),
            (situation.victims - delays.len()).to_string(),
            "3500".to_owned(),
        ]);
    }
    table
}

/// From SIGTERM of the owner to the next owner, for each stream.
pub(crate) fn hand_over() -> Table {
    let mut table = Table::new(["hand-over on shutdown", "p50 ms", "p99 ms", "max ms", "never", "limit ms"]);
    let server = server();
    let leaver = consumer(&server, "leaver", &[]);
    announce(&server, "v", 1_000);
    wait(Duration::from_secs(60), || leaver.count(Kind::Added) >= 1_000);
    let heirs = [consumer(&server, "a", &[]), consumer(&server, "b", &[])];
    std::thread::sleep(Duration::from_secs(2));
    let from = now_us();
    leaver.terminate();
    wait(Duration::from_secs(60), || heirs.iter().map(|heir| heir.count(Kind::Added)).sum::<usize>() >= 1_000);
    let mut delays: Vec<i64> = added(&heirs).map(|(_, at_us)| at_us as i64 - from as i64).collect();
    delays.sort_unstable();
    let ms = |us: i64| format!("{:.1}", us as f64 / 1_000.0);
    table.row([
        "1,000 streams to two heirs".to_owned(),
        ms(percentile(&delays, 0.5)),
        ms(percentile(&delays, 0.99)),
        ms(percentile(&delays, 1.0)),
        (1_000 - delays.len()).to_string(),
        "1000".to_owned(),
    ]);
    table
}

fn fill(server: &Server, keys: usize) {
    let mut connection = server.connect();
    for chunk in (0..keys).collect::<Vec<_>>().chunks(1_000) {
        let mut pipe = redis::pipe();
        for i in chunk {
            pipe.cmd("SET").arg(format!("other:{i}")).arg("x").arg("EX").arg(3_600).ignore();
        }
        pipe.query::<()>(&mut connection).expect("SET");
    }
}

fn added(heirs: &[Consumer]) -> impl Iterator<Item = (String, u64)> {
    heirs
        .iter()
        .flat_map(|heir| heir.life().events)
        .filter(|event| event.kind == Kind::Added)
        .filter_map(|event| Some((event.entry?, event.at_us)))
}

fn delays(heirs: &[Consumer], heartbeats: &BTreeMap<String, u64>) -> Vec<i64> {
    added(heirs).filter_map(|(entry, at_us)| Some(at_us as i64 - *heartbeats.get(&entry)? as i64)).collect()
}
