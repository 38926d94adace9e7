//! Owned streams while the cluster changes: a failover by wish and by death, a slot that moves, a node that hangs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use streamkeeper_tests::cluster::Cluster;
use streamkeeper_tests::command::streamkeeper;
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;

use crate::gaps;

on_both!(failover, killed, frozen, moved_to_one_that_joins, moved_slowly);

/// Announces one stream after the other by the command line, each until it succeeds, while `fault` happens. Answers all
/// of them.
fn under_load(fleet: &Fleet<'_>, prefix: &str, fault: impl FnOnce()) -> Vec<String> {
    let (over, announced, address) = (AtomicBool::new(false), AtomicUsize::new(0), fleet.address());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let stream = format!("{prefix}{}", announced.load(Ordering::Relaxed));
                let mut words = vec!["announce"];
                words.extend(address.iter().map(String::as_str));
                words.extend(["--key", &stream, &stream]);
                let answer = streamkeeper(&words);
                if answer.code == Some(0) {
                    announced.fetch_add(1, Ordering::Relaxed);
                } else {
                    eprintln!("not announced: {}", answer.errors.trim());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // Over, whatever becomes of it: a test that fails must not hang.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&over);
        fault();
    });
    (0..announced.load(Ordering::Relaxed)).map(|number| format!("{prefix}{number}")).collect()
}

/// Three consumers with forty streams, and their data on a replica.
fn begin(fleet: &Fleet<'_>) -> Vec<String> {
    fleet.start_all(["a", "b", "c"]);
    let streams = fleet.announce("s", 40);
    fleet.wait_owned(&streams);
    streams
}

/// Waits until all three hear what expires where the slot is now.
fn wait_heard(cluster: &Cluster, fleet: &Fleet<'_>) {
    let slot = cluster.slot("{svc}");
    fleet.wait("the subscribers of all to be there", |_| {
        let there = |node| cluster.node(node).run::<Vec<String>>(&["PUBSUB", "NUMSUB", "{svc}-orphans"]);
        cluster.serving(slot).map(there).is_some_and(|answer| answer.last().is_some_and(|count| count == "3"))
    });
}

/// All is owned once more, consumers take over from each other as ever, and no promise was broken.
fn end(situation: &str, flavor: Flavor, cluster: &Cluster, fleet: &Fleet<'_>, streams: &[String], more: &[String]) {
    let all: Vec<String> = streams.iter().chain(more).cloned().collect();
    fleet.wait_owned(&all);
    gaps::print(situation, flavor, &fleet.ledger(), streams);
    wait_heard(cluster, fleet);
    let d = fleet.start("d");
    fleet.wait_ready(&d);
    d.kill();
    fleet.wait_owned(&all);
    fleet.conclude_with(&all);
    assert_eq!(fleet.announced().len(), all.len(), "nothing was announced twice");
}

/// `CLUSTER FAILOVER`, there and back: nobody loses anything.
fn failover(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let fleet = Fleet::on_cluster(&cluster);
    let streams = begin(&fleet);
    let slot = cluster.slot("{svc}");
    let more = under_load(&fleet, "more", || {
        for _ in 0..2 {
            cluster.fail_over(slot);
            wait_heard(&cluster, &fleet);
            std::thread::sleep(fleet.ttl());
        }
    });
    assert!(!more.is_empty());
    end("CLUSTER FAILOVER twice", flavor, &cluster, &fleet, &streams, &more);
}

/// kill -9 of the primary. It comes back as a replica, and once more as the primary.
fn killed(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let fleet = Fleet::on_cluster(&cluster);
    let streams = begin(&fleet);
    let slot = cluster.slot("{svc}");
    let old = cluster.wait_serving(slot);
    cluster.wait_replicated(old);
    cluster.kill(old);
    let new = cluster.wait_serving(slot);
    assert_ne!(old, new);
    cluster.start_again(old);
    let more = under_load(&fleet, "more", || {
        fleet.wait_owned(&streams);
        cluster.fail_over(slot);
    });
    assert_eq!(cluster.wait_serving(slot), old);
    end("kill -9 of the primary", flavor, &cluster, &fleet, &streams, &more);
}

/// The primary hangs: its connections stay open, new ones are taken, and nothing answers.
fn frozen(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let fleet = Fleet::on_cluster(&cluster);
    let streams = begin(&fleet);
    let slot = cluster.slot("{svc}");
    let old = cluster.wait_serving(slot);
    cluster.wait_replicated(old);
    cluster.freeze(old);
    assert_ne!(cluster.wait_serving(slot), old);
    // Nobody waits for it: while it still hangs, all hear the new one, which has granted or renewed everything.
    wait_heard(&cluster, &fleet);
    std::thread::sleep(fleet.ttl());
    fleet.wait_owned(&streams);
    cluster.thaw(old);
    end("SIGSTOP of the primary", flavor, &cluster, &fleet, &streams, &[]);
}

/// A node joins, and the slot moves to it under load. Owners keep their streams.
fn moved_to_one_that_joins(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let fleet = Fleet::on_cluster(&cluster).patient();
    let streams = begin(&fleet);
    let slot = cluster.slot("{svc}");
    let more = under_load(&fleet, "more", || {
        let new = cluster.join();
        let old = cluster.wait_serving(slot);
        cluster.move_slot(slot, new, Duration::ZERO);
        wait_heard(&cluster, &fleet);
        std::thread::sleep(fleet.ttl());
        assert_eq!(cluster.keys_in(old, slot), 0, "nothing is left behind, or written there since");
        cluster.move_slot(slot, old, Duration::ZERO);
        wait_heard(&cluster, &fleet);
        std::thread::sleep(fleet.ttl());
    });
    assert_eq!(fleet.ledger().events().filter(|(_, event)| event.kind == Kind::Disowned).count(), 0, "all was kept");
    end("slot moved to a node that joins, and back", flavor, &cluster, &fleet, &streams, &more);
}

/// Valkey 9 moves a slot in one step.
#[test]
fn moved_at_once_on_valkey() {
    let cluster = Cluster::start(Flavor::Valkey);
    let fleet = Fleet::on_cluster(&cluster).patient();
    let streams = begin(&fleet);
    let slot = cluster.slot("{svc}");
    let more = under_load(&fleet, "more", || {
        cluster.move_slot_at_once(slot, cluster.another_primary(slot));
        wait_heard(&cluster, &fleet);
        std::thread::sleep(fleet.ttl());
    });
    assert_eq!(fleet.ledger().events().filter(|(_, event)| event.kind == Kind::Disowned).count(), 0, "all was kept");
    end("slot moved at once", Flavor::Valkey, &cluster, &fleet, &streams, &more);
}

/// A slot between two nodes for longer than a lease: no call can be served, so that leases lapse; nothing is lost, and
/// nobody owns what another one owns.
fn moved_slowly(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let fleet = Fleet::on_cluster(&cluster);
    let streams = begin(&fleet);
    let slot = cluster.slot("{svc}");
    let to = cluster.another_primary(slot);
    let more = under_load(&fleet, "more", || cluster.move_slot(slot, to, Duration::from_secs(5)));
    end("slot between two nodes for 5 s", flavor, &cluster, &fleet, &streams, &more);
}
