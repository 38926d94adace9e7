//! `acquire.lua`: streams whose owners keep crashing.

use super::*;

/// As if the stream's owner had crashed `takeovers` times in a row before, last heard of `idle` ms ago.
async fn crashed(peer: &mut Peer, entry: EntryId, takeovers: u32, idle: u64, lived: u64) {
    let now = now_ms(peer).await;
    let gained = now - idle - lived;
    peer.raw(&format!("DEL s<MUTEX_KEY_SEP>{entry}")).await;
    let record = format!("5 {entry} 2000 {gained} 0 {takeovers} 2 0 redis-consumer-x#0.1").replace(' ', "\\x20");
    peer.raw(&format!("HSET svc-fences s {record}")).await;
    peer.idle(entry, idle).await;
}

async fn now_ms(peer: &mut Peer) -> u64 {
    let Value::Array(time) = peer.raw("TIME").await else { panic!() };
    let part = |i: usize| super::super::value::number(&time[i]).unwrap();
    part(0) * 1_000 + part(1) / 1_000
}

#[test]
fn crashes_in_a_row_are_counted_and_delay() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        // Crashes before this one, idle ms, life ms: the new count, or how long it is held at least.
        for (takeovers, idle, lived, expected) in [
            (0, 2_010, 100, Ok(1)),
            (3, 2_010, 39_000, Ok(4)),
            (3, 2_010, 41_000, Ok(0)),
            (4, 2_010, 100, Err(900)),
            (4, 3_010, 100, Ok(5)),
            (5, 3_010, 100, Err(900)),
            (5, 4_010, 100, Ok(6)),
            (8, 17_010, 100, Err(900)),
            (8, 18_010, 100, Ok(9)),
            // At the limit, but nothing in the service works: the longest delay, then again.
            (9, 61_000, 100, Err(900)),
            (9, 62_010, 100, Ok(10)),
            (50, 62_010, 100, Ok(51)),
        ] {
            crashed(&mut a, entry, takeovers, idle, lived).await;
            let item = a.item(entry, "s");
            match (a.acquire_item(&item).await, expected) {
                (Acquired::Granted(grant), Ok(count)) => {
                    assert_eq!((grant.takeovers, grant.failures, grant.takeover), (count, 2, true), "{takeovers}");
                }
                (Acquired::Held(left), Err(least)) => {
                    let left = left.as_millis();
                    assert!((least..least + 110).contains(&left), "{takeovers} {idle}: {left}");
                }
                other => panic!("{takeovers} {idle}: {other:?}"),
            }
        }
    });
}

#[test]
fn at_the_limit_it_is_set_aside_if_other_streams_live() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let item = a.item(entry, "s");
        crashed(&mut a, entry, 9, 2_010, 100).await;
        let lived = now_ms(&mut a).await - 5_000;
        a.raw(&format!("HSET svc-epoch lived {lived}")).await;
        assert!(matches!(a.acquire_item(&item).await, Acquired::Held(_)), "2 ttl ago is too long");
        let lived = now_ms(&mut a).await - 3_000;
        a.raw(&format!("HSET svc-epoch lived {lived}")).await;
        // A key of a wrong type where it should go: nothing changes.
        a.raw("SET svc-dead x").await;
        assert!(matches!(a.acquire_item(&item).await, Acquired::Broken(e) if e.contains("WRONGTYPE")));
        a.raw("DEL svc-dead").await;
        assert_eq!(a.acquire_item(&item).await, Acquired::SetAside(10));
        assert_eq!(a.acquire_item(&item).await, Acquired::Gone);
        let dead = a.calls.dead(&mut a.connection, None, 10).await.unwrap();
        let dead = &dead[0];
        assert_eq!((dead.entry, dead.stream.as_deref(), &*dead.reason), (Some(entry), Some("s"), "crash-loop"));
        assert_eq!((dead.takeovers, dead.failures, &*dead.consumer), (10, 2, "redis-consumer-a"));
        assert!(dead.at_ms > lived && dead.error.contains("10 owners"));
        assert_eq!(dead.original[0].0, b"lbs-input");
        assert_eq!(a.int("XLEN svc-input").await + a.int("EXISTS svc-fences").await, 0);
    });
}

#[test]
fn without_a_limit_nothing_is_suspect() {
    on_redis(&[], |redis| async move {
        let settings = Settings { max_takeovers: 0, ..settings() };
        let mut a = Peer::with(&redis, "a", settings, false).await;
        a.settle().await;
        let entry = a.given("s").await;
        crashed(&mut a, entry, 1_000, 2_010, 100).await;
        let item = a.item(entry, "s");
        assert!(matches!(a.acquire_item(&item).await, Acquired::Granted(g) if g.takeovers == 1_001));
    });
}
