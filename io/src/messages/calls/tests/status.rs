//! How a stream and a group stand.

use super::*;
use crate::messages::calls::{Status, ToSchedule};

async fn status(peer: &mut Peer) -> Status {
    peer.calls.status(&mut peer.connection).await.unwrap()
}

#[test]
fn the_status_tells_how_a_stream_and_a_group_stand() {
    for resp3 in [false, true] {
        on_redis(&["--appendonly", "yes"], |redis| async move {
            let mut a = Peer::with(&redis, "a", settings(), resp3).await;
            // One that nobody has used yet.
            let nothing = status(&mut a).await;
            assert_eq!((nothing.created, nothing.length, nothing.unread), (false, 0, Some(0)));
            assert_eq!((nothing.consumers.len(), nothing.next_due_ms, &nothing.reclaimer), (0, None, &None));
            assert!(nothing.warnings.is_empty() && nothing.append_only, "{nothing:?}");
            a.call(Call::Prepare).await.unwrap();
            let mut b = Peer::with(&redis, "b", settings(), resp3).await;
            let mut holds = Vec::new();
            for i in 0..4 {
                holds.push(a.given(&i.to_string()).await);
            }
            let held = b.given("5").await;
            a.park_for(holds[0], 0, Some("x")).await;
            a.park_for(holds[1], 60_000, None).await;
            a.bury(holds[2]).await;
            a.add("unread").await;
            let later = ToSchedule {
                id: "later".into(),
                delay: Duration::from_secs(90),
                window: Duration::ZERO,
                fields: body("x").to_vec(),
            };
            a.calls.schedule(&mut a.connection, &[later]).await;
            a.call(Call::Reclaim).await.unwrap();
            let status = status(&mut a).await;
            assert_eq!((status.created, status.length, status.unread), (true, 6, Some(1)));
            assert_eq!((status.in_flight, status.parked, status.next_due_ms), (2, 2, Some(0)));
            assert_eq!((status.scheduled, status.dead, status.records), (1, 1, 1));
            let next = status.next_scheduled_ms.unwrap();
            assert!((80_000..=90_000).contains(&next), "{next}");
            let consumers: Vec<_> = status.consumers.iter().map(|c| (&*c.consumer, c.in_flight)).collect();
            let names = (a.me(), b.me());
            assert_eq!(consumers, [(&*names.0, 1), (&*names.1, 1)]);
            assert!(status.consumers.iter().all(|c| c.idle_ms < 10_000));
            assert_eq!(status.reclaimer.as_deref(), Some(&*names.0));
            assert!(status.now_ms > 1_600_000_000_000 && &*status.role == "master" && &*status.version != "unknown");
            let json = serde_json::to_value(&status).unwrap();
            assert_eq!((&json["stream"], &json["unread"]), (&"m".into(), &1.into()));
            // After a deletion Redis 7 cannot tell how many are unread: they are counted.
            a.raw(&format!("XDEL m {}", held.entry)).await;
            for i in 0..3 {
                let entry = a.add(&i.to_string()).await;
                a.raw(&format!("XDEL m {entry}")).await;
            }
            assert_eq!(self::status(&mut a).await.unread, Some(1));
            a.raw("CONFIG SET maxmemory-policy allkeys-lru").await;
            assert!(self::status(&mut a).await.warnings.iter().any(|w| w.contains("allkeys-lru")));
            a.raw("DEL m:g:dead").await;
            a.raw("SET m:g:dead x").await;
            let trouble = a.calls.status(&mut a.connection).await.unwrap_err();
            assert!(trouble.message.contains("m:g:dead"), "{trouble}");
        });
    }
}
