//! What all figures need: a server, consumers, the costs of processes, percentiles, a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use redis::Connection;
use streamkeeper_tests::{
    consumer::Consumer,
    event::{Kind, now_us},
    flavor::Flavor,
    keys::Keys,
    server::Server,
};

/// The service that is measured.
pub(crate) const SERVICE: &str = "svc";

/// A server that has been up for long enough that nobody waits for leases of a former life.
pub(crate) fn server() -> Server {
    let server = Server::start(Flavor::Redis);
    std::thread::sleep(Duration::from_secs(6));
    server
}

/// A consumer that is ready.
pub(crate) fn consumer(server: &Server, name: &str, more: &[&str]) -> Consumer {
    let url = server.url();
    let mut arguments: Vec<String> =
        ["work", "--redis", &url, "--service", SERVICE, "--name", name, "--json"].map(str::to_owned).to_vec();
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    let consumer = Consumer::spawn(name, &arguments);
    wait(Duration::from_secs(60), || consumer.said(Kind::Ready));
    consumer
}

/// Announces `<prefix>0` to `<prefix><count - 1>`, pipelined by a raw client.
pub(crate) fn announce(server: &Server, prefix: &str, count: usize) -> Duration {
    let mut connection = server.connect();
    let started = Instant::now();
    for chunk in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let mut pipe = redis::pipe();
        for i in chunk {
            let text = with_info(&format!("{prefix}{i}"));
            pipe.cmd("XADD").arg(format!("{SERVICE}-input")).arg("*").arg("lbs-input").arg(text).ignore();
        }
        pipe.query::<()>(&mut connection).expect("XADD");
    }
    started.elapsed()
}

/// What services send with an announcement: with it, one has about 200 bytes.
pub(crate) const INFO: &str = r#"{"user_id":"user-456","session_id":"session-789","priority":"high","created_at":"2026-11-21T00:00:00Z","region":"eu-central-1","tenant":"acme-industries","plan":"enterprise"}"#;

fn with_info(stream: &str) -> String {
    format!(r#"{{"DataStreamName":"{stream}","Info":{INFO}}}"#)
}

/// Waits, and says if it was in vain.
pub(crate) fn wait(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < limit {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// CPU time that a process has used so far.
pub(crate) fn cpu(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// Memory that a process has in use, in bytes.
pub(crate) fn resident(pid: i32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

/// CPU time that the server has used so far, of all its threads.
pub(crate) fn server_cpu(server: &Server) -> Duration {
    let seconds = |field| server.info(field).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Duration::from_secs_f64(seconds("used_cpu_user") + seconds("used_cpu_sys"))
}

/// When each entry of this consumer was last refreshed: entry → Unix time in µs.
pub(crate) fn last_heartbeats(server: &Server, keys: &Keys, consumer: &str) -> BTreeMap<String, u64> {
    let mut connection: Connection = server.connect();
    let mut heartbeats = BTreeMap::new();
    let mut start = "-".to_owned();
    loop {
        let page: Vec<(String, String, u64, u64)> = redis::cmd("XPENDING")
            .arg(keys.lbs())
            .arg(keys.group())
            .arg(&[start.as_str(), "+", "1000", consumer])
            .query(&mut connection)
            .expect("XPENDING");
        let now = now_us();
        let Some(last) = page.last() else { return heartbeats };
        start = format!("({}", last.0);
        heartbeats.extend(page.into_iter().map(|(entry, _, idle_ms, _)| (entry, now - idle_ms * 1_000)));
    }
}

/// How often scripts were called so far.
pub(crate) fn script_calls(server: &Server) -> u64 {
    let mut connection: Connection = server.connect();
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).expect("INFO");
    calls_of(&stats, "evalsha")
}

/// How often this command was called, by what a server says in `INFO commandstats`.
pub(crate) fn calls_of(stats: &str, command: &str) -> u64 {
    let calls = stats.lines().find_map(|line| {
        line.strip_prefix("cmdstat_")?.strip_prefix(command)?.strip_prefix(":calls=")?.split(',').next()
    });
    calls.and_then(|calls| calls.parse().ok()).unwrap_or(0)
}

/// The value below which this share of the sorted values lies.
pub(crate) fn percentile(sorted: &[i64], share: f64) -> i64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

/// Rows for the page.
#[derive(Debug, Default)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { head: head.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    /// A row. It is also shown at once, since the whole takes minutes.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        eprintln!("{}", cells.join(" | "));
        self.rows.push(cells.to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.head.join(" | "))?;
        writeln!(f, "|{}", "---|".repeat(self.head.len()))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}
