//! `renew.lua`: what is ours stays ours and fresh, what is not is not touched.

use super::*;

async fn pttl(peer: &mut Peer, item: &RenewItem) -> i64 {
    peer.int(&format!("PTTL {}<MUTEX_KEY_SEP>{}", item.stream, item.entry)).await
}

async fn pending_owner(peer: &mut Peer, entry: EntryId) -> Option<(String, u64)> {
    let value = peer.raw(&format!("XPENDING svc-input svc-group {entry} {entry} 1")).await;
    let Value::Array(list) = value else { panic!() };
    let Value::Array(parts) = list.first()? else { panic!() };
    Some((super::super::value::text(&parts[1])?.into_owned(), super::super::value::number(&parts[2])?))
}

#[test]
fn a_renewal_makes_lease_and_entry_fresh() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        for spoil in ["", "CONFIG SET maxmemory 1"] {
            if !spoil.is_empty() {
                a.raw(spoil).await;
            }
            a.raw(&format!("PEXPIRE s<MUTEX_KEY_SEP>{entry} 500")).await;
            a.idle(entry, 1_500).await;
            assert_eq!(a.renew(std::slice::from_ref(&owned), None).await, Renewed::default());
            assert!(pttl(&mut a, &owned).await > 1_500);
            assert!(pending_owner(&mut a, entry).await.unwrap().1 < 500);
        }
    });
}

#[test]
fn what_is_not_ours_is_told_and_not_touched() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let mut items = Vec::new();
        for stream in ["lapsed", "taken", "list", "fine"] {
            let entry = a.given(stream).await;
            items.push(a.own(entry, stream).await);
        }
        a.raw(&format!("DEL lapsed<MUTEX_KEY_SEP>{}", items[0].entry)).await;
        a.raw(&format!("SET taken<MUTEX_KEY_SEP>{} some\\x20body PX 1000", items[1].entry)).await;
        a.raw(&format!("DEL list<MUTEX_KEY_SEP>{}", items[2].entry)).await;
        a.raw(&format!("LPUSH list<MUTEX_KEY_SEP>{} x", items[2].entry)).await;
        let answer = a.renew(&items, None).await;
        assert_eq!(answer.group_lost, None);
        let [(0, RenewException::Lost(None)), (1, RenewException::Lost(Some(holder))), (2, RenewException::Broken(e))] =
            answer.exceptions.as_slice()
        else {
            panic!("{answer:?}")
        };
        assert!(&**holder == "some body" && e.contains("WRONGTYPE"));
        assert_eq!(pttl(&mut a, &items[0]).await, -2);
        assert!(pttl(&mut a, &items[1]).await <= 1_000);
    });
}

#[test]
fn an_entry_that_was_stolen_or_lost_is_taken_back() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let stolen = a.given("stolen").await;
        let acked = a.given("acked").await;
        let deleted = a.given("deleted").await;
        let trimmed = a.given("trimmed").await;
        let items = [
            a.own(stolen, "stolen").await,
            a.own(acked, "acked").await,
            a.own(deleted, "deleted").await,
            a.own(trimmed, "trimmed").await,
        ];
        a.raw(&format!("XCLAIM svc-input svc-group redis-consumer-go 0 {stolen}")).await;
        a.raw(&format!("XACK svc-input svc-group {acked}")).await;
        a.raw(&format!("XACK svc-input svc-group {deleted}")).await;
        a.raw(&format!("XDEL svc-input {deleted} {trimmed}")).await;
        let answer = a.renew(&items, None).await;
        let expected = vec![(1, RenewException::TakenBack), (2, RenewException::Gone), (3, RenewException::Gone)];
        assert_eq!(answer, Renewed { exceptions: expected, group_lost: None });
        for entry in [stolen, acked] {
            assert_eq!(pending_owner(&mut a, entry).await.unwrap().0, "redis-consumer-a");
        }
        // Their owner gives back what is gone.
        for gone in &items[2..] {
            assert_eq!(a.release(gone, None).await, Released::Released);
        }
        assert_eq!(a.int("HLEN svc-fences").await, 2);
        assert_eq!(pttl(&mut a, &items[2]).await, -2);
    });
}

#[test]
fn leases_are_kept_when_the_group_is_gone() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        for (spoil, code) in [
            ("XGROUP DESTROY svc-input svc-group", "NOGROUP"),
            ("DEL svc-input", "NOGROUP"),
            ("SET svc-input x", "WRONGTYPE"),
        ] {
            a.raw(&format!("PEXPIRE s<MUTEX_KEY_SEP>{entry} 500")).await;
            a.raw(spoil).await;
            let answer = a.renew(std::slice::from_ref(&owned), None).await;
            assert!(answer.group_lost.as_deref().is_some_and(|e| e.starts_with(code)), "{spoil}: {answer:?}");
            assert!(answer.exceptions.is_empty() && pttl(&mut a, &owned).await > 1_500);
        }
    });
}

#[test]
fn a_forgotten_lease_is_created_again_only_during_the_wait_and_only_by_its_owner() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        let token = owned.token.0;
        let ours = a.text("HGET svc-fences s").await.replace(' ', "\\x20");
        let value = format!("redis-consumer-a#{}", owned.attempt);
        let record = |token: u64, entry: EntryId, released: u8, value: &str| {
            format!("HSET svc-fences s {token} {entry} 2000 0 {released} 0 0 0 {value}")
                .replacen(' ', "|", 3)
                .replace(' ', "\\x20")
                .replace('|', " ")
        };
        let mine = format!("XCLAIM svc-input svc-group redis-consumer-a 0 {entry} JUSTID");
        let theirs = format!("XCLAIM svc-input svc-group redis-consumer-b 0 {entry} JUSTID");
        let away = format!("DEL s<MUTEX_KEY_SEP>{entry}");
        let restore = format!("HSET svc-fences s {ours}");
        for (what, wait, pending, fences, recreated) in [
            ("our own record", "wait:1", &mine, restore.clone(), true),
            ("no record", "wait:1", &mine, "HDEL svc-fences s".into(), true),
            ("an older record", "wait:1", &mine, record(token - 1, entry, 1, "x#0.0"), true),
            ("a later record", "wait:1", &mine, record(token + 1, entry, 1, "x#0.0"), false),
            ("our own, released", "wait:1", &mine, record(token, entry, 1, &value), false),
            ("another's with our token", "wait:1", &mine, record(token, entry, 0, "x#0.0"), false),
            ("pending under another name", "wait:1", &theirs, restore.clone(), false),
            ("another wait", "wait:2", &mine, restore.clone(), false),
        ] {
            for line in [away.as_str(), "HSET svc-epoch id wait:1", "DEL svc-token", pending.as_str(), fences.as_str()]
            {
                a.raw(line).await;
            }
            let answer = a.renew(std::slice::from_ref(&owned), Some(wait)).await;
            let expected = if recreated { RenewException::Recreated } else { RenewException::Lost(None) };
            assert_eq!(answer.exceptions, [(0, expected)], "{what}");
            if recreated {
                assert_eq!(a.text("GET svc-token").await, token.to_string(), "{what}");
                assert_eq!(a.text(&format!("GET s<MUTEX_KEY_SEP>{entry}")).await, value, "{what}");
                let record = a.text("HGET svc-fences s").await;
                assert!(record.starts_with(&format!("{token} {entry} 2000 ")) && record.ends_with(&value), "{record}");
                // From then on it is a lease like any other.
                assert_eq!(a.renew(std::slice::from_ref(&owned), Some(wait)).await, Renewed::default());
            } else {
                assert_eq!(pttl(&mut a, &owned).await, -2, "{what}");
            }
        }
        // A higher token of the service stays.
        for line in [away.as_str(), "SET svc-token 9000000000000000", mine.as_str(), restore.as_str()] {
            a.raw(line).await;
        }
        a.renew(std::slice::from_ref(&owned), Some("wait:1")).await;
        assert_eq!(a.text("GET svc-token").await, "9000000000000000");
        // Settled: never.
        a.raw(&away).await;
        a.raw("HSET svc-epoch id wait:9").await;
        let answer = a.renew(std::slice::from_ref(&owned), None).await;
        assert_eq!(answer.exceptions, [(0, RenewException::Lost(None))]);
        // Out of memory, too.
        a.raw("CONFIG SET maxmemory 1").await;
        let answer = a.renew(std::slice::from_ref(&owned), Some("wait:9")).await;
        assert_eq!(answer.exceptions, [(0, RenewException::Recreated)]);
        a.raw("CONFIG SET maxmemory 0").await;
        // What is of a wrong type hurts nobody else.
        a.raw(&away).await;
        a.raw("DEL svc-token").await;
        a.raw("LPUSH svc-token x").await;
        let answer = a.renew(std::slice::from_ref(&owned), Some("wait:9")).await;
        assert!(matches!(&answer.exceptions[0], (0, RenewException::Broken(e)) if e.starts_with("WRONGTYPE")));
    });
}

#[test]
fn what_is_lost_and_what_is_gone_is_told_in_the_order_of_the_items() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let (gone, lost) = (a.given("gone").await, a.given("lost").await);
        let items = [a.own(gone, "gone").await, a.own(lost, "lost").await];
        a.raw(&format!("XDEL svc-input {gone}")).await;
        a.raw(&format!("SET lost<MUTEX_KEY_SEP>{lost} other")).await;
        let expected = vec![(0, RenewException::Gone), (1, RenewException::Lost(Some("other".into())))];
        assert_eq!(a.renew(&items, None).await, Renewed { exceptions: expected, group_lost: None });
    });
}
