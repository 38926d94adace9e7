//! Pictures of made-up runs.

use std::sync::Arc;

use streamkeeper::Time;

use super::*;
use crate::{
    facts::{Owned, What, Who},
    judge::Kind,
    plan::{App, ConsumerPlan, Persistence, RedisPlan, Servers},
};

fn plan(names: &[&str], seconds: u64) -> Plan {
    let app =
        App { runs: false, work_ms: None, ends: [1, 0, 0, 0, 0], reads_every_ms: 0, never_reads: false, reading: None };
    let consumer = |name: &&str| ConsumerPlan {
        name: (*name).to_owned(),
        go: name.starts_with("go"),
        joins: true,
        ttl_ms: 3_000,
        heartbeat_ms: 1_000,
        reap_ms: 200,
        claim_delay_ms: 150,
        heirs: 8,
        capacity: 1_000,
        manual: false,
        max_takeovers: 10,
        max_failures: 10,
        output_buffer: 1_000,
        drift_ppm: 0,
        app: app.clone(),
        worker: None,
    };
    Plan {
        seed: 17,
        latency_us: (200, 900),
        redis: RedisPlan {
            persistence: Persistence::Aof,
            hz: 10,
            notify: String::new(),
            config_allowed: true,
            replica_lag_ms: 0,
            other_keys: 0,
            uptime_s: 3_600,
        },
        servers: Servers::default(),
        consumers: names.iter().map(consumer).collect(),
        actions: Vec::new(),
        heal_at: std::time::Duration::from_secs(seconds),
        calm: std::time::Duration::ZERO,
        finish: false,
    }
}

fn who(consumer: usize) -> Who {
    Who { consumer, life: 0 }
}

fn owned(stream: usize, token: u64) -> Owned {
    Owned { stream: format!("orders-{stream}").into(), entry: format!("{stream}-0").into(), token }
}

fn facts(list: Vec<(u64, What)>) -> Vec<Fact> {
    let mut facts: Vec<_> = list.into_iter().map(|(ms, what)| Fact { at: Time::from_millis(ms), what }).collect();
    facts.sort_by_key(|fact| fact.at);
    facts
}

fn started(consumer: usize) -> What {
    let id = Arc::from(format!("redis-consumer-{consumer}"));
    What::Started { who: who(consumer), id, ttl_ms: 3_000, capacity: 1_000, automatic: true, go: false }
}

/// Two consumers, two streams; one stands still for too long, and the other takes over; one is finished.
fn small() -> Vec<Fact> {
    let (a, b) = (who(0), who(1));
    facts(vec![
        (0, started(0)),
        (0, started(1)),
        (100, What::Announced { stream: "orders-1".into(), entry: "1-0".into() }),
        (150, What::Added { who: a, owned: owned(1, 11), takeover: false }),
        (200, What::Added { who: b, owned: owned(2, 21), takeover: false }),
        (2_000, What::Paused { who: a, ms: 4_000 }),
        (5_200, What::Added { who: b, owned: owned(1, 12), takeover: true }),
        (6_000, What::Resumed { who: a }),
        (6_000, What::Ended { who: a, owned: owned(1, 11), how: "paused" }),
        (7_000, What::Struck { action: "redis stall 1s".into(), kind: "redis stall", consumer: None, ms: Some(1_000) }),
        (9_000, What::Ended { who: b, owned: owned(2, 21), how: "done" }),
    ])
}

#[test]
fn a_small_picture() {
    insta::assert_snapshot!(svg(&plan(&["<a>", "b"], 10), &small(), &[]));
}

#[test]
fn a_page_needs_nothing_but_itself_and_escapes_what_others_wrote() {
    let violation = Violation {
        promise: "exclusive",
        kind: Kind::Safety,
        at: Time::from_millis(5_300),
        how: "<script>alert(1)</script> & \u{1}".to_owned(),
    };
    let mut facts = small();
    facts.push(Fact { at: Time::from_millis(9_500), what: What::Note { text: "</pre><b>".to_owned() } });
    let page = html(&plan(&["<a>", "b"], 10), &facts, &[violation]);
    assert!(!page.contains("<script>alert") && !page.contains("<a>") && !page.contains("</pre><b>"));
    assert!(!page.contains('\u{1}'));
    assert!(page.contains("&lt;script&gt;alert(1)"));
    let links = ["src=", "href=", "url(http", "@import", "//cdn"];
    assert!(links.iter().all(|link| !page.contains(link)), "something is loaded from elsewhere");
    assert!(page.contains("without an owner from 2.000 s to 5.200 s, 3.20 s"));
}

#[test]
fn many_streams_are_a_crowd() {
    let (streams, consumers) = (1_000, 3);
    let mut list: Vec<_> = (0..consumers).map(|consumer| (0, started(consumer))).collect();
    for stream in 0..streams {
        let (first, next) = (stream % consumers, (stream + 1) % consumers);
        list.push((100, What::Added { who: who(first), owned: owned(stream, 1), takeover: false }));
        if first == 0 {
            let at = 7_600 + stream as u64 / 5;
            list.push((at, What::Added { who: who(next), owned: owned(stream, 2), takeover: true }));
        }
    }
    list.push((5_000, What::Crashed { who: who(0) }));
    let facts = facts(list);
    let svg = svg(&plan(&["a", "b", "c"], 20), &facts, &[]);
    assert!(svg.len() < 100_000, "{} bytes for 1,000 streams", svg.len());
    assert_eq!(svg.matches(r#"class="crowd""#).count(), 3);
    assert!(svg.contains("a owns at most 334 streams"));
    assert!(svg.contains("at most 334 streams have no owner"));
    assert!(svg.contains("334 streams: a → b") || svg.matches("streams: a → b").count() > 1);
}

#[test]
fn nothing_at_all_can_be_shown() {
    assert!(html(&plan(&[], 0), &[], &[]).contains("no promise broken"));
}
