//! Keyspace notifications are hints: off, refused, lost, late, or shared with others' settings.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;
use streamkeeper_tests::wait;

on_both!(
    config_refused_by_acl,
    config_renamed_away,
    others_flags_are_kept,
    switched_off_later,
    subscriber_killed_at_the_moment_of_expiry,
    hundred_leases_among_ten_thousand_other_keys,
);

/// Kills the owner of some of the streams and waits until the other owns all.
fn survive_a_crash(fleet: &Fleet<'_>) {
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    assert!(!fleet.owned_by(&a).is_empty(), "a got its share");
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.conclude_with(&streams);
}

/// Notifications are off, and the consumers may not switch them on: they find orphans by looking.
fn config_refused_by_acl(flavor: Flavor) {
    let server = Server::start(flavor);
    server.run::<()>(&["ACL", "SETUSER", "careful", "on", ">pw", "~*", "resetchannels", "&*", "+@all", "-config"]);
    let fleet = Fleet::on(&server).url(&server.url_as("careful", "pw"));
    survive_a_crash(&fleet);
    assert_eq!(server.setting("notify-keyspace-events"), "");
}

/// The same on a server that has no CONFIG at all, as managed services do.
fn config_renamed_away(flavor: Flavor) {
    let server = Server::start_with(flavor, &[("rename-command", "CONFIG ''")]);
    survive_a_crash(&Fleet::on(&server));
}

fn flags(server: &Server) -> BTreeSet<char> {
    server.setting("notify-keyspace-events").chars().collect()
}

/// Flags that somebody else needs stay; K and x come on top; sufficient flags are left alone.
fn others_flags_are_kept(flavor: Flavor) {
    let server = Server::start(flavor);
    server.set("notify-keyspace-events", "Eg$");
    let fleet = Fleet::on(&server);
    survive_a_crash(&fleet);
    assert_eq!(flags(&server), "Eg$Kx".chars().collect());

    let server = Server::start(flavor);
    server.set("notify-keyspace-events", "KEA");
    let before = flags(&server);
    let fleet = Fleet::on(&server);
    let [_a] = fleet.start_all(["a"]);
    assert_eq!(flags(&server), before);
    fleet.conclude();
}

/// Somebody clears the flags while the consumers run.
fn switched_off_later(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    server.set("notify-keyspace-events", "");
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.conclude_with(&streams);
}

/// From before the leases lapse until all is well, no subscription lives for longer than a few milliseconds.
fn subscriber_killed_at_the_moment_of_expiry(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    assert!(!fleet.owned_by(&a).is_empty(), "a got its share");
    a.kill();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = server.connect();
            let start = std::time::Instant::now();
            while !over.load(Ordering::Relaxed) && start.elapsed() < wait::LIMIT {
                redis::cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).exec(&mut connection).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let owned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fleet.wait_owned_by(&streams, &[&b])));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = owned {
            std::panic::resume_unwind(panic);
        }
    });
    fleet.conclude_with(&streams);
}

/// Redis announces an expiry when it deletes the key: with many other keys that have a TTL, much later.
fn hundred_leases_among_ten_thousand_other_keys(flavor: Flavor) {
    let server = Server::start(flavor);
    let mut pipeline = redis::pipe();
    for index in 0..10_000 {
        pipeline.cmd("SET").arg(format!("other:{index}")).arg("x").arg("EX").arg(3600).ignore();
    }
    pipeline.exec(&mut server.connect()).unwrap();
    let fleet = Fleet::on(&server);
    let [a] = fleet.start_all(["a"]);
    let streams = fleet.announce("s", 100);
    fleet.wait_owned_by(&streams, &[&a]);
    let [b, c] = fleet.start_all(["b", "c"]);
    a.kill();
    fleet.wait_owned_by(&streams, &[&b, &c]);
    fleet.conclude_with(&streams);
}
