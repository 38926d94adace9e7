//! Take, look, reap, and what keeps the group clean.

use streamkeeper_core::trouble::TroubleKind;

use super::*;

const EPOCH: EpochCall = EpochCall {
    settle: None,
    nonce: 1,
    lived: false,
    fresh: false,
    waited: Duration::ZERO,
    longest_ttl: Duration::ZERO,
};

async fn share(peer: &mut Peer, count: usize) -> (usize, bool) {
    match peer.call(Call::Take { count, share: Some(0) }).await.unwrap() {
        Answer::Taken { deliveries, more } => (deliveries.len(), more),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hungry_consumers_share_a_backlog_evenly() {
    on_redis(&[], |redis| async move {
        let mut peers = Vec::new();
        for id in ["a", "b", "c"] {
            let mut peer = Peer::new(&redis, id).await;
            peer.settle().await;
            // Heard of: the question after the epoch makes the consumer known.
            peer.call(Call::Epoch(EPOCH)).await.unwrap();
            peers.push(peer);
        }
        for i in 0..100 {
            peers[0].announce(&format!("s{i}")).await;
        }
        assert_eq!(
            share(&mut peers[0], 500).await,
            (34, false),
            "whether more remains is only said to who gets nothing"
        );
        assert_eq!(share(&mut peers[0], 500).await, (0, true));
        assert_eq!(share(&mut peers[1], 10).await, (10, false), "not the share, but the count held it back");
        assert_eq!(share(&mut peers[1], 500).await, (24, false));
        assert_eq!(share(&mut peers[2], 500).await, (32, false));
        assert_eq!(share(&mut peers[0], 500).await, (0, false));
        // Without the share, whatever there is.
        peers[0].announce("t").await;
        assert_eq!(share(&mut peers[0], 500).await, (0, true));
        assert_eq!(peers[0].take(5).await.len(), 1);
    });
}

#[test]
fn who_was_not_heard_of_does_not_count() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::new(&redis, "a").await, Peer::new(&redis, "b").await);
        a.settle().await;
        for peer in [&mut b, &mut a] {
            peer.call(Call::Epoch(EPOCH)).await.unwrap();
        }
        let Answer::Looked { fleet, .. } = b.call(Call::Look(vec![])).await.unwrap() else { panic!() };
        assert_eq!(fleet, Fleet { announced: 0, consumers: 2, rank: 1 });
        let within = Config::new(settings()).unwrap().live_within();
        tokio::time::sleep(within + Duration::from_millis(50)).await;
        let Answer::Looked { fleet, .. } = b.call(Call::Look(vec![])).await.unwrap() else { panic!() };
        assert_eq!(fleet, Fleet { announced: 0, consumers: 1, rank: 0 });
        a.announce("s").await;
        assert_eq!(share(&mut b, 500).await, (1, false));
    });
}

/// So many consumers that were heard of just now.
async fn crowd(peer: &mut Peer, numbers: std::ops::Range<u32>) {
    for number in numbers {
        peer.raw(&format!(
            "XREADGROUP GROUP svc-group pod-{number:03} COUNT 1 STREAMS svc-input 18446744073709551615-0"
        ))
        .await;
    }
}

async fn fleet(peer: &mut Peer) -> Fleet {
    let Answer::Looked { fleet, .. } = peer.call(Call::Look(vec![])).await.unwrap() else { panic!() };
    fleet
}

async fn asks_the_epoch(peer: &mut Peer) -> u32 {
    let Answer::Epoch(answer) = peer.call(Call::Epoch(EPOCH)).await.unwrap() else { panic!() };
    answer.consumers
}

#[test]
fn a_crowd_is_counted_now_and_then_and_a_small_fleet_each_time() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        crowd(&mut a, 0..9).await;
        let pause = Duration::from_millis(120);
        tokio::time::sleep(pause).await;
        assert_eq!(asks_the_epoch(&mut a).await, 10);
        crowd(&mut a, 9..11).await;
        assert_eq!(fleet(&mut a).await.consumers, 12, "ten are no crowd: each look counts");
        crowd(&mut a, 11..16).await;
        tokio::time::sleep(pause).await;
        assert_eq!(asks_the_epoch(&mut a).await, 17);
        crowd(&mut a, 16..20).await;
        assert_eq!(fleet(&mut a).await, Fleet { announced: 0, consumers: 17, rank: 0 }, "a crowd is not counted again");
        tokio::time::sleep(pause).await;
        assert_eq!((fleet(&mut a).await.consumers, asks_the_epoch(&mut a).await), (17, 21));
        assert_eq!(fleet(&mut a).await.consumers, 21);
        for (live, why) in [("99\\x201", "counted long ago"), ("many", "no count"), ("2\\x2099999999999999", "too few")]
        {
            a.raw(&format!("HSET svc-epoch live {live}")).await;
            assert_eq!(fleet(&mut a).await.consumers, 21, "{why}: this look counts");
        }
    });
}

#[test]
fn a_newcomer_adds_itself_to_a_count_that_still_stands() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        // A count of so many stands for minutes.
        let now = r"redis.call('TIME')[1]..'000'";
        a.raw(&format!(r"EVAL return\x20redis.call('HSET',KEYS[1],'live','5000000\x20'..{now}) 1 svc-epoch")).await;
        assert_eq!(asks_the_epoch(&mut a).await, 5_000_000);
        let newcomer = EpochCall { fresh: true, ..EPOCH };
        let Answer::Epoch(answer) = a.call(Call::Epoch(newcomer)).await.unwrap() else { panic!() };
        assert_eq!((answer.consumers, fleet(&mut a).await.consumers), (5_000_001, 5_000_001));
        assert_eq!(asks_the_epoch(&mut a).await, 5_000_001, "it is no newcomer any more");
    });
}

#[test]
fn in_a_crowd_the_caller_says_what_it_holds() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        crowd(&mut a, 0..19).await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert_eq!(asks_the_epoch(&mut a).await, 20);
        for number in 0..40 {
            a.announce(&format!("s{number}")).await;
        }
        for (held, allowed) in [(5, (0, true)), (2, (0, true)), (1, (1, false)), (0, (2, false))] {
            let Answer::Taken { deliveries, more } =
                a.call(Call::Take { count: 500, share: Some(held) }).await.unwrap()
            else {
                panic!()
            };
            assert_eq!((deliveries.len(), more), allowed, "{held} of 40 announcements for 20 are held");
        }
    });
}

#[test]
fn looking_tells_what_is_pending_and_what_it_says() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let (taken, trimmed) = (a.given("taken").await, a.given("trimmed").await);
        let waiting = a.announce("waiting").await;
        a.raw(&format!("XDEL svc-input {trimmed}")).await;
        a.idle(taken, 3_000).await;
        let ids = vec![waiting, trimmed, taken];
        let Answer::Looked { deliveries, .. } = a.call(Call::Look(ids)).await.unwrap() else { panic!() };
        assert_eq!(deliveries.iter().map(|(d, _)| d.entry).collect::<Vec<_>>(), [trimmed, taken]);
        assert_eq!(deliveries[0].0.fields, None);
        assert!(deliveries[0].1 < Duration::from_secs(2) && deliveries[1].1 >= Duration::from_secs(3));
        let (field, json) = &deliveries[1].0.fields.as_ref().unwrap()[0];
        assert_eq!((&**field, json.starts_with(b"{\"DataStreamName\":\"taken\"")), (b"lbs-input".as_slice(), true));
    });
}

#[test]
fn a_lost_group_is_told_by_every_call_that_needs_it() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = EntryId { ms: 1, seq: 1 };
        for spoil in ["XGROUP DESTROY svc-input svc-group", "DEL svc-input"] {
            a.raw(spoil).await;
            for call in [
                Call::Read { count: 1, block: Duration::from_millis(1) },
                Call::Take { count: 1, share: None },
                Call::Take { count: 1, share: Some(0) },
                Call::Look(vec![entry]),
                Call::Mine { after: None, count: 1 },
                Call::Reap { after: None, count: 1, room: 9 },
                Call::Bury { entry, error: "x".into() },
                Call::Forget { entries: vec![entry], idle: TTL },
                Call::Clean,
            ] {
                let trouble = a.call(call.clone()).await.unwrap_err();
                assert_eq!(trouble.kind, TroubleKind::GroupLost, "{spoil}: {call:?}: {trouble}");
            }
        }
    });
}

#[test]
fn one_consumer_is_the_reaper() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::new(&redis, "a").await, Peer::new(&redis, "b").await);
        a.settle().await;
        let entries = [a.given("x").await, a.given("y").await, a.given("z").await];
        a.idle(entries[0], 2_500).await;
        a.idle(entries[2], 9_000).await;
        let reap = |after| Call::Reap { after, count: 1, room: 9 };
        let Answer::Reaped { idle, announced: 3 } = a.call(reap(None)).await.unwrap() else { panic!() };
        assert_eq!((idle.len(), idle[0].entry), (1, entries[0]));
        assert!(idle[0].idle >= Duration::from_millis(2_500));
        let Answer::Reaped { idle, .. } = a.call(reap(Some(entries[0]))).await.unwrap() else { panic!() };
        assert_eq!(idle[0].entry, entries[2]);
        let Answer::Reaped { idle, .. } = a.call(reap(Some(entries[2]))).await.unwrap() else { panic!() };
        assert!(idle.is_empty());
        // One and a half intervals.
        let Answer::ReaperIs(left) = b.call(reap(None)).await.unwrap() else { panic!() };
        assert!(left <= Duration::from_millis(300) && left > Duration::from_millis(100), "{left:?}");
        // A namesake is somebody else.
        let calls = Calls::new(
            Keys::plain("svc").unwrap(),
            ConsumerId::named("a").unwrap(),
            Config::new(settings()).unwrap(),
            None,
            99,
        );
        assert!(matches!(calls.execute(&mut b.connection, &reap(None)).await, Ok(Answer::ReaperIs(_))));
        a.raw("DEL svc-reaper").await;
        assert!(matches!(b.call(reap(None)).await, Ok(Answer::Reaped { .. })));
        // One for ever is nobody's.
        a.raw("SET svc-reaper x").await;
        assert!(matches!(b.call(reap(None)).await, Ok(Answer::Reaped { .. })));
        assert!(a.int("PTTL svc-reaper").await > 0);
        for spoil in ["CONFIG SET maxmemory 1", "LPUSH svc-reaper x"] {
            a.raw("DEL svc-reaper").await;
            a.raw(spoil).await;
            assert!(matches!(b.call(reap(None)).await, Ok(Answer::Reaped { .. })), "{spoil}");
            a.raw("CONFIG SET maxmemory 0").await;
        }
    });
}

#[test]
fn the_reaper_steps_back_for_who_has_more_than_twice_its_room() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::new(&redis, "a").await, Peer::new(&redis, "b").await);
        a.settle().await;
        a.given("x").await;
        let reap = |room| Call::Reap { after: None, count: 1, room };
        // Who asks, with how much room, and whether it is the reaper then.
        for (who, room, is) in [
            ("a", 0, true),  // who claims by hand, while there is nobody else
            ("b", 0, false), // among equals the first one stays
            ("a", 0, true),
            ("b", 1, true),
            ("a", 2, false),
            ("b", 100, true),
            ("a", 200, false),
            ("b", 10, true), // it has taken some
            ("a", 200, true),
            ("b", 10, false),
            ("a", 199, true),
        ] {
            let peer = if who == "a" { &mut a } else { &mut b };
            let answer = peer.call(reap(room)).await.unwrap();
            assert_eq!(matches!(answer, Answer::Reaped { .. }), is, "{who} with {room}: {answer:?}");
            assert!(a.int("PTTL svc-reaper").await > 0);
        }
        // Where nothing can be written it stays what it is, and as roomy as it was said to be.
        a.raw("CONFIG SET maxmemory 1").await;
        assert!(matches!(a.call(reap(1)).await, Ok(Answer::Reaped { .. })));
        assert!(matches!(b.call(reap(100)).await, Ok(Answer::ReaperIs(_))));
        a.raw("CONFIG SET maxmemory 0").await;
        // One of a version that says nothing of its room is left in peace.
        a.raw("SET svc-reaper c#1 PX 5000").await;
        assert!(matches!(b.call(reap(100)).await, Ok(Answer::ReaperIs(_))));
    });
}

#[test]
fn what_is_malformed_is_buried_with_all_its_fields_once() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        a.raw("XADD svc-input 5-1 a 1 a 2 \u{1} x").await;
        a.take(1).await;
        let bury = Call::Bury { entry: EntryId { ms: 5, seq: 1 }, error: "no such field".into() };
        a.raw("CONFIG SET maxmemory 1").await;
        assert_eq!(a.call(bury.clone()).await.unwrap_err().kind, TroubleKind::OutOfMemory);
        a.raw("CONFIG SET maxmemory 0").await;
        assert_eq!(a.call(bury.clone()).await.unwrap(), Answer::Buried(true));
        assert_eq!(a.call(bury.clone()).await.unwrap(), Answer::Buried(false));
        let dead = a.calls.dead(&mut a.connection, None, 10).await.unwrap().pop().unwrap();
        let field = |n: &str, v: &str| (n.as_bytes().to_vec(), v.as_bytes().to_vec());
        assert_eq!(dead.original, [field("a", "1"), field("a", "2"), field("\u{1}", "x")]);
        assert_eq!((dead.stream, &*dead.reason, dead.deliveries), (None, "malformed", 1));
        assert_eq!(a.int("XLEN svc-input").await, 0);
        // More fields than a script can pass on: what fits.
        let mut many = redis::cmd("XADD");
        many.arg("svc-input").arg("6-1");
        for i in 0..5_000 {
            many.arg(format!("f{i}")).arg("v");
        }
        super::super::script::send(&mut a.connection, &many).await.unwrap();
        a.take(1).await;
        let bury = Call::Bury { entry: EntryId { ms: 6, seq: 1 }, error: "x".into() };
        assert_eq!(a.call(bury).await.unwrap(), Answer::Buried(true));
    });
}

#[test]
fn s_dead_is_capped() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        for i in 1..=350 {
            a.raw(&format!("XADD svc-input {i}-1 a 1")).await;
        }
        for entry in a.take(1_000).await {
            a.call(Call::Bury { entry, error: "x".into() }).await.unwrap();
        }
        // About 100: Redis drops whole nodes of 100.
        let length = a.int("XLEN svc-dead").await;
        assert!((100..200).contains(&length), "{length}");
    });
}

#[test]
fn only_trimmed_entries_that_nobody_keeps_are_forgotten() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let (alive, fresh, old) = (a.given("alive").await, a.given("fresh").await, a.given("old").await);
        a.idle(alive, 5_000).await;
        a.idle(old, 5_000).await;
        a.raw(&format!("XDEL svc-input {fresh} {old}")).await;
        let entries = vec![alive, fresh, old, EntryId { ms: 1, seq: 1 }];
        let forget = Call::Forget { entries, idle: Duration::from_secs(4) };
        assert_eq!(a.call(forget.clone()).await.unwrap(), Answer::Forgotten(vec![old]));
        assert_eq!(a.call(forget).await.unwrap(), Answer::Forgotten(vec![]));
        assert_eq!(a.call(Call::Mine { after: None, count: 9 }).await.unwrap(), Answer::Mine(vec![alive, fresh]));
    });
}

#[test]
fn cleaning_leaves_consumers_and_records_that_are_needed() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        for consumer in ["empty", "heard-of-lately"] {
            a.raw(&format!("XGROUP CREATECONSUMER svc-input svc-group {consumer}")).await;
        }
        let mut owned = Vec::new();
        for stream in ["pending", "waiting", "trimmed", "finished-by-go"] {
            let entry = a.given(stream).await;
            owned.push(a.own(entry, stream).await);
            a.raw(&format!("HSET svc-checkpoints {stream} 1-1")).await;
        }
        a.raw(&format!("XACK svc-input svc-group {} {}", owned[1].entry, owned[3].entry)).await;
        a.raw(&format!("XDEL svc-input {} {}", owned[2].entry, owned[3].entry)).await;
        a.raw("HSET svc-fences odd nonsense").await;
        assert_eq!(a.call(Call::Clean).await.unwrap(), Answer::Cleaned(vec![]));
        assert_eq!((a.int("HLEN svc-fences").await, a.int("HLEN svc-checkpoints").await), (4, 3));
        assert_eq!(a.int("HEXISTS svc-fences finished-by-go").await, 0);
        a.raw("DEL svc-fences").await;
        a.raw("SET svc-fences x").await;
        assert_eq!(a.call(Call::Clean).await.unwrap(), Answer::Cleaned(vec![]));
    });
}

#[test]
fn the_doorbell_is_heard() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let (sender, mut pushed) = tokio::sync::mpsc::unbounded_channel();
        let mut listener = redis.listen(sender).await;
        listener.subscribe("svc-orphans").await.unwrap();
        let entries: Vec<_> = (0..501).map(|seq| EntryId { ms: 7, seq }).collect();
        a.call(Call::Ring { entries, heirs: None }).await.unwrap();
        let mut heard = Vec::new();
        while heard.len() < 2 {
            let push = pushed.recv().await.unwrap();
            if push.kind == redis::PushKind::Message {
                heard.push(super::super::value::text(&push.data[1]).unwrap().into_owned());
            }
        }
        assert_eq!(heard[0].split(' ').count(), 500);
        assert_eq!(heard[1], "7-500");
        a.call(Call::Ring { entries: vec![EntryId { ms: 7, seq: 8 }], heirs: Some(32) }).await.unwrap();
        let push = pushed.recv().await.unwrap();
        assert_eq!(super::super::value::text(&push.data[1]).unwrap(), "heirs=32 7-8");
    });
}
