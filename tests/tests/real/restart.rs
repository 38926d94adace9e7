//! The server dies and comes back: with its data, without them, and emptied while it runs.

use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(without_persistence, with_aof, down_for_longer_than_a_lease, flushall);

const AOF: [(&str, &str); 2] = [("appendonly", "yes"), ("appendfsync", "always")];

/// After the data are gone: what was announced is gone too and its owners say so; what is announced now is served.
fn starts_over(fleet: &Fleet<'_>, old: &[String]) {
    fleet.wait("the old streams to be disowned", |ledger| ledger.owners().keys().all(|stream| !old.contains(stream)));
    let new = fleet.announce("new", 20);
    fleet.wait_owned(&new);
    fleet.conclude_with(&new);
}

/// Everything is gone at once: group, leases, scripts, flags.
fn without_persistence(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [_a, _b] = fleet.start_all(["a", "b"]);
    let old = fleet.announce("old", 20);
    fleet.wait_owned(&old);
    server.kill();
    server.start_again();
    starts_over(&fleet, &old);
    assert!(server.setting("notify-keyspace-events").contains('x'), "notifications are on again");
}

/// FLUSHALL changes no identity of the server; the service has to notice by what is missing.
fn flushall(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [_a, _b] = fleet.start_all(["a", "b"]);
    let old = fleet.announce("old", 20);
    fleet.wait_owned(&old);
    server.run::<()>(&["FLUSHALL"]);
    starts_over(&fleet, &old);
}

/// The data come back, the flags and scripts do not. Everything is owned again, and failover works.
fn with_aof(flavor: Flavor) {
    let server = Server::start_with(flavor, &AOF);
    let fleet = Fleet::on(&server);
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    server.kill();
    server.start_again();
    fleet.wait("notifications to be on again", |_| server.setting("notify-keyspace-events").contains('x'));
    let more = fleet.announce("t", 20);
    let all: Vec<String> = streams.iter().chain(&more).cloned().collect();
    fleet.wait_owned(&all);
    a.kill();
    fleet.wait_owned_by(&all, &[&b]);
    fleet.conclude_with(&all);
}

/// Nobody can renew: every owner says so by its own clock, and everything is owned again after the return.
fn down_for_longer_than_a_lease(flavor: Flavor) {
    let server = Server::start_with(flavor, &AOF);
    let fleet = Fleet::on(&server);
    let [_a, _b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    server.kill();
    fleet.wait("every owner to give up", |ledger| {
        streams.iter().all(|stream| ledger.count(Kind::Disowned, stream) >= 1)
    });
    server.start_again();
    fleet.wait_owned(&streams);
    fleet.conclude_with(&streams);
}
