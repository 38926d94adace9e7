//! Consumers with one name: by mistake, and because a pod comes back under its old name.

use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(two_at_once, restart_under_the_same_name, successor_of_a_stopped_one);

/// Two processes call themselves `twin`: still one owner a stream, and one takes over from the other.
fn two_at_once(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let [first, second] = fleet.start_all(["twin", "twin"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    fleet.observe(fleet.ttl() + fleet.ttl() / 3, |ledger| {
        assert!(ledger.events().all(|(_, event)| event.kind != Kind::Disowned), "{}", ledger.story(10));
    });
    first.kill();
    fleet.wait_owned_by(&streams, &[&second]);
    fleet.conclude_with(&streams);
}

/// Killed and started again at once: the new process is not the old one, and needs tokens of its own.
fn restart_under_the_same_name(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [before] = fleet.start_all(["pod-0"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned_by(&streams, &[&before]);
    before.kill();
    let after = fleet.start("pod-0");
    fleet.wait_owned_by(&streams, &[&after]);
    fleet.conclude_with(&streams);
}

/// The old process is only stopped. It wakes after its successor of the same name owns everything.
fn successor_of_a_stopped_one(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let [old] = fleet.start_all(["pod-0"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned_by(&streams, &[&old]);
    old.stop();
    let new = fleet.start("pod-0");
    fleet.wait_owned_by(&streams, &[&new]);
    old.cont();
    fleet.wait_said(&old, Kind::Disowned, &streams);
    fleet.observe(fleet.ttl(), |_| {
        assert!(!new.said(Kind::Disowned), "the successor keeps what it owns");
    });
    fleet.wait_owned_by(&streams, &[&new]);
    fleet.conclude_with(&streams);
}
