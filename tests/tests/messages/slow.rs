//! Handlers that take longer than `reclaim_idle`.

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(a_long_run_is_one_run, neighbours_are_left_alone, what_waits_too_long_is_given_back);

/// PEERS.md D, "handler of 12 s, 2 consumers, reclaim 5 s": redstream handles each of 5 messages 5 times. F, "live 7 s
/// handler, reclaim at 2 s, 2 processes": 2 to 4 starts. Here, at 8 s and 3 s: one each.
fn a_long_run_is_one_run(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4", "--reclaim-idle", "3s"]);
    crew.start_all(["a", "b"], &Handler::sleeping("8"));
    crew.send(5);
    crew.conclude();
    assert_eq!(crew.runs().all().len(), 5, "{:?}", crew.runs().repeated());
}

/// PEERS.md F, "and 99 neighbours in its batch twice": one slow message in a batch of a hundred. Its neighbours are
/// done once, by whoever has room, and long before it.
fn neighbours_are_left_alone(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4", "--prefetch", "100", "--reclaim-idle", "3s"]);
    crew.send(100);
    crew.start_all(["a", "b"], &Handler::waiting_with(2, "slow", "sleep 8"));
    crew.wait_runs("everything else to be done before it", |runs| {
        runs.all().iter().filter(|run| run.to.is_some()).count() >= 99
    });
    assert_eq!(crew.runs().of(2)[0].to, None);
    crew.open("slow"); // and it goes on for longer than `reclaim_idle`
    crew.conclude();
    let runs = crew.runs();
    assert_eq!(runs.all().len(), 100, "{:?}", runs.repeated());
}

/// One worker has fetched much more than it can start, and its only handler is slow: what it does not start it gives
/// back, and a second worker that comes later does it.
fn what_waits_too_long_is_given_back(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--prefetch", "50", "--reclaim-idle", "3s"]);
    let a = crew.start("a", &Handler::waiting("slow", ":"));
    crew.wait("a to be ready", || a.said("ready"));
    crew.send(40);
    crew.wait_runs("a to work", |runs| !runs.running("a").is_empty());
    crew.start("b", &Handler::quick());
    crew.wait_runs("b to have done the rest", |runs| runs.all().iter().filter(|run| run.worker == "b").count() >= 39);
    assert!(!crew.runs().running("a").is_empty(), "a is still at its first one");
    crew.open("slow");
    crew.conclude();
    assert_eq!(crew.runs().repeated(), [0; 0]);
}
