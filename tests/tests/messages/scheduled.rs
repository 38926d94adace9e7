//! Messages that are sent with a delay.

use std::time::Duration;

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::event::now_us;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(not_before_its_time, listed_cancelled_and_sent_once, survive_a_restart);

/// Not in the stream before its time, and handled soon after; what was sent later without a delay does not wait for it.
fn not_before_its_time(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    let a = crew.start("a", &Handler::quick());
    crew.wait("a to be ready", || a.said("ready"));
    let before = now_us();
    let words = ["send", "--delay", "6s", "--header", "x=y", &format!("{{\"n\":{}}}", crew.next_number())];
    let answer = crew.command_on_stream(&words, b"");
    assert!(answer.code == Some(0) && answer.out.starts_with("scheduled "), "{answer:?}");
    crew.send(10);
    crew.wait_runs("the others", |runs| runs.all().len() == 10);
    assert_eq!(crew.runs().count(0), 0);
    crew.conclude();
    let outcomes = a.outcomes();
    let last = outcomes.last().unwrap();
    assert!(last.at_us >= before + 6_000_000, "not before its time");
    let fields: redis::streams::StreamRangeReply = crew.run(&["XRANGE", crew.stream(), &last.id, &last.id]);
    assert_eq!(fields.ids[0].get::<String>("h:x").as_deref(), Some("y"));
    assert_eq!(crew.run::<u64>(&["EXISTS", "orders:scheduled", "orders:scheduled:body"]), 0, "nothing is left behind");
}

/// By the caller's id: sent again it changes nothing, and it can be taken back.
fn listed_cancelled_and_sent_once(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    for (id, delay) in [("late", "1h"), ("late", "2h"), ("soon", "1s"), ("never", "1h")] {
        let answer = crew.command_on_stream(&["send", "--delay", delay, "--id", id, "{\"n\":0}"], b"");
        assert_eq!(answer.code, Some(0), "{answer:?}");
    }
    crew.next_number();
    let list = crew.command_on_stream(&["scheduled", "list"], b"");
    let ids: Vec<&str> = list.out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!((list.code, ids), (Some(0), vec!["soon", "late", "never"]), "{list:?}");
    let json = crew.command_on_stream(&["scheduled", "list", "--json"], b"");
    let all: Vec<serde_json::Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&all[1]["id"], &all[1]["fields"]["body"]), (&"late".into(), &"{\"n\":0}".into()), "{json:?}");
    let due = all[1]["due_ms"].as_u64().unwrap();
    assert!(due < now_us() / 1_000 + 3_600_000 + 60_000, "the first one stays as it is: {json:?}");
    let cancel = crew.command_on_stream(&["scheduled", "cancel", "late", "never"], b"");
    assert_eq!((cancel.code, cancel.out.trim()), (Some(0), "2 cancelled"), "{cancel:?}");
    let cancel = crew.command_on_stream(&["scheduled", "cancel", "late"], b"");
    assert!(cancel.code == Some(1) && cancel.errors.contains("late"), "{cancel:?}");
    crew.start("a", &Handler::quick());
    crew.conclude();
    assert_eq!(crew.runs().all().len(), 1);
}

/// What is scheduled is Redis's: producer and consumers may die meanwhile, and the server too.
fn survive_a_restart(flavor: Flavor) {
    let server = Server::start_with(flavor, &[("appendonly", "yes"), ("appendfsync", "always")]);
    let crew = Crew::on(&server).with(&["--reclaim-idle", "5s"]);
    let lines: String = (0..50).map(|_| format!("{{\"n\":{}}}\n", crew.next_number())).collect();
    let answer = crew.command_on_stream(&["send", "--delay", "10s"], lines.as_bytes());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let a = crew.start("a", &Handler::quick());
    crew.wait("a to be ready", || a.said("ready"));
    a.kill();
    server.kill();
    std::thread::sleep(Duration::from_millis(500));
    server.start_again();
    crew.start_all(["b", "c"], &Handler::quick());
    crew.conclude();
    assert_eq!(crew.runs().all().len(), 50, "each once");
}
