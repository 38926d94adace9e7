//! Prepare: what is told of a server, what degrades, what cannot work.

use redis::RedisConnectionInfo;
use streamkeeper_core::trouble::TroubleKind;

use super::*;

async fn prepare(peer: &mut Peer) -> Server {
    match peer.call(Call::Prepare).await.unwrap() {
        Answer::Prepared(server) => server,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_server_is_told() {
    on_redis(&["--maxmemory-policy", "volatile-lru", "--notify-keyspace-events", "gE"], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let server = prepare(&mut a).await;
        let info = a.text("INFO").await;
        let line = |name: &str| info.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!(server.identity.as_str(), format!("{}:{}", line("run_id:"), line("master_replid:")));
        match info.contains("valkey_version:") {
            true => assert_eq!(*server.version, format!("valkey {}", line("valkey_version:"))),
            false => assert_eq!(*server.version, line("redis_version:")),
        }
        assert!(server.warnings.iter().any(|w| w.contains("volatile-lru")), "{server:?}");
        assert!(server.warnings.iter().any(|w| w.contains("on disk")), "{server:?}");
        assert!(server.expiry_notifications);
        // Flags were added, none dropped.
        let Value::Array(flags) = a.raw("CONFIG GET notify-keyspace-events").await else { panic!() };
        let flags = super::super::value::text(&flags[1]).unwrap().into_owned();
        assert!("gEKx".chars().all(|f| flags.contains(f)), "{flags}");
        // What the scripts see is the same server.
        let epoch = EpochCall {
            settle: None,
            nonce: 1,
            lived: false,
            fresh: false,
            waited: Duration::from_secs(3_600),
            longest_ttl: Duration::ZERO,
        };
        let Answer::Epoch(epoch) = a.call(Call::Epoch(epoch)).await.unwrap() else { panic!() };
        assert_eq!(epoch.identity, server.identity);
    });
}

#[test]
fn a_group_that_skips_entries_is_told() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        for i in 1..=5 {
            a.raw(&format!("XADD svc-input {i}-1 a 1")).await;
        }
        // As a Go peer does.
        a.raw("XGROUP CREATE svc-input svc-group $").await;
        assert_eq!(prepare(&mut a).await.skipped, 5);
        a.raw("XADD svc-input 6-1 a 1").await;
        a.raw("XADD svc-input 7-1 a 1").await;
        a.take(1).await;
        assert_eq!(prepare(&mut a).await.skipped, 5);
        a.take(1).await;
        assert_eq!(prepare(&mut a).await.skipped, 5);
        a.raw("XGROUP DESTROY svc-input svc-group").await;
        assert_eq!(prepare(&mut a).await.skipped, 0, "recreated at 0");
        assert_eq!(a.take(10).await.len(), 7);
        assert_eq!(prepare(&mut a).await.skipped, 0);
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
        prepare(&mut a).await;
    });
}

#[test]
fn what_cannot_work_is_named() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.raw("SET svc-input x").await;
        let trouble = a.call(Call::Prepare).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::WrongType);
        assert!(trouble.message.contains("svc-input") && trouble.message.contains("rename"), "{trouble}");
        a.raw("DEL svc-input").await;
        a.raw("REPLICAOF 127.0.0.1 1").await;
        let trouble = a.call(Call::Prepare).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::WrongServer, "{trouble}");
        let read = a.call(Call::Take { count: 1, share: None }).await.unwrap_err();
        assert!(matches!(read.kind, TroubleKind::WrongServer | TroubleKind::GroupLost), "{read:?}");
    });
    // The bus of a cluster needs a port of its own.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let cluster = ["--cluster-enabled", "yes", "--bind", "127.0.0.1", "--cluster-port", port.as_str()];
    on_redis(&cluster, |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let trouble = a.call(Call::Prepare).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Unsupported);
        assert!(trouble.message.contains("hash_tagged"), "{trouble}");
        let keys = Keys::hash_tagged("svc").unwrap();
        let consumer = ConsumerId::named("a").unwrap();
        let tagged = Calls::new(keys, consumer, Config::new(settings()).unwrap(), None, 1);
        // A cluster without slots is down, and that is another trouble.
        let trouble = tagged.execute(&mut a.connection, &Call::Prepare).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::NotNow, "{trouble}");
        let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
        a.raw(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
        for _ in 0..300 {
            if a.text("CLUSTER INFO").await.contains("cluster_state:ok") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let Answer::Prepared(server) = tagged.execute(&mut a.connection, &Call::Prepare).await.unwrap() else {
            panic!()
        };
        a.raw(&format!("HSET {{svc}}-epoch id {}", server.identity.as_str())).await;
        let item = ToAnnounce { stream: name("s"), info: None, once: Some(("k".into(), TTL)) };
        let entry = tagged.announce(&mut a.connection, &[item]).await.pop().unwrap().unwrap();
        tagged.execute(&mut a.connection, &Call::Take { count: 1, share: Some(0) }).await.unwrap();
        let item = a.item(entry, "s");
        let (stream, attempt) = (item.stream.clone(), item.attempt);
        let call = AcquireCall { items: vec![item], identity: server.identity.clone(), floor: Token(0) };
        let answer = tagged.execute(&mut a.connection, &Call::Acquire(call)).await.unwrap();
        let Answer::Acquired(all) = answer else { panic!("{answer:?}") };
        let Acquired::Granted(grant) = &all[0] else { panic!("{all:?}") };
        assert_eq!(a.int(&format!("EXISTS {{svc}}s<MUTEX_KEY_SEP>{entry}")).await, 1);
        let item = RenewItem { entry, stream: stream.clone(), attempt, token: grant.token };
        let renew = Call::Renew(RenewCall { items: [item].into(), recreate: None });
        assert_eq!(tagged.execute(&mut a.connection, &renew).await.unwrap(), Answer::Renewed(Renewed::default()));
        let done = Call::Done(vec![DoneItem { entry, stream, attempt, identity: server.identity }]);
        assert_eq!(tagged.execute(&mut a.connection, &done).await.unwrap(), Answer::Done(vec![Finished::Done]));
    });
}

/// What an operator grants at least, from the advice that the errors give.
const RULES: &str = "reset resetchannels on >secret ~svc-* ~*<MUTEX_KEY_SEP>* &svc-orphans +eval +evalsha +xgroup|create \
                     +xgroup|delconsumer +xreadgroup +xclaim +xpending +xack +xdel +xadd +xrange +xrevrange +xlen \
                     +xinfo +get +mget +set +del +exists +pexpire +pttl +hget +hmget +hset +hdel +time +ping +publish";

async fn limited(redis: &Redis, admin: &mut Peer, rules: &str) -> Peer {
    admin.raw(&format!("ACL SETUSER limited {rules}")).await;
    let login = RedisConnectionInfo::default().set_username("limited").set_password("secret");
    let mut peer = Peer::new(redis, "limited").await;
    peer.connection = redis.login(false, login).await;
    peer
}

#[test]
fn with_few_rights_it_works_and_says_what_is_missing() {
    on_redis(&[], |redis| async move {
        let mut admin = Peer::new(&redis, "admin").await;
        admin.settle().await;
        let mut off = redis::cmd("CONFIG");
        off.arg("SET").arg("notify-keyspace-events").arg("");
        super::super::script::send(&mut admin.connection, &off).await.unwrap();
        let mut a = limited(&redis, &mut admin, RULES).await;
        let server = prepare(&mut a).await;
        assert_eq!((server.identity.as_str(), server.expiry_notifications), ("", false));
        let said = server.warnings.join("\n");
        assert!(said.contains("+info") && said.contains("notify-keyspace-events"), "{said}");
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        assert_eq!(a.renew(std::slice::from_ref(&owned), None).await, Renewed::default());
        assert_eq!(a.release(&owned, None).await, Released::Released);
        tokio::time::sleep(Duration::from_millis(3)).await;
        a.call(Call::Hint(vec![(name("s"), entry)])).await.unwrap();
        a.call(Call::Reap { after: None, count: 9, room: 9 }).await.unwrap();
        let owned = a.own(entry, "s").await;
        assert_eq!(a.done(&owned, &server.identity).await, Finished::Done);
        a.call(Call::Clean).await.unwrap();
        // The doorbell only shortens the wait.
        admin.raw("ACL SETUSER limited -publish").await;
        a.call(Call::Ring { entries: vec![entry], heirs: None }).await.unwrap();
        a.call(Call::Ring { entries: vec![entry], heirs: None }).await.unwrap();
    });
}

#[test]
fn what_the_protocol_needs_is_named_when_it_is_refused() {
    on_redis(&[], |redis| async move {
        let mut admin = Peer::new(&redis, "admin").await;
        admin.settle().await;
        for (rules, call, says) in [
            ("-xgroup", Call::Prepare, "+xgroup"),
            ("-xclaim", Call::Renew(RenewCall { items: [].into(), recreate: None }), ""),
            ("-evalsha -eval", Call::Clean, "+evalsha"),
            ("-xinfo", Call::Clean, "+xinfo"),
            ("resetkeys ~other-*", Call::Mine { after: None, count: 1 }, "svc-*"),
            ("resetkeys ~other-*", Call::Clean, "svc-*"),
        ] {
            let mut a = limited(&redis, &mut admin, &format!("{RULES} {rules}")).await;
            match a.call(call.clone()).await {
                Ok(_) => assert!(says.is_empty(), "{call:?}"),
                Err(trouble) => {
                    assert_eq!(trouble.kind, TroubleKind::Refused, "{trouble}");
                    assert!(trouble.message.contains(says), "{trouble}");
                }
            }
        }
    });
}
