//! What producers and dead consumers leave in the load balancer stream.

use std::collections::BTreeSet;

use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::keys::announcement;
use streamkeeper_tests::server::Server;

on_both!(
    malformed_before_good_ones,
    made_before_any_consumer_existed,
    one_stream_announced_twice,
    delivered_to_a_ghost,
    finished_ones_are_gone,
);

/// Each malformed announcement is set aside with its reason; nobody stops; the good ones are served.
fn malformed_before_good_ones(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let bad = [
        ("lbs-input", "{not json".to_owned()),
        ("lbs-input", "[1,2]".to_owned()),
        ("something-else", announcement("wrong-field")),
        ("lbs-input", announcement("")),
        ("lbs-input", announcement("a<MUTEX_KEY_SEP>b")),
        ("lbs-input", r#"{"DataStreamName":7}"#.to_owned()),
    ]
    .map(|(field, value)| fleet.add_raw("*", field, &value));
    let streams = fleet.announce("good", 5);
    let [_a, _b] = fleet.start_all(["a", "b"]);
    fleet.wait_owned(&streams);
    let rejected = |ledger: &streamkeeper_tests::ledger::Ledger| -> BTreeSet<String> {
        let all = ledger.events().filter(|(_, event)| event.kind == Kind::Rejected && event.reason() == "malformed");
        all.filter_map(|(_, event)| event.entry.clone()).collect()
    };
    fleet.wait("every malformed announcement rejected", |ledger| rejected(ledger) == bad.iter().cloned().collect());
    assert_eq!(fleet.run::<usize>(&["XLEN", &fleet.keys().dead()]), bad.len());
    assert_eq!(fleet.announced(), streams);
    assert_eq!(fleet.run::<usize>(&["XLEN", &fleet.keys().lbs()]), streams.len());
    // Later ones too.
    let late = fleet.add_raw("*", "lbs-input", "null");
    fleet.wait("the late one rejected", |ledger| rejected(ledger).contains(&late));
    fleet.conclude_with(&streams);
}

/// The group is created at the beginning of the stream: nothing that came before is lost.
fn made_before_any_consumer_existed(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let early = fleet.announce("early", 10);
    let [_a, _b] = fleet.start_all(["a", "b"]);
    fleet.wait_owned(&early);
    fleet.conclude_with(&early);
}

/// One owner at a time; when the first announcement is finished, the second is handed out.
fn one_stream_announced_twice(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).with(&["--finish-after", "3s"]).patient();
    let [_a, _b] = fleet.start_all(["a", "b"]);
    let first = fleet.add_raw("*", "lbs-input", &announcement("twin"));
    let second = fleet.add_raw("*", "lbs-input", &announcement("twin"));
    fleet.wait("both announcements done", |ledger| ledger.count(Kind::Done, "twin") == 2);
    let ledger = fleet.ledger();
    let ownerships = &ledger.ownerships()["twin"];
    let entries: BTreeSet<&str> = ownerships.iter().map(|ownership| ownership.entry.as_str()).collect();
    assert_eq!(entries, BTreeSet::from([first.as_str(), second.as_str()]));
    assert_eq!(ownerships.len(), 2, "each was handed out once: {ownerships:?}");
    assert!(fleet.announced().is_empty());
    fleet.conclude();
}

/// A consumer read the announcement and died before it acquired a lease: there is no lease that could ever lapse.
fn delivered_to_a_ghost(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let keys = fleet.keys();
    fleet.run::<()>(&["XGROUP", "CREATE", &keys.lbs(), &keys.group(), "0", "MKSTREAM"]);
    let streams = fleet.announce("s", 5);
    let read = |count: &str| {
        let words =
            ["XREADGROUP", "GROUP", &keys.group(), "redis-consumer-ghost", "COUNT", count, "STREAMS", &keys.lbs(), ">"];
        fleet.run::<redis::Value>(&words);
    };
    read("3");
    let [a] = fleet.start_all(["a"]);
    fleet.wait_owned_by(&streams, &[&a]);
    // Once more, after the service has lived and when nobody else is there.
    a.terminate();
    assert!(a.wait_end().success());
    let more = fleet.announce("t", 3);
    read("100");
    let [b] = fleet.start_all(["b"]);
    let all: Vec<String> = streams.into_iter().chain(more).collect();
    fleet.wait_owned_by(&all, &[&b]);
    fleet.conclude_with(&all);
}

/// Done means gone: from the LBS, the pending list, the leases and the records.
fn finished_ones_are_gone(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).with(&["--finish-after", "500ms"]);
    let [_a, _b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait("all done", |ledger| streams.iter().all(|stream| ledger.count(Kind::Done, stream) == 1));
    let keys = fleet.keys();
    assert_eq!(fleet.run::<usize>(&["XLEN", &keys.lbs()]), 0);
    let pending: Vec<redis::Value> = fleet.run(&["XPENDING", &keys.lbs(), &keys.group()]);
    assert_eq!(pending[0], redis::Value::Int(0));
    assert_eq!(fleet.run::<usize>(&["HLEN", &keys.fences()]), 0);
    assert!(fleet.leases().is_empty());
    fleet.conclude_with(&streams);
}
