//! Every call once, in both protocols.

use super::*;

#[test]
fn every_call_is_answered_in_both_protocols() {
    for resp3 in [false, true] {
        on_redis(&[], |redis| async move {
            let mut a = Peer::with(&redis, "a", settings(), resp3).await;
            let Answer::Prepared(server) = a.call(Call::Prepare).await.unwrap() else { panic!() };
            assert!(server.expiry_notifications && server.skipped == 0, "{server:?}");
            assert!(server.warnings.iter().any(|w| w.contains("on disk")), "{server:?}");
            assert_eq!(a.call(Call::Ping).await.unwrap(), Answer::Pong);
            let epoch = EpochCall {
                settle: None,
                nonce: 7,
                lived: false,
                fresh: false,
                waited: Duration::from_secs(3_600),
                longest_ttl: Duration::ZERO,
            };
            let Answer::Epoch(first) = a.call(Call::Epoch(epoch.clone())).await.unwrap() else { panic!() };
            assert_eq!((first.identity.as_str(), first.wait.as_deref()), (server.identity.as_str(), Some("wait:7")));
            let settle = EpochCall { settle: Some(("wait:7".into(), first.identity.clone())), ..epoch };
            let Answer::Epoch(second) = a.call(Call::Epoch(settle)).await.unwrap() else { panic!() };
            assert_eq!((second.wait, second.longest_ttl), (None, TTL));

            let (one, two) = (a.announce("one").await, a.announce("two").await);
            let read = a.call(Call::Read { count: 1, block: Duration::from_millis(10) }).await.unwrap();
            let Answer::Read(read) = read else { panic!() };
            assert_eq!(read[0].entry, one);
            assert_eq!(read[0].fields.as_ref().unwrap()[0].0, b"lbs-input");
            let taken = a.call(Call::Take { count: 5, share: Some(0) }).await.unwrap();
            let Answer::Taken { deliveries, more: false } = taken else { panic!("{taken:?}") };
            assert_eq!(deliveries.iter().map(|d| d.entry).collect::<Vec<_>>(), [two]);
            let nothing = a.call(Call::Read { count: 1, block: Duration::from_millis(1) }).await.unwrap();
            assert_eq!(nothing, Answer::Read(vec![]));

            let looked = a.call(Call::Look(vec![one, two, EntryId { ms: 1, seq: 1 }])).await.unwrap();
            let Answer::Looked { fleet, deliveries } = looked else { panic!("{looked:?}") };
            assert_eq!((fleet, deliveries.len()), (Fleet { announced: 2, consumers: 1, rank: 0 }, 2));
            assert_eq!(a.call(Call::Mine { after: None, count: 9 }).await.unwrap(), Answer::Mine(vec![one, two]));
            assert_eq!(a.call(Call::Mine { after: Some(one), count: 9 }).await.unwrap(), Answer::Mine(vec![two]));

            let owned_one = a.own(one, "one").await;
            let owned_two = a.own(two, "two").await;
            assert!(owned_two.token > owned_one.token);
            assert_eq!(a.renew(&[owned_one.clone(), owned_two.clone()], None).await, Renewed::default());
            assert_eq!(a.done(&owned_one, &first.identity).await, Finished::Done);
            assert_eq!(a.release(&owned_two, None).await, Released::Released);
            assert_eq!(a.call(Call::Hint(vec![(name("two"), two)])).await.unwrap(), Answer::Hinted);
            assert_eq!(a.call(Call::Ring { entries: vec![two], heirs: None }).await.unwrap(), Answer::Rung);
            let Answer::Reaped { idle, announced: 1 } =
                a.call(Call::Reap { after: None, count: 9, room: 9 }).await.unwrap()
            else {
                panic!()
            };
            assert_eq!(idle[0].entry, two);
            assert_eq!(a.call(Call::Bury { entry: two, error: "bad".into() }).await.unwrap(), Answer::Buried(true));
            let forget = Call::Forget { entries: vec![two], idle: Duration::ZERO };
            assert_eq!(a.call(forget).await.unwrap(), Answer::Forgotten(vec![]));
            assert_eq!(a.call(Call::Clean).await.unwrap(), Answer::Cleaned(vec![]));
            let dead = a.calls.dead(&mut a.connection, None, 10).await.unwrap();
            assert_eq!((dead.len(), &*dead[0].reason, &*dead[0].error), (1, "malformed", "bad"));
            let status = a.calls.status(&mut a.connection).await.unwrap();
            assert_eq!((status.set_aside, status.consumers.len(), status.settled), (1, 1, true));
            let back = a.calls.dead_retry(&mut a.connection, &[dead[0].id]).await.unwrap();
            assert_eq!(a.take(10).await, [back[0].unwrap()]);
            assert_eq!(a.calls.dead_drop(&mut a.connection, &[dead[0].id]).await.unwrap(), 0);
        });
    }
}
