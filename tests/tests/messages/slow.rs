//! Handlers that take longer than `reclaim_idle`.

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(a_long_run_is_one_run, neighbours_are_left_alone, what_waits_too_long_is_given_back);

/// PEERS.md D, "handler of 12 s, 2 consumers, reclaim 5 s": redstream handles each of 5 messages 5 times. F, "live 7 s
/// handler, reclaim at 2 s, 2 processes": 2 to 4 starts. Here, at 4 s and 1 s: one each.
fn a_long_run_is_one_run(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4"]);
    crew.start_all(["a", "b"], &Handler::sleeping("4"));
    crew.send(5);
    crew.conclude();
    assert_eq!(crew.runs().all().len(), 5, "{:?}", crew.runs().repeated());
}

/// PEERS.md F, "and 99 neighbours in its batch twice": one slow message in a batch of a hundred. Its neighbours are
/// done once, by whoever has room, and long before it.
fn neighbours_are_left_alone(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4", "--prefetch", "100"]);
    crew.send(100);
    crew.start_all(["a", "b"], &Handler::new("case $n in 2) sleep 4;; esac"));
    crew.conclude();
    let runs = crew.runs();
    assert_eq!(runs.all().len(), 100, "{:?}", runs.repeated());
    let slow = runs.of(2)[0].to.unwrap();
    assert!(runs.all().iter().all(|run| run.to.unwrap() <= slow), "everything else was done before it");
}

/// One worker has fetched much more than it can start, and its only handler is slow: what it does not start it gives
/// back, and a second worker that comes later does it.
fn what_waits_too_long_is_given_back(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--prefetch", "50"]);
    let a = crew.start("a", &Handler::sleeping("5"));
    crew.wait("a to be ready", || a.said("ready"));
    crew.send(40);
    crew.wait_runs("a to work", |runs| !runs.running("a").is_empty());
    crew.start("b", &Handler::quick());
    crew.wait_runs("b to have done the rest", |runs| runs.all().iter().filter(|run| run.worker == "b").count() >= 39);
    assert!(!crew.runs().running("a").is_empty(), "a is still at its first one");
    crew.conclude();
    assert_eq!(crew.runs().repeated(), [0; 0]);
}
