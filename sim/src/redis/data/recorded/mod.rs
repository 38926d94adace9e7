//! What redis-server 7.0.15 answered to these commands, in RESP3, and which events it published: said again here.

use bytes::Bytes;

use super::{Context, Db, Done, Reply, execute, general};

#[test]
fn strings_and_keys() {
    replay(include_str!("strings.txt"));
}

#[test]
fn collections() {
    replay(include_str!("collections.txt"));
}

#[test]
fn streams() {
    replay(include_str!("streams.txt"));
}

#[test]
fn reading() {
    replay(include_str!("reading.txt"));
}

#[test]
fn groups() {
    replay(include_str!("groups.txt"));
}

/// Executes every line that begins with `>` and compares the lines behind it: the answer, and with `!` the events.
fn replay(recorded: &str) {
    let mut db = Db::new(1);
    let mut cx = Context::new(1_700_000_000_000_000, 1);
    let lines: Vec<&str> = recorded.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    for exchange in lines.chunk_by(|_, next| !next.starts_with('>')) {
        let command = exchange[0].trim_start_matches("> ");
        let args: Vec<Bytes> = command.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let mut said = vec![match execute(&mut db, &mut cx, &args) {
            Some(Done::Reply(reply)) => text(&reply),
            Some(Done::Block { .. }) => "nil".to_string(),
            None => "not a command".to_string(),
        }];
        let events = cx.events.drain(..).filter(|event| event.class != 'n');
        said.extend(events.map(|event| format!("! {} {}", event.name, String::from_utf8_lossy(&event.key))));
        assert_eq!(said, exchange[1..], "{command}");
    }
}

/// A reply as it is in RESP3.
fn text(reply: &Reply) -> String {
    let list = |items: &[Reply]| items.iter().map(text).collect::<Vec<_>>().join(", ");
    let pairs = |pairs: &[(Reply, Reply)], mark: fn(String, String) -> String| {
        pairs.iter().map(|(one, other)| mark(text(one), text(other))).collect::<Vec<_>>().join(", ")
    };
    match reply {
        Reply::Status(text) | Reply::Verbatim(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Error(text) => format!("error {text}"),
        Reply::Int(number) => number.to_string(),
        Reply::Bulk(text) => format!("\"{}\"", String::from_utf8_lossy(text).replace('\0', "\\0")),
        Reply::Nil | Reply::NilArray => "nil".to_string(),
        Reply::Array(items) | Reply::Push(items) => format!("[{}]", list(items)),
        Reply::Set(items) => format!("set[{}]", list(items)),
        Reply::Double(number) => format!("double {}", general(*number)),
        Reply::Map(rows) | Reply::MapOfPairs(rows) => {
            format!("{{{}}}", pairs(rows, |key, value| format!("{key}: {value}")))
        }
        Reply::Pairs(rows) => format!("[{}]", pairs(rows, |one, other| format!("[{one}, {other}]"))),
    }
}
