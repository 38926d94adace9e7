//! `--wait-for-replicas`: what is acquired is known to replicas, and if it is not, that is said, and nothing else happens.

use std::sync::Arc;
use std::time::Duration;

use streamkeeper_tests::consumer::Consumer;
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;
use streamkeeper_tests::wait;

on_both!(a_missing_replica_is_said_once, the_wait_is_refused);

const WARNING: &str = "a failover may forget it";

fn warnings(consumer: &Arc<Consumer>) -> usize {
    consumer.errors().matches(WARNING).count()
}

fn waits(server: &Server) -> u64 {
    let calls: String = server.run(&["INFO", "commandstats"]);
    let line = calls.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// A replica that stands still, twice: one warning for each time, and no lease is lost by waiting.
fn a_missing_replica_is_said_once(flavor: Flavor) {
    let server = Server::start(flavor);
    let primary = format!("127.0.0.1 {}", server.port());
    let replica = Server::start_with(flavor, &[("replicaof", &primary), ("repl-diskless-sync-delay", "0")]);
    wait::until("the replica", || replica.info("master_link_status").as_deref() == Some("up"));
    // A replica that this machine keeps waiting for less than a second is not missing, and no lease is so short.
    let (ttl, heartbeat) = (Duration::from_secs(15), Duration::from_secs(4));
    let fleet = Fleet::on(&server).with(&["--wait-for-replicas", "1", "--replicas-within", "1s"]);
    let fleet = fleet.lease(ttl, heartbeat).settled();
    let [a] = fleet.start_all(["a"]);
    let mut streams = fleet.announce("s", 10);
    fleet.wait_owned(&streams);
    assert!(waits(&server) > 0, "the replicas were waited for");
    assert_eq!(warnings(&a), 0, "{}", a.errors());
    let is_unguarded = || fleet.command_ok(&["status"]).out.contains("set min-replicas-to-write");
    assert!(is_unguarded());
    server.set("min-replicas-to-write", "1");
    assert!(!is_unguarded());
    server.set("min-replicas-to-write", "0");
    for time in 1..=2 {
        replica.freeze();
        for number in 0..3 {
            let more = fleet.announce(&format!("frozen{time}-{number}-"), 3);
            fleet.wait_owned(&more);
            streams.extend(more);
        }
        fleet.wait("the warning", |_| warnings(&a) >= time);
        replica.thaw();
        let before = waits(&server);
        wait::until("the replica to have caught up", || {
            let mut connection = server.connect();
            redis::cmd("SET").arg("caught").arg("up").exec(&mut connection).unwrap();
            redis::cmd("WAIT").arg(1).arg(1_000).query::<u64>(&mut connection).unwrap() == 1
        });
        let more = fleet.announce(&format!("thawed{time}-"), 3);
        fleet.wait_owned(&more);
        streams.extend(more);
        assert!(waits(&server) > before);
        assert_eq!(warnings(&a), time, "{}", a.errors());
    }
    fleet.observe(fleet.ttl(), |ledger| {
        assert!(ledger.events().all(|(_, event)| event.kind != Kind::Disowned), "a lease was lost");
    });
    fleet.conclude_with(&streams);
}

/// Somebody who may not ask works as without: that is said once.
fn the_wait_is_refused(flavor: Flavor) {
    let server = Server::start(flavor);
    server.run::<()>(&["ACL", "SETUSER", "somebody", "on", ">secret", "~*", "resetchannels", "&*", "+@all", "-wait"]);
    let url = server.url_as("somebody", "secret");
    let fleet = Fleet::on(&server).url(&url).with(&["--wait-for-replicas", "1"]);
    let [a] = fleet.start_all(["a"]);
    let mut streams = fleet.announce("s", 3);
    fleet.wait_owned(&streams);
    streams.extend(fleet.announce("t", 3));
    fleet.wait_owned(&streams);
    assert_eq!(warnings(&a), 1, "{}", a.errors());
    assert!(a.errors().contains("NOPERM"), "{}", a.errors());
    fleet.conclude_with(&streams);
}
