//! An application that does not read its notifications.

use std::collections::BTreeMap;

use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(never_reads_its_notifications);

/// What it owns stays owned and renewed; what is beyond its buffer goes to the other.
fn never_reads_its_notifications(flavor: Flavor) {
    const MANY: usize = 4000;
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let slow = fleet.start_with("slow", &["--never-read"]);
    let held_by_slow = || -> BTreeMap<String, String> {
        fleet.leases().into_iter().filter(|(_, value)| value.starts_with("redis-consumer-slow#")).collect()
    };
    // It cannot say `ready` if that is read like a notification: what it owns is seen in Redis.
    fleet.announce("first", 1);
    fleet.wait("the slow one to own the first stream", |_| held_by_slow().len() == 1);
    let streams = fleet.announce("s", MANY);
    let other = fleet.start("other");
    fleet.wait("every stream leased", |_| fleet.leases().len() == MANY + 1);
    let before = held_by_slow();
    fleet.wait("the other to say what it owns", |_| fleet.owned_by(&other).len() + before.len() == MANY + 1);
    assert!(before.len() < MANY, "the buffer has an end");
    fleet.observe(fleet.ttl() + fleet.ttl() / 3, |_| {
        let now = held_by_slow();
        let lost: Vec<_> = before.iter().filter(|(lease, value)| now.get(*lease) != Some(value)).collect();
        assert!(lost.is_empty(), "{} leases changed: {:?}", lost.len(), lost.first());
    });
    slow.kill();
    fleet.wait_owned_by(&streams, &[&other]);
    fleet.conclude_with(&streams);
}
