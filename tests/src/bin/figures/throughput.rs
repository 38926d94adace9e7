//! How many announcements a second are made and acquired, beside what Redis itself can do in the same run.

use std::time::{Duration, Instant};

use streamkeeper_tests::{event::Kind, program::streamkeeper};

use crate::measure::{SERVICE, Table, announce, consumer, server, wait};

const COUNT: usize = 200_000;

/// Announced and acquired per second.
pub(crate) fn throughput() -> Table {
    let mut table = Table::new(["throughput", "per second", "of raw pipelined XADD"]);
    let server = server();
    let raw = announce(&server, "raw", COUNT);
    server.run::<()>(&["FLUSHALL"]);
    let rate = |span: Duration| COUNT as f64 / span.as_secs_f64();
    let mut row = |name: &str, rate_now: f64| {
        table.row([name.to_owned(), format!("{rate_now:.0}"), format!("{:.2}", rate_now / rate(raw))]);
    };
    row("raw XADD, 1,000 a pipeline, one connection", rate(raw));

    let (count, url) = (COUNT.to_string(), server.url());
    let started = Instant::now();
    let status = std::process::Command::new(streamkeeper())
        .args(["announce", "--redis", &url, "--service", SERVICE, "--prefix", "s", "--count", &count])
        .stdout(std::process::Stdio::null())
        .status()
        .expect("it runs");
    assert!(status.success(), "announce failed");
    row("`streamkeeper announce`, process start included", rate(started.elapsed()));

    let owner = consumer(&server, "owner", &["--capacity", &(COUNT + 1).to_string()]);
    wait(Duration::from_secs(120), || owner.count(Kind::Added) >= COUNT);
    let added: Vec<u64> =
        owner.life().events.iter().filter(|event| event.kind == Kind::Added).map(|event| event.at_us).collect();
    let span = added.iter().max().zip(added.iter().min()).map_or(0, |(last, first)| last - first);
    row("acquired by one consumer, backlog of 200,000", rate(Duration::from_micros(span)));
    table
}
