//! What streams have, and when they have it.

use super::*;

fn entries(fetched: &Fetched) -> (Vec<String>, About) {
    match fetched {
        Fetched::Entries(entries, about) => (entries.iter().map(|entry| entry.id.to_string()).collect(), *about),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_stream_is_fetched_by_itself() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis).await;
        for line in [
            "XADD s 1-1 f v",
            "XADD s 1-2 f v",
            "XADD s 2-1 f v",
            "XADD t 5-0 f v",
            "XDEL t 5-0",
            "SET odd x",
            "RPUSH l x",
        ] {
            a.line(line).await;
        }
        let last = "18446744073709551615-18446744073709551615";
        let asked = [
            ("s", "0-0", 2),
            ("odd", "0-0", 9),
            ("s", "1-1", 9),
            ("missing", "0-0", 1),
            ("t", "0-0", 9),
            ("s", "2-1", 9),
            ("l", "1-1", 9),
            ("s", last, 9),
            ("s", "1-2", 0),
            ("s", "1-18446744073709551615", 9),
        ];
        let found = a.fetch(&asked).await;
        let whole = About { length: 3, added: found_added(&mut a, 3).await, first: Some(id("1-1")), last: id("2-1") };
        assert_eq!(entries(&found[0]), (vec!["1-1".to_owned(), "1-2".to_owned()], whole));
        assert_eq!(entries(&found[2]), (vec!["1-2".to_owned(), "2-1".to_owned()], whole));
        assert_eq!(found[3], Fetched::Missing);
        let emptied = About { length: 0, added: found_added(&mut a, 1).await, first: None, last: id("5-0") };
        assert_eq!(entries(&found[4]), (vec![], emptied));
        assert_eq!(entries(&found[5]), (vec![], whole));
        assert_eq!(entries(&found[7]), (vec![], whole));
        assert_eq!(entries(&found[8]), (vec!["2-1".to_owned()], whole), "at least one");
        assert_eq!(entries(&found[9]), (vec!["2-1".to_owned()], whole));
        for broken in [&found[1], &found[6]] {
            let Fetched::Broken(why) = broken else { panic!("{broken:?}") };
            assert!(why.contains("WRONGTYPE") && why.contains("TYPE,"), "{why}");
        }
    });
}

async fn found_added(peer: &mut Peer, added: u64) -> Option<u64> {
    (peer.major().await >= 7).then_some(added)
}

#[test]
fn fields_are_bytes() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis).await;
        let odd: Vec<u8> = (0..=255).collect();
        let mut cmd = redis::cmd("XADD");
        cmd.arg("s").arg("1-1").arg(&odd).arg(b"\xff").arg("f").arg("").arg("f").arg("twice");
        script::send(&mut a.connection, &cmd).await.unwrap();
        let Some(Fetched::Entries(entries, _)) = a.fetch(&[("s", "0-0", 1)]).await.pop() else { panic!() };
        let expected = vec![(odd, vec![0xff]), (bytes("f"), vec![]), (bytes("f"), bytes("twice"))];
        assert_eq!(entries, [Entry { id: id("1-1"), fields: expected }]);
    });
}

#[test]
fn waiting_names_the_streams_with_news() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis).await;
        for line in ["XADD s 1-1 f v", "XADD t 1-1 f v", "XADD u 1-1 f v"] {
            a.line(line).await;
        }
        let some = [("u", "0-0"), ("missing", "0-0"), ("t", "1-1"), ("s", "1-0")];
        for block_ms in [0, 10_000] {
            assert_eq!(a.wait(&some, block_ms).await.unwrap(), [0, 3]);
        }
        let none = [("u", "1-1"), ("missing", "0-0"), ("s", "18446744073709551615-18446744073709551615")];
        for block_ms in [0, 1, 20] {
            assert_eq!(a.wait(&none, block_ms).await.unwrap(), [0_usize; 0]);
        }
        a.line("SET odd x").await;
        let error = a.wait(&[("u", "1-1"), ("odd", "0-0")], 10_000).await.unwrap_err();
        assert_eq!(error.kind, TroubleKind::WrongType);
    });
}

#[test]
fn who_waits_is_served_and_woken() {
    on_redis(&[], |redis| async move {
        let (mut reader, mut a) = (Peer::new(&redis).await, Peer::new(&redis).await);
        let Answer::Identified(Some(client)) = reader.call(Call::Identify).await.unwrap() else { panic!() };
        let streams = [("s", "0-0"), ("t", "0-0")];
        // Added while it waits, to a stream that was not there.
        let added = async {
            blocked(&mut a).await;
            a.line("XADD t 1-1 f v").await;
        };
        let (waited, ()) = tokio::join!(reader.wait(&streams, 9_000), added);
        assert_eq!(waited.unwrap(), [1]);

        let streams = [("s", "0-0"), ("t", "1-1")];
        let woken = async {
            blocked(&mut a).await;
            assert_eq!(a.call(Call::Wake { client }).await.unwrap(), Answer::Woken(Some(true)));
            assert_eq!(a.call(Call::Wake { client: client + 1_000 }).await.unwrap(), Answer::Woken(Some(false)));
        };
        let (waited, ()) = tokio::join!(reader.wait(&streams, 9_000), woken);
        assert_eq!(waited.unwrap(), [0_usize; 0]);
    });
}

/// Waits until somebody is blocked.
async fn blocked(peer: &mut Peer) {
    while !peer.text("INFO clients").await.contains("blocked_clients:1") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_key_that_turns_into_something_else_is_noticed() {
    on_redis(&[], |redis| async move {
        let (mut reader, mut a) = (Peer::new(&redis).await, Peer::new(&redis).await);
        a.line("XADD s 1-1 f v").await;
        let changed = async {
            blocked(&mut a).await;
            a.line("DEL s").await;
            a.line("RPUSH s x").await;
            a.line("XADD t 1-1 f v").await;
        };
        // Valkey tells at once, Redis when somebody asks next.
        let (waited, ()) = tokio::join!(reader.wait(&[("s", "1-1"), ("t", "0-0")], 9_000), changed);
        assert!(
            matches!(&waited, Ok(found) if *found == [1])
                || waited.as_ref().is_err_and(|e| e.kind == TroubleKind::WrongType),
            "{waited:?}"
        );
        assert!(matches!(a.fetch(&[("s", "1-1", 1)]).await[0], Fetched::Broken(_)));
    });
}

#[test]
fn many_streams_are_waited_for_and_opened() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis).await;
        let names: Vec<String> = (0..1_201).map(|i| format!("s{i}")).collect();
        a.line("XADD s1200 3-1 f v").await;
        a.line("XADD s700 4-1 f v").await;
        a.line("HSET svc-checkpoints s0 1-0 s700 2-0 s701 odd").await;
        a.line("SET s702 x").await;
        a.line("DEL s702").await;
        let streams: Vec<_> = names.iter().map(|name| (name.as_str(), "0-0")).collect();
        assert_eq!(a.wait(&streams, 10).await.unwrap(), [700, 1_200]);
        a.line("SET s703 x").await;
        let items: Vec<_> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i % 2 == 0 || i == 703)).collect();
        let opened = a.open(&items).await.unwrap();
        assert_eq!(opened.len(), 1_201);
        for (i, opened) in opened.into_iter().enumerate() {
            let last = (i % 2 == 0).then_some(id("0-0"));
            let expected = match i {
                0 => Opened::Known { record: Some(record("1-0", None, None)), last },
                700 => Opened::Known { record: Some(record("2-0", None, None)), last: Some(id("4-1")) },
                1_200 => Opened::Known { record: None, last: Some(id("3-1")) },
                701 | 703 => match opened {
                    Opened::Broken(_) => continue,
                    other => panic!("{i}: {other:?}"),
                },
                _ => Opened::Known { record: None, last },
            };
            assert_eq!(opened, expected, "{i}");
        }
    });
}

#[test]
fn in_a_cluster_streams_elsewhere_are_told_and_not_waited_for() {
    on_redis(&["--cluster-enabled", "yes", "--port", "0"], |redis| async move {
        let mut a = Peer::with(&redis, Keys::hash_tagged("svc").unwrap(), false).await;
        let slots: Vec<String> = (0..16_384).map(|slot: u32| slot.to_string()).collect();
        a.line(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
        a.call(Call::Prepare).await.unwrap();
        while !a.text("CLUSTER INFO").await.contains("cluster_state:ok") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        a.line("XADD {svc}s 1-1 f v").await;
        assert_eq!(a.wait(&[("other", "0-0"), ("{svc}s", "0-0"), ("{svc}t", "0-0")], 10).await.unwrap(), [1]);
        assert_eq!(a.wait(&[("other", "0-0")], 10_000).await.unwrap(), [0_usize; 0]);
        let found = a.fetch(&[("other", "0-0", 1), ("{svc}s", "0-0", 1)]).await;
        let Fetched::Broken(why) = &found[0] else { panic!("{found:?}") };
        assert!(why.contains("`other`") && why.contains("{svc}"), "{why}");
        assert_eq!(entries(&found[1]).0, ["1-1"]);
        a.own("{svc}s").await;
        let item = with(
            "{svc}s",
            [Write::IncrBy(key("{svc}total"), 1), Write::XAdd(key("{svc}out"), fields(&[("f", "v")]), None)],
        );
        assert_eq!(a.commit(item).await, Committed::Done);
    });
}
