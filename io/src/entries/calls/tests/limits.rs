//! The largest call of each kind. A request of more words than the strictest server takes fails: `wire::counted`.

use super::*;

fn numbered(of: &str, n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| format!("{of}{i}").into_bytes()).collect()
}

#[test]
fn many_commits_are_several_calls() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis).await;
        let names: Vec<String> = (0..1_000).map(|i| format!("s{i}")).collect();
        for name in &names {
            a.own(name).await;
        }
        let writes = |i: usize| vec![Write::RPush(key("list"), numbered("x", i % 50)), Write::Del(key("none"))];
        let one = |(name, i): (&String, usize)| match i % 50 {
            0 => position(name, "0-0", "1-0"),
            _ => with(name, writes(i)),
        };
        let committed = a.commit_all(names.iter().zip(0..).map(one).collect()).await;
        assert_eq!(committed, vec![Committed::Done; 1_000]);
        assert_eq!(a.text("LLEN list").await, (0..1_000).map(|i| i % 50).sum::<usize>().to_string());
        assert_eq!(a.text("HLEN svc-checkpoints").await, "1000");
    });
}

#[test]
fn one_commit_may_have_more_words_than_a_request() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        // Whatever the bytes: lengths tell where each ends.
        let odd = vec![b"3:a".to_vec(), b"\r\n".to_vec(), vec![0, 255], vec![]];
        let writes = [
            Write::SAdd(key("set"), [numbered("m", 9_000), odd.clone()].concat()),
            Write::HSet(key("hash"), numbered("f", 5_000).into_iter().map(|f| (f.clone(), f)).collect()),
            Write::Set(key("last"), b"7:x".to_vec(), None),
        ];
        assert_eq!(a.commit(with("s", writes)).await, Committed::Done);
        assert_eq!((a.text("SCARD set").await, a.text("HLEN hash").await), ("9004".into(), "5000".into()));
        assert_eq!((a.text("HGET hash f4999").await, a.text("GET last").await), ("f4999".into(), "7:x".into()));
        for member in odd {
            let mut cmd = redis::cmd("SISMEMBER");
            let found = script::send(&mut a.connection, cmd.arg("set").arg(&member)).await.unwrap();
            assert_eq!(found, Value::Int(1), "{member:?}");
        }
    });
}

#[test]
fn one_commit_has_as_many_writes_as_a_request_has_room_for_keys() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let writes =
            |n: usize| -> Vec<Write> { numbered("k", n).into_iter().map(|k| Write::IncrBy(k.into(), 1)).collect() };
        let (index, why) = a.rejected(writes(3_901)).await;
        assert!(index == 3_900 && why.contains("3900 writes"), "{index}: {why}");
        let most = [writes(3_899), vec![Write::Del(key("k0"))]].concat();
        assert_eq!(a.commit(with("s", most)).await, Committed::Done);
        assert_eq!(a.text("DBSIZE").await, "3900", "the lease, the record, and all keys but one");
    });
}

#[test]
fn long_entries_are_set_aside_in_several_calls() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let one = |n: u64| AsideItem {
            entry: ENTRY,
            stream: stream("s"),
            attempt: ATTEMPT,
            id: EntryId { ms: n, seq: 0 },
            fields: numbered("f", [1, 30, 1_900, 1_901, 2_900][n as usize % 5])
                .into_iter()
                .map(|f| (f, vec![]))
                .collect(),
            error: "x".repeat(900).into(),
        };
        let answers = a.set_aside((1..=100).map(one).collect()).await.unwrap();
        assert_eq!(answers, vec![Aside::Done; 100]);
        assert_eq!(a.text("XLEN svc-dead-entries").await, "100");
    });
}
