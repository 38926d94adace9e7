//! Consumers that are killed or stand still in the middle of commits: the ledger balances all the same.

use std::time::Duration;

use redis::Commands;
use streamkeeper_tests::{flavor::Flavor, wait};

use crate::{child, stage::Stage};

on_both!(killed_in_the_middle_of_commits, stopped_in_the_middle_of_commits);

const STREAMS: u64 = 6;

fn names() -> Vec<String> {
    (0..STREAMS).map(|n| format!("s{n}")).collect()
}

/// How many numbers stand in the ledger.
fn logged(stage: &Stage) -> u64 {
    let mut connection = stage.connection();
    names().iter().map(|stream| connection.llen::<_, u64>(format!("log:{stream}")).unwrap()).sum()
}

/// Each number once, in order, and their sum.
fn assert_balanced(stage: &Stage, each: u64) {
    wait::until("everything is in the ledger", || logged(stage) >= STREAMS * each);
    let mut connection = stage.connection();
    for stream in names() {
        let log: Vec<u64> = connection.lrange(format!("log:{stream}"), 0, -1).unwrap();
        assert_eq!(log, (0..each).collect::<Vec<_>>(), "{stream}");
    }
    assert_eq!(connection.get::<_, u64>("total").unwrap(), STREAMS * each * (each - 1) / 2);
}

fn killed_in_the_middle_of_commits(flavor: Flavor) {
    const ROUNDS: u64 = 5;
    const EACH: u64 = 700;
    let stage = Stage::on(flavor);
    stage.announce(&names());
    let mut consumers = vec![child::start(&stage, "c0"), child::start(&stage, "c1")];
    for round in 0..ROUNDS {
        let before = logged(&stage);
        names().iter().for_each(|stream| stage.add(stream, round * EACH..(round + 1) * EACH));
        // In the middle: some of it is committed, and not all.
        wait::until("commits are made", || logged(&stage) > before + 50);
        consumers.remove(0).kill();
        consumers.push(child::start(&stage, &format!("c{}", round + 2)));
    }
    assert_balanced(&stage, ROUNDS * EACH);
}

fn stopped_in_the_middle_of_commits(flavor: Flavor) {
    const EACH: u64 = 2_000;
    let stage = Stage::on(flavor);
    stage.announce(&names());
    let stopped = child::start(&stage, "c0");
    names().iter().for_each(|stream| stage.add(stream, 0..EACH / 2));
    wait::until("commits are made", || logged(&stage) > 50);
    stopped.stop();
    let _other = child::start(&stage, "c1");
    wait::until("the other has taken all of it over", || logged(&stage) >= STREAMS * EACH / 2);
    stopped.cont();
    names().iter().for_each(|stream| stage.add(stream, EACH / 2..EACH));
    assert_balanced(&stage, EACH);
    // What the late owner still wanted to write has had its chance.
    std::thread::sleep(Duration::from_millis(500));
    assert_balanced(&stage, EACH);
}
