//! A service with partitions on one server: one capacity and an even share over all of them, and more partitions while it
//! runs.

use std::collections::BTreeSet;
use std::time::Duration;

use streamkeeper_tests::acl::{PASSWORD, SERVICE, least_privilege, refused};
use streamkeeper_tests::command::streamkeeper;
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(one_capacity, an_even_share, least_privilege_suffices, raised, set_aside_and_put_back);

/// What a command of this service answers, asked for so many partitions.
fn ask(fleet: &Fleet<'_>, partitions: u32, command: &[&str], words: &[&str]) -> String {
    let address = fleet.address_for(partitions);
    let mut all = command.to_vec();
    all.extend(address.iter().map(String::as_str));
    all.extend(words);
    let answer = streamkeeper(&all);
    assert_eq!(answer.code, Some(0), "{all:?}: {}", answer.errors);
    answer.out
}

fn announce(fleet: &Fleet<'_>, partitions: u32, prefix: &str, count: usize) -> Vec<String> {
    ask(fleet, partitions, &["announce"], &["--prefix", prefix, "--count", &count.to_string()]);
    (0..count).map(|index| format!("{prefix}{index}")).collect()
}

fn status(fleet: &Fleet<'_>) -> serde_json::Value {
    serde_json::from_str(&ask(fleet, 8, &["status"], &["--json"])).expect("it is JSON")
}

/// What all partitions together hold is no more than the capacity; what is over is there for others.
fn one_capacity(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).partitions(8);
    let a = fleet.start_with("a", &["--capacity", "10"]);
    fleet.wait_ready(&a);
    let streams = announce(&fleet, 8, "s", 40);
    fleet.wait("a to own 10", |_| fleet.owned_by(&a).len() == 10);
    fleet.observe(Duration::from_secs(2), |_| assert!(fleet.owned_by(&a).len() <= 10, "{:?}", fleet.owned_by(&a)));
    let b = fleet.start("b");
    fleet.wait_ready(&b);
    fleet.wait_owned(&streams);
    assert_eq!(fleet.owned_by(&b).len(), 30);
    // Room that one partition makes is another one's to use.
    b.kill();
    let c = fleet.start_with("c", &["--capacity", "30", "--finish-after", "200ms"]);
    fleet.wait_ready(&c);
    fleet.wait("c to have finished what b had", |_| c.count(Kind::Done) >= 30);
    fleet.conclude_with(&streams);
}

/// Three consumers share what is announced at once, also where little is announced in each partition.
fn an_even_share(flavor: Flavor) {
    let server = Server::start(flavor);
    // As in `distribution.rs`: whom this machine keeps waiting for an eighth of a second has its share taken by others.
    let unfair: Vec<_> = (0..3).map_while(|round| shares(&server, &format!("svc{round}")).err()).collect();
    assert!(unfair.len() < 3, "{unfair:?}");
}

/// The shares of three consumers of a service of its own, as an error if they are not even: each partition is divided to
/// within one stream.
fn shares(server: &Server, service: &str) -> Result<(), [usize; 3]> {
    let fleet = Fleet::on(server).service(service).partitions(8);
    let all = fleet.start_all(["a", "b", "c"]);
    let streams = announce(&fleet, 8, "s", 120);
    fleet.wait_owned(&streams);
    let partitions = status(&fleet)["partitions"].as_array().expect("a list").len();
    assert_eq!(partitions, 8);
    let shares = all.each_ref().map(|consumer| fleet.owned_by(consumer).len());
    all[0].kill();
    fleet.wait_owned(&streams);
    fleet.conclude_with(&streams);
    if shares.iter().all(|share| (32..=48).contains(share)) { Ok(()) } else { Err(shares) }
}

/// The rights that `docs/operations.md` adds for partitions are enough, also to raise their number.
fn least_privilege_suffices(flavor: Flavor) {
    let server = Server::start(flavor);
    let user = least_privilege(&server);
    let keys = ["resetkeys", "resetchannels", "~{orders:*", "&{orders:*", "&__keyspace@0__:*<MUTEX_KEY_SEP>*"];
    server.run::<()>(&[&["ACL", "SETUSER", &user][..], &keys, &["+hincrby", "+hlen"]].concat());
    let fleet = Fleet::on(&server).service(SERVICE).partitions(4).url(&server.url_as(&user, PASSWORD));
    let [a, b] = fleet.start_all(["a", "b"]);
    let mut streams = announce(&fleet, 4, "s", 20);
    fleet.wait_owned(&streams);
    // More of the same while the number is raised: some stay where they are.
    announce(&fleet, 8, "s", 20);
    streams.extend(announce(&fleet, 4, "t", 20));
    fleet.wait_owned(&streams);
    assert_eq!(status(&fleet)["partitions"].as_array().map(Vec::len), Some(8));
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    b.terminate();
    assert!(b.wait_end().success(), "{}", b.errors());
    let c = fleet.start_with("c", &["--finish-after", "100ms"]);
    fleet.wait_said(&c, Kind::Done, &streams);
    ask(&fleet, 8, &["dead", "list"], &[]);
    fleet.conclude_with(&streams);
    assert_eq!(refused(&server), [""; 0]);
}

/// Four partitions become eight while streams come and go, announced by some who know and some who do not.
fn raised(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).partitions(4).with(&["--finish-after", "100ms"]);
    fleet.start_all(["a", "b"]);
    let done = |fleet: &Fleet<'_>| {
        let ledger = fleet.ledger();
        let done = ledger.events().filter(|(_, event)| event.kind == Kind::Done);
        done.map(|(_, event)| (event.partition, event.entry.clone())).collect::<BTreeSet<_>>()
    };
    let mut announced = 0;
    // The same streams again and again. In the middle most are announced while they live somewhere, in the end none is.
    for numbers in [[4, 4], [8, 4], [4, 8], [8, 4]] {
        for partitions in numbers {
            announced += announce(&fleet, partitions, "s", 40).len();
        }
        if numbers != [8, 4] || announced > 300 {
            fleet.wait("every announcement to be done", |_| done(&fleet).len() == announced);
        }
    }
    let newer = done(&fleet).iter().filter(|(partition, _)| *partition >= Some(4)).count();
    assert!(newer > 0, "some moved to the new partitions");
    let status = status(&fleet);
    assert_eq!((&status["announced"], status["partitions"].as_array().map(Vec::len)), (&0.into(), Some(8)));
    let late = fleet.start("late");
    fleet.wait_ready(&late);
    let streams = announce(&fleet, 4, "t", 40);
    fleet.wait("those to be done, too", |ledger| {
        streams.iter().all(|stream| ledger.settled().contains(stream.as_str()))
    });
    fleet.conclude();
}

/// What was set aside in four partitions is put back where it lives now that there are eight.
fn set_aside_and_put_back(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).partitions(4);
    let a = fleet.start_with("a", &["--fail-after", "50ms", "--max-failures", "1"]);
    fleet.wait_ready(&a);
    announce(&fleet, 4, "s", 40);
    fleet.wait("all to be set aside", |_| status(&fleet)["set_aside"] == 40);
    a.terminate();
    a.wait_end();
    let b = fleet.start_with("b", &["--finish-after", "50ms"]);
    fleet.wait_ready(&b);
    // Whoever announces asks for more partitions, and they are there.
    announce(&fleet, 8, "t", 1);
    ask(&fleet, 8, &["dead", "retry"], &["--all"]);
    fleet.wait("all to be done", |_| b.count(Kind::Done) == 41);
    assert_eq!(ask(&fleet, 8, &["dead", "list"], &[]), "");
    let ledger = fleet.ledger();
    let newer = ledger.events().filter(|(_, event)| event.kind == Kind::Done && event.partition >= Some(4)).count();
    assert!(newer > 0, "some are put back in the new partitions");
    fleet.conclude();
}
