use super::*;
use crate::redis::reply::Reply;

/// Sets a key to the time, every 100 ms, for so long.
fn write(talk: &mut Talk, ms: u64) {
    for _ in 0..ms / 100 {
        let millis = talk.now.as_micros() / 1000;
        talk.redis.command(["SET".to_owned(), "at".to_owned(), millis.to_string()]);
        talk.wait(100);
    }
}

fn left_after(persistence: Persistence, fault: RedisFault) -> Reply {
    let mut talk = Talk::with(|plan| (plan.persistence, plan.replica_lag_ms) = (persistence, 250));
    write(&mut talk, 3700);
    talk.inject(fault);
    talk.wait(1000);
    talk.redis.command(["GET", "at"])
}

#[test]
fn a_crash_leaves_what_was_persisted() {
    let crash = || RedisFault::Crash { ms: 500 };
    for (persistence, left) in [
        (Persistence::None, Reply::Nil),
        (Persistence::Rdb { every_ms: 5000 }, Reply::Nil),
        (Persistence::Rdb { every_ms: 2000 }, Reply::bulk("2000")),
        (Persistence::Aof, Reply::bulk("3000")),
        (Persistence::AofAlways, Reply::bulk("3600")),
    ] {
        assert_eq!(left_after(persistence, crash()), left, "{persistence:?}");
    }
}

#[test]
fn a_restart_in_order_forgets_nothing_and_a_replica_what_it_had_not_received() {
    assert_eq!(left_after(Persistence::None, RedisFault::Restart { ms: 500 }), Reply::bulk("3600"));
    assert_eq!(left_after(Persistence::AofAlways, RedisFault::Failover { ms: 500 }), Reply::bulk("3400"));
}

#[test]
fn who_is_down_forgets_nothing_more_and_remembers_nothing_again() {
    let crash = || RedisFault::Crash { ms: 500 };
    for (persistence, later, left, up_at) in [
        (Persistence::Aof, crash(), "3000", 4600),
        (Persistence::Aof, RedisFault::Restart { ms: 100 }, "3000", 4200),
        // The replica had not received more than when the primary was last there.
        (Persistence::Aof, RedisFault::Failover { ms: 300 }, "3400", 4400),
    ] {
        let mut talk = Talk::with(|plan| (plan.persistence, plan.replica_lag_ms) = (persistence, 250));
        write(&mut talk, 3700);
        talk.inject(crash());
        talk.wait(400);
        talk.inject(later);
        assert_eq!(talk.redis.wake_at(), Some(Time::from_millis(up_at)));
        talk.wait(1000);
        assert_eq!(talk.redis.command(["GET", "at"]), Reply::bulk(left));
    }
}

#[test]
fn a_server_that_is_down_is_not_there() {
    let mut talk = Talk::new();
    let a = talk.connect();
    talk.inject(RedisFault::Crash { ms: 500 });
    assert_eq!(talk.hear(a), "closed");
    let b = talk.connect();
    assert_eq!(talk.hear(b), "closed");
    assert_eq!(talk.redis.wake_at(), Some(Time::from_millis(500)));
    talk.wait(500);
    let c = talk.connect();
    assert_eq!(talk.ask(c, "PING"), "+PONG|");
    assert_eq!(talk.ask(a, "PING"), "");
}

#[test]
fn who_it_is_afterwards() {
    let identity = |talk: &mut Talk| (info(talk, "run_id"), info(talk, "master_replid"));
    for (fault, newborn) in [
        (RedisFault::Crash { ms: 100 }, true),
        (RedisFault::Restart { ms: 100 }, true),
        (RedisFault::Failover { ms: 100 }, false),
    ] {
        let mut talk = Talk::with(|plan| plan.uptime_s = 1000);
        let before = identity(&mut talk);
        talk.redis.command(["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
        talk.inject(fault);
        talk.wait(1100);
        let after = identity(&mut talk);
        assert!(before.0 != after.0 && before.1 != after.1);
        assert_eq!(info(&mut talk, "uptime_in_seconds"), if newborn { "1" } else { "1001" });
        // Set at run time, and on no other server.
        let flags = talk.redis.command(["CONFIG", "GET", "notify-keyspace-events"]);
        assert_eq!(flags, Reply::Map(vec![(Reply::bulk("notify-keyspace-events"), Reply::bulk(""))]));
    }
}

#[test]
fn a_promoted_replica_deletes_what_has_lapsed_and_says_so() {
    let mut talk = Talk::with(|plan| plan.notify = "Kx".to_owned());
    talk.redis.command(["SET", "lease", "me", "PX", "300"]);
    talk.wait(100);
    talk.inject(RedisFault::Failover { ms: 1000 });
    talk.wait(1000);
    let a = talk.connect();
    talk.ask(a, "PSUBSCRIBE *");
    talk.wait(200);
    assert!(talk.hear(a).contains("lease|$7|expired|"));
}

#[test]
fn the_past_is_the_same_after_many_writes() {
    let mut talk = Talk::with(|plan| plan.replica_lag_ms = 150);
    talk.redis.command(["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"]);
    let mut past = Vec::new();
    // More than the history takes before it begins anew.
    for second in 0..500 {
        for number in 0..50 {
            let key = format!("k{}", number % 7);
            talk.redis.command(["SET".to_owned(), key, format!("{second}"), "PX".to_owned(), "100".to_owned()]);
        }
        talk.redis.command(["XADD", "s", "*", "a", "b"]);
        talk.redis.command(["XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"]);
        past.push(talk.redis.command(["XINFO", "STREAM", "s"]));
        talk.wait(100);
    }
    talk.inject(RedisFault::Failover { ms: 100 });
    talk.wait(100);
    // The writes were 100 ms before the failover, and 200 ms, which the replica had received.
    let mut now = talk.redis.command(["XINFO", "STREAM", "s"]);
    let entries = |reply: &mut Reply| match reply {
        Reply::Map(pairs) => pairs.iter().find(|(name, _)| *name == Reply::bulk("length")).map(|(_, n)| n.clone()),
        _ => None,
    };
    assert_eq!(entries(&mut now), entries(&mut past[498]));
    let owner = talk.redis.command(["XPENDING", "s", "g"]);
    assert!(matches!(owner, Reply::Array(summary) if summary[0] == Reply::Int(499)));
}
