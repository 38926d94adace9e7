//! Several services, and other databases than 0.

use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::keys::announcement;
use streamkeeper_tests::server::Server;

on_both!(two_services_with_equal_entry_ids, database_one);

/// Both hear each other's expiries, and both have an entry of that very id: neither may act on the other's.
fn two_services_with_equal_entry_ids(flavor: Flavor) {
    let server = Server::start(flavor);
    let (red, blue) = (Fleet::on(&server).service("red").patient(), Fleet::on(&server).service("blue").patient());
    let ids: Vec<String> = (1..=10).map(|index| format!("{index}-1")).collect();
    let (mut reds, mut blues) = (Vec::new(), Vec::new());
    for id in &ids {
        reds.push(format!("red-{id}"));
        blues.push(format!("blue-{id}"));
        red.add_raw(id, "lbs-input", &announcement(reds.last().unwrap()));
        blue.add_raw(id, "lbs-input", &announcement(blues.last().unwrap()));
    }
    let (red_a, blue_a, blue_b) = (red.start("a"), blue.start("a"), blue.start("b"));
    red.wait_owned_by(&reds, &[&red_a]);
    blue.wait_owned(&blues);
    let red_b = red.start("b");
    red.wait_ready(&red_b);
    red_a.kill();
    red.wait_owned_by(&reds, &[&red_b]);
    blue.observe(blue.ttl(), |ledger| {
        for stream in &blues {
            assert_eq!(ledger.count(Kind::Added, stream), 1, "{stream} is none of red's business");
        }
        assert!(ledger.events().all(|(_, event)| event.kind != Kind::Disowned), "{}", ledger.story(10));
    });
    // Under the names of their owners, on both sides.
    assert_eq!(blue.owned_by(&blue_a).len() + blue.owned_by(&blue_b).len(), blues.len());
    for (fleet, streams) in [(&red, &reds), (&blue, &blues)] {
        let leases = fleet.leases();
        assert_eq!(leases.len(), reds.len() + blues.len(), "{leases:?}");
        fleet.conclude_with(streams);
    }
}

/// Nothing goes to database 0, and the expiries of database 1 are heard.
fn database_one(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).url(&format!("{}/1", server.url())).database(1);
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    assert_eq!(fleet.leases().len(), streams.len());
    assert_eq!(server.run::<u64>(&["DBSIZE"]), 0, "database 0 is untouched");
    fleet.conclude_with(&streams);
}
