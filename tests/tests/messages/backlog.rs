//! Far more messages than any batch, and all of them handled once.

use redis::streams::StreamReadReply;
use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(a_dead_consumers_backlog, each_once_under_load, all_due_at_once);

/// PEERS.md F, "> 8,000 waiting tasks kill every worker": 10,000 messages that a consumer took and never handled, and
/// 2,000 that nobody has read. All are reclaimed and done, each once.
fn a_dead_consumers_backlog(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "2", "--prefetch", "1000", "--reclaim-idle", "5s"]);
    crew.run::<()>(&["XGROUP", "CREATE", crew.stream(), crew.group(), "0", "MKSTREAM"]);
    crew.send(10_000);
    let ghost = ["XREADGROUP", "GROUP", crew.group(), "ghost", "COUNT", "10000", "STREAMS", crew.stream(), ">"];
    assert_eq!(crew.run::<StreamReadReply>(&ghost).keys[0].ids.len(), 10_000);
    crew.send(2_000);
    crew.start_all(["a", "b"], &Handler::quick());
    crew.conclude();
    let runs = crew.runs();
    assert_eq!((runs.all().len(), runs.repeated()), (12_000, vec![]));
}

/// PEERS.md D, first row: redstream handles 2 to 3 of 100,000 twice, since it reclaims at idle 0. With two workers and
/// a reclaimer that looks five times a second: none.
fn each_once_under_load(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "2", "--prefetch", "200", "--reclaim-idle", "5s"]);
    crew.start_all(["a", "b"], &Handler::quick());
    for _ in 0..5 {
        crew.send(1_600);
        crew.wait_settled();
    }
    crew.conclude();
    let runs = crew.runs();
    assert_eq!((runs.all().len(), runs.repeated()), (8_000, vec![]));
}

/// Thousands of delayed messages that are due in the same moment come into the stream and are done, each once.
fn all_due_at_once(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "2", "--prefetch", "200", "--reclaim-idle", "5s"]);
    let lines: String = (0..3_000).map(|_| format!("{{\"n\":{}}}\n", crew.next_number())).collect();
    let answer = crew.command_on_stream(&["send", "--delay", "100ms"], lines.as_bytes());
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    crew.start_all(["a", "b"], &Handler::quick());
    crew.conclude();
    let runs = crew.runs();
    assert_eq!((runs.all().len(), runs.repeated()), (3_000, vec![]));
}
