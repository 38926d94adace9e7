//! A server that takes no writes for now, and users that may not do everything: nothing is half done.

use super::*;

/// A commit of every kind of write.
fn everything() -> CommitItem {
    let one = || vec![bytes("m")];
    with(
        "s",
        [
            Write::Set(key("k1"), bytes("x"), None),
            Write::Del(key("k2")),
            Write::Expire(key("k1"), Duration::from_secs(9)),
            Write::IncrBy(key("k3"), 1),
            Write::HSet(key("k4"), fields(&[("f", "v")])),
            Write::HDel(key("k4"), one()),
            Write::HIncrBy(key("k4"), bytes("n"), 1),
            Write::SAdd(key("k5"), one()),
            Write::SRem(key("k5"), one()),
            Write::ZAdd(key("k6"), vec![(Score(0), bytes("m"))]),
            Write::ZRem(key("k6"), one()),
            Write::RPush(key("k7"), one()),
            Write::XAdd(key("k8"), fields(&[("f", "v")]), Some(9)),
        ],
    )
}

fn aside() -> AsideItem {
    AsideItem {
        entry: ENTRY,
        stream: stream("s"),
        attempt: ATTEMPT,
        id: id("2-1"),
        fields: vec![],
        error: "odd".into(),
    }
}

#[test]
fn a_server_that_refuses_writes_is_an_error_and_nothing_has_changed() {
    let refusals = [
        (["maxmemory", "1"], ["maxmemory", "0"], TroubleKind::OutOfMemory, "OOM"),
        (["min-replicas-to-write", "1"], ["min-replicas-to-write", "0"], TroubleKind::NotNow, "NOREPLICAS"),
    ];
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        for ([name, value], [_, back], kind, code) in refusals {
            a.raw(&["CONFIG", "SET", name, value]).await;
            for item in [everything(), with("s", [Write::Del(key("s<"))]), position("s", "0-0", "1-0")] {
                let error = a.call(Call::Commit(vec![item.clone(), item])).await.unwrap_err();
                assert_eq!(error.kind, kind, "{error}");
                assert!(error.message.starts_with(code), "{error}");
            }
            let error = a.set_aside(vec![aside()]).await.unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            // What writes nothing is answered.
            assert_eq!(a.commit(position("t", "0-0", "1-0")).await, Committed::Absent);
            a.raw(&["CONFIG", "SET", name, back]).await;
            assert_eq!(a.text("DBSIZE").await, "1");
        }
        a.line("REPLICAOF 127.0.0.1 1").await;
        a.line("CONFIG SET replica-serve-stale-data yes").await;
        for call in [Call::Commit(vec![everything()]), Call::SetAside(vec![aside()])] {
            let error = a.call(call).await.unwrap_err();
            assert_eq!(error.kind, TroubleKind::WrongServer, "{error}");
            assert!(error.message.starts_with("READONLY"), "{error}");
        }
        a.line("REPLICAOF NO ONE").await;
        assert_eq!(a.text("DBSIZE").await, "1");
        assert_eq!(a.commit(everything()).await, Committed::Done);
    });
}

#[test]
fn a_server_that_cannot_save_is_an_error_and_nothing_has_changed() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        a.raw(&["CONFIG", "SET", "save", "3600 1"]).await;
        redis.remove_directory();
        a.line("BGSAVE").await;
        while !a.text("INFO persistence").await.contains("rdb_last_bgsave_status:err") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for call in [Call::Commit(vec![everything()]), Call::SetAside(vec![aside()])] {
            let error = a.call(call).await.unwrap_err();
            assert!(error.kind == TroubleKind::NotNow && error.message.starts_with("MISCONF"), "{error}");
        }
        assert_eq!(a.text("DBSIZE").await, "1");
    });
}

/// The commands that reading and committing use, without the application's own.
const RIGHTS: &str = "+eval +evalsha +xread +xrange +xrevrange +xinfo +xadd +multi +exec +get +hget +hmget +hset +hdel \
                      +type +time +info +exists +del";

/// Makes a user with these rights besides what everybody needs.
async fn user(peer: &mut Peer, name: &str, rules: &str) {
    let line = format!("ACL SETUSER {name} reset on >pw {rules}");
    peer.line(&line).await;
}

#[test]
fn a_command_that_this_user_may_not_run_is_said_before_anything_is_written() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        let all = everything();
        let commands = [
            "set", "del", "pexpire", "incrby", "hset", "hdel", "hincrby", "sadd", "srem", "zadd", "zrem", "rpush",
            "xadd",
        ];
        assert_eq!(all.writes.len(), commands.len());
        for (i, command) in commands.into_iter().enumerate() {
            // The script itself needs HSET, and on Redis before 7 HDEL.
            if ["hset", "hdel"].contains(&command) {
                continue;
            }
            user(&mut a, "u", &format!("~* +@all -{command}")).await;
            let mut u = Peer::user(&redis, "u").await;
            let Committed::Rejected(index, why) = u.commit(all.clone()).await else { panic!("{command}") };
            assert_eq!(index, i, "{why}");
            assert!(why.contains("NOPERM") && why.contains(&format!("+{command}")), "{why}");
            assert_eq!(a.text("DBSIZE").await, "1", "{command}");
        }
        a.line("HSET svc-checkpoints s 3-0").await;
        user(&mut a, "u", "~* +@all -rpush").await;
        let mut u = Peer::user(&redis, "u").await;
        let item = CommitItem { from: (id("3-0"), None), ..all.clone() };
        assert!(matches!(u.commit(item).await, Committed::Rejected(11, _)));
        assert_eq!(a.stored("s").await, "3-0");
        a.line("DEL svc-checkpoints").await;
        user(&mut a, "u", &format!("~* {RIGHTS} +set +pexpire +incrby +hincrby +sadd +srem +zadd +zrem +rpush")).await;
        let mut u = Peer::user(&redis, "u").await;
        assert_eq!(u.commit(all).await, Committed::Done);
    });
}

#[test]
fn a_key_that_this_user_may_not_touch_hurts_its_own_commit_only() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        for name in ["t", "u"] {
            a.own(name).await;
        }
        user(&mut a, "u", "~svc-* ~*<MUTEX_KEY_SEP>* ~mine:* +@all").await;
        let mut u = Peer::user(&redis, "u").await;
        let wrong = with("s", [Write::IncrBy(key("mine:n"), 1), Write::IncrBy(key("other"), 1)]);
        let right = with("t", [Write::IncrBy(key("mine:n"), 1)]);
        let answers = u.commit_all(vec![wrong, right, position("u", "0-0", "1-0")]).await;
        let Committed::Rejected(1, why) = &answers[0] else { panic!("{answers:?}") };
        assert!(why.contains("NOPERM") && why.contains("`other`") && why.contains("ACL SETUSER"), "{why}");
        assert_eq!(answers[1..], [Committed::Done, Committed::Done]);
        assert_eq!(a.text("GET mine:n").await, "1");

        // One of ours is everybody's matter.
        user(&mut a, "u", "~*<MUTEX_KEY_SEP>* ~mine:* +@all").await;
        let mut u = Peer::user(&redis, "u").await;
        for item in [position("u", "1-0", "2-0"), with("s", [Write::IncrBy(key("mine:n"), 1)])] {
            let error = u.call(Call::Commit(vec![item])).await.unwrap_err();
            assert!(error.kind == TroubleKind::Refused && error.message.contains("~*svc-*"), "{error}");
        }
    });
}

#[test]
fn a_key_that_this_user_may_only_read_hurts_its_own_commit_only() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        if a.major().await < 7 {
            // It knows no rules that tell reading from writing.
            return;
        }
        a.own("t").await;
        user(&mut a, "u", "~svc-* ~*<MUTEX_KEY_SEP>* ~mine:* %R~ro:* +@all").await;
        let mut u = Peer::user(&redis, "u").await;
        let wrong = with("s", [Write::IncrBy(key("mine:n"), 1), Write::IncrBy(key("ro:n"), 1)]);
        let answers = u.commit_all(vec![wrong, position("t", "0-0", "1-0")]).await;
        let Committed::Rejected(1, why) = &answers[0] else { panic!("{answers:?}") };
        assert!(why.contains("NOPERM") && why.contains("`ro:n`") && why.contains("ACL SETUSER"), "{why}");
        assert_eq!(answers[1..], [Committed::Done]);
        assert_eq!(a.text("EXISTS mine:n ro:n").await, "0");
    });
}

#[test]
fn who_may_not_write_dead_entries_is_told_so_for_each() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        for (rules, rule) in [
            ("~svc-checkpoints ~*<MUTEX_KEY_SEP>* +@all", "~*svc-*"),
            ("~* +@all -xadd", "+xadd"),
            ("~* +@all -evalsha", "+evalsha"),
        ] {
            user(&mut a, "u", rules).await;
            let mut u = Peer::user(&redis, "u").await;
            let answers = u.set_aside(vec![aside(), aside()]).await.unwrap();
            assert_eq!(answers.len(), 2, "{rules}");
            for answer in answers {
                let Aside::Broken(why) = answer else { panic!("{rules}: {answer:?}") };
                assert!(why.contains("ACL SETUSER") && why.contains(rule), "{rules}: {why}");
            }
            assert_eq!(a.text("EXISTS svc-dead-entries").await, "0", "{rules}");
        }
    });
}

#[test]
fn a_stream_that_this_user_may_not_read_hurts_nobody_else() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis).await;
        for line in ["XADD mine:s 1-1 f v", "XADD other 1-1 f v"] {
            a.line(line).await;
        }
        // Redis before 7 knows no rules that take subcommands away.
        let client = if a.major().await < 7 { "-client" } else { "-client|unblock -client|id" };
        user(&mut a, "u", &format!("~svc-* ~mine:* +@all {client} -info")).await;
        let mut u = Peer::user(&redis, "u").await;
        let found = u.fetch(&[("other", "0-0", 1), ("mine:s", "0-0", 1)]).await;
        let Fetched::Broken(why) = &found[0] else { panic!("{found:?}") };
        assert!(why.contains("NOPERM") && why.contains("ACL SETUSER"), "{why}");
        assert!(matches!(&found[1], Fetched::Entries(entries, _) if entries.len() == 1));
        let error = u.wait(&[("other", "0-0"), ("mine:s", "0-0")], 5_000).await.unwrap_err();
        assert_eq!(error.kind, TroubleKind::WrongType, "all of them have to be looked at: {error}");
        let opened = u.open(&[("other", true), ("mine:s", true)]).await.unwrap();
        assert!(matches!(&opened[0], Opened::Broken(why) if why.contains("NOPERM")), "{opened:?}");
        assert_eq!(opened[1], Opened::Known { record: None, last: Some(id("1-1")) });

        assert_eq!(u.call(Call::Identify).await.unwrap(), Answer::Identified(None));
        assert_eq!(u.call(Call::Wake { client: 1 }).await.unwrap(), Answer::Woken(None));
        let Answer::Prepared(server) = u.call(Call::Prepare).await.unwrap() else { panic!() };
        assert_eq!(server, Server { version: "unknown".into(), counts_added: false });

        user(&mut a, "u", "~* +@all -xread -xrange").await;
        let mut u = Peer::user(&redis, "u").await;
        let error = u.wait(&[("mine:s", "0-0")], 5_000).await.unwrap_err();
        assert!(error.kind == TroubleKind::Refused && error.message.contains("+xread"), "{error}");
        let item = FetchItem { stream: stream("mine:s"), after: id("0-0"), count: 1 };
        let error = u.call(Call::Fetch(vec![item])).await.unwrap_err();
        assert!(error.kind == TroubleKind::Refused && error.message.contains("+xrange"), "{error}");
    });
}

#[test]
fn what_the_operations_guide_allows_is_enough() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::owner(&redis).await;
        a.line("XADD s 1-1 f v").await;
        let guide = include_str!("../../../../../docs/operations.md");
        let rules = guide.lines().filter(|line| line.contains("ACL SETUSER ") || line.contains("+client|unblock"));
        let words: Vec<_> =
            rules.flat_map(|line| line.split([' ', '`'])).filter(|word| word.starts_with('+')).collect();
        let mut rules = words.join(" ");
        if a.major().await < 7 {
            // As the guide says.
            rules += " +xgroup +xinfo";
        }
        user(&mut a, "u", &format!("~* {rules}")).await;
        let mut u = Peer::user(&redis, "u").await;
        let Answer::Prepared(_) = u.call(Call::Prepare).await.unwrap() else { panic!() };
        let Answer::Identified(Some(client)) = u.call(Call::Identify).await.unwrap() else { panic!() };
        assert_eq!(u.call(Call::Wake { client }).await.unwrap(), Answer::Woken(Some(false)));
        assert!(matches!(u.fetch(&[("s", "0-0", 1)]).await[0], Fetched::Entries(..)));
        assert_eq!(u.wait(&[("s", "0-0")], 1).await.unwrap(), [0]);
        assert!(matches!(u.open(&[("s", true)]).await.unwrap()[0], Opened::Known { .. }));
        assert_eq!(u.commit(position("s", "0-0", "0-1")).await, Committed::Done);
        assert_eq!(u.set_aside(vec![aside()]).await.unwrap(), [Aside::Done]);
    });
}
