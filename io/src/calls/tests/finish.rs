//! `done.lua`, `release.lua`: only the owner ends an ownership, in one step.

use super::*;

async fn keys(peer: &mut Peer) -> Vec<String> {
    let Value::Array(keys) = peer.raw("KEYS *").await else { panic!() };
    let mut keys: Vec<_> = keys.iter().map(|k| super::super::value::text(k).unwrap().into_owned()).collect();
    keys.sort();
    keys
}

#[test]
fn done_leaves_nothing_behind() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let here = a.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        a.raw("HSET svc-checkpoints s 1-1").await;
        a.raw("CONFIG SET maxmemory 1").await;
        assert_eq!(a.done(&owned, &here).await, Finished::Done);
        assert_eq!(a.done(&owned, &here).await, Finished::Gone);
        assert_eq!(keys(&mut a).await, ["svc-epoch", "svc-input", "svc-token"]);
        assert_eq!(a.int("XLEN svc-input").await, 0);
        assert_eq!(a.call(Call::Mine { after: None, count: 1 }).await.unwrap(), Answer::Mine(vec![]));
    });
}

#[test]
fn a_lapsed_owner_finishes_only_what_nobody_has_owned_since_on_the_same_server() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let here = a.settle().await;
        let other = Identity::new("another");
        for (what, spoil, identity, expected) in [
            ("lapsed", "DEL s<MUTEX_KEY_SEP>%", &here, Finished::Done),
            ("lapsed elsewhere", "DEL s<MUTEX_KEY_SEP>%", &other, Finished::Fenced),
            ("lapsed, who knows where", "DEL s<MUTEX_KEY_SEP>%", &Identity::new(""), Finished::Fenced),
            ("taken", "SET s<MUTEX_KEY_SEP>% x PX 5000", &here, Finished::Fenced),
            (
                "recorded for another",
                "HSET svc-fences s 1\\x20%\\x201\\x201\\x200\\x200\\x200\\x200\\x20x",
                &here,
                Finished::Fenced,
            ),
            ("record gone", "HDEL svc-fences s", &here, Finished::Fenced),
            ("pending elsewhere", "XCLAIM svc-input svc-group redis-consumer-b 0 % JUSTID", &here, Finished::Fenced),
            ("acked, still in the LBS", "XACK svc-input svc-group %", &here, Finished::Fenced),
        ] {
            let entry = a.given("s").await;
            let owned = a.own(entry, "s").await;
            a.raw(&format!("DEL s<MUTEX_KEY_SEP>{entry}")).await;
            a.raw(&spoil.replace('%', &entry.to_string())).await;
            let before = keys(&mut a).await;
            assert_eq!(a.done(&owned, identity).await, expected, "{what}");
            if expected == Finished::Fenced {
                assert_eq!(keys(&mut a).await, before, "{what}");
                assert_eq!(a.int("XLEN svc-input").await, 1, "{what}");
            }
            a.raw(&format!("XACK svc-input svc-group {entry}")).await;
            a.raw(&format!("XDEL svc-input {entry}")).await;
            a.raw(&format!("DEL svc-fences s<MUTEX_KEY_SEP>{entry}")).await;
        }
    });
}

#[test]
fn done_judges_every_item_by_itself() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let here = a.settle().await;
        let mut items = Vec::new();
        for stream in ["list", "record", "lost", "acked", "fine"] {
            let entry = a.given(stream).await;
            let RenewItem { entry, stream, attempt, .. } = a.own(entry, stream).await;
            items.push(DoneItem { entry, stream, attempt, identity: here.clone() });
        }
        a.raw(&format!("DEL list<MUTEX_KEY_SEP>{}", items[0].entry)).await;
        a.raw(&format!("LPUSH list<MUTEX_KEY_SEP>{} x", items[0].entry)).await;
        a.raw("HSET svc-fences record nonsense").await;
        a.raw(&format!("SET lost<MUTEX_KEY_SEP>{} x PX 5000", items[2].entry)).await;
        // Ours, but no longer pending: finished all the same.
        a.raw(&format!("XACK svc-input svc-group {}", items[3].entry)).await;
        a.raw("SET svc-checkpoints of-a-wrong-type").await;
        let Answer::Done(answers) = a.call(Call::Done(items)).await.unwrap() else { panic!() };
        assert!(
            matches!(
                answers.as_slice(),
                [Finished::Broken(_), Finished::Broken(_), Finished::Fenced, Finished::Done, Finished::Done]
            ),
            "{answers:?}"
        );
        assert_eq!(a.int("XLEN svc-input").await, 3);
    });
}

#[test]
fn done_does_not_say_gone_when_the_group_is() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let here = a.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        a.raw("XGROUP DESTROY svc-input svc-group").await;
        a.raw(&format!("DEL s<MUTEX_KEY_SEP>{entry}")).await;
        let item = DoneItem { entry, stream: name("s"), attempt: owned.attempt, identity: here.clone() };
        let trouble = a.call(Call::Done(vec![item])).await.unwrap_err();
        assert_eq!(trouble.kind, streamkeeper_core::trouble::TroubleKind::GroupLost);
        // Nor is its neighbour finished, of which the error would say nothing.
        let entry_of_t = a.announce("t").await;
        let t = DoneItem { entry: entry_of_t, stream: name("t"), attempt: owned.attempt, identity: here.clone() };
        a.raw(&format!("SET t<MUTEX_KEY_SEP>{entry_of_t} redis-consumer-a#{} PX 60000", owned.attempt)).await;
        let s = DoneItem { entry, stream: name("s"), attempt: owned.attempt, identity: here.clone() };
        a.call(Call::Done(vec![t, s])).await.unwrap_err();
        assert_eq!(a.int("XLEN svc-input").await, 2);
        a.raw(&format!("XDEL svc-input {entry_of_t}")).await;
        // With the lease it is finished without a group.
        a.raw(&format!("SET s<MUTEX_KEY_SEP>{entry} redis-consumer-a#{} PX 1000", owned.attempt)).await;
        assert_eq!(a.done(&owned, &here).await, Finished::Done);
        assert_eq!(a.int("XLEN svc-input").await, 0);
    });
}

#[test]
fn what_is_released_is_free_at_once_even_out_of_memory() {
    for spoil in ["PING", "CONFIG SET maxmemory 1"] {
        on_redis(&[], |redis| async move {
            let (mut a, mut b) = (Peer::new(&redis, "a").await, Peer::new(&redis, "b").await);
            a.settle().await;
            let entry = a.given("s").await;
            let owned = a.own(entry, "s").await;
            a.raw(spoil).await;
            assert_eq!(a.release(&owned, None).await, Released::Released);
            assert_eq!(a.release(&owned, None).await, Released::Released);
            a.raw("CONFIG SET maxmemory 0").await;
            tokio::time::sleep(Duration::from_millis(3)).await;
            // A Go peer claims what has been idle for its heartbeat.
            let Value::Array(claimed) =
                a.raw(&format!("XCLAIM svc-input svc-group go 2000 {entry} IDLE 3000000 JUSTID")).await
            else {
                panic!()
            };
            assert_eq!(claimed.len(), 1);
            let item = b.item(entry, "s");
            let answer = b.acquire_item(&item).await;
            let Acquired::Granted(grant) = answer else { panic!("{answer:?}") };
            assert!(grant.takeover && grant.takeovers == 0 && grant.token > owned.token, "{grant:?}");
            assert_eq!(a.release(&owned, None).await, Released::Fenced);
        });
    }
}

#[test]
fn what_was_owned_by_a_deleted_consumer_is_given_back_all_the_same() {
    for failed in [None, Some("too often")] {
        on_redis(&[], |redis| async move {
            let (mut a, mut b) = (Peer::new(&redis, "a").await, Peer::new(&redis, "b").await);
            a.settle().await;
            b.settle().await;
            let entry = a.given("s").await;
            let owned = a.own(entry, "s").await;
            // It has lapsed, and is pending under nobody's name.
            a.raw(&format!("DEL s<MUTEX_KEY_SEP>{entry}")).await;
            a.raw("XGROUP DELCONSUMER svc-input svc-group redis-consumer-a").await;
            let failure = failed.map(|error| Failure {
                error: error.into(),
                failures: 1,
                pause: Duration::ZERO,
                set_aside: true,
            });
            let item = ReleaseItem { entry, stream: owned.stream.clone(), attempt: owned.attempt, failure };
            let Answer::Released(released) = a.call(Call::Release(vec![item])).await.unwrap() else { panic!() };
            match failed {
                None => {
                    assert_eq!(released, [Released::Released]);
                    let idle = a.raw("XPENDING svc-input svc-group IDLE 3000000 - + 1").await;
                    assert!(matches!(&idle, Value::Array(found) if found.len() == 1), "nobody would ever find it");
                    b.own(entry, "s").await;
                }
                Some(_) => {
                    assert_eq!(released, [Released::SetAside]);
                    assert_eq!((a.int("XLEN svc-input").await, a.int("XLEN svc-dead").await), (0, 1));
                }
            }
        });
    }
}

#[test]
fn what_was_given_back_is_so_again_if_its_consumer_was_deleted_since() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::new(&redis, "a").await, Peer::new(&redis, "b").await);
        a.settle().await;
        b.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        let item = ReleaseItem { entry, stream: owned.stream.clone(), attempt: owned.attempt, failure: None };
        for _ in 0..2 {
            let Answer::Released(released) = a.call(Call::Release(vec![item.clone()])).await.unwrap() else { panic!() };
            assert_eq!(released, [Released::Released]);
            let idle = a.raw("XPENDING svc-input svc-group IDLE 3000000 - + 1").await;
            assert!(matches!(&idle, Value::Array(found) if found.len() == 1), "nobody would ever find it");
            // The answer is lost, and a hand deletes the consumer before it asks again.
            a.raw("XGROUP DELCONSUMER svc-input svc-group redis-consumer-a").await;
        }
        let Answer::Released(_) = a.call(Call::Release(vec![item])).await.unwrap() else { panic!() };
        while a.int(&format!("EXISTS s<MUTEX_KEY_SEP>{entry}")).await == 1 {}
        b.own(entry, "s").await;
    });
}

#[test]
fn nothing_is_given_back_where_redis_takes_no_writes() {
    for lapsed in [false, true] {
        on_redis(&[], |redis| async move {
            let mut a = Peer::new(&redis, "a").await;
            a.settle().await;
            let entry = a.given("s").await;
            let owned = a.own(entry, "s").await;
            if lapsed {
                a.raw(&format!("DEL s<MUTEX_KEY_SEP>{entry}")).await;
            }
            let record = a.raw("HGET svc-fences s").await;
            a.raw("CONFIG SET min-replicas-to-write 1").await;
            let items =
                vec![ReleaseItem { entry, stream: owned.stream.clone(), attempt: owned.attempt, failure: None }];
            let refused = a.call(Call::Release(items)).await.unwrap_err();
            assert!(refused.to_string().contains("NOREPLICAS"), "{refused}");
            assert_eq!(a.raw("HGET svc-fences s").await, record);
            a.raw("CONFIG SET min-replicas-to-write 0").await;
            assert_eq!(a.release(&owned, None).await, Released::Released);
            assert_ne!(a.raw("HGET svc-fences s").await, record);
        });
    }
}

#[test]
fn nothing_is_finished_where_redis_takes_no_writes() {
    for lapsed in [false, true] {
        on_redis(&[], |redis| async move {
            let mut a = Peer::new(&redis, "a").await;
            let identity = a.settle().await;
            let entry = a.given("s").await;
            let owned = a.own(entry, "s").await;
            if lapsed {
                a.raw(&format!("DEL s<MUTEX_KEY_SEP>{entry}")).await;
            }
            a.raw("CONFIG SET min-replicas-to-write 1").await;
            let (stream, attempt) = (owned.stream.clone(), owned.attempt);
            let item = DoneItem { entry, stream, attempt, identity: identity.clone() };
            let refused = a.call(Call::Done(vec![item])).await.unwrap_err();
            assert!(refused.to_string().contains("NOREPLICAS"), "{refused}");
            a.raw("CONFIG SET min-replicas-to-write 0").await;
            assert_eq!(a.int("XLEN svc-input").await, 1);
            assert_eq!(a.done(&owned, &identity).await, Finished::Done);
        });
    }
}

#[test]
fn what_cannot_be_set_aside_is_given_back_with_its_pause() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        a.raw("LPUSH svc-dead 1").await;
        let pause = Duration::from_secs(60);
        let failure = Failure { error: "boom".into(), failures: 3, pause, set_aside: true };
        let answer = a.release(&owned, Some(failure.clone())).await;
        assert!(matches!(&answer, Released::Broken(error) if error.contains("WRONGTYPE")), "{answer:?}");
        let record = a.text("HGET svc-fences s").await;
        let record: Vec<&str> = record.split(' ').collect();
        assert_eq!((record[4], record[6]), ("1", "3"), "released, three failures");
        let item = a.item(entry, "s");
        assert!(matches!(a.acquire_item(&item).await, Acquired::Held(left) if left > pause / 2));
    });
}

#[test]
fn a_release_is_announced_when_the_lease_is_touched() {
    on_redis(&["--enable-debug-command", "yes"], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        a.raw("DEBUG SET-ACTIVE-EXPIRE 0").await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        a.release(&owned, None).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
        let expired = |info: String| info.lines().any(|l| l == "expired_keys:1");
        assert!(!expired(a.text("INFO stats").await));
        a.call(Call::Hint(vec![(name("s"), entry)])).await.unwrap();
        assert!(expired(a.text("INFO stats").await));
    });
}

#[test]
fn a_failure_stands_in_the_record() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        let pause = Duration::from_secs(2);
        let failure = Failure { error: "no".into(), failures: 4, pause, set_aside: false };
        assert_eq!(a.release(&owned, Some(failure.clone())).await, Released::Released);
        let item = a.item(entry, "s");
        assert!(matches!(a.acquire_item(&item).await, Acquired::Held(left) if left <= pause));
        tokio::time::sleep(pause).await;
        let owned = a.own(entry, "s").await;
        // Given back without a failure, the count stays and the pause does not.
        assert_eq!(a.release(&owned, None).await, Released::Released);
        tokio::time::sleep(Duration::from_millis(3)).await;
        let item = a.item(entry, "s");
        assert!(matches!(a.acquire_item(&item).await, Acquired::Granted(g) if g.failures == 4 && g.takeovers == 0));
        // Without a record, too.
        let owned = RenewItem { entry, stream: item.stream, attempt: item.attempt, token: Token(1) };
        a.raw("HDEL svc-fences s").await;
        assert_eq!(a.release(&owned, Some(failure)).await, Released::Released);
        let item = a.item(entry, "s");
        assert!(matches!(a.acquire_item(&item).await, Acquired::Held(_)));
    });
}

#[test]
fn after_too_many_failures_it_is_set_aside() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let failure =
            |error: &str| Failure { error: error.into(), failures: 10, pause: Duration::ZERO, set_aside: true };
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        a.raw("SET svc-dead x").await;
        assert!(matches!(a.release(&owned, Some(failure("no"))).await, Released::Broken(_)));
        a.raw("DEL svc-dead").await;
        tokio::time::sleep(Duration::from_millis(3)).await;
        let owned = a.own(entry, "s").await;
        // Out of memory, too: it makes room.
        a.raw("CONFIG SET maxmemory 1").await;
        assert_eq!(a.release(&owned, Some(failure("no"))).await, Released::SetAside);
        a.raw("CONFIG SET maxmemory 0").await;
        assert_eq!(a.release(&owned, Some(failure("no"))).await, Released::SetAside);
        let dead = a.calls.dead(&mut a.connection, None, 10).await.unwrap();
        assert_eq!(dead.len(), 1);
        assert_eq!((&*dead[0].reason, &*dead[0].error, dead[0].failures), ("failed", "no", 10));
        assert_eq!(keys(&mut a).await, ["svc-dead", "svc-epoch", "svc-input", "svc-token"]);
        assert_eq!(a.int("XLEN svc-input").await, 0);
    });
}

#[test]
fn an_owner_that_lost_its_lease_by_its_own_clock_did_not_crash() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::new(&redis, "a").await, Peer::new(&redis, "b").await);
        a.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        a.raw(&format!("DEL s<MUTEX_KEY_SEP>{entry}")).await;
        // The entry has been claimed by somebody who does not own yet: it stays theirs.
        a.raw(&format!("XCLAIM svc-input svc-group redis-consumer-b 0 {entry} JUSTID")).await;
        assert_eq!(a.release(&owned, None).await, Released::Released);
        assert_eq!(b.call(Call::Mine { after: None, count: 9 }).await.unwrap(), Answer::Mine(vec![entry]));
        let item = b.item(entry, "s");
        assert!(matches!(b.acquire_item(&item).await, Acquired::Granted(g) if g.takeovers == 0));
    });
}

#[test]
fn a_release_of_what_is_gone_leaves_no_record() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        a.raw(&format!("XDEL svc-input {entry}")).await;
        a.raw(&format!("XACK svc-input svc-group {entry}")).await;
        assert_eq!(a.release(&owned, None).await, Released::Released);
        assert_eq!(keys(&mut a).await, ["svc-epoch", "svc-input", "svc-token"]);
        assert_eq!(a.release(&owned, None).await, Released::Fenced);
    });
}

#[test]
fn what_somebody_acknowledged_is_pending_again_once_released() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        a.raw(&format!("XACK svc-input svc-group {entry}")).await;
        assert_eq!(a.release(&owned, None).await, Released::Released);
        assert_eq!(a.call(Call::Mine { after: None, count: 9 }).await.unwrap(), Answer::Mine(vec![entry]));
    });
}
