use super::*;

#[test]
fn messages_reach_channels_and_patterns() {
    let mut talk = Talk::new();
    let (a, b) = (talk.connect(), talk.connect());
    assert_eq!(talk.ask(a, "SUBSCRIBE news"), "*3|$9|subscribe|$4|news|:1|");
    assert_eq!(talk.ask(a, "PSUBSCRIBE n*"), "*3|$10|psubscribe|$2|n*|:2|");
    assert_eq!(talk.ask(b, "PUBLISH news x"), ":2|");
    assert_eq!(talk.hear(a), "*3|$7|message|$4|news|$1|x|*4|$8|pmessage|$2|n*|$4|news|$1|x|");
    assert_eq!(talk.ask(b, "PUBLISH other x\r\nPUBSUB NUMPAT\r\nPUBSUB NUMSUB news"), ":0|:1|*2|$4|news|:1|");
    assert_eq!(
        talk.ask(a, "UNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nPUNSUBSCRIBE"),
        "*3|$11|unsubscribe|$4|news|:1|*3|$12|punsubscribe|$2|n*|:0|*3|$12|punsubscribe|$-1|:0|"
    );
    assert_eq!(talk.ask(b, "PUBLISH news x"), ":0|");
}

#[test]
fn in_resp2_a_subscriber_can_do_little_else() {
    let mut talk = Talk::new();
    let (a, b) = (talk.connect(), talk.connect());
    talk.ask(a, "SUBSCRIBE x");
    assert!(talk.ask(a, "GET k").starts_with("-ERR Can't execute 'get': only (P|S)SUBSCRIBE"));
    assert_eq!(talk.ask(a, "PING\r\nPING y"), "*2|$4|pong|$0||*2|$4|pong|$1|y|");
    talk.ask(b, "HELLO 3");
    assert_eq!(talk.ask(b, "SUBSCRIBE x\r\nGET k\r\nPING"), ">3|$9|subscribe|$1|x|:1|_|+PONG|");
}

#[test]
fn notifications_follow_the_flags() {
    let mut talk = Talk::new();
    let (a, b) = (talk.connect(), talk.connect());
    talk.ask(a, "PSUBSCRIBE __key*");
    let mut said = |flags: &str| {
        talk.ask(b, &format!("CONFIG SET notify-keyspace-events {flags}\r\nSET k v\r\nDEL k"));
        talk.hear(a).matches("pmessage").count()
    };
    for (flags, messages) in [("\"\"", 0), ("A", 0), ("KE", 0), ("K$", 1), ("Eg", 1), ("KEA", 4), ("Kx", 0)] {
        assert_eq!(said(flags), messages, "{flags}");
    }
}

#[test]
fn an_expiry_is_heard_of_when_the_key_is_deleted() {
    let mut talk = Talk::with(|plan| plan.notify = "Kx".to_owned());
    let (a, b) = (talk.connect(), talk.connect());
    talk.ask(a, "SUBSCRIBE __keyspace@0__:k");
    talk.ask(b, "DEBUG SET-ACTIVE-EXPIRE 0\r\nSET k v PX 50");
    talk.wait(1000);
    assert_eq!(talk.hear(a), "", "nobody has looked");
    assert_eq!(talk.ask(b, "SET k w NX PX 50"), "+OK|", "it is taken over");
    assert_eq!(talk.hear(a), "*3|$7|message|$14|__keyspace@0__:k|$7|expired|".replace("$14", "$16"));
    talk.ask(b, "DEBUG SET-ACTIVE-EXPIRE 1");
    talk.wait(300);
    assert!(talk.hear(a).contains("expired"), "the server has looked");
}

#[test]
fn who_is_gone_is_not_subscribed() {
    let mut talk = Talk::new();
    let (a, b) = (talk.connect(), talk.connect());
    talk.ask(a, "SUBSCRIBE x");
    talk.redis.hang_up(a, talk.now);
    assert_eq!(talk.ask(b, "PUBLISH x y\r\nPUBSUB CHANNELS"), ":0|*0|");
}
