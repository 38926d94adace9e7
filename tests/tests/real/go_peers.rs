//! A Go consumer on the same service, played by its exact command sequence.

use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::go_peer::GoPeer;
use streamkeeper_tests::server::Server;
use streamkeeper_tests::wait;

on_both!(takes_from_us_and_finishes, loses_to_us, hears_of_our_release, its_recovery_does_not_disturb_us);

/// We crash. It hears the same `expired` as from its own kind, and its XCLAIM's min-idle passes at once.
fn takes_from_us_and_finishes(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [ours] = fleet.start_all(["ours"]);
    let streams = fleet.announce("s", 5);
    fleet.wait_owned_by(&streams, &[&ours]);
    let mut go = GoPeer::start(&server, "svc", "go");
    go.claim_what_expires(&server);
    ours.kill();
    // Redis announces an expiry when it looks at the key; a waiting consumer of ours does that, but it is gone too.
    wait::until("the Go peer to own all", || go.owned() == streams);
    assert!(fleet.leases().iter().all(|(_, value)| value == go.id()));
    // We come back, and leave alone what it owns.
    let [back] = fleet.start_all(["back"]);
    fleet.observe(2 * fleet.ttl(), |_| assert!(!back.said(Kind::Added), "the Go peer is alive"));
    assert_eq!(go.owned(), streams);
    assert_eq!(go.done("s0"), 1);
    // It crashes: we take the rest, with larger tokens than ever before, and not what it finished.
    go.crash();
    fleet.wait_owned_by(&streams[1..], &[&back]);
    assert_eq!(fleet.announced(), streams[1..]);
    fleet.conclude_with(&streams[1..]);
}

/// It read the LBS first and crashes: we take over, and it never had a token.
fn loses_to_us(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let mut go = GoPeer::start(&server, "svc", "go");
    let streams = fleet.announce("s", 10);
    assert_eq!(go.read(), streams);
    let [ours] = fleet.start_all(["ours"]);
    let more = fleet.announce("t", 5);
    fleet.wait_owned_by(&more, &[&ours]);
    fleet.observe(fleet.ttl(), |_| assert_eq!(fleet.owned_by(&ours), more, "the Go peer is alive"));
    go.crash();
    let all: Vec<String> = streams.into_iter().chain(more).collect();
    fleet.wait_owned_by(&all, &[&ours]);
    fleet.conclude_with(&all);
}

/// We give back: it hears `expired`, as after a crash, and may claim at once.
fn hears_of_our_release(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [ours] = fleet.start_all(["ours"]);
    let streams = fleet.announce("s", 10);
    fleet.wait_owned_by(&streams, &[&ours]);
    let mut go = GoPeer::start(&server, "svc", "go");
    go.claim_what_expires(&server);
    ours.terminate();
    assert!(ours.wait_end().success(), "{}", ours.errors());
    wait::until("the Go peer to own all", || go.owned() == streams);
    fleet.conclude();
}

/// A Go pod that starts claims whatever has been pending for 40 s. Our heartbeat keeps our entries fresher than that.
fn its_recovery_does_not_disturb_us(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let [ours] = fleet.start_all(["ours"]);
    let streams = fleet.announce("s", 10);
    fleet.wait_owned_by(&streams, &[&ours]);
    fleet.observe(std::time::Duration::from_secs(41), |ledger| assert_eq!(ledger.owners().len(), streams.len()));
    let go = GoPeer::start(&server, "svc", "go");
    assert_eq!(go.recover(), 0, "nothing of ours looks abandoned");
    // Even a claim without any min-idle is taken back by the next heartbeat: the lease decides.
    let keys = fleet.keys();
    let ids: Vec<(String, Vec<String>)> = fleet.run(&["XRANGE", &keys.lbs(), "-", "+"]);
    for (id, _) in &ids {
        fleet.run::<redis::Value>(&["XCLAIM", &keys.lbs(), &keys.group(), go.id(), "0", id]);
    }
    fleet.wait("our entries to be pending under our name again", |_| {
        let of_go = ["XPENDING", &keys.lbs(), &keys.group(), "-", "+", "100", go.id()];
        fleet.run::<Vec<redis::Value>>(&of_go).is_empty()
    });
    assert!(ours.life().events.iter().all(|event| event.kind != Kind::Disowned), "{:?}", ours.life().events);
    fleet.conclude_with(&streams);
}
