//! `acquire.lua`: one owner at a time, tokens that grow, every item judged by itself.

use streamkeeper_core::trouble::TroubleKind;

use super::*;

/// The parts of a record.
async fn record(peer: &mut Peer, stream: &str) -> Vec<String> {
    peer.text(&format!("HGET svc-fences {stream}")).await.split(' ').map(str::to_owned).collect()
}

fn held(answer: &Acquired, from: u64, to: u64) {
    let Acquired::Held(left) = answer else { panic!("{answer:?}") };
    assert!((from..=to).contains(&(left.as_millis() as u64)), "{left:?}");
}

fn granted(answer: &Acquired) -> &Grant {
    let Acquired::Granted(grant) = answer else { panic!("{answer:?}") };
    grant
}

#[test]
fn a_grant_is_a_lease_a_record_a_token_and_a_claim() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entries = [a.announce("one").await, a.announce("two").await];
        a.take(2).await;
        let items = [a.item(entries[0], "one"), a.item(entries[1], "two")];
        let before: u64 = a.text("INCR clock").await.parse().unwrap_or(1);
        assert_eq!(before, 1);
        let Value::Array(time) = a.raw("TIME").await else { panic!() };
        let micros = super::super::value::number(&time[0]).unwrap() * 1_000_000;
        let answers = a.acquire_items(&items).await;
        let tokens: Vec<u64> = answers.iter().map(|a| granted(a).token.0).collect();
        assert!(tokens[0] >= micros && tokens[1] == tokens[0] + 1, "{tokens:?}");
        assert_eq!(
            *granted(&answers[0]),
            Grant { token: Token(tokens[0]), takeover: false, takeovers: 0, failures: 0, deliveries: 1 }
        );
        assert_eq!(a.text("GET svc-token").await, tokens[1].to_string());
        let value = format!("redis-consumer-a#{}", items[0].attempt);
        assert_eq!(a.text(&format!("GET one<MUTEX_KEY_SEP>{}", entries[0])).await, value);
        let left = a.int(&format!("PTTL one<MUTEX_KEY_SEP>{}", entries[0])).await;
        assert!((1_500..=2_000).contains(&left));
        let record = record(&mut a, "one").await;
        assert_eq!(record[0], tokens[0].to_string());
        assert_eq!(record[1], entries[0].to_string());
        assert_eq!((&*record[2], &*record[4], &*record[5], &*record[6], &*record[7]), ("2000", "0", "0", "0", "0"));
        assert_eq!(record[8], value);
    });
}

#[test]
fn a_repeat_answers_the_same_token_and_starts_the_ttl_anew() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let item = a.item(entry, "s");
        let first = a.acquire_item(&item).await;
        a.raw(&format!("PEXPIRE s<MUTEX_KEY_SEP>{entry} 300")).await;
        a.idle(entry, 1_700).await;
        // Even when memory is full by now.
        a.raw("CONFIG SET maxmemory 1").await;
        let again = a.acquire_item(&item).await;
        a.raw("CONFIG SET maxmemory 0").await;
        assert_eq!(first, again);
        assert!(a.int(&format!("PTTL s<MUTEX_KEY_SEP>{entry}")).await > 1_500);
        // Another attempt of the same consumer is somebody else.
        let other = a.item(entry, "s");
        held(&a.acquire_item(&other).await, 1_500, 2_000);
        // In one batch, too.
        let twice = a.given("t").await;
        let items = [a.item(twice, "t"), a.item(twice, "t")];
        let answers = a.acquire_items(&items).await;
        granted(&answers[0]);
        held(&answers[1], 2_000, 2_000);
    });
}

#[test]
fn what_is_gone_trimmed_paused_or_leased_is_not_granted() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let undelivered = a.announce("u").await;
        let item = a.item(undelivered, "u");
        assert_eq!(a.acquire_item(&item).await, Acquired::Gone);
        a.take(10).await;
        // Not what was handed out just now, whose payload is not looked at again.
        a.raw(&format!("XCLAIM svc-input svc-group redis-consumer-a 0 {undelivered} IDLE 1000 JUSTID")).await;
        a.raw(&format!("XDEL svc-input {undelivered}")).await;
        assert_eq!(a.acquire_item(&item).await, Acquired::Trimmed);

        let entry = a.given("s").await;
        let far = "9999999999999";
        a.raw(&format!("HSET svc-fences s 5\\x20{entry}\\x202000\\x200\\x201\\x200\\x203\\x20{far}\\x20x")).await;
        let item = a.item(entry, "s");
        assert!(matches!(a.acquire_item(&item).await, Acquired::Held(left) if left > Duration::from_secs(1_000)));
        a.raw(&format!("HSET svc-fences s 5\\x20{entry}\\x202000\\x200\\x201\\x200\\x203\\x200\\x20x")).await;
        assert_eq!(granted(&a.acquire_item(&item).await).failures, 3);

        // A Go peer's lease: its value is the consumer's id alone.
        let go = a.given("g").await;
        a.raw(&format!("SET g<MUTEX_KEY_SEP>{go} redis-consumer-go PX 1000")).await;
        let item = a.item(go, "g");
        held(&a.acquire_item(&item).await, 800, 1_000);
        // One without a ttl is held for a ttl, and asked about again.
        a.raw(&format!("SET g<MUTEX_KEY_SEP>{go} redis-consumer-go")).await;
        held(&a.acquire_item(&item).await, 2_000, 2_000);
    });
}

#[test]
fn the_stream_of_a_go_peer_is_taken_over_when_its_lease_lapses() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.announce("g").await;
        a.raw("XREADGROUP GROUP svc-group redis-consumer-go STREAMS svc-input >").await;
        let item = a.item(entry, "g");
        // Nobody's lease, no record: at once, however fresh the entry is.
        let answer = a.acquire_item(&item).await;
        assert!(granted(&answer).takeover && granted(&answer).takeovers == 0, "{answer:?}");
        assert_eq!(a.call(Call::Mine { after: None, count: 9 }).await.unwrap(), Answer::Mine(vec![entry]));
    });
}

#[test]
fn the_heartbeat_is_a_second_witness() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::new(&redis, "a").await, Peer::new(&redis, "b").await);
        a.settle().await;
        let entry = a.given("s").await;
        let first = a.own(entry, "s").await;
        a.raw(&format!("DEL s<MUTEX_KEY_SEP>{entry}")).await;
        let item = b.item(entry, "s");
        held(&b.acquire_item(&item).await, 1_500, 2_000);
        a.idle(entry, 1_900).await;
        held(&b.acquire_item(&item).await, 1, 100);
        a.idle(entry, 2_000).await;
        let answer = b.acquire_item(&item).await;
        assert!(granted(&answer).token > first.token && granted(&answer).takeover && granted(&answer).takeovers == 1);
    });
}

#[test]
fn a_stream_that_was_announced_twice_has_one_owner() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let (one, two) = (a.announce("s").await, a.announce("s").await);
        a.take(10).await;
        let items = [a.item(one, "s"), a.item(two, "s")];
        let answers = a.acquire_items(&items).await;
        granted(&answers[0]);
        assert_eq!(answers[1], Acquired::Busy(TTL));
        let mut second = items[1].clone();
        assert_eq!(a.acquire_item(&second).await, Acquired::Other(one));
        second.other = Some(one);
        assert!(matches!(a.acquire_item(&second).await, Acquired::Busy(left) if left > Duration::from_millis(1_500)));
        // The heartbeat is a second witness here, too.
        a.raw(&format!("DEL s<MUTEX_KEY_SEP>{one}")).await;
        assert!(matches!(a.acquire_item(&second).await, Acquired::Busy(left) if left > Duration::from_millis(1_500)));
        a.idle(one, 2_000).await;
        let answer = a.acquire_item(&second).await;
        assert!(!granted(&answer).takeover && granted(&answer).takeovers == 1, "{answer:?}");
        // Now it is the other way round.
        let mut first = a.item(one, "s");
        assert_eq!(a.acquire_item(&first).await, Acquired::Other(two));
        first.other = Some(two);
        assert!(matches!(a.acquire_item(&first).await, Acquired::Busy(_)));
        // An announcement that nobody can own any more keeps nobody waiting.
        a.raw(&format!("DEL s<MUTEX_KEY_SEP>{two}")).await;
        assert!(matches!(a.acquire_item(&first).await, Acquired::Busy(_)));
        a.raw(&format!("XACK svc-input svc-group {two}")).await;
        granted(&a.acquire_item(&first).await);
    });
}

#[test]
fn one_wrong_key_does_not_hurt_its_neighbours() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entries = [a.announce("x").await, a.announce("y").await, a.announce("z").await];
        a.take(10).await;
        a.raw(&format!("LPUSH x<MUTEX_KEY_SEP>{} 1", entries[0])).await;
        a.raw("HSET svc-fences y nonsense").await;
        let items = [a.item(entries[0], "x"), a.item(entries[1], "y"), a.item(entries[2], "z")];
        let answers = a.acquire_items(&items).await;
        assert!(matches!(&answers[0], Acquired::Broken(e) if e.contains("WRONGTYPE")), "{answers:?}");
        assert!(matches!(&answers[1], Acquired::Broken(e) if e.contains("HDEL")), "{answers:?}");
        granted(&answers[2]);
    });
}

#[test]
fn an_error_of_the_whole_call_has_written_nothing() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let item = a.item(entry, "s");
        let call = Call::Acquire(AcquireCall { items: vec![item], identity: Identity::new(""), floor: Token(0) });
        for (spoil, kind, heal) in [
            ("CONFIG SET maxmemory 1", TroubleKind::OutOfMemory, "CONFIG SET maxmemory 0"),
            ("SET svc-fences 1", TroubleKind::WrongType, "DEL svc-fences"),
            ("LPUSH svc-token 1", TroubleKind::WrongType, "DEL svc-token"),
            ("SET svc-token x", TroubleKind::Other, "DEL svc-token"),
            ("RENAME svc-input elsewhere", TroubleKind::GroupLost, "RENAME elsewhere svc-input"),
            ("XGROUP DESTROY svc-input svc-group", TroubleKind::GroupLost, "XGROUP CREATE svc-input svc-group 0"),
        ] {
            a.raw(spoil).await;
            let trouble = a.call(call.clone()).await.unwrap_err();
            assert_eq!(trouble.kind, kind, "{spoil}: {trouble}");
            a.raw(heal).await;
            assert_eq!(a.int("EXISTS svc-token svc-fences").await, 0, "{spoil}");
            assert_eq!(a.int(&format!("EXISTS s<MUTEX_KEY_SEP>{entry}")).await, 0, "{spoil}");
        }
    });
}

#[test]
fn tokens_grow_whatever_the_clock_does() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        // The clock was far ahead once.
        a.raw("SET svc-token 8000000000000000").await;
        let entry = a.given("s").await;
        assert_eq!(a.own(entry, "s").await.token, Token(8_000_000_000_000_001));
        a.raw("DEL svc-token").await;
        // The data are lost, and the clock is behind: the caller remembers.
        let Value::Array(time) = a.raw("TIME").await else { panic!() };
        let now = super::super::value::number(&time[0]).unwrap() * 1_000_000;
        let (day, hour) = (86_400_000_000, 3_600_000_000);
        for (floor, grants) in [(now + hour, true), (now + day + hour, false), (u64::MAX, false)] {
            let entry = a.given(&format!("s{floor}")).await;
            let item = a.item(entry, &format!("s{floor}"));
            let call = AcquireCall { items: vec![item], identity: Identity::new(""), floor: Token(floor) };
            match a.call(Call::Acquire(call)).await {
                Ok(Answer::Acquired(answers)) if grants => assert_eq!(granted(&answers[0]).token, Token(floor + 1)),
                Err(trouble) if !grants => assert!(trouble.message.contains("a day ahead"), "{trouble}"),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn nothing_is_granted_on_a_server_that_is_not_settled_on() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let here = a.settle().await;
        let entry = a.given("s").await;
        let item = a.item(entry, "s");
        let cases = [
            ("HSET svc-epoch id another", here.as_str(), false),
            ("HSET svc-epoch id wait:1", here.as_str(), false),
            ("HDEL svc-epoch id", here.as_str(), false),
            ("HDEL svc-epoch id", "", false),
            ("HSET svc-epoch id unknown", "", false),
            (&format!("HSET svc-epoch id {}", here.as_str()), "another", false),
            (&format!("HSET svc-epoch id {}", here.as_str()), "", true),
            (&format!("HSET svc-epoch id {}", here.as_str()), here.as_str(), true),
        ];
        for (set, caller, grants) in cases {
            a.raw(set).await;
            let call = AcquireCall { items: vec![item.clone()], identity: Identity::new(caller), floor: Token(0) };
            let answer = a.call(Call::Acquire(call)).await.unwrap();
            assert_eq!(answer != Answer::EpochDiffers, grants, "{set}, {caller:?}: {answer:?}");
        }
    });
}

#[test]
fn an_unfinished_lease_of_what_is_gone_is_cleared_away() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let entry = a.given("s").await;
        let item = a.item(entry, "s");
        granted(&a.acquire_item(&item).await);
        a.raw(&format!("XACK svc-input svc-group {entry}")).await;
        a.raw(&format!("XDEL svc-input {entry}")).await;
        assert_eq!(a.acquire_item(&item).await, Acquired::Gone);
        assert_eq!(a.int(&format!("EXISTS s<MUTEX_KEY_SEP>{entry} svc-fences")).await, 0);
    });
}

#[test]
fn a_big_batch_is_one_call() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        for i in 0..660 {
            a.announce(&format!("s{i}")).await;
        }
        let entries = a.take(1_000).await;
        let items: Vec<_> = entries.iter().enumerate().map(|(i, e)| a.item(*e, &format!("s{i}"))).collect();
        let answers = a.acquire_items(&items).await;
        assert!(answers.iter().all(|a| matches!(a, Acquired::Granted(_))));
        assert_eq!(a.int("HLEN svc-fences").await, 660);
    });
}

#[test]
fn what_is_new_is_granted_without_a_look_unless_there_is_something_to_see() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let mut items = Vec::new();
        for stream in ["new", "recorded", "leased", "list", "gone", "twice", "twice"] {
            let entry = a.given(stream).await;
            items.push(AcquireItem { fresh: true, ..a.item(entry, stream) });
        }
        let at = |i: usize| items[i].entry;
        a.raw(&format!("HSET svc-fences recorded 5\\x20{}\\x202000\\x200\\x201\\x200\\x203\\x200\\x20x", at(1))).await;
        a.raw(&format!("SET leased<MUTEX_KEY_SEP>{} go PX 9000", at(2))).await;
        a.raw(&format!("LPUSH list<MUTEX_KEY_SEP>{} x", at(3))).await;
        a.raw(&format!("XACK svc-input svc-group {}", at(4))).await;
        let answers = a.acquire_items(&items).await;
        let token = granted(&answers[0]).token;
        let plain = Grant { token, takeover: false, takeovers: 0, failures: 0, deliveries: 1 };
        assert_eq!(*granted(&answers[0]), plain);
        assert!(granted(&answers[1]).takeover && granted(&answers[1]).failures == 3);
        held(&answers[2], 8_000, 9_000);
        assert!(matches!(&answers[3], Acquired::Broken(e) if e.contains("WRONGTYPE")), "{answers:?}");
        assert_eq!(answers[4], Acquired::Gone);
        granted(&answers[5]);
        assert!(matches!(answers[6], Acquired::Busy(_)), "{answers:?}");
        // The record is like any other: the repeat finds it.
        let again = a.acquire_item(&AcquireItem { fresh: false, ..items[0].clone() }).await;
        assert_eq!(*granted(&again), plain);
        assert_eq!(a.int("HLEN svc-fences").await, 3);
    });
}
