//! Messages that fail: tried again after a pause, for so many times.

use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(
    so_many_times_after_growing_pauses,
    after_the_pause_that_the_handler_wants,
    failures_survive_a_crash,
    rejected_at_once
);

/// PEERS.md D, "failing handler": 4 calls at 0, 5, 10, 15 s, the backoff is never applied. Here the pauses grow, and
/// a message that waits blocks nobody.
fn so_many_times_after_growing_pauses(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--max-attempts", "4", "--backoff", "2s"]);
    let a = crew.start("a", &Handler::new("case $n in 0) answer='no luck';; esac"));
    crew.send(50);
    crew.conclude();
    let runs = crew.runs();
    assert_eq!(runs.of(0).iter().map(|run| run.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(runs.repeated(), [0]);
    let second = runs.of(0)[1].from;
    assert!(runs.all().iter().filter(|run| run.from < second).count() == 50, "the others went first, by one child");
    // 2, 4, 8 s, give or take 20 %.
    let mut ends: Vec<u64> = a
        .outcomes()
        .iter()
        .filter(|outcome| outcome.outcome == "failed")
        .map(|outcome| outcome.at_us / 1_000)
        .collect();
    ends.dedup();
    assert_eq!(ends.len(), 4, "{ends:?}");
    for (pause, least) in ends.windows(2).map(|two| two[1] - two[0]).zip([1_600, 3_200, 6_400]) {
        assert!(pause >= least, "{ends:?}");
    }
    let dead = crew.dead();
    assert_eq!((&*dead[0]["reason"], &*dead[0]["error"], &*dead[0]["attempts"]), ("failed", "no luck", "4"));
    assert_eq!(crew.run::<u64>(&["HLEN", &crew.key("attempts")]), 0, "its record is forgotten");
}

/// `retry 5s`: not earlier, and soon after.
fn after_the_pause_that_the_handler_wants(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    let a = crew.start("a", &Handler::new("case $a in 1) answer='retry 5s not yet';; esac"));
    crew.send(3);
    crew.wait("all to be put aside", || crew.run::<u64>(&["ZCARD", &crew.key("delayed")]) == 3);
    assert!(crew.pending().iter().all(|(_, name, _)| name == "~delayed"), "{:?}", crew.pending());
    crew.conclude();
    let outcomes = a.outcomes();
    for number in 0..3 {
        let runs = crew.runs();
        assert_eq!(runs.of(number).iter().map(|run| &*run.answer).collect::<Vec<_>>(), ["retry 5s not yet", "ok"]);
    }
    for first in outcomes.iter().filter(|outcome| outcome.outcome == "retry") {
        assert_eq!(first.error.as_deref(), Some("not yet"));
        let second = outcomes.iter().find(|other| other.id == first.id && other.outcome == "ok").unwrap();
        assert!(second.at_us - second.took_ms * 1_000 >= first.at_us + 4_990_000, "{first:?} {second:?}");
    }
}

/// The count of failures is Redis's: a worker that was killed in between changes nothing about it.
fn failures_survive_a_crash(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--max-attempts", "3", "--backoff", "4s"]);
    let handler = Handler::new("answer=no");
    let a = crew.start("a", &handler);
    crew.send(5);
    crew.wait("all to have failed once", || crew.run::<u64>(&["ZCARD", &crew.key("delayed")]) == 5);
    a.kill();
    crew.start("b", &handler);
    crew.conclude();
    assert_eq!(crew.dead_numbers(), [0, 1, 2, 3, 4]);
    for number in 0..5 {
        let runs = crew.runs();
        let of: Vec<(&str, u32)> = runs.of(number).iter().map(|run| (&*run.worker, run.attempt)).collect();
        assert_eq!(of, [("a", 1), ("b", 2), ("b", 3)]);
    }
}

/// `dead`: never again.
fn rejected_at_once(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    crew.start("a", &Handler::new("case $n in 1) answer='dead no such customer';; esac"));
    crew.send(3);
    crew.conclude();
    let dead = crew.dead();
    assert_eq!((dead.len(), crew.runs().count(1)), (1, 1));
    assert_eq!((&*dead[0]["reason"], &*dead[0]["error"]), ("rejected", "no such customer"));
    assert!(dead[0]["consumer"].starts_with("a-"), "{dead:?}");
}
