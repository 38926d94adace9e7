use std::sync::Arc;

use super::*;
use crate::facts::{Owned, Who};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn percentiles_are_values_that_were_seen() {
    let hundred = (1..=100).rev().map(ms);
    let spread = Spread::of(hundred);
    assert_eq!((spread.count, spread.p50, spread.p99, spread.max), (100, ms(50), ms(99), ms(100)));
    let two = Spread::of([ms(8), ms(2)]);
    assert_eq!((two.p50, two.p99, two.max), (ms(2), ms(8), ms(8)));
    assert_eq!(Spread::of([]), Spread::default());
}

#[test]
fn spans_are_short_to_read() {
    let table = [(0, "0"), (400, "0.4 ms"), (38_400, "38 ms"), (3_214_000, "3.21 s"), (123_000_000, "123 s")];
    for (us, text) in table {
        assert_eq!(short(Duration::from_micros(us)), text);
    }
}

#[test]
fn a_histogram_shows_every_span_once() {
    let text = histogram(&[ms(100), ms(200), ms(1_900), ms(2_000)], 4, 8);
    insta::assert_snapshot!(text, @r"
           0 – 500 ms   ████████ 2
      500 ms – 1.00 s            0
      1.00 s – 1.50 s            0
      1.50 s – 2.00 s   ████████ 2
    ");
    assert_eq!(histogram(&[], 4, 8), "");
}

#[test]
fn a_run_is_counted() {
    let owned = |token| Owned { stream: Arc::from("orders-1"), entry: Arc::from("1-0"), token };
    let (a, b) = (Who { consumer: 0, life: 0 }, Who { consumer: 1, life: 0 });
    let facts = [
        (0, What::Announced { stream: "orders-1".into(), entry: "1-0".into() }),
        (10, What::Added { who: a, owned: owned(1), takeover: false }),
        (2_000, What::Ended { who: a, owned: owned(1), how: "unreachable" }),
        (2_300, What::Added { who: b, owned: owned(2), takeover: true }),
        (4_000, What::Finished { value: "b 1".into(), stream: "orders-1".into(), entry: "1-0".into() }),
        (4_001, What::Ended { who: b, owned: owned(2), how: "done" }),
        (5_000, What::Rejected { who: b, entry: "2-0".into(), why: "malformed" }),
        (5_000, What::SetAside { entry: "2-0".into(), why: "malformed".into() }),
        (6_000, What::Announced { stream: "orders-3".into(), entry: "3-0".into() }),
    ]
    .map(|(at, what)| Fact { at: Time::from_millis(at), what });
    let mut metrics = Metrics::of(&facts, Time::from_millis(9_000));
    assert_eq!((metrics.streams, metrics.finished, metrics.takeovers, metrics.never_owned), (1, 1, 1, 1));
    assert_eq!(metrics.set_aside, BTreeMap::from([("malformed".to_owned(), 1)]));
    assert_eq!(metrics.disowns, BTreeMap::from([("unreachable", 1)]));
    assert_eq!(metrics.without_owner().max, ms(300));
    assert_eq!(metrics.first_owner().max, ms(10));
    metrics.add(metrics.clone());
    assert_eq!((metrics.without_owner().count, metrics.disowned(), metrics.set_aside["malformed"]), (2, 2, 2));
}
