use super::*;

#[test]
fn an_idle_server_sleeps() {
    let mut talk = Talk::new();
    let a = talk.connect();
    talk.ask(a, "SET k v\r\nXGROUP CREATE s g 0 MKSTREAM\r\nXREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    assert_eq!(talk.redis.wake_at(), None);
    let b = talk.connect();
    talk.ask(b, "SET k v PX 60000");
    assert_eq!(talk.wait(60_000), 0, "nothing has lapsed yet");
    assert_eq!(talk.wait(1000), 1);
    assert_eq!(talk.redis.wake_at(), None);
}

#[test]
fn a_lease_that_is_renewed_wakes_nobody() {
    let mut talk = Talk::new();
    let a = talk.connect();
    let mut woken = 0;
    for _ in 0..100 {
        talk.ask(a, "SET k v PX 3000");
        woken += talk.wait(1000);
    }
    assert_eq!(woken, 0);
}

#[test]
fn lapsed_keys_are_found_late_among_many() {
    let mut talk = Talk::with(|plan| plan.other_keys = 2000);
    let a = talk.connect();
    for key in 0..10 {
        talk.ask(a, &format!("SET lease:{key} v PX 100"));
    }
    talk.wait(300);
    let found_soon: u32 = info(&mut talk, "expired_keys").parse().unwrap();
    assert!(found_soon < 10, "all were found at once");
    talk.wait(30_000);
    assert_eq!(info(&mut talk, "expired_keys"), "10");
}

#[test]
fn time_stands_still_in_a_script() {
    let mut talk = Talk::new();
    let a = talk.connect();
    talk.wait(1234);
    talk.ask(a, "SET k v PX 10");
    let ask = r#"EVAL "local t = redis.call('TIME') redis.call('PEXPIRE', 'k', 1) return {t[1], t[2], redis.call('PTTL', 'k')}" 0"#;
    assert_eq!(talk.ask(a, ask), "*3|$10|1767225601|$6|234000|:1|");
}

#[test]
fn a_step_of_the_clock_moves_what_lapses() {
    let mut talk = Talk::new();
    let a = talk.connect();
    talk.ask(a, "SET k v PX 2000");
    talk.inject(RedisFault::ClockStep { by_ms: -10_000 });
    assert_eq!(talk.ask(a, "PTTL k"), ":12000|");
    talk.inject(RedisFault::ClockStep { by_ms: 12_001 });
    assert_eq!(talk.ask(a, "PTTL k"), ":-2|");
}
