//! Every call once, in both protocols.

use super::*;
use streamkeeper_core::messages::config::{Processed, Rate};

#[test]
fn every_call_is_answered_in_both_protocols() {
    for resp3 in [false, true] {
        on_redis(&[], |redis| async move {
            let limited = Settings {
                group_rate: Some(Rate { count: 5, per: Duration::from_secs(60) }),
                processed: Some(Processed { age: Duration::from_secs(60), by: None }),
                ..settings()
            };
            let mut a = Peer::with(&redis, "a", limited, resp3).await;
            let Answer::Prepared(server) = a.call(Call::Prepare).await.unwrap() else { panic!() };
            assert!(server.created && server.now_ms > 1_600_000_000_000 && !server.identity.as_str().is_empty());
            assert!(server.warnings.iter().any(|w| w.contains("on disk")), "{server:?}");
            let Answer::Prepared(server) = a.call(Call::Prepare).await.unwrap() else { panic!() };
            assert!(!server.created);

            let nothing = a.call(Call::Read { count: 1, block: Duration::from_millis(1) }).await.unwrap();
            assert_eq!(nothing, Answer::Read(vec![]));
            let (one, two, three) = (a.add("one").await, a.add("two").await, a.add("three").await);
            let read = a.call(Call::Read { count: 9, block: Duration::from_millis(10) }).await.unwrap();
            let expected = [(one, "one"), (two, "two"), (three, "three")];
            assert_eq!(read, Answer::Read(expected.map(|(entry, text)| (entry, Some(body(text)))).to_vec()));
            let hold = |entry| Hold { entry, deliveries: 1 };
            let mine = a.call(Call::Mine { after: None, count: 9 }).await.unwrap();
            assert_eq!(mine, Answer::Mine(vec![hold(one), hold(two), hold(three)]));
            let mine = a.call(Call::Mine { after: Some(one), count: 1 }).await.unwrap();
            assert_eq!(mine, Answer::Mine(vec![hold(two)]));
            let fetched = a.call(Call::Fetch(vec![two, EntryId { ms: 1, seq: 1 }])).await.unwrap();
            let delivery = Delivery { hold: hold(two), fields: Some(body("two")), history: None };
            assert_eq!(fetched, Answer::Fetched(vec![delivery]));

            assert_eq!(a.refresh(hold(one)).await, Fenced::Done);
            assert_eq!(a.mark(hold(one), Mark::Started).await, Fenced::Done);
            assert_eq!(a.park(hold(one), Some("broke down")).await, Fenced::Done);
            let taken = a.take().await;
            assert_eq!((taken.hold, taken.fields), (Hold { entry: one, deliveries: 2 }, Some(body("one"))));
            let history = taken.history.unwrap();
            assert_eq!((history.failed, history.crashed, &*history.error), (1, 0, "broke down"));
            assert!(history.first_ms > 1_600_000_000_000 && history.last_ms >= history.first_ms);
            assert_eq!(a.due(10).await, (vec![], None));

            assert_eq!(a.bury(hold(two)).await, Fenced::Done);
            assert_eq!(a.int("XLEN m:g:dead").await, 1);
            let marked = AckItem { entry: one, recorded: true, processed: Some(b"k1".as_slice().into()) };
            let plain = AckItem { entry: three, recorded: false, processed: None };
            assert_eq!(a.call(Call::Ack(vec![marked, plain])).await.unwrap(), Answer::Acked(2));
            let check = Call::Check(vec![(one, b"k1".as_slice().into()), (two, b"k2".as_slice().into())]);
            assert_eq!(a.call(check).await.unwrap(), Answer::Checked(vec![true, false]));
            let Answer::Permits { granted, wait } = a.call(Call::Permits { count: 9 }).await.unwrap() else { panic!() };
            assert!(granted == 5 && wait > Duration::from_secs(11), "{granted} {wait:?}");

            let Answer::Reclaimed(reclaimed) = a.call(Call::Reclaim).await.unwrap() else { panic!() };
            assert!(reclaimed.now_ms > 1_600_000_000_000 && reclaimed.moved.is_empty() && !reclaimed.more);
            let (mut cursor, mut pages) = (0, 0);
            loop {
                let Answer::Swept(swept) = a.call(Call::Sweep { cursor }).await.unwrap() else { panic!() };
                (cursor, pages) = (swept.cursor, pages + 1);
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(pages, 3);
            assert_eq!(a.call(Call::Leave).await.unwrap(), Answer::Left(true));
            let Value::Array(consumers) = a.raw("XINFO CONSUMERS m g").await else { panic!() };
            assert_eq!(consumers.len(), 1, "only ~delayed is left");
        });
    }
}
