//! What every fenced call has in common: it does nothing to a message that is not held, and says why.

use super::*;
use streamkeeper_core::trouble::TroubleKind;

/// One message through each of the fenced calls.
const CALLS: [&str; 6] = ["refresh", "started", "dying", "returned", "failed", "bury"];

async fn fenced(peer: &mut Peer, call: &str, hold: Hold) -> Result<Fenced, Trouble> {
    let park = |failure: Option<&str>| {
        Call::Park(vec![ParkItem { hold, delay: Duration::ZERO, failure: failure.map(Into::into) }])
    };
    let mark = |mark| Call::Mark(vec![MarkItem { hold, mark }]);
    let answer = peer
        .call(match call {
            "refresh" => Call::Refresh(vec![hold]),
            "started" => mark(Mark::Started),
            "dying" => mark(Mark::Dying { reason: Reason::Failed, error: Some("x".into()) }),
            "returned" => park(None),
            "failed" => park(Some("x")),
            _ => Call::Bury(vec![BuryItem { hold, reason: Reason::Rejected, error: "x".into(), gone: None }]),
        })
        .await?;
    match answer {
        Answer::Refreshed(mut all) | Answer::Marked(mut all) | Answer::Parked(mut all) | Answer::Buried(mut all) => {
            Ok(all.pop().unwrap())
        }
        other => panic!("{other:?}"),
    }
}

/// Everything that stands in Redis but how long messages have been idle.
async fn state(peer: &mut Peer) -> String {
    let mut all = String::new();
    for line in [
        "XPENDING m g - + 100",
        "XRANGE m - +",
        "HGETALL m:g:attempts",
        "ZRANGE m:g:delayed 0 -1 WITHSCORES",
        "XRANGE m:g:dead - +",
    ] {
        let value = peer.raw(line).await;
        let Value::Array(parts) = value else { panic!() };
        for part in parts {
            // Entry, consumer, idle, deliveries.
            match part {
                Value::Array(p) if p.len() == 4 => all.push_str(&format!("{:?} {:?} {:?}", p[0], p[1], p[3])),
                other => all.push_str(&format!("{other:?}")),
            }
        }
    }
    all
}

#[test]
fn nobody_but_the_holder_of_this_delivery_changes_anything() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::ready(&redis, "a").await, Peer::ready(&redis, "b").await);
        let hold = a.given("x").await;
        let unknown = Hold { entry: EntryId { ms: 1, seq: 1 }, deliveries: 1 };
        let later = Hold { deliveries: 2, ..hold };
        let before = state(&mut a).await;
        for call in CALLS {
            assert_eq!(fenced(&mut b, call, hold).await.unwrap(), Fenced::Lost, "{call}: somebody else's");
            assert_eq!(fenced(&mut a, call, later).await.unwrap(), Fenced::Lost, "{call}: another delivery");
            assert_eq!(fenced(&mut a, call, unknown).await.unwrap(), Fenced::Gone, "{call}: not pending");
        }
        assert_eq!(state(&mut a).await, before);
        // Taken again by the same process: the earlier run may not speak for the later one.
        a.park(hold, None).await;
        let again = a.take().await.hold;
        assert_eq!(again, later);
        for call in CALLS {
            assert_eq!(fenced(&mut a, call, hold).await.unwrap(), Fenced::Lost, "{call}: the earlier delivery");
        }
        assert_eq!(fenced(&mut a, "refresh", again).await.unwrap(), Fenced::Done);
    });
}

#[test]
fn what_has_lost_its_payload_is_gone() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        for call in CALLS {
            let hold = a.given("x").await;
            a.raw(&format!("XDEL m {}", hold.entry)).await;
            for _ in 0..2 {
                assert_eq!(fenced(&mut a, call, hold).await.unwrap(), Fenced::Gone, "{call}");
            }
            assert_eq!(a.pending(hold.entry).await, None, "{call}");
            assert_eq!(a.int("ZCARD m:g:delayed").await, 0, "{call}");
            assert_eq!(a.int("XLEN m:g:dead").await, 0, "{call}");
        }
    });
}

#[test]
fn each_item_is_judged_by_itself() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let (one, two, three) = (a.given("1").await, a.given("2").await, a.given("3").await);
        a.ack(two.entry).await;
        let stale = Hold { deliveries: 9, ..one };
        let refreshed = a.call(Call::Refresh(vec![stale, one, two, three])).await.unwrap();
        let expected = vec![Fenced::Lost, Fenced::Done, Fenced::Gone, Fenced::Done];
        assert_eq!(refreshed, Answer::Refreshed(expected.clone()));
        let mark = |hold| MarkItem { hold, mark: Mark::Started };
        let marked = a.call(Call::Mark([stale, one, two, three].map(mark).to_vec())).await.unwrap();
        assert_eq!(marked, Answer::Marked(expected.clone()));
        let park = |hold| ParkItem { hold, delay: Duration::ZERO, failure: Some("x".into()) };
        let parked = a.call(Call::Park([stale, one, two, three].map(park).to_vec())).await.unwrap();
        assert_eq!(parked, Answer::Parked(expected.clone()));
        let (taken, _) = a.due(10).await;
        let holds: Vec<_> = taken.iter().map(|d| d.hold).collect();
        let bury = |hold| BuryItem { hold, reason: Reason::Rejected, error: "x".into(), gone: None };
        let buried = a.call(Call::Bury([one, holds[0], two, holds[1]].map(bury).to_vec())).await.unwrap();
        assert_eq!(buried, Answer::Buried(expected));
        assert_eq!(a.int("XLEN m:g:dead").await, 2);
    });
}

#[test]
fn long_lists_are_answered_in_order() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        for i in 0..1_100 {
            a.add(&i.to_string()).await;
        }
        let mut holds = a.read(2_000).await;
        holds.insert(600, Hold { entry: EntryId { ms: 1, seq: 1 }, deliveries: 1 });
        let Answer::Refreshed(all) = a.call(Call::Refresh(holds.clone())).await.unwrap() else { panic!() };
        assert_eq!(all.len(), 1_101);
        assert!(all.iter().enumerate().all(|(i, one)| (*one == Fenced::Done) == (i != 600)));
        let Answer::Fetched(all) = a.call(Call::Fetch(holds.iter().map(|h| h.entry).collect())).await.unwrap() else {
            panic!()
        };
        assert_eq!(all.len(), 1_100);
        let acks = holds.iter().map(|h| AckItem { entry: h.entry, recorded: h.entry.seq == 0, processed: None });
        assert_eq!(a.call(Call::Ack(acks.collect())).await.unwrap(), Answer::Acked(1_100));
    });
}

#[test]
fn out_of_memory_everything_fenced_goes_on() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        for call in CALLS {
            let hold = a.given("x").await;
            a.raw("CONFIG SET maxmemory 1").await;
            assert_eq!(fenced(&mut a, call, hold).await.unwrap(), Fenced::Done, "{call}");
            match call {
                "refresh" => assert_eq!(a.record(hold.entry).await, ""),
                "bury" => assert_eq!(a.int("XLEN m:g:dead").await, 1),
                "started" | "dying" => assert_ne!(a.record(hold.entry).await, "", "{call}"),
                _ => assert_eq!(a.take().await.hold, Hold { entry: hold.entry, deliveries: 2 }, "{call}"),
            }
            a.raw("CONFIG SET maxmemory 0").await;
        }
    });
}

#[test]
fn where_redis_takes_no_writes_nothing_changes_and_the_call_fails() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let hold = a.given("x").await;
        let ack = Call::Ack(vec![AckItem { entry: hold.entry, recorded: true, processed: None }]);
        let parked = a.given("parked").await;
        a.park(parked, Some("x")).await;
        let before = state(&mut a).await;
        a.raw("CONFIG SET min-replicas-to-write 1").await;
        for call in CALLS {
            let trouble = fenced(&mut a, call, hold).await.unwrap_err();
            assert_eq!(trouble.kind, TroubleKind::NotNow, "{call}: {trouble}");
        }
        for call in [ack, Call::Due { count: 9 }, Call::Fetch(vec![hold.entry]), Call::Reclaim, Call::Leave] {
            match a.call(call.clone()).await {
                Err(trouble) => assert_eq!(trouble.kind, TroubleKind::NotNow, "{call:?}: {trouble}"),
                // It has something pending: nothing is to be written.
                Ok(answer) => assert_eq!(answer, Answer::Left(false), "{call:?}"),
            }
        }
        a.raw("CONFIG SET min-replicas-to-write 0").await;
        assert_eq!(state(&mut a).await, before);
        assert_eq!(fenced(&mut a, "failed", hold).await.unwrap(), Fenced::Done);
    });
}

#[test]
fn keys_of_a_wrong_type_are_told_of_and_nothing_changes() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let hold = a.given("x").await;
        for (key, affected) in [
            ("m:g:attempts", &["started", "dying", "failed", "bury"][..]),
            ("m:g:delayed", &["returned", "failed"]),
            ("m:g:dead", &["bury"]),
        ] {
            a.raw(&format!("SET {key} x")).await;
            for call in affected {
                let answer = fenced(&mut a, call, hold).await.unwrap();
                let broken = matches!(&answer, Fenced::Broken(e) if e.starts_with("WRONGTYPE") && e.contains(key));
                assert!(broken, "{key} {call}: {answer:?}");
            }
            assert_eq!(a.pending(hold.entry).await.unwrap().0, a.me(), "{key}");
            assert_eq!(fenced(&mut a, "refresh", hold).await.unwrap(), Fenced::Done, "{key}");
            if key != "m:g:dead" {
                a.raw("ZADD m:scheduled 0 late").await;
                let trouble = a.call(Call::Due { count: 9 }).await;
                let wrong = key == "m:g:delayed";
                assert_eq!(trouble.is_err(), wrong, "{key}: {trouble:?}");
                assert_eq!(a.int("ZCARD m:scheduled").await, 0, "what was sent with a delay goes on");
                let trouble = a.call(Call::Reclaim).await.unwrap_err();
                assert!(trouble.message.contains(&format!("the key `{key}`")), "{trouble}");
            }
            if key == "m:g:attempts" {
                let trouble = a.call(Call::Fetch(vec![hold.entry])).await.unwrap_err();
                assert!(trouble.kind == TroubleKind::WrongType, "{trouble}");
                assert!(trouble.message.contains("the key `m:g:attempts`"), "{trouble}");
            }
            a.raw(&format!("DEL {key}")).await;
        }
        a.raw("LPUSH m:g:reclaimer x").await;
        let trouble = a.call(Call::Reclaim).await.unwrap_err();
        assert!(trouble.message.contains("the key `m:g:reclaimer`"), "{trouble}");
        a.raw("DEL m:g:reclaimer").await;
        a.raw("RENAME m elsewhere").await;
        for call in CALLS {
            assert_eq!(fenced(&mut a, call, hold).await.unwrap_err().kind, TroubleKind::GroupLost, "{call}");
        }
        for call in [Call::Due { count: 1 }, Call::Reclaim, Call::Leave, Call::Mine { after: None, count: 1 }] {
            let answer = a.call(call.clone()).await;
            // Nothing was due: nothing was asked of the group.
            if matches!(call, Call::Due { .. }) {
                assert!(answer.is_ok());
            } else {
                assert_eq!(answer.unwrap_err().kind, TroubleKind::GroupLost, "{call:?}");
            }
        }
        a.raw("SET m x").await;
        for call in CALLS {
            let trouble = fenced(&mut a, call, hold).await.unwrap_err();
            assert!(trouble.kind == TroubleKind::WrongType && trouble.message.contains("rename"), "{call}: {trouble}");
        }
    });
}
