//! Send, send once, send later.

use super::*;
use crate::messages::calls::{ToSchedule, ToSend};

fn plain(text: &str) -> ToSend {
    ToSend { fields: body(text).to_vec(), once: None }
}

fn once(text: &str, key: &str) -> ToSend {
    ToSend { fields: body(text).to_vec(), once: Some((key.into(), Duration::from_secs(60))) }
}

fn later(id: &str, delay_ms: u64, text: &str) -> ToSchedule {
    let (delay, window) = (Duration::from_millis(delay_ms), Duration::from_secs(60));
    ToSchedule { id: id.into(), delay, window, fields: fields(&[("body", text), ("h:x", "1")]).to_vec() }
}

impl Peer {
    async fn send(&mut self, items: &[ToSend]) -> Vec<Result<EntryId, Trouble>> {
        self.calls.send_all(&mut self.connection, items).await
    }

    async fn schedule(&mut self, item: ToSchedule) -> (u64, bool) {
        let waits = self.calls.schedule(&mut self.connection, &[item]).await.pop().unwrap().unwrap();
        (waits.due_ms, waits.repeated)
    }

    async fn scheduled(&mut self) -> Vec<String> {
        let all = self.calls.scheduled(&mut self.connection, 0, 100).await.unwrap();
        all.into_iter().map(|one| one.id.into()).collect()
    }
}

#[test]
fn messages_are_sent_in_order_and_once_where_asked() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let items: Vec<_> = (0..1_200).map(|i| plain(&i.to_string())).collect();
        let ids: Vec<EntryId> = a.send(&items).await.into_iter().map(Result::unwrap).collect();
        assert!(ids.is_sorted() && ids.len() == 1_200);
        // Before the script is known to Redis, and after.
        for _ in 0..2 {
            a.raw("SCRIPT FLUSH").await;
            let items = [once("x", "k1"), once("y", "k2"), once("z", "k1"), plain("p")];
            let ids: Vec<EntryId> = a.send(&items).await.into_iter().map(Result::unwrap).collect();
            assert!(ids[0] == ids[2] && ids[0] != ids[1]);
        }
        assert_eq!(a.int("XLEN m").await, 1_204);
        assert!(a.int("PTTL m:once:k1").await > 59_000);
        let Answer::Read(read) = a.call(Call::Read { count: 1, block: Duration::ZERO }).await.unwrap() else {
            panic!()
        };
        assert_eq!(read, [(ids[0], Some(body("0")))]);
    });
}

#[test]
fn each_message_has_its_own_result() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.raw("LPUSH m:once:bad x").await;
        let nothing = ToSend { fields: fields(&[]).to_vec(), once: Some(("k".into(), Duration::from_secs(1))) };
        let results = a.send(&[once("x", "bad"), once("y", "good"), nothing, plain("z")]).await;
        let wrong = results[0].as_ref().unwrap_err();
        assert!(wrong.message.starts_with("WRONGTYPE"), "{wrong}");
        assert!(results[2].as_ref().unwrap_err().message.contains("0 fields"), "{results:?}");
        assert!(results[1].is_ok() && results[3].is_ok(), "{results:?}");
        a.raw("CONFIG SET maxmemory 1").await;
        let results = a.send(&[once("y", "good"), once("w", "new"), plain("z")]).await;
        assert!(results[0].is_ok(), "it was sent before");
        for refused in &results[1..] {
            assert!(refused.as_ref().is_err_and(|e| e.message.starts_with("OOM")), "{results:?}");
        }
        // The key does not stand before the message does.
        assert_eq!(a.int("EXISTS m:once:new").await, 0);
        assert_eq!(a.int("XLEN m").await, 2);
    });
}

#[test]
fn a_delayed_message_waits_and_is_sent_once() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let (due_ms, repeated) = a.schedule(later("two", 60_000, "2")).await;
        assert!(!repeated);
        assert_eq!(a.schedule(later("two", 1, "other")).await, (due_ms, true), "a repeat changes nothing");
        a.schedule(later("one", 0, "1")).await;
        a.schedule(later("three", 90_000, "3")).await;
        assert_eq!(a.scheduled().await, ["one", "two", "three"]);
        let page = a.calls.scheduled(&mut a.connection, 1, 1).await.unwrap();
        assert_eq!((&*page[0].id, page[0].due_ms), ("two", due_ms));
        assert_eq!(page[0].fields, fields(&[("body", "2"), ("h:x", "1")]));
        let json = serde_json::to_string(&page[0]).unwrap();
        assert_eq!(json, format!(r#"{{"id":"two","due_ms":{due_ms},"fields":{{"body":"2","h:x":"1"}}}}"#));

        let (taken, next) = a.due(10).await;
        assert!(taken.is_empty(), "it has to be read");
        assert!(next.is_some_and(|next| next > Duration::from_secs(50) && next <= Duration::from_secs(60)), "{next:?}");
        let Answer::Read(read) = a.call(Call::Read { count: 9, block: Duration::ZERO }).await.unwrap() else {
            panic!()
        };
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].1, Some(fields(&[("body", "1"), ("h:x", "1")])));
        // The answer to its sender was lost: it asks again, and it has gone already.
        assert!(a.schedule(later("one", 0, "1")).await.1);
        assert_eq!(a.scheduled().await, ["two", "three"]);

        let cancelled = a.calls.cancel(&mut a.connection, &["two".into(), "one".into(), "none".into()]).await.unwrap();
        assert_eq!(cancelled, [true, false, false]);
        assert_eq!((a.scheduled().await, a.int("HLEN m:scheduled:body").await), (vec!["three".to_owned()], 1));
        assert!(!a.schedule(later("two", 60_000, "2")).await.1, "what was cancelled may be sent again");
    });
}

#[test]
fn what_is_due_goes_into_the_stream_in_its_order() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let items: Vec<_> = (0..250).map(|i| later(&format!("id-{i}"), 0, &i.to_string())).collect();
        a.calls.schedule(&mut a.connection, &items).await;
        // The order is that of their times, not that of their names.
        for (i, time) in [("id-7", 1), ("id-100", 2)] {
            a.raw(&format!("ZADD m:scheduled {time} {i}")).await;
        }
        for more in [true, true, false] {
            let (_, next) = a.due(10).await;
            assert_eq!(next, more.then_some(Duration::ZERO));
        }
        let Answer::Read(read) = a.call(Call::Read { count: 999, block: Duration::ZERO }).await.unwrap() else {
            panic!()
        };
        assert_eq!(read.len(), 250);
        let texts: Vec<_> = read.iter().map(|(_, f)| String::from_utf8_lossy(&f.as_ref().unwrap()[0].1)).collect();
        assert_eq!(texts[..2], ["7", "100"]);
        assert_eq!((a.int("ZCARD m:scheduled").await, a.int("HLEN m:scheduled:body").await), (0, 0));
    });
}

#[test]
fn out_of_memory_delayed_messages_wait_and_retries_go_on() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let hold = a.given("retry").await;
        a.schedule(later("one", 0, "1")).await;
        a.raw("CONFIG SET maxmemory 1").await;
        let refused = a.calls.schedule(&mut a.connection, &[later("two", 0, "2")]).await;
        assert!(refused[0].as_ref().is_err_and(|e| e.message.starts_with("OOM")), "{refused:?}");
        // Nothing else is due, so nothing was written before: it has to wait, and is not asked for again at once.
        let (_, next) = a.due(10).await;
        assert!(next.is_some_and(|next| next == Duration::from_secs(1)), "{next:?}");
        assert_eq!(a.scheduled().await, ["one"]);
        a.park(hold, Some("x")).await;
        assert_eq!(a.take().await.hold.entry, hold.entry);
        a.raw("CONFIG SET maxmemory 0").await;
        a.due(10).await;
        assert_eq!((a.scheduled().await.len(), a.int("ZCARD m:scheduled").await), (0, 0));
    });
}

#[test]
fn what_others_scheduled_goes_to_the_workers_as_it_is() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let texts = ["{\"id\":1}", "9:a1:b", "1:a", "1:a9:b", "1:a1:bx", ":"];
        for (i, text) in texts.into_iter().enumerate() {
            a.raw(&format!("ZADD m:scheduled {i} foreign-{i} 99 nobody")).await;
            a.raw(&format!("HSET m:scheduled:body foreign-{i} {text}")).await;
        }
        assert_eq!(a.due(10).await, (vec![], None));
        let Answer::Read(read) = a.call(Call::Read { count: 9, block: Duration::ZERO }).await.unwrap() else {
            panic!()
        };
        let read: Vec<_> = read.into_iter().map(|(_, fields)| fields.unwrap()).collect();
        assert_eq!(read, texts.map(body));
    });
}

#[test]
fn keys_of_a_wrong_type_stop_only_what_needs_them() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let hold = a.given("x").await;
        a.raw("SET m:scheduled:body x").await;
        let refused = a.calls.schedule(&mut a.connection, &[later("one", 0, "1")]).await;
        let trouble = refused[0].as_ref().unwrap_err();
        assert!(trouble.message.contains("m:scheduled:body"), "{trouble}");
        assert_eq!(a.int("EXISTS m:scheduled").await, 0, "nothing was written");
        a.raw("ZADD m:scheduled 1 one").await;
        a.park(hold, None).await;
        assert_eq!(a.take().await.hold.entry, hold.entry, "retries go on");
        assert_eq!(a.int("ZCARD m:scheduled").await, 1);
        assert!(a.calls.cancel(&mut a.connection, &["one".into()]).await.is_err());
        assert_eq!(a.int("ZCARD m:scheduled").await, 1);
        a.raw("DEL m:scheduled m:scheduled:body").await;
        a.raw("SET m:scheduled x").await;
        a.park(Hold { entry: hold.entry, deliveries: 2 }, None).await;
        assert_eq!(a.take().await.hold.entry, hold.entry);
    });
}
