use super::*;
use crate::facts::What;

const A: Who = Who { consumer: 0, life: 0 };
const B: Who = Who { consumer: 1, life: 0 };

fn owned(token: u64) -> Owned {
    Owned { stream: Arc::from("orders-1"), entry: Arc::from("1-0"), token }
}

fn timeline(facts: &[(u64, What)]) -> Timeline {
    let facts: Vec<_> =
        facts.iter().map(|(ms, what)| Fact { at: Time::from_millis(*ms), what: what.clone() }).collect();
    Timeline::of(&facts, Time::from_millis(10_000))
}

fn started(who: Who) -> What {
    What::Started { who, id: "redis-consumer".into(), ttl_ms: 3_000, capacity: 100, automatic: true, go: false }
}

fn added(who: Who, token: u64) -> What {
    What::Added { who, owned: owned(token), takeover: token > 1 }
}

fn ended(who: Who, token: u64, how: &'static str) -> What {
    What::Ended { who, owned: owned(token), how }
}

/// From, until, cause and whether somebody followed.
fn gaps(timeline: &Timeline) -> Vec<(u64, u64, Cause, bool)> {
    let ms = |at: Time| at.as_micros() / 1_000;
    timeline.gaps.iter().map(|gap| (ms(gap.from), ms(gap.until), gap.cause, gap.after.is_some())).collect()
}

#[test]
fn a_stream_has_no_owner_between_a_crash_and_its_takeover() {
    let run = timeline(&[
        (0, started(A)),
        (0, What::Announced { stream: "orders-1".into(), entry: "1-0".into() }),
        (20, added(A, 1)),
        (5_000, What::Crashed { who: A }),
        (7_900, added(B, 2)),
    ]);
    assert_eq!(gaps(&run), [(5_000, 7_900, Cause::Crash, true)]);
    assert_eq!((run.lives[0].how, run.lives[0].until), ("crash", Time::from_millis(5_000)));
    assert_eq!((run.ownerships[0].how, run.ownerships[1].how), ("crash", "owned"));
    assert_eq!(run.firsts[0].until, Time::from_millis(20));
}

#[test]
fn an_owner_that_stood_still_was_none_from_the_beginning_of_its_pause() {
    let taken = timeline(&[
        (0, added(A, 1)),
        (5_000, What::Paused { who: A, ms: 4_000 }),
        (8_100, added(B, 2)),
        (9_000, What::Resumed { who: A }),
        (9_000, ended(A, 1, "paused")),
    ]);
    assert_eq!(gaps(&taken), [(5_000, 8_100, Cause::Pause, true)]);
    assert_eq!(taken.ownerships[0].until, Time::from_millis(9_000));
    let noticed = timeline(&[
        (0, added(A, 1)),
        (5_000, What::Paused { who: A, ms: 3_500 }),
        (8_500, What::Resumed { who: A }),
        (8_500, ended(A, 1, "paused")),
        (8_600, added(A, 2)),
    ]);
    assert_eq!(gaps(&noticed), [(5_000, 8_600, Cause::Pause, true)]);
}

#[test]
fn a_pause_that_the_lease_survives_is_no_gap() {
    let run = timeline(&[
        (0, added(A, 1)),
        (5_000, What::Paused { who: A, ms: 1_000 }),
        (6_000, What::Resumed { who: A }),
        (8_000, ended(A, 1, "unreachable")),
        (8_400, added(B, 2)),
    ]);
    assert_eq!(gaps(&run), [(8_000, 8_400, Cause::Lost, true)]);
    assert_eq!((run.bands[0].from, run.bands[0].until), (Time::from_millis(5_000), Time::from_millis(6_000)));
}

#[test]
fn what_is_finished_set_aside_or_forgotten_needs_no_owner() {
    let finished = What::Finished { value: "a 1".into(), stream: "orders-1".into(), entry: "1-0".into() };
    let set_aside = What::SetAside { entry: "1-0".into(), why: "crash-loop".into() };
    let forgotten = What::RedisUp { forgot: crate::facts::Forgot::All };
    for end in [finished, set_aside, forgotten] {
        let run = timeline(&[(0, started(A)), (0, added(A, 1)), (1_000, What::Crashed { who: A }), (2_000, end)]);
        assert_eq!(gaps(&run), []);
    }
    let done = timeline(&[(0, added(A, 1)), (1_000, ended(A, 1, "done"))]);
    assert_eq!(gaps(&done), []);
    let unanswered = timeline(&[(0, added(A, 1)), (1_000, ended(A, 1, "unknown"))]);
    assert_eq!(gaps(&unanswered), [(1_000, 10_000, Cause::Lost, false)]);
}

#[test]
fn giving_back_is_told_from_failing() {
    let asked = |end| What::Asked { who: A, owned: owned(1), end };
    for (end, cause) in [("release", Cause::Release), ("fail", Cause::Failure)] {
        let run =
            timeline(&[(0, added(A, 1)), (900, asked(end)), (1_000, ended(A, 1, "released")), (1_200, added(B, 2))]);
        assert_eq!(gaps(&run), [(1_000, 1_200, cause, true)]);
    }
}

#[test]
fn faults_last_until_they_are_over() {
    let struck = |kind, consumer| What::Struck { action: format!("{kind} …"), kind, consumer, ms: Some(4_000) };
    let run = timeline(&[
        (1_000, struck("partition", Some(1))),
        (2_000, struck("redis failover", None)),
        (2_500, What::Over { kind: "partition", consumer: Some(1) }),
        (9_000, struck("stall", Some(0))),
        (9_500, What::Struck { action: "reset c1".into(), kind: "reset", consumer: Some(0), ms: None }),
    ]);
    let spans: Vec<_> = run.bands.iter().map(|band| (band.kind, band.until.as_micros() / 1_000)).collect();
    assert_eq!(spans, [("partition", 2_500), ("redis failover", 6_000), ("stall", 10_000)]);
    assert_eq!(run.marks, [Mark { consumer: Some(0), text: "reset c1".into(), at: Time::from_millis(9_500) }]);
}

#[test]
fn a_stream_that_is_announced_twice_waits_for_nobody_while_it_is_owned() {
    let again = What::Announced { stream: "orders-1".into(), entry: "2-0".into() };
    let run = timeline(&[(0, added(A, 1)), (1_000, again), (5_000, ended(A, 1, "done"))]);
    assert_eq!(gaps(&run), []);
    assert_eq!((run.firsts[0].from, run.firsts[0].owned), (Time::from_millis(5_000), false));
}
