//! Settings that change how messages are handed out.

use std::time::{Duration, Instant};

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(
    ordered_by_a_field,
    rates,
    a_rate_for_the_group,
    processed_ones_are_remembered,
    without_acknowledgements,
    equal_names,
    at_the_end
);

/// One at a time of each key, in order; different keys at once.
fn ordered_by_a_field(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "6", "--ordered-by", "key"]);
    let key = |number: u64| format!("k{}", number % 3);
    for _ in 0..24 {
        let number = crew.next_number();
        crew.add_raw(&["body", &format!("{{\"n\":{number}}}"), "key", &key(number)]);
    }
    crew.start("a", &Handler::sleeping("0.05"));
    crew.conclude();
    let runs = crew.runs();
    for remainder in 0..3 {
        let of_key: Vec<_> = runs.all().iter().filter(|run| run.number % 3 == remainder).collect();
        assert_eq!(of_key.len(), 8);
        for two in of_key.windows(2) {
            assert!(two[0].number < two[1].number && two[0].to.unwrap() < two[1].from, "{two:?}");
        }
    }
    let parallel = runs.all().windows(2).any(|two| two[0].to.unwrap() > two[1].from);
    assert!(parallel, "different keys do not wait for each other");
}

/// 10 a second: 30 messages take two seconds at least, since 10 may come at once.
fn rates(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4", "--rate", "10/1s"]);
    crew.send(30);
    let began = Instant::now();
    crew.start("a", &Handler::quick());
    crew.conclude();
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
}

/// The same for two workers together.
fn a_rate_for_the_group(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "4", "--group-rate", "10/1s"]);
    crew.send(30);
    let began = Instant::now();
    crew.start_all(["a", "b"], &Handler::quick());
    crew.conclude();
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
}

/// A message that was processed and comes again, since the group was made anew, is not run again.
fn processed_ones_are_remembered(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--processed", "1h"]);
    crew.start("a", &Handler::quick());
    crew.send(20);
    crew.wait_settled();
    crew.run::<u64>(&["XGROUP", "DESTROY", crew.stream(), crew.group()]);
    crew.send(5);
    crew.conclude();
    assert_eq!(crew.runs().repeated(), [0; 0]);
    assert_eq!(crew.runs().all().len(), 25);
}

/// At most once: what fails is not tried again, and nothing is ever pending.
fn without_acknowledgements(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--no-ack"]);
    let a = crew.start("a", &Handler::new("case $n in 3) answer=no;; esac"));
    crew.send(10);
    crew.wait("all to be run", || a.outcomes().len() == 10);
    crew.wait_settled();
    assert_eq!((crew.runs().all().len(), crew.dead().len(), crew.pending().len()), (10, 0, 0));
    crew.waive("what fails is lost, as was asked for");
}

/// PEERS.md F, "equal consumer names in every process": two workers of one name at the same time are two.
fn equal_names(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "2", "--reclaim-idle", "3s"]);
    let [a, _b] = crew.start_all(["same", "same"], &Handler::sleeping("4"));
    crew.send(8);
    crew.wait("both to hold some", || {
        let mut names: Vec<String> = crew.pending().into_iter().map(|(_, name, _)| name).collect();
        names.sort();
        names.dedup();
        names.len() == 2
    });
    crew.wait_settled();
    assert_eq!(crew.runs().repeated(), [0; 0], "each for longer than `reclaim_idle`, and once");
    a.terminate();
    assert!(a.wait_end().success(), "{}", a.errors());
    crew.send(4);
    crew.conclude();
}

/// `--begin newest`: what was sent before the group was there is not for it.
fn at_the_end(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--begin", "newest"]);
    crew.send(5);
    let a = crew.start("a", &Handler::quick());
    crew.wait("a to be ready", || a.said("ready"));
    let new = crew.send(5);
    crew.wait_runs("the new ones to be done", |runs| new.iter().all(|number| runs.count(*number) == 1));
    crew.wait_settled();
    assert_eq!(crew.runs().all().len(), 5);
    crew.waive("the first five were not for this group");
}
