//! The server dies, comes back, forgets, or hangs.

use std::time::Duration;

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(
    killed_in_the_middle,
    hangs_for_longer_than_reclaim_idle,
    hangs_while_somebody_is_the_reclaimer,
    forgets_everything,
    loses_the_group
);

const AOF: [(&str, &str); 2] = [("appendonly", "yes"), ("appendfsync", "always")];

/// kill -9 of the server with messages in flight, twice, with its data: handlers run on, and what they did counts.
fn killed_in_the_middle(flavor: Flavor) {
    let server = Server::start_with(flavor, &AOF);
    let crew = Crew::on(&server).with(&["--concurrency", "4", "--reclaim-idle", "4s"]);
    crew.start_all(["a", "b"], &Handler::sleeping("0.1"));
    for _ in 0..2 {
        let numbers = crew.send(80);
        crew.wait_runs("some progress", |runs| runs.all().iter().filter(|run| run.number >= numbers[20]).count() > 10);
        server.kill();
        std::thread::sleep(Duration::from_millis(700));
        server.start_again();
    }
    crew.conclude();
    assert_eq!(crew.runs().repeated(), [0; 0], "everything was held by somebody who lived");
}

/// An outage is not mass death: nothing that a living worker holds is handed to anybody, though nobody could refresh
/// for longer than `reclaim_idle`. (There is room for more: who has none reclaims nothing anyhow.)
fn hangs_for_longer_than_reclaim_idle(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "8", "--reclaim-idle", "2s"]);
    crew.start_all(["a", "b"], &Handler::sleeping("7"));
    crew.send(8);
    crew.wait_runs("all to run", |runs| runs.all().len() == 8);
    server.freeze();
    std::thread::sleep(Duration::from_secs(4));
    server.thaw();
    crew.conclude();
    assert_eq!(crew.runs().all().len(), 8, "each ran once: {:?}", crew.runs().repeated());
}

/// The same for so short a time that whoever was the reclaimer still is, and its question of before is answered first:
/// at the shortest `reclaim_idle` everything has been idle for longer by then.
fn hangs_while_somebody_is_the_reclaimer(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "8"]);
    crew.start_all(["a", "b"], &Handler::sleeping("15"));
    crew.send(8);
    crew.wait_runs("all to run", |runs| runs.all().len() == 8);
    for _ in 0..5 {
        server.freeze();
        std::thread::sleep(Duration::from_millis(1_200));
        server.thaw();
        std::thread::sleep(Duration::from_millis(1_600));
    }
    crew.conclude();
    assert_eq!(crew.runs().all().len(), 8, "each ran once: {:?}", crew.runs().repeated());
}

/// A server without persistence comes back empty: the group is made anew, and what is sent from then on is served.
fn forgets_everything(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4"]);
    crew.start_all(["a", "b"], &Handler::quick());
    crew.send(20);
    crew.wait_settled();
    server.kill();
    server.start_again();
    crew.send(20);
    crew.conclude();
}

/// Somebody destroys the group under the workers: it is made anew at the beginning, so that what was in flight comes
/// again rather than never.
fn loses_the_group(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "2"]);
    crew.start_all(["a"], &Handler::sleeping("0.3"));
    crew.send(6);
    crew.wait_runs("it to work", |runs| !runs.running("a").is_empty());
    crew.run::<u64>(&["XGROUP", "DESTROY", crew.stream(), crew.group()]);
    crew.wait_runs("everything to be done", |runs| {
        (0..6).all(|number| runs.of(number).iter().any(|run| run.succeeded()))
    });
    crew.wait_settled();
    crew.waive("the group's memory was lost: what ran then may run twice at once");
}
