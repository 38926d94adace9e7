//! Owners that are killed with kill -9.

use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;
use streamkeeper_tests::wait;

on_both!(one_of_three, all_and_a_fresh_one_after_everything_lapsed, claimed_by_hand);

/// Its streams go to the others, with larger tokens.
fn one_of_three(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let [a, b, c] = fleet.start_all(["a", "b", "c"]);
    let streams = fleet.announce("s", 30);
    fleet.wait_owned(&streams);
    let orphans = fleet.owned_by(&a);
    assert!(!orphans.is_empty(), "a got its share");
    a.kill();
    fleet.wait_owned_by(&streams, &[&b, &c]);
    for stream in &orphans {
        let ownerships = &fleet.ledger().ownerships()[stream];
        assert!(ownerships.len() == 2 && ownerships[1].token > ownerships[0].token, "{ownerships:?}");
    }
    let ledger = fleet.ledger();
    let added =
        |stream: &str| ledger.events().filter(|(_, event)| event.is(Kind::Added, stream)).last().unwrap().1.clone();
    for stream in &streams {
        assert_eq!(added(stream).takeover, Some(orphans.contains(stream)), "{stream}");
    }
    fleet.conclude_with(&streams);
}

/// Nobody is there to hear of anything: the fresh one must look.
fn all_and_a_fresh_one_after_everything_lapsed(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    a.kill();
    b.kill();
    wait::until("every lease to lapse", || fleet.leases().is_empty());
    let fresh = fleet.start("fresh");
    fleet.wait_owned_by(&streams, &[&fresh]);
    fleet.conclude_with(&streams);
}

/// Manual mode: the application hears that a lease lapsed and claims it; losing the race is a normal answer.
fn claimed_by_hand(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).with(&["--claim", "manual"]).patient();
    let [a, b, c] = fleet.start_all(["a", "b", "c"]);
    let streams = fleet.announce("s", 12);
    fleet.wait_owned(&streams);
    let orphans = fleet.owned_by(&a);
    assert!(!orphans.is_empty(), "a got its share");
    a.kill();
    fleet.wait_owned_by(&streams, &[&b, &c]);
    let heard = |stream: &String| b.said_of(Kind::Expired, stream) || c.said_of(Kind::Expired, stream);
    assert!(orphans.iter().all(heard), "every orphan was offered to the application first");
    fleet.conclude_with(&streams);
}
