use super::*;

#[test]
fn requests_are_answered_in_order_and_in_one_piece() {
    let mut talk = Talk::new();
    let a = talk.connect();
    assert_eq!(
        talk.ask(a, "PING\r\nECHO x\r\nNOPE 1\r\nPING"),
        "+PONG|$1|x|-ERR unknown command 'NOPE', with args beginning with: '1' |+PONG|"
    );
}

#[test]
fn hello_changes_the_version_of_the_protocol() {
    let mut talk = Talk::new();
    let a = talk.connect();
    assert_eq!(talk.ask(a, "GET a"), "$-1|");
    assert!(talk.ask(a, "HELLO 3 SETNAME me").starts_with("%7|$6|server|$5|redis|"));
    assert_eq!(talk.ask(a, "GET a\r\nCLIENT GETNAME"), "_|$2|me|");
    assert!(talk.ask(a, "HELLO 4").starts_with("-NOPROTO"));
    assert!(talk.ask(a, "RESET\r\nHELLO").starts_with("+RESET|*14|"));
}

#[test]
fn who_quits_is_answered_first() {
    let mut talk = Talk::new();
    let a = talk.connect();
    assert_eq!(talk.ask(a, "PING\r\nQUIT\r\nPING"), "+PONG|+OK|closed");
    assert_eq!(talk.ask(a, "PING"), "");
    let b = talk.connect();
    assert_eq!(talk.ask(b, "*x"), "-ERR Protocol error: invalid multibulk length|closed");
}

#[test]
fn databases_are_apart() {
    let mut talk = Talk::new();
    let a = talk.connect();
    assert_eq!(talk.ask(a, "SET k 0\r\nSELECT 3\r\nGET k\r\nSELECT 16"), "+OK|+OK|$-1|-ERR DB index is out of range|");
    // What a script selects is its own.
    assert_eq!(talk.ask(a, r#"EVAL "redis.call('SELECT', 0) return redis.call('GET', 'k')" 0"#), "$1|0|");
    assert_eq!(talk.ask(a, "GET k\r\nDBSIZE"), "$-1|:0|");
}

#[test]
fn a_password_is_asked_for() {
    let mut talk = Talk::new();
    let early = talk.connect();
    assert_eq!(talk.ask(early, "CONFIG SET requirepass secret"), "+OK|");
    let a = talk.connect();
    assert_eq!(talk.ask(a, "PING"), "-NOAUTH Authentication required.|");
    assert_eq!(talk.ask(a, "AUTH wrong"), "-WRONGPASS invalid username-password pair or user is disabled.|");
    assert!(talk.ask(a, "HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    assert_eq!(talk.ask(a, "AUTH secret\r\nPING"), "+OK|+PONG|");
    assert_eq!(talk.ask(early, "PING"), "+PONG|");
}

#[test]
fn users_may_do_what_they_were_granted() {
    let mut talk = Talk::new();
    let a = talk.connect();
    talk.ask(a, "ACL SETUSER u on >p -@all +get +@scripting +xgroup|create +psubscribe ~a* %R~r* &c*");
    assert_eq!(talk.ask(a, "AUTH u p"), "+OK|");
    assert_eq!(talk.ask(a, "GET a1\r\nGET r1"), "$-1|$-1|");
    assert_eq!(talk.ask(a, "SET a 1"), "-NOPERM this user has no permissions to run the 'set' command|");
    assert_eq!(
        talk.ask(a, "GET b"),
        "-NOPERM this user has no permissions to access one of the keys used as arguments|"
    );
    assert_eq!(
        talk.ask(a, "XGROUP DESTROY a g"),
        "-NOPERM this user has no permissions to run the 'xgroup|destroy' command|"
    );
    assert!(talk.ask(a, "PSUBSCRIBE cx").starts_with("-NOPERM"), "a pattern is granted literally");
    let inside = talk.ask(a, r#"EVAL "return redis.pcall('SET', 'a', 1)" 0"#);
    assert_eq!(inside, "-ERR The user executing the script can't run this command or subcommand|");
    assert!(talk.ask(a, "PSUBSCRIBE c*").starts_with("*3|$10|psubscribe|"));
    // Who listens to what was taken away is cut off.
    let b = talk.connect();
    talk.tell(b, "ACL SETUSER u resetchannels");
    assert_eq!(talk.hear(a), "closed");
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let mut talk = Talk::new();
    let (a, b) = (talk.connect(), talk.connect());
    assert_eq!(talk.ask(a, "MULTI\r\nSET k 1\r\nINCR k\r\nEXEC"), "+OK|+QUEUED|+QUEUED|*2|+OK|:2|");
    assert_eq!(
        talk.ask(a, "MULTI\r\nGET\r\nEXEC"),
        "+OK|-ERR wrong number of arguments for 'get' command|-EXECABORT Transaction discarded because of previous errors.|"
    );
    assert_eq!(talk.ask(a, "WATCH k"), "+OK|");
    talk.ask(b, "SET k 5");
    assert_eq!(talk.ask(a, "MULTI\r\nSET k 6\r\nEXEC\r\nGET k"), "+OK|+QUEUED|*-1|$1|5|");
    // Nothing waits inside.
    assert_eq!(talk.ask(a, "MULTI\r\nXREAD BLOCK 0 STREAMS s $\r\nEXEC"), "+OK|+QUEUED|*1|*-1|");
}

#[test]
fn a_watched_key_that_lapses_has_changed() {
    let mut talk = Talk::new();
    let a = talk.connect();
    talk.ask(a, "SET k 1 PX 50\r\nWATCH k");
    talk.wait(500);
    assert_eq!(talk.ask(a, "MULTI\r\nPING\r\nEXEC"), "+OK|+QUEUED|*-1|");
}

#[test]
fn there_is_a_limit_to_connections() {
    let mut talk = Talk::new();
    let a = talk.connect();
    talk.ask(a, "CONFIG SET maxclients 1");
    let b = talk.connect();
    assert_eq!(talk.hear(b), "-ERR max number of clients reached|closed");
    talk.redis.hang_up(a, talk.now);
    let c = talk.connect();
    assert_eq!(talk.ask(c, "PING"), "+PONG|");
}

#[test]
fn clients_can_be_listed_and_killed() {
    let mut talk = Talk::new();
    let (a, b) = (talk.connect(), talk.connect());
    talk.ask(b, "CLIENT SETNAME bee");
    assert!(talk.ask(a, "CLIENT LIST").contains(" name=bee "));
    assert_eq!(talk.ask(a, &format!("CLIENT KILL ID {}", b.0)), ":1|");
    assert_eq!(talk.hear(b), "closed");
    assert!(!talk.ask(a, "CLIENT LIST").contains(" name=bee "));
}

#[test]
fn memory_is_limited() {
    let mut talk = Talk::new();
    let a = talk.connect();
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.|";
    talk.ask(a, "SET old x PX 100000\r\nCONFIG SET maxmemory 1");
    assert_eq!(talk.ask(a, "SET a 1"), oom);
    assert_eq!(talk.ask(a, "PEXPIRE old 5000\r\nDEL nothing"), ":1|:0|");
    assert_eq!(talk.ask(a, r#"EVAL "redis.call('DEL', 'x') return redis.call('SET', 'a', 1)" 0"#), "+OK|");
    assert!(talk.ask(a, r#"EVAL "return redis.call('SET', 'a', 1)" 0"#).starts_with("-OOM command not allowed"));
    // It evicts what it may.
    talk.ask(a, "CONFIG SET maxmemory-policy volatile-lru");
    assert_eq!(talk.ask(a, "SET b 1"), oom);
    assert_eq!(talk.ask(a, "EXISTS old a"), ":1|");
}
