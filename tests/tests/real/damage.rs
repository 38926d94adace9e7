//! Somebody damages the service's keys by hand: the service goes on with what is left.

use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::keys::announcement;
use streamkeeper_tests::server::Server;

on_both!(
    group_destroyed,
    lbs_deleted,
    lbs_overwritten_by_another_type,
    lbs_trimmed,
    a_list_where_one_lease_should_be,
    a_lease_deleted,
);

/// Nobody loses a stream; the pending entries come back, so that a later crash is survived too.
fn group_destroyed(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    let keys = fleet.keys();
    assert_eq!(fleet.run::<u64>(&["XGROUP", "DESTROY", &keys.lbs(), &keys.group()]), 1);
    fleet.wait("every entry to be pending again", |_| {
        let pending = server.try_run::<Vec<redis::Value>>(&["XPENDING", &keys.lbs(), &keys.group()]);
        pending.is_ok_and(|pending| pending[0] == redis::Value::Int(streams.len().try_into().unwrap()))
    });
    let more = fleet.announce("t", 10);
    let all: Vec<String> = streams.iter().chain(&more).cloned().collect();
    fleet.wait_owned(&all);
    assert!(fleet.ledger().events().all(|(_, event)| event.kind != Kind::Disowned), "nobody was disowned");
    a.kill();
    fleet.wait_owned_by(&all, &[&b]);
    fleet.conclude_with(&all);
}

/// The announcements are gone, so their owners are told; new ones are served.
fn lbs_deleted(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [_a, _b] = fleet.start_all(["a", "b"]);
    let old = fleet.announce("old", 20);
    fleet.wait_owned(&old);
    fleet.run::<()>(&["DEL", &fleet.keys().lbs()]);
    let new = fleet.announce("new", 10);
    fleet.wait_owned(&new);
    fleet.wait("the old streams to be disowned", |ledger| {
        old.iter().all(|stream| ledger.count(Kind::Disowned, stream) >= 1)
    });
    assert_eq!(fleet.leases().len(), new.len(), "no lease is left behind");
    fleet.conclude_with(&new);
}

/// While a string stands in the LBS's place nobody can look anything up: owners keep what they have. When it is
/// gone, the service goes on.
fn lbs_overwritten_by_another_type(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let [_a, _b] = fleet.start_all(["a", "b"]);
    let old = fleet.announce("old", 20);
    fleet.wait_owned(&old);
    let lbs = fleet.keys().lbs();
    fleet.run::<()>(&["SET", &lbs, "oops"]);
    fleet.observe(fleet.ttl() + fleet.ttl() / 3, |ledger| {
        assert!(ledger.events().all(|(_, event)| event.kind != Kind::Disowned), "{}", ledger.story(5));
        assert_eq!(fleet.leases().len(), old.len());
    });
    fleet.run::<()>(&["DEL", &lbs]);
    let new = fleet.announce("new", 10);
    fleet.wait_owned(&new);
    fleet.conclude_with(&new);
}

/// The payloads are gone, the pending entries stay behind: nothing crashes, nothing stays behind in the end.
fn lbs_trimmed(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [a, _b] = fleet.start_all(["a", "b"]);
    let old = fleet.announce("old", 20);
    fleet.wait_owned(&old);
    fleet.run::<()>(&["XTRIM", &fleet.keys().lbs(), "MAXLEN", "0"]);
    // One owner dies at that moment: its entries are nobody's, and must not be asked after for ever.
    a.kill();
    fleet.wait("the old streams to be disowned", |ledger| ledger.owners().is_empty());
    let keys = fleet.keys();
    fleet.wait("the pending list to be empty", |_| {
        fleet.run::<Vec<redis::Value>>(&["XPENDING", &keys.lbs(), &keys.group()])[0] == redis::Value::Int(0)
    });
    let new = fleet.announce("new", 10);
    fleet.wait_owned(&new);
    fleet.conclude_with(&new);
}

/// A list stands where the lease of one of 500 streams should be. The 499 others live; when the list is gone, all do.
fn a_list_where_one_lease_should_be(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let [a] = fleet.start_all(["a"]);
    let keys = fleet.keys();
    let lease = keys.lease("s250", "250-1");
    fleet.run::<()>(&["RPUSH", &lease, "not a lease"]);
    let streams: Vec<String> = (1..=500).map(|index| format!("s{index}")).collect();
    let mut pipeline = redis::pipe();
    for (index, stream) in (1..).zip(&streams) {
        let id = format!("{index}-1");
        pipeline.cmd("XADD").arg(keys.lbs()).arg(id).arg("lbs-input").arg(announcement(stream)).ignore();
    }
    pipeline.exec(&mut fleet.connect()).unwrap();
    let good: Vec<String> = streams.iter().filter(|stream| *stream != "s250").cloned().collect();
    fleet.wait_owned_by(&good, &[&a]);
    fleet.observe(fleet.ttl() + fleet.ttl() / 3, |ledger| {
        assert!(ledger.events().all(|(_, event)| event.kind != Kind::Disowned), "{}", ledger.story(5));
        assert_eq!(ledger.count(Kind::Added, "s250"), 0);
    });
    fleet.run::<()>(&["DEL", &lease]);
    fleet.wait_owned_by(&streams, &[&a]);
    // The same to a lease that is in use: its owner loses this one, and no other.
    let lease = keys.lease("s100", "100-1");
    fleet.run::<()>(&["DEL", &lease]);
    fleet.run::<()>(&["RPUSH", &lease, "not a lease"]);
    fleet.wait_said(&a, Kind::Disowned, &["s100".to_owned()]);
    fleet.run::<()>(&["DEL", &lease]);
    fleet.wait_owned_by(&streams, &[&a]);
    let ledger = fleet.ledger();
    let disowned: Vec<_> = ledger.events().filter(|(_, event)| event.kind == Kind::Disowned).collect();
    assert_eq!(disowned.len(), 1, "{disowned:?}");
    fleet.conclude_with(&streams);
}

/// Somebody deletes the lease of a live owner. The heartbeat is the second witness: nobody else gets the stream while
/// the owner may still believe in it.
fn a_lease_deleted(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [_a, _b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 10);
    fleet.wait_owned(&streams);
    let leases = fleet.leases();
    for (lease, _) in &leases {
        fleet.run::<()>(&["DEL", lease]);
    }
    fleet.wait("every owner to hear of it", |ledger| {
        streams.iter().all(|stream| ledger.count(Kind::Disowned, stream) >= 1)
    });
    fleet.wait_owned(&streams);
    fleet.conclude_with(&streams);
}
