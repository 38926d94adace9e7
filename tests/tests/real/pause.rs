//! Owners that stand still for longer than their leases.

use std::collections::BTreeSet;

use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(stopped_owner_wakes, application_blocks_its_runtime);

/// SIGSTOP for longer than the lease. On waking it says `disowned`, with the pause as reason, before anything else
/// about a stream (the judge looks at the order); the new owner has a larger token.
fn stopped_owner_wakes(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    let slept_on = fleet.owned_by(&a);
    assert!(!slept_on.is_empty(), "a got its share");
    a.stop();
    fleet.wait_owned_by(&streams, &[&b]);
    a.cont();
    fleet.wait_said(&a, Kind::Disowned, &slept_on);
    for event in a.life().of(Kind::Disowned) {
        assert!(event.reason().contains("pause"), "{event:?}");
    }
    // It is a full member again: it gets a share of what comes, and takes over from the other.
    let more = fleet.announce("t", 20);
    fleet.wait_owned(&more);
    b.kill();
    let all: Vec<String> = streams.iter().chain(&more).cloned().collect();
    fleet.wait_owned_by(&all, &[&a]);
    fleet.conclude_with(&all);
}

/// The application blocks the thread of its runtime for two leases: nobody may notice.
fn application_blocks_its_runtime(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let blocked = fleet.start_with("blocked", &["--block-runtime", "20s"]);
    let other = fleet.start("other");
    fleet.wait_ready(&blocked); // it says so before it blocks
    fleet.wait_ready(&other);
    let streams = fleet.announce("s", 20);
    fleet.wait("every stream leased", |_| fleet.leases().len() == streams.len());
    let of_the_blocked: BTreeSet<String> = fleet
        .leases()
        .into_iter()
        .filter(|(_, value)| value.starts_with("redis-consumer-blocked#"))
        .map(|(key, _)| key.split('<').next().unwrap().to_owned())
        .collect();
    assert!(!of_the_blocked.is_empty(), "it got its share while it blocked");
    fleet.wait_said(&blocked, Kind::Added, &of_the_blocked.into_iter().collect::<Vec<_>>());
    fleet.wait_owned(&streams);
    fleet.observe(fleet.ttl(), |ledger| {
        let bad = ledger.events().find(|(_, event)| event.kind == Kind::Disowned);
        assert!(bad.is_none(), "a lease was lost: {bad:?}");
    });
    for stream in &streams {
        assert_eq!(fleet.ledger().count(Kind::Added, stream), 1, "{stream} stayed with its first owner");
    }
    fleet.conclude_with(&streams);
}
