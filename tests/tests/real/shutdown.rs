//! SIGTERM: everything is given back, and the others have it at once.

use std::time::Duration;

use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(others_take_over_at_once, nobody_else_is_there, second_signal_ends_at_once);

/// Each stream is released and taken over long before its lease would have lapsed; the program ends with 0.
fn others_take_over_at_once(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let [a, b, c] = fleet.start_all(["a", "b", "c"]);
    let streams = fleet.announce("s", 30);
    fleet.wait_owned(&streams);
    let given = fleet.owned_by(&a);
    assert!(!given.is_empty(), "a got its share");
    a.terminate();
    assert_eq!(a.wait_end().code(), Some(0), "{}", a.errors());
    fleet.wait_owned_by(&streams, &[&b, &c]);
    let life = a.life();
    assert_eq!(life.events.last().map(|event| event.kind), Some(Kind::Stopped));
    assert_eq!(life.of(Kind::Released).count(), given.len(), "each was released");
    // Without the release the others would have had to wait for a lease less a heartbeat at least.
    let waited = u64::try_from((fleet.ttl() - Duration::from_secs(1)).as_micros()).unwrap();
    for stream in &given {
        let released = life.events.iter().find(|event| event.is(Kind::Released, stream)).unwrap().at_us;
        let taken = fleet.ledger().ownerships()[stream].last().unwrap().from_us;
        assert!(
            taken < released + waited,
            "{stream} was taken {} µs after its release",
            taken.saturating_sub(released)
        );
    }
    fleet.conclude_with(&streams);
}

/// The last one leaves: what it gave back is there for whoever comes, unfinished.
fn nobody_else_is_there(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [a] = fleet.start_all(["a"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned_by(&streams, &[&a]);
    a.terminate();
    assert_eq!(a.wait_end().code(), Some(0), "{}", a.errors());
    fleet.wait("no lease to be left", |_| fleet.leases().is_empty());
    let [b] = fleet.start_all(["b"]);
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.conclude_with(&streams);
}

/// The server hangs, so the release cannot be answered. The second signal does not wait for it.
fn second_signal_ends_at_once(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [a] = fleet.start_all(["a"]);
    let streams = fleet.announce("s", 5);
    fleet.wait_owned_by(&streams, &[&a]);
    server.freeze();
    a.terminate_at_once();
    let _ = a.wait_end();
    server.thaw();
    let [b] = fleet.start_all(["b"]);
    fleet.wait_owned_by(&streams, &[&b]);
    // The judge wants a final event from whoever ends by itself; this one was told not to wait for it.
    let mut ledger = fleet.ledger();
    ledger.lives[0].end.as_mut().unwrap().killed = true;
    assert_eq!(streamkeeper_tests::judge::judge(&ledger), []);
    fleet.waive("a was ended in the middle of its farewell");
}
