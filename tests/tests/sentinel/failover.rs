//! The primary fails in every way there is; its consumers go to the next one, and no promise is broken.

use std::sync::atomic::Ordering;

use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::proxy::Through;
use streamkeeper_tests::sentinel::{Setup, Watched};
use streamkeeper_tests::server::Server;

use crate::load::{Announcer, print_ownerless, wait_replicated};

on_both!(killed, frozen, asked_to, cut_off, cut_off_from_all_but_its_clients, with_one_sentinel_left);

/// Three consumers own streams, more are announced all the time; then comes the fault. When another server is the
/// primary, and after what else befalls the former one, every stream is owned by one, and failover among the consumers
/// works.
fn under_load(what: &str, watched: &Watched, fault: impl FnOnce(&Watched), afterwards: impl FnOnce(&Watched, &Server)) {
    let first = watched.first();
    let fleet = Fleet::on(first).url(&watched.url());
    let [a, b, c] = fleet.start_all(["a", "b", "c"]);
    first.wait_writable();
    let mut streams = fleet.announce("s", 60);
    fleet.wait_owned(&streams);
    wait_replicated(first);
    let announcer = Announcer::new(watched, &fleet);
    let announced = std::thread::scope(|scope| {
        let announcing = scope.spawn(|| announcer.run());
        let until_here = announcer.until_dropped();
        std::thread::sleep(fleet.ttl() / 3);
        fault(watched);
        let primary = watched.wait_other_than(first);
        fleet.moved_to(primary);
        primary.wait_writable();
        announcer.safe.store(true, Ordering::Relaxed);
        // They have gone to the new primary before anything makes them leave the former one.
        let after = fleet.announce("after", 10);
        fleet.wait_owned(&[&streams[..], &after].concat());
        print_ownerless(&format!("{what} on {:?}", first.flavor()), &fleet.ledger(), &streams);
        streams.extend(after);
        afterwards(watched, first);
        drop(until_here);
        announcing.join().unwrap()
    });
    assert!(!announced.is_empty(), "some were announced and kept");
    streams.extend(announced);
    fleet.wait_owned(&streams);
    a.kill();
    fleet.wait_owned_by(&streams, &[&b, &c]);
    let answer = fleet.command_ok(&["status"]);
    assert!(!answer.out.is_empty());
    fleet.conclude_with(&streams);
}

/// kill -9, and it comes back empty, as a replica.
fn killed(flavor: Flavor) {
    under_load(
        "kill -9",
        &Watched::start(flavor),
        |watched| watched.first().kill(),
        |watched, former| {
            former.start_again();
            watched.wait_replica(former);
        },
    );
}

/// SIGSTOP: its connections stay, and nothing answers. It wakes as a primary, and is made a replica.
fn frozen(flavor: Flavor) {
    under_load(
        "SIGSTOP",
        &Watched::start(flavor),
        |watched| watched.first().freeze(),
        |watched, former| {
            former.thaw();
            watched.wait_replica(former);
        },
    );
}

/// `SENTINEL FAILOVER`: nothing is broken, another one is wanted.
fn asked_to(flavor: Flavor) {
    under_load("SENTINEL FAILOVER", &Watched::start(flavor), Watched::fail_over, |watched, former| {
        watched.wait_replica(former);
    });
}

/// Nothing comes to it or from it: neither clients nor sentinels nor replicas. It refuses to write without a replica.
fn cut_off(flavor: Flavor) {
    let strict = [("min-replicas-to-write", "1"), ("min-replicas-max-lag", "2")];
    let setup = Setup { wire: true, servers: &strict, ..Setup::default() };
    under_load(
        "cut off",
        &Watched::start_with(flavor, setup),
        |watched| watched.wire().let_through(Through::Nothing),
        |watched, former| {
            watched.wire().let_through(Through::All);
            watched.wait_replica(former);
        },
    );
}

/// Sentinels and replicas do not reach it, all clients do: nothing tells them to leave it but the sentinels.
fn cut_off_from_all_but_its_clients(flavor: Flavor) {
    let setup = Setup { wire: true, ..Setup::default() };
    under_load(
        "cut off from all but its clients",
        &Watched::start_with(flavor, setup),
        |watched| watched.wire().let_through(Through::Clients),
        |watched, former| {
            watched.wire().let_through(Through::All);
            watched.wait_replica(former);
        },
    );
}

/// A sentinel is dead and another one deaf: the third one suffices to find the primary, at start and later.
fn with_one_sentinel_left(flavor: Flavor) {
    let mut watched = Watched::start(flavor);
    watched.kill_sentinel(0);
    watched.freeze_sentinel(1);
    let fleet = Fleet::on(watched.first()).url(&watched.url());
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    // Every connection is made anew.
    for kind in ["normal", "pubsub"] {
        watched.first().run::<u64>(&["CLIENT", "KILL", "TYPE", kind]);
    }
    fleet.wait_owned(&streams);
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.conclude_with(&streams);
}
