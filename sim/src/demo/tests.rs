use std::time::Duration;

use streamkeeper::Time;

use super::{
    lines::{Held, Line, Said},
    outcome::{Beliefs, Outcome},
    stories::stories,
};
use crate::{
    facts::{Fact, Owned, What, Who},
    timeline::{Cause, Timeline},
};

const A: Who = Who { consumer: 0, life: 0 };
const B: Who = Who { consumer: 1, life: 0 };

fn ms(ms: u64) -> Time {
    Time::from_millis(ms)
}

#[test]
fn lines_go_through_a_pipe() {
    let held = Held { stream: "orders-1".into(), token: u64::MAX, until_us: 9 };
    let (stream, entry) = ("orders-1".to_owned(), "1-0".to_owned());
    for said in [
        Said::Ready { id: "a".into() },
        Said::Added { stream: stream.clone(), entry: entry.clone(), token: 7, takeover: true, until_us: 9 },
        Said::Ended { stream: stream.clone(), entry, token: 7, how: "paused".into() },
        Said::Refused { stream },
        Said::Holds { leases: vec![held] },
        Said::Stopped,
    ] {
        let line = Line { at_us: 5, said };
        let text = serde_json::to_string(&line).unwrap();
        assert!(!text.contains('\n'));
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line, "{text}");
    }
}

#[test]
fn two_who_trust_one_stream_at_one_instant_are_seen() {
    let double = |b_from: u64, a_ended: Option<u64>, a_died: Option<u64>| {
        let mut beliefs = Beliefs::default();
        beliefs.trusts(A, "orders-1", 1, ms(0), ms(2_000));
        beliefs.trusts(A, "orders-1", 1, ms(600), ms(2_600));
        beliefs.trusts(B, "orders-1", 2, ms(b_from), ms(b_from + 2_000));
        beliefs.trusts(B, "orders-2", 3, ms(0), ms(9_000));
        a_ended.into_iter().for_each(|at| beliefs.ended(A, "orders-1", 1, ms(at)));
        a_died.into_iter().for_each(|at| beliefs.died(A, ms(at)));
        beliefs.double().len()
    };
    assert_eq!(double(2_599, None, None), 1);
    assert_eq!(double(2_600, None, None), 0);
    assert_eq!(double(1_000, Some(900), None), 0, "it was told in time");
    assert_eq!(double(1_000, None, Some(900)), 0, "the dead believe nothing");
    assert_eq!(double(1_000, Some(3_000), None), 1, "told too late");
}

#[test]
fn the_story_is_told_in_order() {
    let owned = |stream: u64, token| Owned {
        stream: format!("orders-{stream}").into(),
        entry: format!("{stream}-0").into(),
        token,
    };
    let started = |who| What::Started { who, id: "".into(), ttl_ms: 2_000, capacity: 9, automatic: true, go: false };
    let facts = [
        (0, started(A)),
        (0, started(B)),
        (100, What::Added { who: A, owned: owned(1, 1), takeover: false }),
        (100, What::Added { who: A, owned: owned(2, 1), takeover: false }),
        (3_000, What::Crashed { who: A }),
        (5_000, What::Added { who: B, owned: owned(1, 2), takeover: true }),
        (5_100, What::Added { who: B, owned: owned(2, 2), takeover: true }),
        (6_000, What::Draining { who: B }),
        (6_001, What::Ended { who: B, owned: owned(1, 2), how: "done" }),
        (6_001, What::Ended { who: B, owned: owned(2, 2), how: "released" }),
        (6_002, What::Stopped { who: B }),
    ];
    let facts = facts.map(|(at, what)| Fact { at: ms(at), what });
    let told = stories(&facts, &Timeline::of(&facts, ms(7_000)), &["a", "b"]);
    let told: Vec<_> = told.iter().map(|story| story.text.as_str()).collect();
    assert_eq!(
        told,
        [
            "a is killed (kill -9), with 2 streams",
            "b takes over 2 streams of a, after 2.10 s",
            "b is told to stop (SIGTERM), with 2 streams",
            "b has given everything back, and stopped",
        ]
    );
}

#[test]
fn the_outcome_is_one_object() {
    let mut outcome = Outcome { announced: 9, report: "demo.html".into(), ..Outcome::default() };
    outcome.metrics.takeovers = 2;
    outcome.metrics.gaps.insert(Cause::Crash, vec![Duration::from_micros(1_234_560), Duration::from_secs(2)]);
    outcome.metrics.gaps.insert(Cause::Release, vec![Duration::from_millis(9)]);
    let json = serde_json::to_string(&outcome).unwrap();
    let expected = r#"{"announced":9,"lost":0,"double_owned":0,"takeovers":2,"takeover_p50_ms":1234.6,"takeover_max_ms":2000.0,"handover_max_ms":9.0,"refused_writes":0,"report":"demo.html"}"#;
    assert_eq!(json, expected);
    assert!(outcome.is_good());
    let one = std::collections::BTreeSet::from(["orders-1".to_owned()]);
    let lost = Outcome { lost: one.clone(), ..outcome.clone() };
    let double = Outcome { double_owned: one, ..outcome };
    assert!(!lost.is_good() && !double.is_good());
    assert_eq!(
        double.violations(ms(9))[0].to_string(),
        "0.009 s: `exclusive` is broken: orders-1 was owned by two at one instant"
    );
}
