//! Announce, what was set aside, and how a service stands.

use super::*;

fn to(stream: &str, once: Option<&str>) -> ToAnnounce {
    let once = once.map(|key| (key.into(), Duration::from_secs(60)));
    ToAnnounce { stream: name(stream), info: Some(r#"{"a":1}"#.into()), once }
}

#[test]
fn announcements_are_made_in_order_and_once_where_asked() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let items: Vec<_> = (0..1_200).map(|i| to(&format!("s{i}"), None)).collect();
        let results = a.calls.announce(&mut a.connection, &items).await;
        let ids: Vec<EntryId> = results.into_iter().map(Result::unwrap).collect();
        assert!(ids.is_sorted() && ids.len() == 1_200);
        // Before the script is known to Redis, and after.
        for _ in 0..2 {
            a.raw("SCRIPT FLUSH").await;
            let items = [to("x", Some("k1")), to("y", Some("k2")), to("x", Some("k1")), to("z", None)];
            let results = a.calls.announce(&mut a.connection, &items).await;
            let ids: Vec<EntryId> = results.into_iter().map(Result::unwrap).collect();
            assert!(ids[0] == ids[2] && ids[0] != ids[1]);
        }
        assert_eq!(a.int("XLEN svc-input").await, 1_204);
        assert!(a.int("PTTL svc-once:k1").await > 59_000);
        a.settle().await;
        let taken = a.call(Call::Take { count: 1, share: None }).await.unwrap();
        let Answer::Taken { deliveries, .. } = taken else { panic!() };
        let json = &deliveries[0].fields.as_ref().unwrap()[0].1;
        assert_eq!(json, br#"{"DataStreamName":"s0","Info":{"a":1}}"#);
    });
}

#[test]
fn each_announcement_has_its_own_result() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.raw("LPUSH svc-once:bad x").await;
        let items = [to("x", Some("bad")), to("y", Some("good")), to("z", None)];
        let results = a.calls.announce(&mut a.connection, &items).await;
        assert!(results[0].is_err() && results[1].is_ok() && results[2].is_ok(), "{results:?}");
        a.raw("CONFIG SET maxmemory 1").await;
        let results = a.calls.announce(&mut a.connection, &items[1..]).await;
        assert!(results[0].is_ok(), "it was announced before");
        assert!(results[1].as_ref().is_err_and(|e| e.message.starts_with("OOM")), "{results:?}");
    });
}

#[test]
fn what_was_set_aside_can_be_put_back_or_dropped() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        for i in 0..3 {
            let entry = a.given(&format!("s{i}")).await;
            a.call(Call::Bury { entry, error: "x".into() }).await.unwrap();
        }
        let first = a.calls.dead(&mut a.connection, None, 2).await.unwrap();
        let rest = a.calls.dead(&mut a.connection, Some(first[1].id), 2).await.unwrap();
        assert_eq!((first.len(), rest.len()), (2, 1));
        let unknown = EntryId { ms: 1, seq: 1 };
        let ids = [first[0].id, unknown, first[0].id];
        let back = a.calls.dead_retry(&mut a.connection, &ids).await.unwrap();
        assert!(back[0].is_some() && back[1].is_none() && back[2].is_none());
        assert_eq!(a.calls.dead_drop(&mut a.connection, &[first[1].id, unknown]).await.unwrap(), 1);
        assert_eq!((a.int("XLEN svc-dead").await, a.int("XLEN svc-input").await), (1, 1));
        let Answer::Taken { deliveries, .. } = a.call(Call::Take { count: 9, share: Some(0) }).await.unwrap() else {
            panic!()
        };
        assert_eq!(deliveries[0].fields, Some(first[0].original.clone()));
        // Out of memory nothing moves.
        a.raw("CONFIG SET maxmemory 1").await;
        assert!(a.calls.dead_retry(&mut a.connection, &[rest[0].id]).await.is_err());
        assert_eq!(a.int("XLEN svc-dead").await, 1);
    });
}

#[test]
fn the_status_tells_how_a_service_stands() {
    on_redis(&["--notify-keyspace-events", "E"], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        // One that nobody has used yet.
        let status = a.calls.status(&mut a.connection).await.unwrap();
        assert_eq!((status.announced, status.consumers.len(), status.settled), (0, 0, false));
        assert!(status.warnings.iter().any(|w| w.contains("without K or x")), "{status:?}");
        a.settle().await;
        let (owned, orphan) = (a.given("owned").await, a.given("orphan").await);
        let go = a.given("go").await;
        let broken = a.raw("XADD svc-input * a 1").await;
        a.take(1).await;
        a.announce("waiting").await;
        a.own(owned, "owned").await;
        a.raw(&format!("SET go<MUTEX_KEY_SEP>{go} redis-consumer-go PX 9000")).await;
        let broken = super::super::value::entry_id(&broken).unwrap();
        for entry in [orphan, go, broken] {
            a.idle(entry, 60_000).await;
        }
        a.call(Call::Reap { after: None, count: 1, room: 9 }).await.unwrap();
        let status = a.calls.status(&mut a.connection).await.unwrap();
        assert_eq!((status.announced, status.set_aside, status.settled), (5, 0, true));
        assert_eq!((&*status.consumers[0].consumer, status.consumers[0].pending), ("redis-consumer-a", 4));
        let orphans: Vec<_> = status.orphans.iter().map(|o| (o.entry, o.stream.as_ref().map(|s| s.as_str()))).collect();
        assert_eq!(orphans, [(orphan, Some("orphan")), (broken, None)]);
        assert!(status.orphans[0].idle >= Duration::from_secs(60));
        assert!(status.orphans.iter().all(|orphan| !orphan.released));
        assert_eq!(status.reaper.as_deref(), Some("redis-consumer-a"));
        // Given back: that is what is shown, and when, not the age that makes others take it at once.
        let mine = a.own(orphan, "orphan").await;
        assert_eq!(a.release(&mine, None).await, Released::Released);
        // Its lease lapses after a millisecond.
        while a.int(&format!("EXISTS orphan<MUTEX_KEY_SEP>{orphan}")).await == 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let orphans = a.calls.status(&mut a.connection).await.unwrap().orphans;
        assert_eq!((orphans[0].entry, orphans[0].released, orphans[1].released), (orphan, true, false));
        assert!(orphans[0].idle < Duration::from_secs(600), "{orphans:?}");
        assert_eq!((status.longest_ttl, &*status.role, status.cluster), (TTL, "master", false));
    });
}

#[test]
fn lease_keys_are_the_cores() {
    let entry = EntryId { ms: u64::MAX, seq: 7 };
    for service in ["svc", "x", "{a}b", "a{b}c", "ä"] {
        for keys in [Keys::plain(service).unwrap(), Keys::hash_tagged(service).unwrap()] {
            let consumer = ConsumerId::named("a").unwrap();
            let calls = Calls::new(keys.clone(), consumer, Config::new(settings()).unwrap(), None, 1);
            for stream in ["s", "x", "{svc}s", "s{x}", "{a}", "{b}", "ä"] {
                let mut buffer = String::from("old");
                let written = calls.0.lease(&mut buffer, &name(stream), entry).to_vec();
                assert_eq!(String::from_utf8(written).unwrap(), keys.lease(&name(stream), entry));
            }
        }
    }
}
