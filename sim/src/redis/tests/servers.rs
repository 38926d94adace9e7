//! Servers among others: primaries and replicas, sentinels, nodes of a cluster. The answers are those of Redis 7.0.15.

use super::*;
use crate::redis::{cluster::Cluster, replica::Follower, reply::Reply, sentinel::Sentinel};

const READ_ONLY: &str = "-READONLY You can't write against a read only replica.|";

fn at(port: u16) -> (String, u16) {
    ("h".to_owned(), port)
}

/// A primary whose replica is so far behind.
fn primary(replica_lag_ms: u64) -> Talk {
    let mut talk = Talk::with(|plan| plan.replica_lag_ms = replica_lag_ms);
    talk.redis.has_follower(Some(Follower { host: "h".to_owned(), port: 2, detached: None }));
    talk
}

#[test]
fn a_primary_tells_of_its_replica_and_waits_for_it() {
    let mut talk = primary(0);
    let a = talk.connect();
    assert_eq!(talk.ask(a, "ROLE"), "*3|$6|master|:0|*1|*3|$1|h|$1|2|$1|0|");
    assert_eq!(talk.ask(a, "WAIT 0 0"), ":1|");
    talk.tell(a, "SET a b\r\nWAIT 2 100");
    talk.wait(300);
    assert_eq!(talk.hear(a), "+OK|:1|");
}

#[test]
fn who_waits_for_a_replica_is_answered_when_it_has_heard_or_after_his_patience() {
    let mut talk = primary(200);
    let a = talk.connect();
    talk.tell(a, "WAIT 1 1000");
    talk.wait(150);
    assert_eq!(talk.hear(a), "");
    talk.wait(300);
    assert_eq!(talk.hear(a), ":1|");
    talk.tell(a, "WAIT 1 50");
    talk.wait(400);
    assert_eq!(talk.hear(a), ":0|", "it is not there yet");
    talk.redis.detach(true);
    talk.tell(a, "WAIT 1 500");
    talk.wait(1_000);
    assert_eq!(talk.hear(a), ":0|", "nothing arrives there");
}

#[test]
fn a_replica_that_is_promoted_has_what_had_arrived() {
    let mut talk = primary(500);
    let a = talk.connect();
    talk.ask(a, "SET old 1");
    talk.wait(1_000);
    talk.ask(a, "SET new 1");
    talk.wait(100);
    let mut other = Talk::new();
    other.redis.follow("h".to_owned(), 1, talk.redis.whole());
    let b = other.connect();
    assert_eq!(other.ask(b, "ROLE"), "*5|$5|slave|$1|h|:1|$9|connected|:0|");
    assert_eq!(other.ask(b, "SET x 1"), READ_ONLY);
    assert!(other.ask(b, "WAIT 1 100").starts_with("-ERR WAIT cannot be used with replica instances."));
    other.redis.promote(talk.redis.received());
    other.collect();
    assert!(other.hear(b).ends_with("closed"), "who was connected is cut off");
    let b = other.connect();
    assert_eq!(other.ask(b, "GET old\r\nGET new\r\nSET x 1"), "$1|1|$-1|+OK|");
    assert_eq!(other.ask(b, "ROLE"), "*3|$6|master|:0|*0|");
    let (before, after) = (talk.ask(a, "INFO replication"), other.ask(b, "INFO replication"));
    let replid = |info: &str, field: &str| info.split(field).nth(1).unwrap()[..40].to_owned();
    assert_eq!(replid(&after, "master_replid2:"), replid(&before, "master_replid:"), "it continues that history");
    assert_ne!(replid(&after, "master_replid:"), replid(&before, "master_replid:"));
}

#[test]
fn a_replica_that_hears_nothing_has_what_it_had() {
    let mut talk = primary(0);
    let a = talk.connect();
    talk.ask(a, "SET old 1");
    talk.wait(10);
    talk.redis.detach(true);
    talk.wait(10);
    talk.ask(a, "SET new 1");
    let mut other = Talk::new();
    other.redis.promote(talk.redis.received());
    let b = other.connect();
    assert_eq!(other.ask(b, "GET old\r\nGET new"), "$1|1|$-1|");
}

#[test]
fn a_sentinel_says_where_the_primary_is_and_publishes_when_it_is_another_one() {
    let mut talk = Talk::new();
    let others = vec![at(12), at(13)];
    talk.redis.watch_over(Sentinel { name: "p".to_owned(), primary: at(1), epoch: 3, others });
    let a = talk.connect();
    assert_eq!(talk.ask(a, "SENTINEL GET-MASTER-ADDR-BY-NAME p"), "*2|$1|h|$1|1|");
    assert_eq!(talk.ask(a, "SENTINEL GET-MASTER-ADDR-BY-NAME q"), "*-1|");
    assert_eq!(talk.ask(a, "SENTINEL MASTER q"), "-ERR No such master with that name|");
    assert!(talk.ask(a, "SENTINEL MASTER p").ends_with("$12|config-epoch|$1|3|"));
    assert!(talk.ask(a, "SENTINEL SENTINELS p").starts_with("*2|*6|"));
    assert_eq!(talk.ask(a, "ROLE"), "*2|$8|sentinel|*1|$1|p|");
    assert_eq!(talk.ask(a, "GET a"), "-ERR unknown command 'GET', with args beginning with: 'a' |");
    assert_eq!(talk.ask(a, "SENTINEL NONSENSE"), "-ERR unknown subcommand 'NONSENSE'. Try SENTINEL HELP.|");
    assert!(talk.ask(a, "HELLO").ends_with("$4|mode|$8|sentinel|$7|modules|*0|"));
    talk.ask(a, "SUBSCRIBE +switch-master");
    talk.redis.switch_master(at(2), 4);
    talk.collect();
    assert_eq!(talk.hear(a), "*3|$7|message|$14|+switch-master|$9|p h 1 h 2|");
    let b = talk.connect();
    assert_eq!(talk.ask(b, "SENTINEL GET-MASTER-ADDR-BY-NAME p"), "*2|$1|h|$1|2|");
}

#[test]
fn a_server_is_no_sentinel() {
    let mut talk = Talk::new();
    let a = talk.connect();
    let unknown = "-ERR unknown command 'SENTINEL', with args beginning with: 'MASTER' 'p' |";
    assert_eq!(talk.ask(a, "SENTINEL MASTER p"), unknown);
}

/// A node of two, which looks at the slot of `{foo}`.
fn node(serves: usize, moving_to: Option<usize>) -> Cluster {
    let nodes = vec![at(1), at(2)];
    Cluster { nodes, own: 0, slot: 12_182, serves, heir: None, above: 1, moving_to }
}

#[test]
fn a_node_sends_away_whoever_asks_for_another_ones_slot() {
    let mut talk = Talk::new();
    talk.redis.joins(node(0, None));
    let a = talk.connect();
    assert_eq!(talk.ask(a, "CLUSTER KEYSLOT foo\r\nCLUSTER COUNTKEYSINSLOT 12182"), ":12182|:0|");
    assert_eq!(talk.ask(a, "CLUSTER COUNTKEYSINSLOT 99999"), "-ERR Invalid slot|");
    assert!(talk.ask(a, "CLUSTER SLOTS").starts_with("*2|*3|:0|:12182|*4|$1|h|:1|$40|"));
    assert_eq!(talk.ask(a, "SET {foo}a 1\r\nGET zz"), "+OK|-MOVED 14415 h:2|");
    assert_eq!(talk.ask(a, "MSET {foo}a 1 b 2"), "-CROSSSLOT Keys in request don't hash to the same slot|");
    assert_eq!(talk.ask(a, "SELECT 1"), "-ERR SELECT is not allowed in cluster mode|");
    let afar = r#"EVAL "return redis.call('GET', 'zz')" 1 {foo}a"#;
    let said = talk.ask(a, afar);
    assert!(said.starts_with("-ERR Script attempted to access a non local key in a cluster node"), "{said}");
}

#[test]
fn a_node_that_was_started_again_refuses_for_two_seconds_or_until_it_has_a_role() {
    let mut talk = Talk::new();
    talk.redis.joins(node(0, None));
    let restarted = |talk: &mut Talk| {
        talk.inject(RedisFault::Restart { ms: 0 });
        talk.wait(0);
        let a = talk.connect();
        let answers = "GET {foo}a\r\nEVAL \"return 1\" 1 {foo}a\r\nPING";
        let refused = "-CLUSTERDOWN The cluster is down|";
        assert_eq!(talk.ask(a, answers), format!("{refused}{refused}+PONG|"));
        assert!(talk.ask(a, "CLUSTER INFO").contains("cluster_state:fail"));
        a
    };
    let a = restarted(&mut talk);
    talk.wait(1_999);
    assert!(talk.ask(a, "GET {foo}a").starts_with("-CLUSTERDOWN"));
    talk.wait(1);
    assert_eq!(talk.ask(a, "GET {foo}a"), "$-1|");
    assert!(talk.ask(a, "CLUSTER INFO").contains("cluster_state:ok"));

    restarted(&mut talk);
    let received = talk.redis.whole();
    talk.redis.promote(received);
    let a = talk.connect();
    assert_eq!(talk.ask(a, "GET {foo}a"), "$-1|");
}

#[test]
fn a_slot_that_moves_is_half_here() {
    let mut talk = Talk::new();
    talk.redis.joins(node(0, None));
    let (a, b) = (talk.connect(), talk.connect());
    talk.ask(a, "SET {foo}a 1\r\nSET {foo}b 2");
    talk.tell(b, "XREAD BLOCK 0 STREAMS {foo}s $");
    let half = talk.redis.give_keys(false);
    talk.redis.joins(node(0, Some(1)));
    assert_eq!(talk.ask(a, "GET {foo}a\r\nGET {foo}b"), "$1|1|-ASK 12182 h:2|");
    assert_eq!(talk.ask(a, "MGET {foo}a {foo}b"), "-TRYAGAIN Multiple keys request during rehashing of slot|");
    let mut other = Talk::new();
    other.redis.take_keys(half);
    let c = other.connect();
    assert_eq!(other.ask(c, "GET {foo}b"), "$1|2|");
    other.redis.take_keys(talk.redis.give_keys(true));
    talk.redis.joins(node(1, None));
    talk.collect();
    assert_eq!(talk.hear(b), "-MOVED 12182 h:2|", "who waits is sent away");
    assert_eq!(talk.ask(a, "GET {foo}a"), "-MOVED 12182 h:2|");
    assert_eq!(other.ask(c, "GET {foo}a"), "$1|1|");
}

#[test]
fn what_was_planted_goes_where_its_key_goes() {
    let planted = || {
        let mut talk = Talk::new();
        talk.redis.joins(node(0, None));
        talk.redis.command(["SET", "{foo}s<MUTEX_KEY_SEP>1-1", "me", "PX", "90000"]);
        talk.inject(RedisFault::WrongType { nth: 0, ms: 1_500 });
        talk
    };
    let ends = |mut other: Talk| {
        assert_eq!(other.redis.command(["TYPE", "{foo}s<MUTEX_KEY_SEP>1-1"]), Reply::status("list"));
        other.wait(1_600);
        assert_eq!(other.redis.command(["DBSIZE"]), Reply::Int(0));
    };
    let mut moved = Talk::new();
    moved.redis.take_keys(planted().redis.give_keys(true));
    ends(moved);
    let mut promoted = Talk::new();
    promoted.redis.promote(planted().redis.whole());
    ends(promoted);
}
