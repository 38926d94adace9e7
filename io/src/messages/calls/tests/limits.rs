//! The largest call of each kind. A request of more words than the strictest server takes fails: `wire::counted`.

use streamkeeper_core::messages::config::Processed;

use super::{super::ToSchedule, *};

#[test]
fn no_call_is_too_long() {
    on_redis(&[], |redis| async move {
        let remembering = Processed { age: Duration::from_secs(9), by: None };
        let mut a = Peer::with(&redis, "a", Settings { processed: Some(remembering), ..settings() }, false).await;
        a.call(Call::Prepare).await.unwrap();
        let entries: Vec<_> = (1..=12_000).map(|ms| EntryId { ms, seq: 1 }).collect();
        let holds: Vec<_> = entries.iter().map(|entry| Hold { entry: *entry, deliveries: 1 }).collect();
        let ack = |recorded, processed: Option<&[u8]>| {
            let one = |entry: &EntryId| AckItem { entry: *entry, recorded, processed: processed.map(Into::into) };
            Call::Ack(entries.iter().map(one).collect())
        };
        let error = || Box::<str>::from("x".repeat(900));
        let dying = Mark::Dying { reason: Reason::Failed, error: Some(error()) };
        let park = |hold: &Hold| ParkItem { hold: *hold, delay: IDLE, failure: Some(error()) };
        // Some are long, and one is longer than any call.
        let gone = |n: u64| (0..n).map(|i| (i.to_string().into_bytes(), vec![0; 9])).collect::<Fields>();
        let bury = |(hold, number): (&Hold, u64)| BuryItem {
            hold: *hold,
            reason: Reason::Broken,
            error: error(),
            gone: Some(gone(if number == 7 { 9_000 } else { number % 500 })),
        };
        for call in [
            ack(false, None),
            ack(true, Some(b"key")),
            Call::Fetch(entries.clone()),
            Call::Mark(holds.iter().map(|hold| MarkItem { hold: *hold, mark: dying.clone() }).collect()),
            Call::Check(entries.iter().map(|entry| (*entry, entry.to_string().into_bytes().into())).collect()),
            Call::Refresh(holds.clone()),
            Call::Park(holds.iter().map(park).collect()),
            Call::Bury(holds.iter().take(600).zip(0..).map(bury).collect()),
            Call::Due { count: 5_000 },
        ] {
            a.call(call).await.unwrap();
        }
        let ids: Vec<Box<str>> = entries.iter().map(|entry| entry.to_string().into()).collect();
        a.calls.cancel(&mut a.connection, &ids).await.unwrap();
        a.calls.dead_retry(&mut a.connection, &entries).await.unwrap();
        a.calls.dead_drop(&mut a.connection, &entries).await.unwrap();
        let one = |id: &str| ToSchedule {
            id: id.into(),
            delay: Duration::from_secs(99),
            window: Duration::ZERO,
            fields: vec![(b"f".to_vec(), b"v".to_vec()); 3_000],
        };
        let many: Vec<_> = ids.iter().take(1).map(|id| one(id)).collect();
        assert!(a.calls.schedule(&mut a.connection, &many).await[0].is_ok());
        let small: Vec<_> =
            ids.iter().map(|id| ToSchedule { fields: vec![(b"f".to_vec(), vec![])], ..one(id) }).collect();
        assert!(a.calls.schedule(&mut a.connection, &small).await.iter().all(Result::is_ok));
        let waiting = a.calls.scheduled(&mut a.connection, 0, 20_000).await.unwrap();
        assert_eq!(waiting.len(), 12_000);
        assert_eq!(waiting.iter().map(|one| one.fields.len()).max(), Some(3_000));
    });
}

#[test]
fn a_long_payload_that_is_gone_is_buried_whole() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        // Up to 500 fields come one by one, more as one text, and beyond 3,000 they stand there as one.
        for n in [500, 501, 1_999, 3_001] {
            let hold = a.given("x").await;
            a.raw(&format!("XDEL m {}", hold.entry)).await;
            let fields: Fields = (0..n).map(|i| (format!("a:{i}").into_bytes(), vec![0xff, b'\n'])).collect();
            assert_eq!(a.bury_item(hold, Reason::Broken, Some(fields.clone())).await, Fenced::Done);
            let letters = a.calls.dead(&mut a.connection, None, 10).await.unwrap();
            assert_eq!(letters.last().unwrap().original, fields, "{n}");
        }
    });
}
