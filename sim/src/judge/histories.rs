//! Made-up histories for the judges' own tests.

use std::sync::Arc;

use streamkeeper::Time;

use super::judge;
use crate::{
    facts::{Fact, Forgot, Owned, What, Who},
    plan::{App, ConsumerPlan, Persistence, Plan, RedisPlan, Servers},
};

/// A fleet of consumers that read at once and never end anything: ttl 3 s, heartbeat 1 s.
pub(super) fn plan(consumers: usize) -> Plan {
    let consumer = |index: usize| ConsumerPlan {
        name: format!("{}", char::from(b'a' + index as u8)),
        go: false,
        joins: true,
        ttl_ms: 3_000,
        heartbeat_ms: 1_000,
        reap_ms: 200,
        claim_delay_ms: 150,
        heirs: 8,
        capacity: 100,
        manual: false,
        max_takeovers: 10,
        max_failures: 10,
        output_buffer: 100,
        drift_ppm: 0,
        worker: None,
        app: App {
            runs: false,
            work_ms: None,
            ends: [1, 0, 0, 0, 0],
            reads_every_ms: 0,
            never_reads: false,
            reading: None,
        },
    };
    Plan {
        seed: 1,
        latency_us: (100, 1_000),
        redis: RedisPlan {
            persistence: Persistence::Aof,
            hz: 10,
            notify: String::new(),
            config_allowed: true,
            replica_lag_ms: 20,
            other_keys: 0,
            uptime_s: 3_600,
        },
        servers: Servers::default(),
        consumers: (0..consumers).map(consumer).collect(),
        actions: Vec::new(),
        heal_at: std::time::Duration::from_secs(40),
        calm: std::time::Duration::from_secs(20),
        finish: false,
    }
}

/// Nobody complains.
#[track_caller]
pub(super) fn good_timed(promise: &str, plan: &Plan, facts: &[Fact]) {
    let end = facts.last().map_or(Time::ZERO, |fact| fact.at);
    let broken: Vec<_> = judge(plan, facts, end).into_iter().filter(|violation| violation.promise == promise).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// The judge of this promise complains.
#[track_caller]
pub(super) fn bad_timed(promise: &str, plan: &Plan, facts: &[Fact]) {
    let end = facts.last().map_or(Time::ZERO, |fact| fact.at);
    let broken = judge(plan, facts, end);
    assert!(broken.iter().any(|violation| violation.promise == promise), "nobody saw it: {broken:?}");
}

/// As [`good_timed`], one fact a millisecond.
#[track_caller]
pub(super) fn good(promise: &str, plan: &Plan, whats: &[What]) {
    good_timed(promise, plan, &each_millisecond(whats));
}

/// As [`bad_timed`], one fact a millisecond.
#[track_caller]
pub(super) fn bad(promise: &str, plan: &Plan, whats: &[What]) {
    bad_timed(promise, plan, &each_millisecond(whats));
}

fn each_millisecond(whats: &[What]) -> Vec<Fact> {
    whats.iter().enumerate().map(|(ms, what)| timed(ms as u64, what.clone())).collect()
}

pub(super) fn timed(ms: u64, what: What) -> Fact {
    Fact { at: Time::from_millis(ms), what }
}

fn who(consumer: usize) -> Who {
    Who { consumer, life: 0 }
}

fn entry(number: u64) -> Arc<str> {
    format!("{number}-0").into()
}

fn owned(stream: &str, number: u64, token: u64) -> Owned {
    Owned { stream: stream.into(), entry: entry(number), token }
}

fn start(consumer: usize, go: bool) -> What {
    let id = format!("c{consumer}").into();
    What::Started { who: who(consumer), id, ttl_ms: 3_000, capacity: 100, automatic: true, go }
}

pub(super) fn started(consumer: usize) -> What {
    start(consumer, false)
}

pub(super) fn started_go(consumer: usize) -> What {
    start(consumer, true)
}

pub(super) fn ready(consumer: usize) -> What {
    What::Ready { who: who(consumer) }
}

pub(super) fn stopped(consumer: usize) -> What {
    What::Stopped { who: who(consumer) }
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

pub(super) fn announced(stream: &str, number: u64) -> What {
    What::Announced { stream: stream.into(), entry: entry(number) }
}

pub(super) fn added(consumer: usize, stream: &str, number: u64, token: u64) -> What {
    What::Added { who: who(consumer), owned: owned(stream, number, token), takeover: false }
}

pub(super) fn ended(consumer: usize, stream: &str, number: u64, token: u64, how: &'static str) -> What {
    What::Ended { who: who(consumer), owned: owned(stream, number, token), how }
}

pub(super) fn asked(consumer: usize, stream: &str, number: u64, token: u64, end: &'static str) -> What {
    What::Asked { who: who(consumer), owned: owned(stream, number, token), end }
}

pub(super) fn believes(consumer: usize, stream: &str, number: u64, token: u64) -> What {
    What::Believes { who: who(consumer), owned: owned(stream, number, token) }
}

pub(super) fn granted(value: &str, stream: &str, number: u64, token: u64) -> What {
    What::Granted { value: value.into(), owned: owned(stream, number, token) }
}

pub(super) fn renewed(consumer: &str, numbers: &[u64]) -> What {
    What::Renewed { consumer: consumer.into(), entries: numbers.iter().copied().map(entry).collect() }
}

pub(super) fn claimed(numbers: &[u64]) -> What {
    What::Claimed { entries: numbers.iter().copied().map(entry).collect() }
}

pub(super) fn finished(value: &str, stream: &str, number: u64) -> What {
    What::Finished { value: value.into(), stream: stream.into(), entry: entry(number) }
}

pub(super) fn given_back(value: &str, stream: &str, number: u64) -> What {
    What::GivenBack { value: value.into(), stream: stream.into(), entry: entry(number) }
}

pub(super) fn set_aside(number: u64, why: &str) -> What {
    What::SetAside { entry: entry(number), why: why.into() }
}

pub(super) fn struck(kind: &'static str, consumer: Option<usize>, ms: Option<u64>) -> What {
    What::Struck { action: kind.to_owned(), kind, consumer, ms }
}

/// A fault of a consumer that the text names, or of Redis.
pub(super) fn struck_as(kind: &'static str, action: &str) -> What {
    let consumer = action.split(' ').find_map(|word| word.strip_prefix('c')?.parse().ok());
    let ms = action.split(' ').find_map(|word| word.strip_suffix('s')?.parse::<u64>().ok()).map(|s| s * 1_000);
    What::Struck { action: action.to_owned(), kind, consumer, ms }
}

/// What lasted at Redis is over.
pub(super) fn over(kind: &'static str) -> What {
    What::Over { kind, consumer: None }
}

pub(super) fn redis_up(forgot: &str) -> What {
    let forgot = match forgot {
        "all" => Forgot::All,
        "latest" => Forgot::Latest,
        _ => Forgot::Nothing,
    };
    What::RedisUp { forgot }
}

pub(super) fn note() -> What {
    What::Note { text: String::new() }
}

pub(super) fn healed() -> What {
    What::Healed
}
