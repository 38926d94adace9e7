use super::*;
use crate::{
    plan::{Persistence, Refusal},
    redis::reply::Reply,
};

fn refuse(talk: &mut Talk, with: Refusal) {
    talk.inject(RedisFault::Refuse { with, ms: 1000 });
}

#[test]
fn what_is_refused_is_refused_in_the_words_of_redis_and_for_the_time() {
    for (with, refused, word, allowed) in [
        (Refusal::Loading, "PING", "-LOADING ", "SUBSCRIBE x"),
        (Refusal::ReadOnly, "SET k v", "-READONLY ", "GET k"),
        (Refusal::MasterDown, "GET k", "-MASTERDOWN ", "INFO nothing"),
        (Refusal::MasterDown, "SET k v", "-READONLY ", "TIME"),
        (Refusal::Oom, "SET k v", "-OOM ", "DEL k"),
        (Refusal::Busy, "PING", "-BUSY ", "HELLO"),
        (Refusal::Misconf, "SET k v", "-MISCONF ", "GET k"),
        (Refusal::Misconf, "PING", "-MISCONF ", "GET k"),
        (Refusal::NoReplicas, "DEL k", "-NOREPLICAS ", "GET k"),
        (Refusal::NoPerm, "CONFIG GET x", "-NOPERM ", "GET k"),
        (Refusal::NoPerm, "INFO", "-NOPERM ", "GET k"),
        (Refusal::TryAgain, "GET k", "-TRYAGAIN ", "PING"),
        (Refusal::ClusterDown, "GET k", "-CLUSTERDOWN ", "PING"),
    ] {
        let mut talk = Talk::new();
        let a = talk.connect();
        refuse(&mut talk, with);
        assert!(talk.ask(a, refused).starts_with(word), "{with:?} {refused}");
        assert!(!talk.ask(a, allowed).starts_with('-'), "{with:?} {allowed}");
        assert_eq!(talk.redis.wake_at(), Some(Time::from_millis(1000)));
        talk.wait(1000);
        assert!(!talk.ask(a, "RESET\r\nSET k v").contains('-'), "{with:?} is over");
    }
}

#[test]
fn a_server_that_takes_no_more_clients_keeps_those_it_has() {
    let mut talk = Talk::new();
    let a = talk.connect();
    refuse(&mut talk, Refusal::MaxClients);
    let b = talk.connect();
    assert_eq!(talk.hear(b), "-ERR max number of clients reached|closed");
    assert_eq!(talk.ask(a, "PING"), "+PONG|");
}

#[test]
fn a_demoted_server_sends_away_who_waits_and_comes_back_with_a_history_of_its_own() {
    let mut talk = Talk::new();
    let a = talk.connect();
    talk.ask(a, "XGROUP CREATE s g 0 MKSTREAM\r\nXREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    let (run, history) = (info(&mut talk, "run_id"), info(&mut talk, "master_replid"));
    refuse(&mut talk, Refusal::ReadOnly);
    assert_eq!(
        talk.hear(a),
        "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)|closed"
    );
    assert_eq!(info(&mut talk, "role"), "slave");
    talk.wait(1000);
    assert_eq!((info(&mut talk, "role").as_str(), info(&mut talk, "run_id")), ("master", run));
    assert_ne!(info(&mut talk, "master_replid"), history);
    assert_eq!(info(&mut talk, "master_replid2"), history);
}

#[test]
fn a_server_can_be_made_a_replica() {
    let mut talk = Talk::new();
    let a = talk.connect();
    let history = info(&mut talk, "master_replid");
    assert_eq!(talk.ask(a, "REPLICAOF 127.0.0.1 1\r\nGET k"), "+OK|$-1|");
    assert!(talk.ask(a, "SET k v").starts_with("-READONLY "));
    assert!(talk.ask(a, "WAIT 1 1").starts_with("-ERR WAIT cannot be used with replica instances."));
    assert_eq!(talk.ask(a, "ROLE"), "*5|$5|slave|$9|127.0.0.1|:1|$7|connect|:-1|");
    assert!(
        talk.ask(a, "CONFIG SET replica-serve-stale-data no\r\nEVAL \"return 1\" 0").starts_with("+OK|-MASTERDOWN")
    );
    assert_eq!(talk.ask(a, "REPLICAOF no one\r\nSET k v"), "+OK|+OK|");
    assert_eq!(info(&mut talk, "master_replid2"), history);
}

#[test]
fn nothing_lapses_on_a_replica() {
    let mut talk = Talk::new();
    let a = talk.connect();
    talk.ask(a, "SET k v PX 100");
    refuse(&mut talk, Refusal::ReadOnly);
    talk.wait(900);
    assert_eq!(talk.ask(a, "GET k\r\nDBSIZE"), "$-1|:1|");
    talk.wait(300);
    assert_eq!(talk.ask(a, "DBSIZE"), ":0|");
}

#[test]
fn a_server_that_stands_still_does_everything_afterwards_in_order() {
    let mut talk = Talk::new();
    let (a, b) = (talk.connect(), talk.connect());
    talk.inject(RedisFault::Stall { ms: 1000 });
    assert_eq!(talk.ask(a, "SET k a\r\nGET k"), "");
    assert_eq!(talk.ask(b, "APPEND k b"), "");
    talk.redis.hang_up(b, talk.now);
    assert_eq!(talk.ask(a, "GET k"), "");
    talk.wait(999);
    assert_eq!(talk.hear(a), "");
    talk.wait(1);
    assert_eq!(talk.hear(a), "+OK|$1|a|$2|ab|");
    assert_eq!(talk.hear(b), "", "it has gone, and what it asked was done");
}

#[test]
fn a_lease_lapses_before_the_renewal_that_stood_in_the_queue() {
    let mut talk = Talk::new();
    let a = talk.connect();
    talk.ask(a, "SET lease me PX 500");
    talk.inject(RedisFault::Stall { ms: 1000 });
    talk.tell(a, "PEXPIRE lease 500");
    talk.wait(1000);
    assert_eq!(talk.hear(a), ":0|");
}

#[test]
fn messages_are_lost_late_and_doubled() {
    let mut talk = Talk::new();
    let (a, b) = (talk.connect(), talk.connect());
    talk.ask(a, "SUBSCRIBE x");
    let message = |text: &str| format!("*3|$7|message|$1|x|$1|{text}|");
    talk.inject(RedisFault::DropMessages { ms: 100 });
    assert_eq!(talk.ask(b, "PUBLISH x 1"), ":1|");
    talk.wait(100);
    assert_eq!(talk.hear(a), "");
    talk.inject(RedisFault::DoubleMessages { ms: 100 });
    talk.ask(b, "PUBLISH x 2");
    talk.wait(100);
    assert_eq!(talk.hear(a), message("2") + &message("2"));
    talk.inject(RedisFault::DelayMessages { by_ms: 300, ms: 100 });
    talk.ask(b, "PUBLISH x 3");
    talk.wait(299);
    assert_eq!(talk.hear(a), "");
    talk.wait(1);
    assert_eq!(talk.hear(a), message("3"));
    assert_eq!(talk.redis.wake_at(), None);
}

#[test]
fn an_answer_is_lost_after_the_command_was_executed() {
    let mut talk = Talk::new();
    let (a, b) = (talk.connect(), talk.connect());
    talk.redis.lose_answer(a, 1);
    assert_eq!(talk.ask(a, "INCR n\r\nINCR n\r\nINCR n"), ":1|closed");
    assert_eq!(talk.ask(b, "GET n"), "$1|2|");
}

#[test]
fn an_answer_that_is_waited_for_is_lost_when_it_comes() {
    let mut talk = Talk::new();
    let (a, b) = (talk.connect(), talk.connect());
    talk.redis.lose_answer(a, 0);
    assert_eq!(talk.ask(a, "XREAD BLOCK 0 STREAMS s $"), "");
    talk.ask(b, "XADD s * a b");
    assert_eq!(talk.hear(a), "closed");
}

#[test]
fn the_data_can_be_damaged() {
    let mut talk = Talk::new();
    let setup = [
        "XGROUP CREATE svc-input svc-group 0 MKSTREAM",
        "XADD svc-input 1-1 a b",
        "XADD svc-input 2-1 a b",
        "XREADGROUP GROUP svc-group me COUNT 9 STREAMS svc-input >",
        "SET s<MUTEX_KEY_SEP>1-1 me PX 90000",
        "SET t<MUTEX_KEY_SEP>2-1 me PX 90000",
    ];
    for command in setup {
        talk.redis.command(command.split(' ').map(str::to_owned));
    }
    let mut after = |fault: RedisFault, look: &str| {
        talk.inject(fault);
        talk.redis.command(look.split(' ').map(str::to_owned))
    };
    assert_eq!(after(RedisFault::Evict { nth: 3 }, "EXISTS t<MUTEX_KEY_SEP>2-1"), Reply::Int(0));
    let wrong = RedisFault::WrongType { nth: 0, ms: 100 };
    assert_eq!(after(wrong, "TYPE s<MUTEX_KEY_SEP>1-1"), Reply::status("list"));
    assert_eq!(after(RedisFault::Trim { left: 1 }, "XLEN svc-input"), Reply::Int(1));
    assert!(matches!(
        after(RedisFault::Redeliver, "XREADGROUP GROUP svc-group me STREAMS svc-input >"),
        Reply::MapOfPairs(_)
    ));
    let consumers = "XINFO CONSUMERS svc-input svc-group";
    assert_eq!(after(RedisFault::DeleteConsumer { consumer: 5 }, consumers), Reply::Array(Vec::new()));
    assert_eq!(after(RedisFault::DestroyGroup, "XINFO GROUPS svc-input"), Reply::Array(Vec::new()));
    assert_eq!(after(RedisFault::DeleteLbs, "EXISTS svc-input"), Reply::Int(0));
    talk.wait(100);
    assert_eq!(talk.redis.command(["DBSIZE"]), Reply::Int(0), "what was planted is gone");
}

#[test]
fn connections_break_and_flags_are_cleared() {
    let mut talk = Talk::with(|plan| plan.notify = "Kx".to_owned());
    let a = talk.connect();
    talk.inject(RedisFault::ClearFlags);
    assert_eq!(talk.ask(a, "CONFIG GET notify-keyspace-events"), "*2|$22|notify-keyspace-events|$0||");
    talk.inject(RedisFault::Disconnect);
    assert_eq!(talk.hear(a), "closed");
}

#[test]
fn where_config_is_not_allowed_it_is_refused() {
    let mut talk = Talk::with(|plan| plan.config_allowed = false);
    let a = talk.connect();
    assert_eq!(
        talk.ask(a, "CONFIG GET maxmemory"),
        "-NOPERM this user has no permissions to run the 'config|get' command|"
    );
}

#[test]
fn what_was_planted_does_not_come_back_with_a_snapshot() {
    let mut talk = Talk::with(|plan| plan.persistence = Persistence::Rdb { every_ms: 1_000 });
    talk.redis.command(["SET", "s<MUTEX_KEY_SEP>1-1", "me", "PX", "90000"]);
    talk.inject(RedisFault::WrongType { nth: 0, ms: 1_500 });
    talk.wait(1_600);
    assert_eq!(talk.redis.command(["DBSIZE"]), Reply::Int(0));
    talk.inject(RedisFault::Crash { ms: 100 });
    talk.wait(200);
    assert_eq!(talk.redis.command(["DBSIZE"]), Reply::Int(0));
}
