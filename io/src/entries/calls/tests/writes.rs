//! The application's own writes: each kind, what it does, and what it cannot do.

use super::*;

fn score(number: f64) -> Score {
    Score(number.to_bits())
}

/// Makes a write to a key.
type Make = fn(Key) -> Write;

/// One write of each kind, on keys of these names.
fn every_kind() -> Vec<Write> {
    vec![
        Write::Set(key("string"), bytes("7"), None),
        Write::IncrBy(key("string"), -9),
        Write::HSet(key("hash"), fields(&[("f", "1"), ("g", "2"), ("h", "3")])),
        Write::HDel(key("hash"), vec![bytes("g"), bytes("nothing")]),
        Write::HIncrBy(key("hash"), bytes("f"), 41),
        Write::SAdd(key("set"), vec![bytes("a"), bytes("b"), bytes("c")]),
        Write::SRem(key("set"), vec![bytes("a")]),
        Write::ZAdd(
            key("zset"),
            vec![(score(1.5), bytes("a")), (score(f64::INFINITY), bytes("b")), (score(-2e300), bytes("c"))],
        ),
        Write::ZRem(key("zset"), vec![bytes("c"), bytes("nothing")]),
        Write::RPush(key("list"), vec![bytes("1"), bytes("2")]),
        Write::XAdd(key("stream"), fields(&[("f", "v")]), None),
        Write::XAdd(key("stream"), fields(&[("f", "w")]), Some(100)),
        Write::Expire(key("list"), Duration::from_secs(100)),
        Write::Set(key("short"), bytes("x"), Some(Duration::from_micros(99_999_900))),
        Write::Del(key("gone")),
    ]
}

#[test]
fn every_kind_is_written_with_its_position() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        a.line("RPUSH gone x").await;
        assert_eq!(a.commit(with("s", every_kind())).await, Committed::Done);
        assert_eq!(a.text("GET string").await, "-2");
        assert_eq!(a.text("HGET hash f").await, "42");
        assert_eq!(a.text("HLEN hash").await, "2");
        assert_eq!(a.text("SCARD set").await, "2");
        assert_eq!(a.text("ZSCORE zset a").await, "1.5");
        assert_eq!(a.text("ZSCORE zset b").await, "inf");
        assert_eq!(a.text("ZCARD zset").await, "2");
        assert_eq!(a.text("LINDEX list 1").await, "2");
        assert_eq!(a.text("XLEN stream").await, "2");
        assert_eq!(a.text("EXISTS gone").await, "0");
        for name in ["list", "short"] {
            let ttl: i64 = a.text(&format!("PTTL {name}")).await.parse().unwrap();
            assert!((1..=100_000).contains(&ttl), "{name}: {ttl}");
        }
        assert_eq!(a.stored("s").await, format!("1-0 - {}", mark(1).unwrap()));
    });
}

#[test]
fn values_are_bytes() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let odd: Vec<u8> = (0..=255).collect();
        let name: Key = [b"k\0\xff", odd.as_slice()].concat().into();
        let writes = [Write::RPush(name.clone(), vec![odd.clone(), vec![], bytes("-0")])];
        assert_eq!(a.commit(with("s", writes)).await, Committed::Done);
        let mut cmd = redis::cmd("LRANGE");
        cmd.arg(&*name).arg(0).arg(-1);
        let list = script::send(&mut a.connection, &cmd).await.unwrap();
        assert_eq!(
            value::list(list).unwrap().iter().map(|v| value::bytes(v).unwrap().to_vec()).collect::<Vec<_>>(),
            [odd, vec![], bytes("-0")]
        );
        let (index, why) = a.rejected_again([Write::SAdd(name, vec![bytes("x")])]).await;
        assert!(index == 0 && why.contains("SADD `k\0\u{fffd}") && why.contains("holds a list"), "{why}");
    });
}

#[test]
fn a_key_of_another_type_is_said_before_anything_is_written() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        for line in
            ["SET string x", "HSET hash f v", "SADD set m", "ZADD zset 1 m", "RPUSH list v", "XADD stream 1-1 f v"]
        {
            a.line(line).await;
        }
        let types = ["string", "hash", "set", "zset", "list", "stream"];
        let kinds: [(&str, Make); 10] = [
            ("string", |k| Write::IncrBy(k, 1)),
            ("hash", |k| Write::HSet(k, fields(&[("f", "v")]))),
            ("hash", |k| Write::HDel(k, vec![bytes("f")])),
            ("hash", |k| Write::HIncrBy(k, bytes("n"), 1)),
            ("set", |k| Write::SAdd(k, vec![bytes("m")])),
            ("set", |k| Write::SRem(k, vec![bytes("m")])),
            ("zset", |k| Write::ZAdd(k, vec![(score(1.0), bytes("m"))])),
            ("zset", |k| Write::ZRem(k, vec![bytes("m")])),
            ("list", |k| Write::RPush(k, vec![bytes("v")])),
            ("stream", |k| Write::XAdd(k, fields(&[("f", "v")]), None)),
        ];
        for (needed, write) in kinds {
            for kind in types.into_iter().filter(|kind| *kind != needed) {
                let (index, why) = a.rejected([Write::Set(key("first"), bytes("x"), None), write(key(kind))]).await;
                assert_eq!(index, 1, "{why}");
                assert!(
                    why.contains(&format!("`{kind}`")) && why.contains(&format!("holds a {kind}, not a {needed}")),
                    "{why}"
                );
            }
        }
        assert_eq!(a.text("EXISTS first svc-checkpoints").await, "0");
        for kind in types {
            let writes = [Write::Set(key(kind), bytes("new"), None)];
            let item = CommitItem { stream: stream(kind), ..with("s", writes) };
            a.own(kind).await;
            assert_eq!(a.commit(item).await, Committed::Done, "SET replaces whatever was there");
            assert_eq!(a.text(&format!("GET {kind}")).await, "new");
        }
    });
}

#[test]
fn what_a_commit_writes_first_counts_for_what_it_writes_next() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        a.line("RPUSH list x").await;
        a.line("HSET hash n 5 odd x").await;
        a.line("SET number 9223372036854775800").await;
        let k = || key("new");
        let one = || vec![bytes("m")];
        for (writes, index) in [
            (vec![Write::RPush(k(), one()), Write::SAdd(k(), one())], 1),
            (vec![Write::Set(k(), bytes("x"), None), Write::IncrBy(k(), 1)], 1),
            (vec![Write::Set(k(), bytes("1"), None), Write::HSet(k(), fields(&[("f", "v")]))], 1),
            (vec![Write::HSet(k(), fields(&[("f", "x")])), Write::HIncrBy(k(), bytes("f"), 1)], 1),
            (vec![Write::HSet(key("hash"), fields(&[("n", "x")])), Write::HIncrBy(key("hash"), bytes("n"), 1)], 1),
            (vec![Write::IncrBy(key("number"), 7), Write::IncrBy(key("number"), 1)], 1),
            (vec![Write::HDel(key("hash"), vec![bytes("n")]), Write::HIncrBy(key("hash"), bytes("odd"), 1)], 1),
            (vec![Write::IncrBy(k(), i64::MIN), Write::IncrBy(k(), i64::MAX), Write::IncrBy(k(), i64::MIN)], 2),
        ] {
            assert_eq!(a.rejected(writes.clone()).await.0, index, "{writes:?}");
        }
        assert_eq!(a.text("EXISTS new svc-checkpoints").await, "0");
        let writes = [
            Write::Del(key("list")),
            Write::SAdd(key("list"), one()),
            Write::Set(key("list"), bytes("41"), None),
            Write::IncrBy(key("list"), 1),
            Write::HSet(key("hash"), fields(&[("odd", "9")])),
            Write::HIncrBy(key("hash"), bytes("odd"), 1),
            Write::HDel(key("hash"), vec![bytes("n")]),
            Write::HIncrBy(key("hash"), bytes("n"), 2),
            Write::SRem(k(), one()),
            Write::HDel(k(), one()),
            Write::RPush(k(), one()),
            Write::Del(key("number")),
            Write::IncrBy(key("number"), i64::MAX),
        ];
        assert_eq!(a.commit(with("s", writes)).await, Committed::Done);
        assert_eq!(a.text("GET list").await, "42");
        assert_eq!(a.text("HGET hash odd").await, "10");
        assert_eq!(a.text("HGET hash n").await, "2");
        assert_eq!(a.text("LLEN new").await, "1");
        assert_eq!(a.text("GET number").await, i64::MAX.to_string());
    });
}

#[test]
fn sums_are_exact_and_what_does_not_fit_is_said_before() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let edges = [
            0,
            1,
            -1,
            9,
            999_999_999,
            1_000_000_000,
            -1_000_000_000,
            -999_999_999,
            1 << 53,
            (1 << 53) + 1,
            i64::MAX - 1,
            i64::MAX,
            i64::MIN,
            i64::MIN + 1,
            i64::MAX / 2,
            i64::MIN / 2,
            854_775_807,
            -854_775_808,
            9_223_372_036_000_000_000,
            -9_223_372_036_000_000_000,
        ];
        for before in edges {
            for by in edges {
                a.raw(&["SET", "n", &before.to_string()]).await;
                a.raw(&["HSET", "h", "n", &before.to_string()]).await;
                a.raw(&["DEL", "svc-checkpoints"]).await;
                let mut item = with("s", [Write::IncrBy(key("n"), by)]);
                let one = a.commit(item.clone()).await;
                a.raw(&["DEL", "svc-checkpoints"]).await;
                item.writes = [Write::HIncrBy(key("h"), bytes("n"), by)].into();
                let two = a.commit(item).await;
                let is = match before.checked_add(by) {
                    Some(sum) => {
                        assert_eq!((one, two), (Committed::Done, Committed::Done), "{before} + {by}");
                        sum
                    }
                    None => {
                        let Committed::Rejected(0, why) = one else { panic!("{before} + {by}: {one:?}") };
                        assert!(why.contains("64 bits"), "{why}");
                        assert!(matches!(two, Committed::Rejected(0, _)), "{before} + {by}");
                        before
                    }
                };
                assert_eq!(a.text("GET n").await, is.to_string());
                assert_eq!(a.text("HGET h n").await, is.to_string());
            }
        }
        for odd in
            ["", " ", "x", "+1", "01", "-0", "1.0", "1 ", "9223372036854775808", "-9223372036854775809", "0x1", "1e3"]
        {
            a.raw(&["SET", "n", odd]).await;
            let (_, why) = a.rejected_again([Write::IncrBy(key("n"), 0)]).await;
            assert!(why.contains("not a whole number"), "{odd:?}: {why}");
        }
    });
}

#[test]
fn what_no_server_would_take_is_not_sent() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let k = || key("k");
        let many = |n: usize| (0..n).map(|i| (i.to_string().into_bytes(), vec![])).collect::<Vec<_>>();
        let long = || vec![vec![0; 9 << 20]];
        for (writes, index, why) in [
            (vec![Write::HSet(k(), vec![])], 0, "at least one field"),
            (vec![Write::HDel(k(), vec![])], 0, "at least one field"),
            (vec![Write::SAdd(k(), vec![])], 0, "at least one member"),
            (vec![Write::SRem(k(), vec![])], 0, "at least one member"),
            (vec![Write::ZAdd(k(), vec![])], 0, "at least one member"),
            (vec![Write::ZRem(k(), vec![])], 0, "at least one member"),
            (vec![Write::RPush(k(), vec![])], 0, "at least one value"),
            (vec![Write::XAdd(k(), vec![], None)], 0, "at least one field"),
            (vec![Write::Set(k(), vec![], Some(Duration::ZERO))], 0, "time to live of zero"),
            (vec![Write::Expire(k(), Duration::ZERO)], 0, "time to live of zero"),
            (vec![Write::Del(k()), Write::ZAdd(k(), vec![(score(f64::NAN), bytes("m"))])], 1, "NaN"),
            (vec![Write::XAdd(k(), many(2_901), None)], 0, "2900"),
            (vec![Write::HSet(k(), many(9_000)), Write::HSet(k(), many(9_000))], 1, "20000 arguments"),
            (vec![Write::RPush(k(), long()), Write::RPush(k(), long())], 1, "16 MiB"),
            (vec![Write::Del(key("svc-checkpoints"))], 0, "Streamkeeper's own"),
            (vec![Write::Set(key("svc-fences"), vec![], None)], 0, "Streamkeeper's own"),
            (vec![Write::Set(key("svc-once:x"), vec![], None)], 0, "Streamkeeper's own"),
            (vec![Write::Del(key("s<MUTEX_KEY_SEP>7-1"))], 0, "Streamkeeper's own"),
        ] {
            let (at, said) = a.rejected(writes).await;
            assert!(at == index && said.contains(why), "{why}: {at} {said}");
        }
        assert_eq!(a.text("DBSIZE").await, "1");
        let writes = [
            Write::HSet(key("large"), many(9_000)),
            Write::XAdd(key("x"), many(900), Some(u64::MAX)),
            Write::Set(key("ever"), vec![], Some(Duration::MAX)),
        ];
        assert_eq!(a.commit(with("s", writes)).await, Committed::Done);
        assert_eq!(a.text("HLEN large").await, "9000");
    });
}

#[test]
fn an_entry_may_have_as_many_fields_as_is_said() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let many = |n: usize| (0..n).map(|i| (i.to_string().into_bytes(), vec![])).collect::<Vec<_>>();
        let writes = [Write::XAdd(key("x"), many(2_900), Some(5)), Write::HSet(key("h"), many(7_000))];
        assert_eq!(a.commit(with("s", writes)).await, Committed::Done);
        assert_eq!(a.text("XLEN x").await, "1");
    });
}

#[test]
fn a_stream_without_ids_is_told() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        a.line("XADD x 18446744073709551615-18446744073709551615 f v").await;
        let (index, why) = a.rejected([Write::Del(key("y")), Write::XAdd(key("x"), fields(&[("f", "v")]), None)]).await;
        assert!(index == 1 && why.contains("no ids left"), "{why}");
        let writes = [Write::Del(key("x")), Write::XAdd(key("x"), fields(&[("f", "v")]), None)];
        assert_eq!(a.commit(with("s", writes)).await, Committed::Done);
    });
}

#[test]
fn in_the_tagged_layout_keys_must_lie_in_the_services_slot() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::with(&redis, Keys::hash_tagged("svc").unwrap(), false).await;
        a.own("s").await;
        for odd in ["total", "{other}total", "{other}{svc}", "{}{svc}"] {
            let (index, why) = a.rejected([Write::Del(key("{svc}x")), Write::IncrBy(key(odd), 1)]).await;
            assert!(index == 1 && why.contains("{svc}") && why.contains(odd), "{why}");
        }
        let (_, why) = a.rejected([Write::Del(key("{svc}-checkpoints"))]).await;
        assert!(why.contains("Streamkeeper's own"), "{why}");
        let writes = [Write::IncrBy(key("{svc}total"), 1), Write::IncrBy(key("orders{svc}"), 1)];
        assert_eq!(a.commit(with("s", writes)).await, Committed::Done);
        assert_eq!(a.text("GET {svc}total").await, "1");
    });
}
