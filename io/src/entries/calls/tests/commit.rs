//! Positions: who may commit them, from where, and how often.

use super::*;

#[test]
fn a_position_goes_from_what_stands_there_to_the_next_and_a_repeat_changes_nothing() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let first = CommitItem { to: record("5-0", Some(7), None), ..position("s", "0-0", "5-0") };
        assert_eq!(a.commit(first.clone()).await, Committed::Done);
        assert_eq!(a.stored("s").await, "5-0 7 -");
        assert_eq!(a.commit(first.clone()).await, Committed::Done, "its answer was lost");
        assert_eq!(a.commit(position("s", "5-0", "6-0")).await, Committed::Done);
        assert_eq!(a.stored("s").await, "6-0 - -");
        assert_eq!(a.commit(first).await, Committed::Conflict(record("6-0", None, None)), "too late");
        assert_eq!(a.stored("s").await, "6-0 - -");
    });
}

#[test]
fn the_beginning_is_a_position_too() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let at_the_end = CommitItem { to: record("0-0", Some(0), None), ..position("s", "0-0", "0-0") };
        assert_eq!(a.commit(at_the_end.clone()).await, Committed::Done, "of a stream that is empty");
        assert_eq!(a.stored("s").await, "0-0 0 -");
        assert_eq!(a.commit(at_the_end).await, Committed::Done);
        assert_eq!(a.stored("s").await, "0-0 0 -");
    });
}

#[test]
fn the_beginning_is_a_position_behind_writes_alone_too() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let writes = CommitItem { to: record("0-0", None, mark(1)), ..with("s", [Write::IncrBy(key("n"), 1)]) };
        assert_eq!(a.commit(writes.clone()).await, Committed::Done);
        assert_eq!(a.stored("s").await, format!("0-0 - {}", mark(1).unwrap()));
        let at_the_end = CommitItem {
            from: (id("0-0"), mark(1)),
            to: record("0-0", Some(0), mark(1)),
            ..position("s", "0-0", "0-0")
        };
        for item in [&at_the_end, &at_the_end, &writes] {
            assert_eq!(a.commit(item.clone()).await, Committed::Done);
            assert_eq!(a.stored("s").await, format!("0-0 0 {}", mark(1).unwrap()));
        }
        assert_eq!(a.text("GET n").await, "1");
    });
}

#[test]
fn the_largest_numbers_are_numbers() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let last = "18446744073709551615-18446744073709551615";
        let attempt = Attempt { incarnation: u64::MAX, number: u64::MAX };
        let mark = Some(Mark { attempt, number: u64::MAX });
        let to = record(last, Some(u64::MAX), mark);
        let item = CommitItem { to: to.clone(), ..with("s", [Write::Del(key("x"))]) };
        assert_eq!(a.commit(item).await, Committed::Done);
        assert_eq!(a.commit(position("s", "0-0", "1-0")).await, Committed::Conflict(to.clone()));
        let item = CommitItem { from: (id(last), mark), to: Record { read: None, ..to }, ..position("s", last, last) };
        assert_eq!(a.commit(item).await, Committed::Done);
        let before = "18446744073709551615-18446744073709551614";
        a.raw(&["HSET", "svc-checkpoints", "s", before]).await;
        assert_eq!(a.commit(position("s", last, last)).await, Committed::Conflict(record(before, None, None)));
    });
}

#[test]
fn only_who_holds_the_lease_commits() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let item = position("s", "0-0", "1-0");
        for (value, answer) in [
            ("redis-consumer-b#00000000000000ab.3", Committed::Fenced),
            ("redis-consumer-a#00000000000000ab.4", Committed::Fenced),
            ("redis-consumer-a", Committed::Fenced),
            ("redis-consumer-a#00000000000000ab.3", Committed::Done),
        ] {
            a.raw(&["SET", "s<MUTEX_KEY_SEP>7-1", value]).await;
            assert_eq!(a.commit(item.clone()).await, answer, "{value}");
        }
        a.raw(&["SET", "s<MUTEX_KEY_SEP>7-1", "somebody"]).await;
        assert_eq!(a.commit(item.clone()).await, Committed::Fenced, "it stands there, but whose it is, nobody knows");
        a.line("DEL s<MUTEX_KEY_SEP>7-1").await;
        assert_eq!(a.commit(item.clone()).await, Committed::Absent);
        a.line("RPUSH s<MUTEX_KEY_SEP>7-1 x").await;
        let Committed::Broken(why) = a.commit(item).await else { panic!() };
        assert!(why.contains("WRONGTYPE"), "{why}");
        assert_eq!(a.stored("s").await, "1-0 - -");
    });
}

#[test]
fn a_commit_with_writes_knows_itself_again_even_behind_another_owner() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let first = with("s", [Write::IncrBy(key("n"), 1)]);
        for _ in 0..3 {
            assert_eq!(a.commit(first.clone()).await, Committed::Done);
        }
        a.raw(&["SET", "s<MUTEX_KEY_SEP>7-1", "somebody"]).await;
        assert_eq!(a.commit(first.clone()).await, Committed::Done);
        a.line("DEL s<MUTEX_KEY_SEP>7-1").await;
        assert_eq!(a.commit(first.clone()).await, Committed::Done);
        assert_eq!(a.text("GET n").await, "1");

        // The next owner goes on from it; its positions keep the mark.
        a.own("s").await;
        let item =
            CommitItem { from: (id("1-0"), mark(1)), to: record("2-0", None, mark(1)), ..position("s", "1-0", "2-0") };
        assert_eq!(a.commit(item).await, Committed::Done);
        assert_eq!(a.commit(first.clone()).await, Committed::Done);
        let item = CommitItem { from: (id("2-0"), mark(1)), to: record("2-0", None, mark(2)), ..first.clone() };
        assert_eq!(a.commit(item).await, Committed::Done);
        assert_eq!(a.commit(first).await, Committed::Conflict(record("2-0", None, mark(2))));
        assert_eq!(a.text("GET n").await, "2");
    });
}

#[test]
fn what_redis_has_forgotten_is_a_conflict() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        a.commit(with("s", [Write::IncrBy(key("n"), 1)])).await;
        a.line("DEL svc-checkpoints").await;
        let item = CommitItem { from: (id("1-0"), mark(1)), to: record("1-0", None, mark(2)), ..with("s", []) };
        assert_eq!(a.commit(item.clone()).await, Committed::Conflict(Record::default()));
        a.raw(&["HSET", "svc-checkpoints", "s", "1-0"]).await;
        assert_eq!(a.commit(item).await, Committed::Conflict(record("1-0", None, None)), "another mark");
    });
}

#[test]
fn a_hand_may_write_a_position_and_what_cannot_be_read_is_not_overwritten() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        for text in ["5-0", "05-00", "5-0 - -", "5-0 12 -"] {
            a.raw(&["HSET", "svc-checkpoints", "s", text]).await;
            assert_eq!(a.commit(position("s", "5-0", "6-0")).await, Committed::Done, "{text}");
            assert_eq!(a.stored("s").await, "6-0 - -");
        }
        for text in ["", "5", "x", "5-0 ", "5-0 x -", "5-0 1", "5-0 1 - 2", "99999999999999999999-0", "5-0 - x"] {
            a.raw(&["HSET", "svc-checkpoints", "s", text]).await;
            let Committed::Broken(why) = a.commit(position("s", "5-0", "6-0")).await else { panic!("{text:?}") };
            assert!(why.contains("record") && why.contains(text), "{why}");
            assert_eq!(a.stored("s").await, text);
            let Some(Opened::Broken(why)) = a.open(&[("s", false)]).await.unwrap().pop() else { panic!("{text:?}") };
            assert!(why.contains("HDEL") && why.contains(text), "{why}");
        }
        a.line("DEL svc-checkpoints").await;
        a.line("SET svc-checkpoints x").await;
        let Committed::Broken(why) = a.commit(position("s", "0-0", "6-0")).await else { panic!() };
        assert!(why.contains("WRONGTYPE"), "{why}");
        let Some(Opened::Broken(why)) = a.open(&[("s", false)]).await.unwrap().pop() else { panic!() };
        assert!(why.contains("WRONGTYPE") && why.contains("svc-checkpoints"), "{why}");
    });
}

#[test]
fn each_of_many_is_judged_by_itself() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis).await;
        for i in 0..1_203 {
            a.own(&format!("s{i}")).await;
        }
        a.raw(&["SET", "s5<MUTEX_KEY_SEP>7-1", "somebody"]).await;
        a.raw(&["DEL", "s6<MUTEX_KEY_SEP>7-1"]).await;
        a.raw(&["HSET", "svc-checkpoints", "s7", "3-0"]).await;
        a.raw(&["HSET", "svc-checkpoints", "s8", "odd"]).await;
        a.raw(&["RPUSH", "list", "x"]).await;
        let mut items: Vec<_> = (0..1_203).map(|i| position(&format!("s{i}"), "0-0", "1-0")).collect();
        items[9] = with("s9", [Write::IncrBy(key("list"), 1)]);
        items[10] = with("s10", [Write::SAdd(key("set"), vec![])]);
        items[11] = with("s11", [Write::RPush(key("list"), vec![bytes("y")])]);
        let answers = a.commit_all(items).await;
        assert_eq!(answers.len(), 1_203);
        for (i, answer) in answers.iter().enumerate() {
            match (i, answer) {
                (5, Committed::Fenced) | (6, Committed::Absent) | (7, Committed::Conflict(_)) => {}
                (8, Committed::Broken(_)) | (9, Committed::Rejected(0, _)) | (10, Committed::Rejected(0, _)) => {}
                (0..5 | 11.., Committed::Done) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(a.text("LLEN list").await, "2");
        assert_eq!(a.text("HLEN svc-checkpoints").await, (1_203 - 4).to_string());
    });
}

#[test]
fn the_same_stream_twice_in_one_call_is_done_in_order() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let second = CommitItem {
            from: (id("1-0"), None),
            to: record("1-0", None, mark(1)),
            ..with("s", [Write::RPush(key("l"), vec![bytes("x")])])
        };
        let third =
            CommitItem { from: (id("1-0"), mark(1)), to: record("2-0", None, mark(1)), ..position("s", "1-0", "2-0") };
        let answers = a.commit_all(vec![position("s", "0-0", "1-0"), second, third]).await;
        assert_eq!(answers, [Committed::Done, Committed::Done, Committed::Done]);
        assert_eq!(a.stored("s").await, format!("2-0 - {}", mark(1).unwrap()));
    });
}

#[test]
fn no_commits_ask_nothing() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        assert_eq!(a.commit_all(vec![]).await, []);
        assert_eq!(a.open(&[]).await.unwrap(), []);
        assert_eq!(a.fetch(&[]).await, []);
        assert_eq!(a.wait(&[], 60_000).await.unwrap(), [0_usize; 0]);
        assert_eq!(a.set_aside(vec![]).await.unwrap(), []);
    });
}
