//! Look at the server, create the group; few rights; a cluster.

use super::*;
use crate::messages::calls::{Retried, ToSchedule, ToSend, troubles::RIGHTS};
use redis::RedisConnectionInfo;
use streamkeeper_core::{
    messages::config::{Begin, Processed, Rate},
    trouble::TroubleKind,
};

async fn prepare(peer: &mut Peer) -> Server {
    match peer.call(Call::Prepare).await.unwrap() {
        Answer::Prepared(server) => server,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_begins_where_it_is_to_and_at_the_oldest_when_it_was_lost() {
    for (begin, first) in [(Begin::Oldest, 3), (Begin::Newest, 1)] {
        on_redis(&[], |redis| async move {
            let mut a = Peer::with(&redis, "a", Settings { begin, ..settings() }, false).await;
            a.add("1").await;
            a.add("2").await;
            assert!(prepare(&mut a).await.created);
            a.add("3").await;
            assert!(!prepare(&mut a).await.created);
            assert_eq!(a.read(9).await.len(), first, "{begin:?}");
            a.raw("XGROUP DESTROY m g").await;
            let lost = a.call(Call::Read { count: 1, block: Duration::ZERO }).await.unwrap_err();
            assert_eq!(lost.kind, TroubleKind::GroupLost);
            assert!(prepare(&mut a).await.created);
            assert_eq!(a.read(9).await.len(), 3, "{begin:?}: what was in flight comes again");
        });
    }
}

#[test]
fn who_takes_messages_without_acknowledging_holds_none() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::with(&redis, "a", Settings { no_ack: true, ..settings() }, false).await;
        prepare(&mut a).await;
        let hold = a.given("x").await;
        assert_eq!(a.pending(hold.entry).await, None);
    });
}

#[test]
fn out_of_memory_a_group_that_is_there_is_good_enough() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.raw("CONFIG SET maxmemory 1").await;
        assert_eq!(a.call(Call::Prepare).await.unwrap_err().kind, TroubleKind::OutOfMemory);
        a.raw("CONFIG SET maxmemory 0").await;
        prepare(&mut a).await;
        a.raw("CONFIG SET maxmemory 1").await;
        assert!(!prepare(&mut a).await.created);
    });
}

#[test]
fn what_weakens_a_promise_is_said() {
    on_redis(&["--appendonly", "yes"], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        assert_eq!(prepare(&mut a).await.warnings.len(), 0);
        a.raw("CONFIG SET maxmemory-policy volatile-lru").await;
        let warnings = prepare(&mut a).await.warnings;
        assert!(warnings.len() == 1 && warnings[0].contains("noeviction"), "{warnings:?}");
    });
}

#[test]
fn what_cannot_work_is_named() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.raw("SET m x").await;
        let trouble = a.call(Call::Prepare).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::WrongType);
        assert!(trouble.message.contains("`m`") && trouble.message.contains("rename"), "{trouble}");
        a.raw("DEL m").await;
        a.raw("REPLICAOF 127.0.0.1 1").await;
        let trouble = a.call(Call::Prepare).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::WrongServer, "{trouble}");
    });
}

/// Every call and every question once. Answers what was refused.
async fn everything(peer: &mut Peer) -> Vec<Trouble> {
    let mut refused = Vec::new();
    macro_rules! ask {
        ($result:expr) => {
            match $result {
                Ok(answer) => Some(answer),
                Err(trouble) => {
                    let trouble: Trouble = trouble;
                    assert_eq!(trouble.kind, TroubleKind::Refused, "{trouble}");
                    refused.push(trouble);
                    None
                }
            }
        };
    }
    let (calls, mut connection) = (peer.calls.clone(), peer.connection.clone());
    let connection = &mut connection;
    // The leftovers of a user who had fewer rights.
    for what in ["prepare", "again"] {
        if let Some(Answer::Prepared(server)) = ask!(peer.call(Call::Prepare).await)
            && server.identity.as_str().is_empty()
        {
            refused.push(Trouble::from_reply("NOPERM", what));
        }
    }
    let send = |text: &str, once: Option<&str>| ToSend {
        fields: body(text).to_vec(),
        once: once.map(|key| (key.into(), Duration::from_secs(60))),
    };
    for result in calls.send_all(connection, &[send("1", None), send("2", Some("k")), send("3", None)]).await {
        ask!(result);
    }
    let later = |id: &str, delay| ToSchedule {
        id: id.into(),
        delay,
        window: Duration::from_secs(60),
        fields: body(id).to_vec(),
    };
    for result in calls.schedule(connection, &[later("a", Duration::ZERO), later("b", Duration::from_secs(60))]).await {
        ask!(result);
    }
    ask!(calls.scheduled(connection, 0, 9).await);
    ask!(calls.cancel(connection, &["b".into()]).await);
    ask!(peer.call(Call::Due { count: 9 }).await);
    let read = ask!(peer.call(Call::Read { count: 9, block: Duration::from_millis(1) }).await);
    ask!(peer.call(Call::Mine { after: None, count: 9 }).await);
    let Some(Answer::Read(read)) = read else { return refused };
    let holds: Vec<_> = read.into_iter().map(|(entry, _)| Hold { entry, deliveries: 1 }).collect();
    let Some(&hold) = holds.first() else { return refused };
    ask!(peer.call(Call::Fetch(vec![hold.entry])).await);
    ask!(peer.call(Call::Refresh(holds.clone())).await);
    ask!(peer.call(Call::Mark(vec![MarkItem { hold, mark: Mark::Started }])).await);
    ask!(peer.call(Call::Check(vec![(hold.entry, b"k".as_slice().into())])).await);
    ask!(peer.call(Call::Permits { count: 1 }).await);
    let park = ParkItem { hold, delay: Duration::ZERO, failure: Some("x".into()) };
    ask!(peer.call(Call::Park(vec![park])).await);
    let again = ask!(peer.call(Call::Due { count: 1 }).await);
    if let Some(Answer::Due { deliveries, .. }) = again
        && let Some(delivery) = deliveries.first()
    {
        let bury = BuryItem { hold: delivery.hold, reason: Reason::Rejected, error: "x".into(), gone: None };
        ask!(peer.call(Call::Bury(vec![bury])).await);
    }
    if let Some(dead) = ask!(calls.dead(connection, None, 9).await)
        && let Some(letter) = dead.first()
    {
        ask!(calls.dead_letter(connection, letter.id).await);
        ask!(calls.dead_retry(connection, &[letter.id]).await);
        ask!(calls.dead_drop(connection, &[letter.id]).await);
    }
    let ack = |(i, hold): (usize, &Hold)| AckItem {
        entry: hold.entry,
        recorded: true,
        processed: (i == 1).then(|| b"k".as_slice().into()),
    };
    ask!(peer.call(Call::Ack(holds.iter().enumerate().map(ack).collect())).await);
    let plain = AckItem { entry: hold.entry, recorded: false, processed: None };
    ask!(peer.call(Call::Ack(vec![plain])).await);
    ask!(peer.call(Call::Reclaim).await);
    for cursor in [0, 1, 2] {
        ask!(peer.call(Call::Sweep { cursor }).await);
    }
    if let Some(status) = ask!(calls.status(connection).await)
        && status.warnings.iter().any(|w| w.contains("INFO is refused"))
    {
        refused.push(Trouble::from_reply("NOPERM", "info"));
    }
    ask!(calls.trim(connection, 1).await);
    ask!(peer.call(Call::Leave).await);
    refused
}

/// Settings that use everything.
fn all_of_it() -> Settings {
    Settings {
        group_rate: Some(Rate { count: 100, per: Duration::from_secs(1) }),
        processed: Some(Processed { age: Duration::from_secs(60), by: None }),
        delete_after_success: true,
        trim: true,
        ..settings()
    }
}

async fn limited(redis: &Redis, admin: &mut Peer, rules: &str) -> Peer {
    admin.raw(&format!("ACL SETUSER limited reset on >secret {rules}")).await;
    let login = RedisConnectionInfo::default().set_username("limited").set_password("secret");
    let mut settings = all_of_it();
    // Both ways to acknowledge are tried.
    settings.delete_after_success = !rules.ends_with("-xack");
    let mut peer = Peer::with(redis, "limited", settings, false).await;
    peer.connection = redis.login(false, login).await;
    peer
}

/// Something for every page of the sweep, and everything that one run leaves to the next.
async fn leftovers(admin: &mut Peer) {
    for line in [
        "FLUSHALL",
        "XGROUP CREATE m g 0 MKSTREAM",
        "XADD m 1-1 body x",
        "XREADGROUP GROUP g ~delayed STREAMS m >",
        "XGROUP CREATECONSUMER m g old",
        "HSET m:g:attempts 5-5 x",
    ] {
        admin.raw(line).await;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
}

#[test]
fn the_rights_that_the_advice_names_are_enough_and_all_are_needed() {
    on_redis(&[], |redis| async move {
        let mut admin = Peer::new(&redis, "admin").await;
        let keys = "~m ~m:*";
        leftovers(&mut admin).await;
        let mut peer = limited(&redis, &mut admin, &format!("{keys} {RIGHTS}")).await;
        assert_eq!(everything(&mut peer).await, []);
        for right in RIGHTS.split(' ') {
            let rules: Vec<_> = RIGHTS.split(' ').filter(|other| *other != right).collect();
            let mut peer = limited(&redis, &mut admin, &format!("{keys} {}", rules.join(" "))).await;
            leftovers(&mut admin).await;
            assert_ne!(everything(&mut peer).await, [], "nobody misses {right}");
        }
    });
}

#[test]
fn what_is_refused_is_named_at_the_start() {
    on_redis(&[], |redis| async move {
        let mut admin = Peer::new(&redis, "admin").await;
        admin.call(Call::Prepare).await.unwrap();
        for (rules, says) in [
            ("~m ~m:* -xgroup", "+xgroup"),
            ("~m ~m:* -xclaim", "+xclaim"),
            ("~m ~m:* -eval", "+eval"),
            ("~other", "~m ~m:*"),
            ("~m ~m:other:*", "~m ~m:*"),
        ] {
            let mut peer = limited(&redis, &mut admin, &format!("{RIGHTS} {rules}")).await;
            let trouble = peer.call(Call::Prepare).await.unwrap_err();
            assert!(trouble.kind == TroubleKind::Refused && trouble.message.contains(says), "{rules}: {trouble}");
        }
        let mut peer = limited(&redis, &mut admin, &format!("{RIGHTS} ~m ~m:* -info")).await;
        let server = prepare(&mut peer).await;
        assert!(server.warnings.iter().any(|w| w.contains("+info")) && server.identity.as_str().is_empty());
    });
}

#[test]
fn a_cluster_needs_the_tagged_layout_and_works_with_it() {
    // The bus of a cluster needs a port of its own.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let cluster = ["--cluster-enabled", "yes", "--bind", "127.0.0.1", "--cluster-port", port.as_str()];
    on_redis(&cluster, |redis| async move {
        let mut a = Peer::with(&redis, "a", all_of_it(), false).await;
        let trouble = a.call(Call::Prepare).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Unsupported);
        assert!(trouble.message.contains("hash-tagged"), "{trouble}");
        let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
        a.raw(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
        for _ in 0..300 {
            if a.text("CLUSTER INFO").await.contains("cluster_state:ok") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (consumer, config) = (Consumer::new("a", 7).unwrap(), Config::new(all_of_it()).unwrap());
        for stream in ["m", "a{b}c"] {
            let keys = Keys::hash_tagged(stream, "g").unwrap();
            a.calls = Calls::new(keys, consumer.clone(), config.clone());
            assert_eq!(everything(&mut a).await, []);
        }
    });
}

#[test]
fn dead_letters_are_listed_retried_and_dropped() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        for i in 0..3 {
            let hold = a.given(&i.to_string()).await;
            a.bury(hold).await;
        }
        let calls = a.calls.clone();
        let first = calls.dead(&mut a.connection, None, 2).await.unwrap();
        let rest = calls.dead(&mut a.connection, Some(first[1].id), 2).await.unwrap();
        assert_eq!((first.len(), rest.len()), (2, 1));
        assert_eq!(calls.dead_letter(&mut a.connection, rest[0].id).await.unwrap().as_ref(), Some(&rest[0]));
        let unknown = EntryId { ms: 1, seq: 1 };
        assert_eq!(calls.dead_letter(&mut a.connection, unknown).await.unwrap(), None);
        let retried = calls.dead_retry(&mut a.connection, &[first[0].id, unknown, first[0].id]).await.unwrap();
        let [Retried::Sent(entry), Retried::Missing, Retried::Missing] = &*retried else { panic!("{retried:?}") };
        let read = a.call(Call::Read { count: 9, block: Duration::ZERO }).await.unwrap();
        assert_eq!(read, Answer::Read(vec![(*entry, Some(body("0")))]), "without its story");
        assert_eq!(calls.dead_drop(&mut a.connection, &[first[1].id, unknown]).await.unwrap(), 1);
        // Out of memory it stays where it is.
        a.raw("CONFIG SET maxmemory 1").await;
        assert!(calls.dead_retry(&mut a.connection, &[rest[0].id]).await.is_err());
        assert_eq!(a.int("XLEN m:g:dead").await, 1);
        a.raw("CONFIG SET maxmemory 0").await;
        a.raw("XADD m:g:dead 9999999999999-1 odd x").await;
        let odd = calls.dead(&mut a.connection, Some(rest[0].id), 9).await.unwrap();
        assert_eq!((odd.len(), odd[0].entry, &*odd[0].reason), (1, None, ""));
        let retried = calls.dead_retry(&mut a.connection, &[odd[0].id, rest[0].id]).await.unwrap();
        assert!(
            matches!(&retried[..], [Retried::Refused(why), Retried::Sent(_)] if why.contains("drop")),
            "{retried:?}"
        );
        let json = serde_json::to_value(&rest[0]).unwrap();
        assert_eq!(json["original"]["body"], "2");
        assert_eq!(json["id"], rest[0].id.to_string());
    });
}

#[test]
fn more_fields_than_a_script_hands_on_are_buried_as_one_text() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        for (fields, retried) in [(3_000, true), (5_000, false)] {
            let mut cmd = redis::cmd("XADD");
            cmd.arg("m").arg("*");
            for i in 0..fields {
                cmd.arg(format!("f{i}")).arg(i);
            }
            script::send(&mut a.connection, &cmd).await.unwrap();
            let hold = a.read(1).await[0];
            assert_eq!(a.bury(hold).await, Fenced::Done);
            let calls = a.calls.clone();
            let dead = calls.dead(&mut a.connection, None, 1).await.unwrap();
            assert_eq!(dead[0].original.len(), fields);
            assert_eq!(
                dead[0].original[fields - 1],
                (format!("f{}", fields - 1).into(), (fields - 1).to_string().into())
            );
            let answer = calls.dead_retry(&mut a.connection, &[dead[0].id]).await.unwrap();
            assert_eq!(matches!(answer[0], Retried::Sent(_)), retried, "{answer:?}");
            a.read(9).await;
        }
        let many = (0..3_001).map(|i: u32| (i.to_string().into(), Vec::new())).collect();
        let item = ToSend { fields: many, once: Some(("k".into(), Duration::from_secs(1))) };
        let trouble = a.calls.send_all(&mut a.connection.clone(), &[item]).await.pop().unwrap().unwrap_err();
        assert!(trouble.message.contains("3001 fields"), "{trouble}");
    });
}
