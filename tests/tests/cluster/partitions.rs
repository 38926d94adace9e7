//! A service that is spread over the nodes: its partitions survive what happens to each of them, and their number is raised
//! under load.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use streamkeeper::{Client, Notification};
use streamkeeper_core::{id::StreamName, partitions::home};
use streamkeeper_tests::cluster::Cluster;
use streamkeeper_tests::command::streamkeeper;
use streamkeeper_tests::consumer::Consumer;
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::wait::{self, UntilDropped};

use crate::gaps;

on_both!(spread, raised, unreached, refused, entries_in_their_partition);

/// Asks for these streams to be announced. How many were.
fn announce(fleet: &Fleet<'_>, partitions: u32, words: &[&str]) -> bool {
    let mut all = vec!["announce".to_owned()];
    all.extend(fleet.address_for(partitions));
    all.extend(words.iter().map(|word| (*word).to_owned()));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let answer = streamkeeper(&all);
    if answer.code != Some(0) {
        eprintln!("not announced: {}", answer.errors.trim());
    }
    answer.code == Some(0)
}

fn slot_of(cluster: &Cluster, partition: u32) -> u16 {
    cluster.slot(&format!("{{svc:{partition}}}"))
}

/// Eight partitions on three nodes, while consumers and nodes die and slots move.
fn spread(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let fleet = Fleet::on_cluster(&cluster).partitions(8);
    let [a, ..] = fleet.start_all(["a", "b", "c"]);
    assert!(announce(&fleet, 8, &["--prefix", "s", "--count", "120"]));
    let streams: Vec<String> = (0..120).map(|index| format!("s{index}")).collect();
    fleet.wait_owned(&streams);
    let nodes: BTreeSet<usize> = (0..8).map(|partition| cluster.wait_serving(slot_of(&cluster, partition))).collect();
    assert_eq!(nodes.len(), 3, "they lie on all nodes");

    a.kill();
    fleet.wait_owned(&streams);
    let d = fleet.start("d");
    fleet.wait_ready(&d);

    let dead = cluster.wait_serving(slot_of(&cluster, 0));
    cluster.wait_replicated(dead);
    cluster.kill(dead);
    assert_ne!(cluster.wait_serving(slot_of(&cluster, 0)), dead);
    fleet.wait_owned(&streams);
    cluster.start_again(dead);

    let other = (1..8)
        .find(|partition| cluster.serving(slot_of(&cluster, *partition)) != cluster.serving(slot_of(&cluster, 0)));
    let other = other.expect("a partition on another node");
    cluster.fail_over(slot_of(&cluster, other));
    let slot = slot_of(&cluster, other);
    cluster.move_slot(slot, cluster.another_primary(slot), Duration::ZERO);
    assert!((0..100).any(|_| announce(&fleet, 8, &["--prefix", "more", "--count", "40", "--key", "more"])));
    let more = (0..40).map(|index| format!("more{index}"));
    let all: Vec<String> = streams.iter().cloned().chain(more).collect();
    std::thread::sleep(fleet.ttl());
    fleet.wait_owned(&all);
    gaps::print(
        "8 partitions: a consumer and a node killed, a failover, a slot moved",
        flavor,
        &fleet.ledger(),
        &streams,
    );
    fleet.conclude_with(&all);
}

/// A node and its replica stand still, and with them the partition in which it is written down how many there are: consumers
/// start all the same, announcers announce to the others, and what was missing is served once it is back.
fn unreached(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    for node in cluster.members() {
        node.run::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let fleet = Fleet::on_cluster(&cluster).partitions(8);
    let a = fleet.start("a");
    fleet.wait_ready(&a);
    assert!(announce(&fleet, 8, &["--prefix", "s", "--count", "60"]));
    let streams: Vec<String> = (0..60).map(|index| format!("s{index}")).collect();
    fleet.wait_owned(&streams);

    let dead = cluster.wait_serving(slot_of(&cluster, 0));
    let replica = cluster.replica_of(dead);
    let there = |partition: u32| cluster.serving(slot_of(&cluster, partition)) != Some(dead);
    let (mut served, unserved): (Vec<String>, Vec<String>) =
        streams.iter().cloned().partition(|stream| there(home("svc", &StreamName::new(stream).expect("a name"), 8)));
    assert!(!served.is_empty() && !unserved.is_empty());
    let reached: Vec<(u32, usize)> = (1..8)
        .filter(|partition| there(*partition))
        .map(|partition| (partition, cluster.wait_serving(slot_of(&cluster, partition))))
        .collect();
    let late = format!("{{svc:{}}}late", reached[0].0);
    cluster.freeze(replica);
    cluster.freeze(dead);
    let b = fleet.start("b");
    fleet.wait_ready(&b);
    a.kill();
    assert!(announce(&fleet, 8, &[&late]));
    assert!(!announce(&fleet, 16, &["later"]), "more of them are written down where nobody answers");
    served.push(late.clone());
    fleet.wait_owned_by(&served, &[&b]);
    assert!(!unserved.iter().any(|stream| b.said_of(Kind::Added, stream)));

    // Who never reached them stops all the same. One list of their numbers that can be read is enough.
    let tells = |(partition, node): (u32, usize), what: &str| {
        cluster.node(node).run::<()>(&["HSET", &format!("{{svc:{partition}}}-layout"), "is", what]);
    };
    reached[1..].iter().for_each(|partition| tells(*partition, "no number"));
    let c = fleet.start("c");
    fleet.wait_ready(&c);
    c.terminate();
    assert!(c.wait_end().success(), "{}", c.errors());
    fleet.wait_owned_by(&served, &[&b]);

    // Who is told two stories says so, and does not begin.
    tells(reached[0], "3");
    tells(reached[1], "5");
    let d = fleet.start("d");
    assert!(!d.wait_end().success());
    assert!(d.errors().contains("as one partition says"), "{}", d.errors());
    reached.iter().for_each(|partition| tells(*partition, "8"));

    cluster.thaw(dead);
    cluster.thaw(replica);
    let all: Vec<String> = streams.into_iter().chain([late]).collect();
    fleet.wait_owned_by(&all, &[&b]);
    fleet.conclude_with(&all);
}

/// A node lacks a right when its first partitions come, by a raise or since it could not be reached at the start: the others
/// are served all the same, and these as soon as the right is there. Where nobody has begun yet, it is an error.
fn refused(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    for node in cluster.members() {
        node.run::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let fleet = Fleet::on_cluster(&cluster).partitions(2);
    let a = fleet.start("a");
    fleet.wait_ready(&a);
    let serving: Vec<usize> = (0..8).map(|partition| cluster.wait_serving(slot_of(&cluster, partition))).collect();
    let victim = *serving.iter().find(|node| !serving[..2].contains(node)).expect("a node that serves new ones only");
    // The replica, too: it knows its own users only, and may be the primary by the time that both go on.
    let both = [victim, cluster.replica_of(victim)];
    let may = |right: &str| both.iter().for_each(|n| cluster.node(*n).run(&["ACL", "SETUSER", "default", right]));
    may("-xgroup");
    assert!(announce(&fleet, 8, &["--prefix", "s", "--count", "60"]));
    let streams: Vec<String> = (0..60).map(|index| format!("s{index}")).collect();
    let (served, unserved): (Vec<String>, Vec<String>) = streams.iter().cloned().partition(|stream| {
        let home = home("svc", &StreamName::new(stream).expect("a name"), 8);
        serving[home as usize] != victim
    });
    assert!(!served.is_empty() && !unserved.is_empty());
    fleet.wait_owned_by(&served, &[&a]);
    let is_refused = |consumer: &Consumer| consumer.errors().contains("call refused");
    fleet.wait("a to say what it lacks", |_| is_refused(&a));

    let does_not_start = |name: &str| {
        let early = fleet.start(name);
        assert!(!early.wait_end().success());
        let errors = early.errors();
        assert!(errors.contains("error: service `svc`: the server refuses: NOPERM"), "{errors}");
    };
    does_not_start("early");
    // What only a script lacks, when a server was prepared and another is still awaited.
    may("+xgroup");
    may("-hmget");
    let other = *serving.iter().find(|node| ![serving[0], victim].contains(node)).expect("a third node");
    let frozen = [other, cluster.replica_of(other)];
    frozen.iter().for_each(|node| cluster.freeze(*node));
    does_not_start("earlier");
    frozen.iter().for_each(|node| cluster.thaw(*node));

    both.iter().for_each(|node| cluster.freeze(*node));
    let b = fleet.start("b");
    fleet.wait_ready(&b);
    both.iter().for_each(|node| cluster.thaw(*node));
    fleet.wait("b to say what it lacks", |_| is_refused(&b));
    a.terminate();
    assert!(a.wait_end().success(), "{}", a.errors());
    fleet.wait_owned_by(&served, &[&b]);
    assert!(!unserved.iter().any(|stream| b.said_of(Kind::Added, stream)));

    may("+hmget");
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.conclude_with(&streams);
}

/// Four partitions become eight under load, announced by some who know and some who do not, while a consumer and a node
/// die.
fn raised(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let fleet = Fleet::on_cluster(&cluster).partitions(4).with(&["--finish-after", "150ms"]);
    let [a, ..] = fleet.start_all(["a", "b", "c"]);
    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let addresses = [fleet.address_for(4), fleet.address_for(8)];
    std::thread::scope(|scope| {
        let end = UntilDropped(&over);
        for (kind, address) in addresses.iter().enumerate() {
            let (over, rounds) = (&over, &rounds);
            scope.spawn(move || {
                let mut round = 0;
                while !over.load(Ordering::Relaxed) {
                    // Each until it succeeds, the same streams by both.
                    let key = format!("{kind}-{round}");
                    let mut words = vec!["announce"];
                    words.extend(address.iter().map(String::as_str));
                    words.extend(["--prefix", "s", "--count", "30", "--key", &key]);
                    wait::until("the round to be announced", || streamkeeper(&words).code == Some(0));
                    round += 1;
                    rounds.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
        let wait_rounds = |more: usize| {
            let from = rounds.load(Ordering::Relaxed);
            fleet.wait("more to be announced", |_| rounds.load(Ordering::Relaxed) >= from + more);
        };
        wait_rounds(6);
        a.kill();
        wait_rounds(4);
        let dead = cluster.wait_serving(slot_of(&cluster, 1));
        cluster.wait_replicated(dead);
        cluster.fail_over(slot_of(&cluster, 1));
        wait_rounds(6);
        drop(end);
    });
    // One that was killed may have finished what it could not tell of any more.
    fleet.wait("every announcement to be done", |_| left(&fleet) == Some(0));
    // A stream stays in its old home while anything of it is unfinished there, which may be for as long as all is
    // announced faster than it is worked on: only now must it move.
    let mut words = vec!["announce"];
    words.extend(addresses[1].iter().map(String::as_str));
    words.extend(["--prefix", "s", "--count", "30", "--key", "after"]);
    wait::until("the last round to be announced", || streamkeeper(&words).code == Some(0));
    let announced = 30 * (rounds.load(Ordering::Relaxed) + 1);
    let done = || {
        let ledger = fleet.ledger();
        let done = ledger.events().filter(|(_, event)| event.kind == Kind::Done);
        done.map(|(_, event)| (event.partition, event.entry.clone())).collect::<BTreeSet<_>>()
    };
    fleet.wait("every announcement to be done", |_| left(&fleet) == Some(0));
    let done = done();
    println!("{flavor:?}, raised from 4 to 8 under load: {announced} announced, {} done", done.len());
    assert!(done.len() <= announced && done.len() + 100 > announced, "{} of {announced}", done.len());
    assert!(done.iter().any(|(partition, _)| *partition >= Some(4)), "some moved to the new partitions");
    let streams: Vec<String> = (0..30).map(|index| format!("s{index}")).collect();
    fleet.conclude_with(&streams);
}

/// How many announcements nobody has finished, if that can be told.
fn left(fleet: &Fleet<'_>) -> Option<u64> {
    let mut words = vec!["status".to_owned()];
    words.extend(fleet.address());
    words.push("--json".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let answer = streamkeeper(&words);
    serde_json::from_str::<serde_json::Value>(&answer.out).ok()?["announced"].as_u64()
}

/// A stream that is named after a partition is read and committed there; one that is not says what is wrong.
fn entries_in_their_partition(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let named = "{svc:2}s";
    for n in 1..=20 {
        let node = cluster.node(cluster.wait_serving(slot_of(&cluster, 2)));
        node.run::<String>(&["XADD", named, &format!("{n}-0"), "body", &n.to_string()]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (read, wrong) = runtime.block_on(async {
        let builder = Client::builder("svc").redis(cluster.url()).partitions(4).name("a");
        let service = builder.clone().service().unwrap();
        for stream in [named, "plain"] {
            service.announce(stream).await.unwrap();
        }
        let client = builder.start_within(Duration::from_secs(60)).start().await.unwrap();
        let (mut leases, mut read, mut wrong) = (client.notifications(), Vec::new(), None);
        while read.len() < 20 || wrong.is_none() {
            let Some(Notification::Added(lease)) = leases.next().await else { continue };
            let mut entries = lease.entries_as::<u64>();
            if lease.stream().as_str() == named {
                assert_eq!(lease.partition(), 2);
                while read.len() < 20 {
                    let batch = entries.next_batch().await.unwrap().unwrap();
                    read.extend(batch.iter().map(|entry| entry.value));
                    lease.commit(batch.last().unwrap().id).await.unwrap();
                }
            } else {
                wrong = entries.next_batch().await.map(|batch| batch.unwrap_err().to_string());
            }
        }
        client.shutdown(Duration::from_secs(5)).await;
        (read, wrong.unwrap())
    });
    assert_eq!(read, (1..=20).collect::<Vec<u64>>());
    assert!(wrong.contains("slot"), "{wrong}");
}
