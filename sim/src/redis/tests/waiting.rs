use super::*;

const ENTRY: &str = "*1|*2|$1|s|*1|*2|$3|1-1|*2|$1|a|$1|b|";

fn readers(talk: &mut Talk) -> [ConnId; 3] {
    let [a, b, c] = [talk.connect(), talk.connect(), talk.connect()];
    talk.ask(c, "XGROUP CREATE s g 0 MKSTREAM");
    for (conn, name) in [(a, "a"), (b, "b")] {
        assert_eq!(talk.ask(conn, &format!("XREADGROUP GROUP g {name} BLOCK 1000 STREAMS s >")), "");
    }
    [a, b, c]
}

#[test]
fn who_waits_is_served_in_order() {
    let mut talk = Talk::new();
    let [a, b, c] = readers(&mut talk);
    talk.ask(c, "XADD s 1-1 a b");
    assert_eq!((talk.hear(a), talk.hear(b)), (ENTRY.to_owned(), String::new()));
    talk.ask(c, "XADD s 2-1 a b");
    assert_eq!(talk.hear(b), ENTRY.replace("1-1", "2-1"));
}

#[test]
fn who_waits_in_vain_is_told_after_the_time() {
    let mut talk = Talk::new();
    let [a, ..] = readers(&mut talk);
    talk.wait(1000);
    assert_eq!(talk.hear(a), "");
    // Redis looks ten times a second.
    talk.wait(100);
    assert_eq!(talk.hear(a), "*-1|");
}

#[test]
fn what_was_sent_meanwhile_is_executed_then() {
    let mut talk = Talk::new();
    let [a, _, c] = readers(&mut talk);
    assert_eq!(talk.ask(a, "PING"), "");
    talk.ask(c, "XADD s 1-1 a b");
    assert_eq!(talk.hear(a), format!("{ENTRY}+PONG|"));
}

#[test]
fn what_ends_a_wait_is_told() {
    let gone = "-UNBLOCKED the stream key no longer exists|";
    for (command, told) in [
        ("DEL s", gone),
        ("FLUSHALL", gone),
        ("RENAME s t", gone),
        ("SET s x", gone),
        ("XGROUP DESTROY s g", "-NOGROUP the consumer group this client was blocked on no longer exists|"),
        ("CLIENT UNBLOCK 1 ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK|"),
        ("CLIENT UNBLOCK 1", "*-1|"),
        ("CLIENT KILL ID 1", "closed"),
        ("XGROUP DELCONSUMER s g a", ""),
        ("PING", ""),
    ] {
        let mut talk = Talk::new();
        let [a, _, c] = readers(&mut talk);
        assert_eq!(a, ConnId(1));
        talk.ask(c, command);
        assert_eq!(talk.hear(a), told, "{command}");
    }
}

#[test]
fn a_stream_that_lapses_ends_the_wait() {
    let mut talk = Talk::new();
    let [a, _, c] = readers(&mut talk);
    talk.ask(c, "PEXPIRE s 50");
    talk.wait(300);
    assert_eq!(talk.hear(a), "-UNBLOCKED the stream key no longer exists|");
}

#[test]
fn a_step_of_the_clock_lengthens_and_shortens_waits() {
    let mut talk = Talk::new();
    let [a, ..] = readers(&mut talk);
    talk.inject(RedisFault::ClockStep { by_ms: -2000 });
    talk.wait(2000);
    assert_eq!(talk.hear(a), "");
    talk.inject(RedisFault::ClockStep { by_ms: 2000 });
    talk.wait(100);
    assert_eq!(talk.hear(a), "*-1|");
}

#[test]
fn a_script_can_serve_who_waits() {
    let mut talk = Talk::new();
    let [a, _, c] = readers(&mut talk);
    talk.ask(c, r#"EVAL "redis.call('DEL', 'x') redis.call('XADD', 's', '1-1', 'a', 'b')" 0"#);
    assert_eq!(talk.hear(a), ENTRY);
}

#[test]
fn replicas_are_waited_for_in_vain() {
    let mut talk = Talk::new();
    let a = talk.connect();
    assert_eq!(talk.ask(a, "WAIT 0 100"), ":0|");
    assert_eq!(talk.ask(a, "WAIT 1 100\r\nPING"), "");
    talk.wait(200);
    assert_eq!(talk.hear(a), ":0|+PONG|");
}
