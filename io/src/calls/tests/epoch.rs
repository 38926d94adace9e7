//! `epoch.lua`: who may settle on a server, and when.

use super::*;

fn call(nonce: u64) -> EpochCall {
    EpochCall {
        settle: None,
        nonce,
        lived: false,
        fresh: false,
        waited: Duration::from_secs(3_600),
        longest_ttl: Duration::ZERO,
    }
}

fn settle(nonce: u64, wait: &str, identity: &Identity) -> EpochCall {
    EpochCall { settle: Some((wait.into(), identity.clone())), ..call(nonce) }
}

async fn ask(peer: &mut Peer, call: EpochCall) -> EpochAnswer {
    match peer.call(Call::Epoch(call)).await.unwrap() {
        Answer::Epoch(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_wait_is_adopted_and_exchanged_for_the_identity() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::new(&redis, "a").await, Peer::new(&redis, "b").await);
        let first = ask(&mut a, call(1)).await;
        assert_eq!(first.wait.as_deref(), Some("wait:1"));
        // Others adopt it, whatever their own nonce.
        assert_eq!(ask(&mut b, call(2)).await.wait.as_deref(), Some("wait:1"));
        // Another wait, another server: no.
        assert_eq!(ask(&mut b, settle(2, "wait:9", &first.identity)).await.wait.as_deref(), Some("wait:1"));
        let elsewhere = Identity::new("elsewhere");
        assert_eq!(ask(&mut b, settle(2, "wait:1", &elsewhere)).await.wait.as_deref(), Some("wait:1"));
        assert_eq!(ask(&mut b, settle(2, "wait:1", &first.identity)).await.wait, None);
        assert_eq!(a.text("HGET svc-epoch id").await, first.identity.as_str());
        // Who comes late finds it settled.
        assert_eq!(ask(&mut a, settle(1, "wait:1", &first.identity)).await.wait, None);
        assert_eq!(ask(&mut a, call(3)).await.wait, None);
        // Another server's data: a new wait.
        a.raw("HSET svc-epoch id elsewhere").await;
        assert_eq!(ask(&mut a, settle(4, "wait:1", &first.identity)).await.wait.as_deref(), Some("wait:4"));
        // The data are gone: again.
        a.raw("FLUSHALL").await;
        assert_eq!(ask(&mut a, settle(5, "wait:4", &first.identity)).await.wait.as_deref(), Some("wait:5"));
    });
}

#[test]
fn the_longest_ttl_only_grows() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let long = Settings { lease_ttl: Duration::from_secs(5), ..settings() };
        let mut b = Peer::with(&redis, "b", long, false).await;
        assert_eq!(ask(&mut a, call(1)).await.longest_ttl, TTL);
        assert_eq!(ask(&mut b, call(1)).await.longest_ttl, Duration::from_secs(5));
        assert_eq!(ask(&mut a, call(1)).await.longest_ttl, Duration::from_secs(5));
    });
}

#[test]
fn a_long_life_is_written_down_once_a_second() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.settle().await;
        let lived = EpochCall { lived: true, ..call(1) };
        ask(&mut a, lived.clone()).await;
        let first: u64 = a.text("HGET svc-epoch lived").await.parse().unwrap();
        ask(&mut a, lived.clone()).await;
        assert_eq!(a.text("HGET svc-epoch lived").await, first.to_string());
        a.raw(&format!("HSET svc-epoch lived {}", first - 2_000)).await;
        ask(&mut a, lived).await;
        assert!(a.text("HGET svc-epoch lived").await.parse::<u64>().unwrap() >= first);
    });
}

#[test]
fn out_of_memory_the_fleet_settles_all_the_same() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.raw("CONFIG SET maxmemory 1").await;
        let first = ask(&mut a, call(1)).await;
        assert_eq!((first.wait.as_deref(), first.longest_ttl), (Some("wait:1"), TTL));
        let second = ask(&mut a, EpochCall { lived: true, ..settle(1, "wait:1", &first.identity) }).await;
        assert_eq!(second.wait, None);
    });
}

#[test]
fn a_key_of_a_wrong_type_is_told() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        a.raw("SET svc-epoch x").await;
        let trouble = a.call(Call::Epoch(call(1))).await.unwrap_err();
        assert_eq!(trouble.kind, streamkeeper_core::trouble::TroubleKind::WrongType);
        assert!(trouble.message.contains("svc-epoch"), "{trouble}");
    });
}

#[test]
fn a_service_that_is_being_born_does_not_wait() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let fresh = EpochCall { fresh: true, ..call(1) };
        // The server itself is new: it may have forgotten.
        assert!(ask(&mut a, fresh.clone()).await.wait.is_some());
        tokio::time::sleep(Duration::from_millis(5_100)).await;
        for (spoil, waits) in [
            ("PING", false),
            // Made by prepare, never used.
            ("XGROUP CREATE svc-input svc-group 0 MKSTREAM", false),
            ("SET svc-token 5", true),
            ("XADD svc-input 1-1 a b", true),
        ] {
            a.raw("FLUSHALL").await;
            a.raw(spoil).await;
            assert_eq!(ask(&mut a, fresh.clone()).await.wait.is_some(), waits, "{spoil}");
            a.raw("FLUSHALL").await;
            assert!(ask(&mut a, call(1)).await.wait.is_some(), "not to somebody who has seen the service");
        }
        // Everything finished is not the same as never used.
        a.raw("FLUSHALL").await;
        a.raw("XADD svc-input 1-1 a b").await;
        a.raw("XDEL svc-input 1-1").await;
        assert!(ask(&mut a, fresh).await.wait.is_some());
    });
}

#[test]
fn where_info_is_refused_the_data_decide() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let here = a.settle().await;
        a.raw("ACL SETUSER default -info").await;
        let nobody = Identity::new("");
        // What others have settled on is good enough.
        let answer = ask(&mut a, call(1)).await;
        assert_eq!((answer.identity.as_str(), answer.wait), ("", None));
        let entry = a.given("s").await;
        let owned = a.own(entry, "s").await;
        // A lapsed done needs the caller's word and the data to agree.
        a.raw(&format!("DEL s<MUTEX_KEY_SEP>{entry}")).await;
        assert_eq!(a.done(&owned, &nobody).await, Finished::Fenced);
        assert_eq!(a.done(&owned, &here).await, Finished::Done);
        // It takes part in a wait.
        a.raw("HDEL svc-epoch id").await;
        assert_eq!(ask(&mut a, call(7)).await.wait.as_deref(), Some("wait:7"));
        assert_eq!(ask(&mut a, settle(8, "wait:7", &nobody)).await.wait, None);
        assert_eq!(a.text("HGET svc-epoch id").await, "unknown");
        // Those who know better settle anew.
        a.raw("ACL SETUSER default +info").await;
        assert_eq!(ask(&mut a, call(9)).await.wait.as_deref(), Some("wait:9"));
    });
}

#[test]
fn a_longer_ttl_that_comes_to_light_makes_the_wait_longer() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "a").await;
        let first = ask(&mut a, call(1)).await;
        let short = EpochCall { waited: Duration::from_secs(3), ..settle(1, "wait:1", &first.identity) };
        // Another consumer remembers a ttl that the server has forgotten.
        ask(&mut a, EpochCall { longest_ttl: Duration::from_secs(60), ..call(2) }).await;
        let answer = ask(&mut a, short).await;
        assert_eq!((answer.wait.as_deref(), answer.longest_ttl), (Some("wait:1"), Duration::from_secs(60)));
        let long = EpochCall { waited: Duration::from_secs(60), ..settle(1, "wait:1", &first.identity) };
        assert_eq!(ask(&mut a, long).await.wait, None);
    });
}
