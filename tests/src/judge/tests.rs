//! Each check is shown a ledger that breaks its promise, and one like it that does not.

use std::time::Duration;

use super::*;
use crate::ledger::{End, Pause};

const SECOND: u64 = 1_000_000;

/// An event about stream `s`, entry `1-1`; the time in seconds.
fn event(at: u64, kind: Kind, token: u64) -> Event {
    about(at, kind, "s", "1-1", token)
}

fn about(at: u64, kind: Kind, stream: &str, entry: &str, token: u64) -> Event {
    Event {
        at_us: at * SECOND,
        kind,
        consumer: None,
        stream: Some(stream.to_owned()),
        entry: Some(entry.to_owned()),
        partition: None,
        token: Some(token),
        takeover: None,
        deliveries: None,
        info: None,
        reason: None,
        rest: BTreeMap::new(),
    }
}

fn life(name: &str, events: Vec<Event>) -> Life {
    Life { name: name.to_owned(), events, ..Life::default() }
}

fn ended(at: u64, killed: bool, life: Life) -> Life {
    Life { end: Some(End { at_us: at * SECOND, killed }), ..life }
}

fn paused(from: u64, to: Option<u64>, life: Life) -> Life {
    Life { pauses: vec![Pause { from_us: from * SECOND, to_us: to.map(|to| to * SECOND) }], ..life }
}

fn ledger(lives: Vec<Life>) -> Ledger {
    Ledger { ttl: Duration::from_secs(3), heartbeat: Duration::from_secs(1), lives }
}

/// The promises that are broken.
fn broken(lives: Vec<Life>) -> Vec<&'static str> {
    judge(&ledger(lives)).into_iter().map(|violation| violation.promise).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn two_owners_at_once_break_exclusive() {
    let a = life("a", vec![event(1, Kind::Added, 1)]);
    let b = life("b", vec![event(5, Kind::Added, 2)]);
    assert_eq!(broken(vec![a.clone(), b.clone()]), ["exclusive"]);
    let late = life("a", vec![event(1, Kind::Added, 1), event(6, Kind::Disowned, 1)]);
    assert_eq!(broken(vec![late, b.clone()]), ["exclusive"]);
    let in_time = life("a", vec![event(1, Kind::Added, 1), event(4, Kind::Disowned, 1)]);
    assert_eq!(broken(vec![in_time, b.clone()]), NOTHING);
    assert_eq!(broken(vec![ended(4, true, a.clone()), b.clone()]), NOTHING);
    assert_eq!(broken(vec![ended(6, true, a), b]), ["exclusive"]);
}

#[test]
fn a_farewell_may_come_a_little_after_the_end() {
    let b = life("b", vec![event(5, Kind::Added, 2)]);
    let mut a = life("a", vec![event(1, Kind::Added, 1), event(5, Kind::Released, 1)]);
    a.events[1].at_us += micros(FAREWELL) / 2;
    assert_eq!(broken(vec![a.clone(), b.clone()]), NOTHING);
    a.events[1].at_us += micros(FAREWELL);
    assert_eq!(broken(vec![a.clone(), b.clone()]), ["exclusive"]);
    a.events[1].kind = Kind::Disowned;
    a.events[1].at_us = 5 * SECOND + 1;
    assert_eq!(broken(vec![a, b]), ["exclusive"]);
}

#[test]
fn a_stopped_owner_counts_until_its_lease_ends() {
    let a = || life("a", vec![event(1, Kind::Added, 1)]);
    assert_eq!(broken(vec![paused(10, None, a()), life("b", vec![event(10, Kind::Added, 2)])]), ["exclusive"]);
    assert_eq!(broken(vec![paused(10, None, a()), life("b", vec![event(13, Kind::Added, 2)])]), NOTHING);
    // A pause that was over before the lease's end changes nothing.
    let short = Life { pauses: vec![Pause { from_us: 10 * SECOND, to_us: Some(10 * SECOND + 1000) }], ..a() };
    assert_eq!(broken(vec![short, life("b", vec![event(13, Kind::Added, 2)])]), ["exclusive"]);
}

#[test]
fn a_token_that_does_not_grow_breaks_fenced() {
    let a = || life("a", vec![event(1, Kind::Added, 5), event(2, Kind::Disowned, 5)]);
    assert_eq!(broken(vec![a(), life("b", vec![event(3, Kind::Added, 6)])]), NOTHING);
    assert_eq!(broken(vec![a(), life("b", vec![event(3, Kind::Added, 4)])]), ["fenced"]);
    assert_eq!(broken(vec![a(), life("b", vec![event(3, Kind::Added, 5)])]), ["fenced"]);
    assert_eq!(broken(vec![a(), life("b", vec![about(3, Kind::Added, "other", "2-2", 5)])]), ["fenced"]);
    let elsewhere = Event { partition: Some(1), ..about(3, Kind::Added, "other", "2-2", 5) };
    assert_eq!(broken(vec![a(), life("b", vec![elsewhere])]), NOTHING, "each partition has its own tokens");
    assert_eq!(broken(vec![life("b", vec![event(3, Kind::Added, 0)])]), ["fenced"]);
}

#[test]
fn an_announcement_handed_out_after_done_breaks_finished() {
    let a = || life("a", vec![event(1, Kind::Added, 1), event(2, Kind::Done, 1)]);
    assert_eq!(broken(vec![a(), life("b", vec![event(3, Kind::Added, 2)])]), ["finished"]);
    assert_eq!(broken(vec![a(), life("b", vec![about(3, Kind::Added, "s", "2-2", 2)])]), NOTHING);
}

#[test]
fn anything_but_added_final_added_breaks_in_order() {
    let twice = vec![event(1, Kind::Added, 1), event(2, Kind::Added, 2)];
    assert_eq!(broken(vec![life("a", twice)]), ["in-order"]);
    let two_ends = vec![event(1, Kind::Added, 1), event(2, Kind::Disowned, 1), event(3, Kind::Released, 1)];
    assert_eq!(broken(vec![life("a", two_ends)]), ["in-order"]);
    assert_eq!(broken(vec![life("a", vec![event(1, Kind::Done, 1)])]), ["in-order"]);
    let wrong_token = vec![event(1, Kind::Added, 1), event(2, Kind::Disowned, 2)];
    assert_eq!(broken(vec![life("a", wrong_token)]), ["in-order"]);
    let wrong_entry = vec![event(1, Kind::Added, 1), about(2, Kind::Disowned, "s", "2-2", 1)];
    assert_eq!(broken(vec![life("a", wrong_entry)]), ["in-order"]);
    let backwards = vec![event(2, Kind::Added, 1), event(1, Kind::Disowned, 1)];
    assert_eq!(broken(vec![life("a", backwards)]), ["in-order"]);
    let after_stopped = vec![event(1, Kind::Stopped, 0), event(2, Kind::Ready, 0)];
    assert_eq!(broken(vec![life("a", after_stopped)]), ["in-order"]);
    let good = vec![event(1, Kind::Added, 1), event(2, Kind::Released, 1), event(3, Kind::Added, 2)];
    assert_eq!(broken(vec![life("a", good)]), NOTHING);
}

#[test]
fn ending_without_a_final_event_breaks_in_order() {
    let a = || life("a", vec![event(1, Kind::Added, 1)]);
    assert_eq!(broken(vec![ended(2, false, a())]), ["in-order"]);
    assert_eq!(broken(vec![ended(2, true, a())]), NOTHING);
}

#[test]
fn waking_with_another_word_than_disowned_breaks_exclusive() {
    let sleeper = |first| paused(2, Some(9), life("a", vec![event(1, Kind::Added, 1), event(9, first, 1)]));
    assert_eq!(broken(vec![sleeper(Kind::Disowned)]), NOTHING);
    assert_eq!(broken(vec![sleeper(Kind::Released)]), ["exclusive"]);
    assert_eq!(broken(vec![sleeper(Kind::Done)]), ["exclusive"]);
    let with_process = |outcome: &str| {
        let mut process = event(8, Kind::Other, 1);
        process.rest.insert("outcome".to_owned(), outcome.into());
        let mut life = sleeper(Kind::Disowned);
        life.events.insert(1, process);
        life
    };
    assert_eq!(broken(vec![with_process("killed")]), NOTHING);
    assert_eq!(broken(vec![with_process("done")]), ["exclusive"]);
}

#[test]
fn a_stream_of_nobody_or_of_two_is_lost() {
    let streams = ["s".to_owned()];
    let lost_in = |lives| lost(&ledger(lives), &streams).len();
    let a = || life("a", vec![event(1, Kind::Added, 1)]);
    assert_eq!(lost_in(vec![a()]), 0);
    assert_eq!(lost_in(vec![]), 1);
    assert_eq!(lost_in(vec![a(), life("b", vec![event(2, Kind::Added, 2)])]), 1);
    assert_eq!(lost_in(vec![ended(2, true, a())]), 1);
    assert_eq!(lost_in(vec![paused(2, None, a())]), 1);
    assert_eq!(lost_in(vec![life("a", vec![event(1, Kind::Added, 1), event(2, Kind::Disowned, 1)])]), 1);
    assert_eq!(lost_in(vec![life("a", vec![event(1, Kind::Added, 1), event(2, Kind::Done, 1)])]), 0);
    assert_eq!(lost_in(vec![life("a", vec![event(1, Kind::Rejected, 1)])]), 0);
}
