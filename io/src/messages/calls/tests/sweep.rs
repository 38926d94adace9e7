//! Clear away what nobody needs, and trim.

use super::*;

impl Peer {
    /// A whole sweep.
    async fn sweep(&mut self) -> Swept {
        let mut all = Swept::default();
        loop {
            let Answer::Swept(page) = self.call(Call::Sweep { cursor: all.cursor }).await.unwrap() else { panic!() };
            all.cursor = page.cursor;
            all.records += page.records;
            all.stranded += page.stranded;
            all.trimmed += page.trimmed;
            all.consumers.extend(page.consumers);
            if all.cursor == 0 {
                return all;
            }
        }
    }
}

#[test]
fn records_of_what_is_gone_are_forgotten() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let (pending, gone, buried) = (a.given("1").await, a.given("2").await, a.given("3").await);
        for hold in [pending, gone, buried] {
            a.mark(hold, Mark::Started).await;
        }
        a.raw(&format!("XACK m g {}", gone.entry)).await;
        a.raw(&format!("XDEL m {}", buried.entry)).await;
        a.bury_item(buried, Reason::Failed, Some(body("3"))).await;
        a.raw("HSET m:g:attempts nonsense x").await;
        assert_eq!(a.sweep().await.records, 2);
        assert!(a.record(pending.entry).await.contains(" - - "));
        // For an hour it is remembered that it was buried.
        let record = a.record(buried.entry).await;
        let old = record.replace(record.split(' ').nth(7).unwrap(), "1").replace(' ', "\\x20");
        a.raw(&format!("HSET m:g:attempts {} {old}", buried.entry)).await;
        assert_eq!(a.sweep().await.records, 1);
        assert_eq!(a.int("HLEN m:g:attempts").await, 1);
        for i in 0..2_000 {
            a.raw(&format!("HSET m:g:attempts 5-{i} 0\\x200\\x201\\x200\\x20-\\x20-\\x201\\x201\\x20")).await;
        }
        assert_eq!(a.sweep().await.records, 2_000, "in pages");
    });
}

#[test]
fn what_is_parked_without_being_due_becomes_due() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        // More than a page, all of one millisecond, and some more.
        for i in 0..1_300 {
            a.raw(&format!("XADD m 5-{} body x", i + 1)).await;
        }
        for i in 0..700 {
            a.raw(&format!("XADD m {}-7 body x", i + 6)).await;
        }
        let holds = a.read(5_000).await;
        let park = |hold: &Hold| ParkItem { hold: *hold, delay: Duration::from_secs(60), failure: None };
        a.call(Call::Park(holds.iter().map(park).collect())).await.unwrap();
        assert_eq!(a.sweep().await.stranded, 0);
        a.raw("ZREMRANGEBYRANK m:g:delayed 0 1899").await;
        a.raw("CONFIG SET maxmemory 1").await;
        let refused = a.call(Call::Sweep { cursor: 1 }).await;
        assert!(refused.is_err_and(|e| e.message.starts_with("OOM")));
        a.raw("CONFIG SET maxmemory 0").await;
        assert_eq!(a.sweep().await.stranded, 1_900);
        assert_eq!(a.int("ZCARD m:g:delayed").await, 2_000);
        assert_eq!(a.due(1).await.0.len(), 1);
    });
}

#[test]
fn stale_consumers_go_unless_something_is_pending() {
    on_redis(&[], |redis| async move {
        let stale = Settings { stale_consumer: Duration::from_millis(50), ..settings() };
        let mut a = Peer::with(&redis, "a", stale, false).await;
        a.call(Call::Prepare).await.unwrap();
        a.raw("XGROUP CREATECONSUMER m g old").await;
        a.raw("XADD m * body x").await;
        a.raw("XREADGROUP GROUP g busy STREAMS m >").await;
        a.read(1).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        a.raw("XGROUP CREATECONSUMER m g young").await;
        let consumers: Vec<_> = a.sweep().await.consumers;
        // Nothing but time can make `young` old.
        assert!(consumers.contains(&"old".into()) && !consumers.contains(&"busy".into()), "{consumers:?}");
        assert!(!consumers.contains(&a.me().into()), "{consumers:?}");
    });
}

#[test]
fn nothing_that_a_group_needs_is_trimmed() {
    on_redis(&["--stream-node-max-entries", "10"], |redis| async move {
        let trim = Settings { trim: true, ..settings() };
        let mut a = Peer::with(&redis, "a", trim, false).await;
        for i in 0..100 {
            a.add(&i.to_string()).await;
        }
        let all = a.raw("XRANGE m - +").await;
        let ids: Vec<EntryId> =
            value::list(all).unwrap().into_iter().map(|v| value::delivery(v).unwrap().entry).collect();
        assert_eq!(a.calls.trim(&mut a.connection, 0).await.unwrap(), 0, "there is no group: all is unread");
        a.call(Call::Prepare).await.unwrap();
        a.raw("XGROUP CREATE m other 0").await;
        a.read(60).await;
        assert_eq!(a.sweep().await.trimmed, 0, "the other group has read nothing");
        a.raw("XREADGROUP GROUP other o COUNT 80 STREAMS m >").await;
        assert_eq!(a.sweep().await.trimmed, 0, "all are pending");
        for (i, id) in ids.iter().enumerate() {
            // 35 is pending in one group, 25 and all behind 60 in the other.
            if i != 35 && i < 60 {
                a.raw(&format!("XACK m g {id}")).await;
            }
            if i != 25 && i < 60 {
                a.raw(&format!("XACK m other {id}")).await;
            }
        }
        assert_eq!(a.calls.trim(&mut a.connection, 85).await.unwrap(), 10, "the newest stay, whole nodes go");
        assert_eq!(a.sweep().await.trimmed, 10);
        assert_eq!(a.int("XLEN m").await, 80);
        a.raw(&format!("XACK m other {}", ids[25])).await;
        assert_eq!(a.sweep().await.trimmed, 10, "up to the 35th");
        a.raw(&format!("XACK m g {}", ids[35])).await;
        // The last that the group has read is the 59th; behind it all is unread.
        assert_eq!(a.sweep().await.trimmed, 20);
        for id in &ids[60..80] {
            a.raw(&format!("XACK m other {id}")).await;
        }
        assert_eq!(a.sweep().await.trimmed, 0);
        assert_eq!(a.read(100).await.len(), 40);
        let untrimmed = Settings { trim: false, ..settings() };
        let mut b = Peer::with(&redis, "b", untrimmed, false).await;
        for id in &ids[60..] {
            b.raw(&format!("XACK m g {id}")).await;
        }
        b.raw("XGROUP DESTROY m other").await;
        assert_eq!(b.sweep().await.trimmed, 0);
        assert_eq!(a.sweep().await.trimmed, 40);
    });
}

#[test]
fn what_a_group_that_was_set_back_has_yet_to_read_is_not_trimmed() {
    on_redis(&["--stream-node-max-entries", "10"], |redis| async move {
        let mut a = Peer::with(&redis, "a", Settings { trim: true, ..settings() }, false).await;
        a.call(Call::Prepare).await.unwrap();
        let mut ids = Vec::new();
        for i in 0..50 {
            ids.push(a.add(&i.to_string()).await);
        }
        assert_eq!(a.read(100).await.len(), 50);
        // The last ten are pending, and everything is to come again.
        for id in &ids[..40] {
            a.raw(&format!("XACK m g {id}")).await;
        }
        a.raw("XGROUP SETID m g 0").await;
        assert_eq!(a.sweep().await.trimmed, 0, "all is unread");
        for id in a.read(20).await {
            a.raw(&format!("XACK m g {}", id.entry)).await;
        }
        assert_eq!(a.sweep().await.trimmed, 10, "up to what was read last, though the pending ones stand behind it");
        assert_eq!(a.int("XLEN m").await, 40);
    });
}

#[test]
fn much_is_trimmed_in_pages() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::with(&redis, "a", Settings { trim: true, ..settings() }, false).await;
        let mut fill = redis::cmd("EVAL");
        fill.arg("for i = 1, 130000 do redis.call('XADD', KEYS[1], '*', 'a', 'b') end").arg(1).arg("m");
        script::send(&mut a.connection, &fill).await.unwrap();
        a.raw("XGROUP CREATE m g $").await;
        let Answer::Swept(page) = a.call(Call::Sweep { cursor: 2 }).await.unwrap() else { panic!() };
        assert!(page.trimmed > 99_000 && page.trimmed <= 100_000 && page.cursor == 2, "{page:?}");
        assert!(a.sweep().await.trimmed >= 29_000);
        assert!(a.int("XLEN m").await <= 100);
    });
}

#[test]
fn ids_are_compared_as_numbers() {
    on_redis(&["--stream-node-max-entries", "2"], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        for id in ["9-1", "9-2", "9-9", "9-10", "10-1", "10-2", "100-1", "18446744073709551615-1"] {
            a.raw(&format!("XADD m {id} body x")).await;
        }
        for (group, at) in [("b", "10-1"), ("c", "9-10"), ("d", "100-1"), ("e", "18446744073709551615-0")] {
            a.raw(&format!("XGROUP CREATE m {group} {at}")).await;
        }
        a.raw("XGROUP SETID m g $").await;
        assert_eq!(a.calls.trim(&mut a.connection, 0).await.unwrap(), 2);
    });
}
