//! Workers that are killed with kill -9.

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(another_name_takes_over, nobody_is_there_meanwhile, the_same_name_comes_back, again_and_again);

/// PEERS.md C, "kill -9, restart with another consumer name": goxstreams leaves 600 of 600 pending for good.
/// Here a worker of another name has them after `reclaim_idle`, and everything is processed.
fn another_name_takes_over(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "8", "--reclaim-idle", "5s"]);
    let handler = Handler::waiting("gate", "sleep 0.05");
    let [a, _b] = crew.start_all(["a", "b"], &handler);
    crew.send(200);
    crew.wait_runs("a to be in the middle of its work", |runs| runs.running("a").len() >= 4);
    a.kill();
    let held: Vec<_> = crew.pending().into_iter().filter(|(_, name, _)| name.starts_with("a-")).collect();
    assert!(!held.is_empty(), "it held some");
    crew.open("gate");
    crew.conclude();
    // One crash says nothing about a message: no attempt is counted as failed, and none is dead.
    assert!(crew.dead().is_empty());
}

/// All are killed; a fresh process with a name of its own comes when everything has been idle for long.
fn nobody_is_there_meanwhile(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4"]);
    let [a, b] = crew.start_all(["a", "b"], &Handler::waiting("gate", ":"));
    crew.send(40);
    crew.wait_runs("both to work", |runs| !runs.running("a").is_empty() && !runs.running("b").is_empty());
    a.kill();
    b.kill();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert!(!crew.pending().is_empty());
    crew.start("fresh", &Handler::quick());
    crew.conclude();
}

/// A namesake is somebody else: it waits for `reclaim_idle` like all others, and then has it all.
fn the_same_name_comes_back(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4"]);
    let a = crew.start("a", &Handler::waiting("gate", ":"));
    crew.send(20);
    crew.wait_runs("a to work", |runs| !runs.running("a").is_empty());
    a.kill();
    crew.start("a", &Handler::quick());
    crew.conclude();
}

/// One of three dies every now and then, and a new one comes: nothing is lost in all that.
fn again_and_again(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "8", "--max-crashes", "0"]);
    let handler = Handler::sleeping("0.02");
    let mut workers: Vec<_> = crew.start_all(["w0", "w1", "w2"], &handler).into();
    for round in 3..7 {
        crew.send(100);
        let before = crew.runs().all().len();
        crew.wait_runs("some progress", |runs| runs.all().len() >= before + 30);
        workers.remove(0).kill();
        workers.push(crew.start(&format!("w{round}"), &handler));
    }
    crew.conclude();
}
