//! `streamkeeper messages status`, and how `consume` begins and ends.

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(status, a_command_that_cannot_be_run, nobody_reads_its_output, two_groups);

/// What waits, is in flight, delayed, dead and scheduled, and who works.
fn status(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--prefetch", "0", "--backoff", "30s", "--reclaim-idle", "30s"]);
    let none = crew.command_ok(&["messages", "status"]);
    assert!(none.out.contains("not created yet"), "nobody has ever used it: {none:?}");
    crew.send(8);
    let scheduled = crew.command_on_stream(&["send", "--delay", "1h", "--id", "later", "1"], b"");
    assert_eq!(scheduled.code, Some(0), "{scheduled:?}");
    let a = crew.start("a", &Handler::new("case $n in 0) answer=no;; 1) answer=dead;; 2) sleep 20;; esac"));
    crew.wait_runs("it to be at the slow one", |runs| runs.running("a") == [2]);
    let json = || -> serde_json::Value {
        serde_json::from_str(&crew.command_ok(&["messages", "status", "--json"]).out).unwrap()
    };
    crew.wait("the rest to be settled", || json()["dead"] == 1 && json()["parked"] == 1);
    let status = json();
    let counts = ["unread", "in_flight", "parked", "dead", "scheduled"].map(|name| status[name].as_u64());
    assert_eq!(counts, [Some(5), Some(1), Some(1), Some(1), Some(1)], "{status}");
    let consumers = status["consumers"].as_array().unwrap();
    let working: Vec<_> = consumers.iter().filter(|one| one["in_flight"] == 1).collect();
    assert!(working.len() == 1 && working[0]["consumer"].as_str().unwrap().starts_with("a-"), "{status}");
    let text = crew.command_ok(&["messages", "status"]);
    assert!(text.out.contains("billing") && text.out.contains("a-"), "{text:?}");
    a.kill();
    crew.waive("it was only looked at");
}

/// That is the caller's mistake and not the messages': nothing is counted against them, and the program says so.
fn a_command_that_cannot_be_run(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    crew.send(3);
    let answer = crew.command(&["consume", "--exec", "/no/such/handler", "--max-attempts", "1"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.errors.contains("/no/such/handler") && answer.errors.contains("cannot be run"), "{answer:?}");
    assert!(crew.dead().is_empty());
    crew.start("b", &Handler::quick());
    crew.conclude();
    assert!(crew.runs().all().iter().all(|run| run.attempt == 1));
}

/// `streamkeeper consume … | head -1`: an end like any other, and nothing is lost.
fn nobody_reads_its_output(flavor: Flavor) {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use streamkeeper_tests::process::Process;
    use streamkeeper_tests::wait;

    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    let mut command = Command::new(streamkeeper_tests::program::streamkeeper());
    command.arg("consume").args(crew.address()).args(["--exec", "while read -r x; do echo ok; done"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let process = Process::spawn(&mut command);
    let mut first = String::new();
    BufReader::new(process.pipes().0.unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("ready"), "{first}");
    crew.send(10);
    wait::until("it to end", || process.ended().is_some());
    assert_eq!(process.ended().unwrap().code(), Some(0));
    crew.start("b", &Handler::quick());
    crew.wait_settled();
    crew.waive("the first one's children wrote nothing down");
}

/// Each group gets every message; deleting after success waits for both.
fn two_groups(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--delete-after-success"]);
    crew.run::<()>(&["XGROUP", "CREATE", crew.stream(), "other", "0", "MKSTREAM"]);
    crew.send(20);
    crew.start("a", &Handler::quick());
    crew.wait_settled();
    assert_eq!(crew.run::<u64>(&["XLEN", crew.stream()]), 20, "nothing is taken from the other group");
    crew.run::<()>(&["XGROUP", "DESTROY", crew.stream(), "other"]);
    crew.send(20);
    crew.conclude();
    assert_eq!(crew.run::<u64>(&["XLEN", crew.stream()]), 20, "alone, it deletes what it has done");
}
