//! What was done to chosen keys is told, however it was done.

use super::*;

/// Who, in which script, did what, and what was left: in words.
fn told(talk: &mut Talk) -> Vec<String> {
    let told = talk.touched.drain(..).map(|touched| {
        let words: Vec<_> = touched.args.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let by = touched.conn.map_or_else(|| "operator".to_owned(), |_| "client".to_owned());
        let left = touched.left.map(|left| format!(", left {}", String::from_utf8_lossy(&left))).unwrap_or_default();
        format!("{by}: {}{left}", words.join(" "))
    });
    told.collect()
}

#[test]
fn writes_are_told_and_nothing_else() {
    let mut talk = Talk::new();
    talk.redis.observe_keys("jobs");
    let conn = talk.connect();
    talk.tell(conn, "SET jobs:a 1");
    talk.tell(conn, "SET other 1");
    talk.tell(conn, "GET jobs:a");
    talk.tell(conn, "XADD jobs:a 1-0 f v");
    talk.tell(conn, "MSET other 1 jobs:b 2");
    assert_eq!(told(&mut talk), ["client: SET jobs:a 1", "client: MSET other 1 jobs:b 2"]);
    talk.redis.command(["DEL", "jobs:a"]);
    talk.collect();
    assert_eq!(told(&mut talk), ["operator: DEL jobs:a"]);
}

#[test]
fn scripts_and_those_who_waited_are_heard_too() {
    let mut talk = Talk::new();
    talk.redis.observe_keys("jobs");
    let (writer, reader) = (talk.connect(), talk.connect());
    talk.tell(writer, "XGROUP CREATE jobs g 0 MKSTREAM");
    talk.tell(reader, "XREADGROUP GROUP g c BLOCK 0 STREAMS jobs >");
    talk.tell(writer, "EVAL \"return redis.call('XADD',KEYS[1],'1-0','f','v')\" 1 jobs");
    talk.tell(writer, "XADD jobs 2-0 f v");
    talk.tell(writer, "XTRIM jobs MAXLEN 1");
    let expected = [
        "client: XGROUP CREATE jobs g 0 MKSTREAM",
        "client: XADD jobs 1-0 f v",
        "client: XREADGROUP GROUP g c BLOCK 0 STREAMS jobs >",
        "client: XADD jobs 2-0 f v",
        "client: XTRIM jobs MAXLEN 1, left 2-0",
    ];
    assert_eq!(told(&mut talk), expected);
}
