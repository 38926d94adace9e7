//! Made-up histories for the judges' own tests: consumers `c0`, `c1`, one data stream with entries `1-0`, `2-0` …

use std::sync::Arc;

use streamkeeper::Time;

use super::Judges;
use crate::{
    entries::facts::{Id, Said, Stock},
    facts::{Fact, Forgot, Owned, What, Who},
    judge::Judge,
    plan::Plan,
};

const STREAM: &str = "simulated:data-1";

fn promises_broken(facts: &[Fact]) -> Vec<String> {
    let (mut judges, mut verdicts) = (Judges::new(&Plan::default()), Vec::new());
    facts.iter().for_each(|fact| judges.hear(fact, &mut verdicts));
    judges.end(facts.last().map_or(Time::ZERO, |fact| fact.at), &mut verdicts);
    verdicts.into_iter().map(|violation| format!("{}: {}", violation.promise, violation.how)).collect()
}

/// Nobody complains.
#[track_caller]
pub(super) fn good_timed(promise: &str, facts: &[(u64, What)]) {
    let broken = promises_broken(&timed(facts));
    assert!(!broken.iter().any(|text| text.starts_with(promise)), "{broken:?}");
}

/// The judge of this promise complains.
#[track_caller]
pub(super) fn bad_timed(promise: &str, facts: &[(u64, What)]) {
    let broken = promises_broken(&timed(facts));
    assert!(broken.iter().any(|text| text.starts_with(promise)), "nobody saw it: {broken:?}");
}

/// As [`good_timed`], one fact every ten milliseconds from 10 s on.
#[track_caller]
pub(super) fn good(promise: &str, whats: &[What]) {
    good_timed(promise, &each(whats));
}

/// As [`bad_timed`], one fact every ten milliseconds from 10 s on.
#[track_caller]
pub(super) fn bad(promise: &str, whats: &[What]) {
    bad_timed(promise, &each(whats));
}

fn each(whats: &[What]) -> Vec<(u64, What)> {
    whats.iter().cloned().enumerate().map(|(place, what)| (10_000 + 10 * place as u64, what)).collect()
}

fn timed(facts: &[(u64, What)]) -> Vec<Fact> {
    facts.iter().map(|(ms, what)| Fact { at: Time::from_millis(*ms), what: what.clone() }).collect()
}

fn who(consumer: usize) -> Who {
    Who { consumer, life: 0 }
}

fn name(consumer: usize) -> Arc<str> {
    format!("redis-consumer-c{consumer}").into()
}

fn owned(token: u64) -> Owned {
    Owned { stream: STREAM.into(), entry: "5-0".into(), token }
}

fn ids(numbers: &[u64]) -> Vec<Id> {
    numbers.iter().map(|number| Id(*number, 0)).collect()
}

pub(super) fn started(consumer: usize) -> What {
    What::Started { who: who(consumer), id: name(consumer), ttl_ms: 3_000, capacity: 10, automatic: true, go: false }
}

pub(super) fn crashed(consumer: usize) -> What {
    What::Crashed { who: who(consumer) }
}

pub(super) fn paused(consumer: usize, ms: u64) -> What {
    What::Paused { who: who(consumer), ms }
}

pub(super) fn resumed(consumer: usize) -> What {
    What::Resumed { who: who(consumer) }
}

pub(super) fn granted(consumer: usize, token: u64) -> What {
    What::Granted { value: format!("{}#{token}", name(consumer)).into(), owned: owned(token) }
}

pub(super) fn ended(consumer: usize, token: u64, how: &'static str) -> What {
    What::Ended { who: who(consumer), owned: owned(token), how }
}

pub(super) fn healed() -> What {
    What::Healed
}

pub(super) fn note() -> What {
    What::Note { text: String::new() }
}

pub(super) fn redis_up(forgot: &str) -> What {
    let forgot = match forgot {
        "all" => Forgot::All,
        "latest" => Forgot::Latest,
        _ => Forgot::Nothing,
    };
    What::RedisUp { forgot }
}

pub(super) fn appended(number: u64) -> What {
    What::Entry(Said::Appended { stream: STREAM.into(), id: Id(number, 0) })
}

pub(super) fn trimmed(before: Option<u64>) -> What {
    What::Entry(Said::Removed { stream: STREAM.into(), before: before.map(|number| Id(number, 0)) })
}

pub(super) fn stored(consumer: usize, number: u64) -> What {
    let (by, stream) = (Some(who(consumer)), STREAM.into());
    What::Entry(Said::Stored { by, stream, position: Id(number, 0), marked: true })
}

pub(super) fn effect(consumer: usize, number: u64) -> What {
    What::Entry(Said::Effect { by: Some(who(consumer)), stream: STREAM.into(), id: Id(number, 0) })
}

pub(super) fn opened(consumer: usize, token: u64, number: u64) -> What {
    What::Entry(Said::Opened { who: who(consumer), owned: owned(token), position: Id(number, 0) })
}

pub(super) fn yielded(consumer: usize, token: u64, numbers: &[u64]) -> What {
    What::Entry(Said::Yielded { who: who(consumer), owned: owned(token), ids: ids(numbers) })
}

pub(super) fn told(consumer: usize, token: u64, what: &'static str, number: u64) -> What {
    What::Entry(Said::Told { who: who(consumer), owned: owned(token), what, id: Some(Id(number, 0)) })
}

pub(super) fn asked(consumer: usize, commit: u64, number: u64) -> What {
    What::Entry(Said::Asked { who: who(consumer), owned: owned(1), commit, to: Id(number, 0) })
}

pub(super) fn answered(consumer: usize, commit: u64, how: &'static str) -> What {
    What::Entry(Said::Answered { who: who(consumer), owned: owned(1), commit, how })
}

pub(super) fn stands(why: &'static str, numbers: &[u64], position: Option<u64>) -> What {
    let stream: Arc<str> = STREAM.into();
    let positions = position.map(|number| (stream.clone(), Id(number, 0))).into_iter().collect();
    What::Entry(Said::Stands(Stock { why, streams: vec![(stream, ids(numbers))], positions, effects: Vec::new() }))
}

pub(super) fn end_stands(numbers: &[u64], position: u64, effects: &[u64]) -> What {
    let stream: Arc<str> = STREAM.into();
    What::Entry(Said::Stands(Stock {
        why: "end",
        streams: vec![(stream.clone(), ids(numbers))],
        positions: vec![(stream.clone(), Id(position, 0))],
        effects: vec![(stream, ids(effects).into_iter().map(|id| (id, 1)).collect())],
    }))
}
