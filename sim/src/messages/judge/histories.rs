//! Made-up histories for the judges' own tests: workers `w0`, `w1` with two runs at once, two messages in advance, three
//! attempts and crashes, a `reclaim_idle` of 4 s; messages that stand at `1-0`, `2-0` …

use std::sync::Arc;

use streamkeeper::Time;

use super::Judges;
use crate::{
    facts::{Fact, Forgot, What, Who},
    judge::{Judge, Violation},
    messages::{
        EPOCH_MS,
        facts::{How, Record, Said, Stage, Stock},
    },
    plan::{ConsumerPlan, Plan, WorkerPlan},
};

fn plan() -> Plan {
    let worker = WorkerPlan {
        concurrency: 2,
        prefetch: 2,
        idle_ms: 4_000,
        max_attempts: 3,
        max_crashes: 3,
        backoff_ms: (1_000, 10_000),
        sweep_ms: 5_000,
        ..WorkerPlan::default()
    };
    // The last one remembers what it has processed.
    let consumer = |index: usize| ConsumerPlan {
        name: format!("w{index}"),
        worker: Some(WorkerPlan { processed_ms: (index == 2).then_some(3_600_000), ..worker.clone() }),
        ..ConsumerPlan::default()
    };
    Plan { consumers: (0..3).map(consumer).collect(), ..Plan::default() }
}

fn broken(facts: &[Fact]) -> Vec<Violation> {
    let (mut judges, mut verdicts) = (Judges::new(&plan()), Vec::new());
    facts.iter().for_each(|fact| judges.hear(fact, &mut verdicts));
    judges.end(facts.last().map_or(Time::ZERO, |fact| fact.at), &mut verdicts);
    verdicts
}

/// Nobody complains.
#[track_caller]
pub(super) fn good_timed(promise: &str, facts: &[Fact]) {
    let broken: Vec<_> = broken(facts).into_iter().filter(|violation| violation.promise == promise).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// The judge of this promise complains.
#[track_caller]
pub(super) fn bad_timed(promise: &str, facts: &[Fact]) {
    let broken = broken(facts);
    assert!(broken.iter().any(|violation| violation.promise == promise), "nobody saw it: {broken:?}");
}

/// As [`good_timed`], one fact a millisecond.
#[track_caller]
pub(super) fn good(promise: &str, whats: &[What]) {
    good_timed(promise, &each_ms(whats));
}

/// As [`bad_timed`], one fact a millisecond.
#[track_caller]
pub(super) fn bad(promise: &str, whats: &[What]) {
    bad_timed(promise, &each_ms(whats));
}

pub(super) fn each_ms(whats: &[What]) -> Vec<Fact> {
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

fn entries(numbers: &[u64]) -> Vec<Arc<str>> {
    numbers.iter().copied().map(entry).collect()
}

fn said(said: Said) -> What {
    What::Message(said)
}

pub(super) fn started(consumer: usize) -> What {
    let id = format!("w{consumer}").into();
    What::Started { who: who(consumer), id, ttl_ms: 4_000, capacity: 2, automatic: true, go: false }
}

pub(super) fn ready(consumer: usize) -> What {
    What::Ready { who: who(consumer) }
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

pub(super) fn struck_as(kind: &'static str, action: &str) -> What {
    let consumer = action.split(' ').find_map(|word| word.strip_prefix('c')?.parse().ok());
    let ms = action.split(' ').find_map(|word| word.strip_suffix('s')?.parse::<u64>().ok()).map(|s| s * 1_000);
    What::Struck { action: action.to_owned(), kind, consumer, ms }
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

pub(super) fn sent(number: u64) -> What {
    said(Said::Sent { number, entry: Some(entry(number)), once: false })
}

pub(super) fn sent_later(number: u64) -> What {
    said(Said::Sent { number, entry: None, once: false })
}

/// A message that stands where its number says.
pub(super) fn entered(number: u64) -> What {
    entered_as(number, number)
}

pub(super) fn entered_as(place: u64, number: u64) -> What {
    said(Said::Entered { entry: entry(place), number: Some(number) })
}

pub(super) fn scheduled(number: u64, due_ms: u64) -> What {
    said(Said::Scheduled { id: format!("m{number}").into(), due_ms: EPOCH_MS + due_ms })
}

pub(super) fn unscheduled(number: u64) -> What {
    said(Said::Unscheduled { id: format!("m{number}").into() })
}

pub(super) fn delivered(consumer: usize, numbers: &[u64]) -> What {
    let name = format!("w{consumer}").into();
    said(Said::Delivered { by: Some(who(consumer)), consumer: name, entries: entries(numbers), forgets: false })
}

pub(super) fn claimed(by: usize, to: &str, number: u64, counted: bool) -> What {
    said(Said::Claimed { by: Some(who(by)), script: None, to: to.into(), entries: entries(&[number]), counted })
}

pub(super) fn acked(by: usize, numbers: &[u64]) -> What {
    said(Said::Acked { by: Some(who(by)), script: None, entries: entries(numbers) })
}

pub(super) fn removed(by: Option<usize>, numbers: &[u64]) -> What {
    said(Said::Removed { by: by.map(who), entries: entries(numbers) })
}

pub(super) fn buried(by: usize, number: u64, reason: &str) -> What {
    bury(by, number, reason, Vec::new())
}

pub(super) fn buried_without(by: usize, number: u64, reason: &str, missing: &'static str) -> What {
    bury(by, number, reason, vec![missing])
}

fn bury(by: usize, number: u64, reason: &str, missing: Vec<&'static str>) -> What {
    let (by, dead, reason) = (Some(who(by)), format!("9{number}-0").into(), reason.into());
    said(Said::Buried { by, entry: entry(number), dead, reason, number: Some(number), missing })
}

pub(super) fn due(by: usize, number: u64, due_ms: u64) -> What {
    said(Said::Due { by: Some(who(by)), script: None, entry: entry(number), due_ms: EPOCH_MS + due_ms })
}

/// Written down by worker 0 or, if it is about crashes, by worker 1.
pub(super) fn recorded(number: u64, failed: u32, counted: u64, crashed: u32) -> What {
    recorded_by(usize::from(crashed > 0), number, failed, counted, crashed)
}

pub(super) fn recorded_by(by: usize, number: u64, failed: u32, counted: u64, crashed: u32) -> What {
    let record = Record { failed, counted, crashed, ..Record::default() };
    said(Said::Recorded { by: Some(who(by)), script: None, entry: entry(number), record })
}

pub(super) fn began(consumer: usize, run: u64, number: u64) -> What {
    begins(consumer, run, number, Stage::Process, 1)
}

/// A run of another delivery than the first.
pub(super) fn began_again(consumer: usize, run: u64, number: u64, deliveries: u64) -> What {
    begins(consumer, run, number, Stage::Process, deliveries)
}

pub(super) fn began_dead(consumer: usize, run: u64, number: u64) -> What {
    begins(consumer, run, number, Stage::Dead, 1)
}

fn begins(consumer: usize, run: u64, number: u64, stage: Stage, deliveries: u64) -> What {
    said(Said::Began { who: who(consumer), run, number, entry: entry(number), stage, attempt: 1, deliveries })
}

pub(super) fn ended(consumer: usize, run: u64, number: u64, how: &str) -> What {
    let all = [How::Done, How::Failed, How::Panicked, How::Rejected, How::Dropped, How::Cancelled];
    let how = all.into_iter().find(|other| other.name() == how).unwrap();
    said(Said::Ended { who: who(consumer), run, entry: entry(number), how })
}

pub(super) fn told_lost(consumer: usize, run: u64, number: u64) -> What {
    said(Said::Lost { who: who(consumer), run, entry: entry(number) })
}

pub(super) fn grouped(after: u64) -> What {
    said(Said::Grouped { after: entry(after) })
}

pub(super) fn dismissed(by: Option<usize>, consumer: &str, pending: u64) -> What {
    said(Said::Dismissed { by: by.map(who), consumer: consumer.into(), pending })
}

/// What stands in the stream, what of it is pending under `w0`, and up to where the group has read.
pub(super) fn stands(why: &'static str, stream: &[u64], pending: &[u64], read: Option<u64>) -> What {
    let stock = Stock {
        why,
        stream: stream.iter().map(|number| (entry(*number), Some(*number))).collect(),
        read: read.map(entry),
        pending: pending.iter().map(|number| (entry(*number), "w0".into(), 1)).collect(),
        ..Stock::default()
    };
    said(Said::Stands(stock))
}

pub(super) fn stands_with_records(why: &'static str, records: &[u64]) -> What {
    let records = entries(records).into_iter().map(|entry| (entry, Record::default())).collect();
    let stock = Stock { why, records, read: Some(entry(9)), ..Stock::default() };
    said(Said::Stands(stock))
}
