//! `streamkeeper send`.

use redis::streams::StreamRangeReply;
use streamkeeper_tests::command::streamkeeper;
use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(arguments_and_headers, lines_and_a_bad_one, once, many_lines);

fn entries(crew: &Crew<'_>) -> Vec<Vec<(String, String)>> {
    let all: StreamRangeReply = crew.run(&["XRANGE", crew.stream(), "-", "+"]);
    let fields = |entry: redis::streams::StreamId| {
        let text = |value| redis::from_redis_value(value).unwrap();
        let mut fields: Vec<(String, String)> =
            entry.map.into_iter().map(|(name, value)| (name, text(value))).collect();
        fields.sort();
        fields
    };
    all.ids.into_iter().map(fields).collect()
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// What is sent stands in the stream as `docs/messages.md` says, byte for byte.
fn arguments_and_headers(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    let words = [
        "send",
        "--key",
        "k",
        "--header",
        "tenant=acme",
        "--header",
        "a=b=c",
        r#"{"n": 12345678901234567890.50}"#,
        "2",
    ];
    let answer = crew.command_on_stream(&words, b"");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let common = [field("h:a", "b=c"), field("h:tenant", "acme"), field("key", "k")];
    let entry = |body: &str| [&[field("body", body)][..], &common].concat();
    assert_eq!(entries(&crew), [entry(r#"{"n": 12345678901234567890.50}"#), entry("2")]);
    let ids: Vec<String> =
        crew.run::<StreamRangeReply>(&["XRANGE", crew.stream(), "-", "+"]).ids.into_iter().map(|e| e.id).collect();
    let said: Vec<&str> = answer.out.lines().collect();
    assert_eq!(said, [format!("sent {}", ids[0]), format!("sent {}", ids[1])]);
    let answer = crew.command_on_stream(&["send", "--json-field", "json", "3"], b"");
    assert_eq!((answer.code, &entries(&crew)[2]), (Some(0), &vec![field("json", "3")]));
    crew.waive("nobody works here");
}

/// A bad line is reported with its number, the rest is sent, and the exit code says that something is wrong.
fn lines_and_a_bad_one(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    let input = b"{\"n\":0}\n{oops\n\n\xff\n{\"n\":1}";
    let answer = crew.command_on_stream(&["send"], input);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert_eq!(entries(&crew), [[field("body", "{\"n\":0}")], [field("body", "{\"n\":1}")]]);
    assert!(answer.errors.contains("line 2: it is no JSON"), "{answer:?}");
    assert!(answer.errors.contains("line 4: it is no UTF-8") && answer.errors.contains("2 of 4"), "{answer:?}");
    let answer = crew.command_on_stream(&["send", "--json"], input);
    let lines: Vec<serde_json::Value> = answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> =
        lines.iter().map(|line| (line["line"].as_u64().unwrap(), line["outcome"].as_str().unwrap())).collect();
    assert_eq!(said.len(), 4, "{answer:?}");
    for expected in [(1, "sent"), (2, "failed"), (4, "failed"), (5, "sent")] {
        assert!(said.contains(&expected), "{said:?}");
    }
    crew.waive("nobody works here");
}

/// The same file twice: each message once. Whoever did not hear the answer may ask again.
fn once(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    let input = b"{\"n\":0}\n{\"n\":1}\n";
    let first = crew.command_on_stream(&["send", "--once", "import-7"], input);
    let second = crew.command_on_stream(&["send", "--once", "import-7"], input);
    assert_eq!((first.code, second.code, entries(&crew).len()), (Some(0), Some(0), 2));
    assert_eq!(second.out, first.out, "the repeat answers the first one's ids");
    assert_eq!(crew.run::<u64>(&["EXISTS", "orders:once:import-7:1", "orders:once:import-7:2"]), 2);
    let one = crew.command_on_stream(&["send", "--once", "single", "--window", "1m", "{\"n\":2}"], b"");
    assert_eq!((one.code, crew.run::<u64>(&["EXISTS", "orders:once:single"])), (Some(0), 1));
    let ttl: u64 = crew.run(&["PTTL", "orders:once:single"]);
    assert!((1..=60_000).contains(&ttl), "{ttl}");
    (0..3).for_each(|_| _ = crew.next_number());
    crew.start("a", &Handler::quick());
    crew.conclude();
    assert_eq!(crew.runs().all().len(), 3);
}

/// Far more than one batch, through a pipe; and all of it is consumed.
fn many_lines(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server).with(&["--concurrency", "2", "--prefetch", "500"]);
    let input: String = (0..3_500).map(|_| format!("{{\"n\":{}}}\n", crew.next_number())).collect();
    let answer = crew.command_on_stream(&["send"], input.as_bytes());
    assert_eq!((answer.code, answer.out.lines().count()), (Some(0), 3_500), "{}", answer.errors);
    crew.start("a", &Handler::quick());
    crew.conclude();
}

/// No server, no stream of messages, wrong usage.
#[test]
fn what_cannot_be_sent() {
    let refused = streamkeeper(&["send", "--redis", "redis://127.0.0.1:1", "--stream", "s", "1"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.errors.contains("`s`") && refused.errors.contains("127.0.0.1"), "{refused:?}");
    for words in [
        &["send", "1"][..],
        &["send", "--stream", "", "1"],
        &["send", "--stream", "s", "--header", "x", "1"],
        &["send", "--stream", "s", "--id", "x", "1"],
        &["send", "--stream", "s", "--once", "k", "--delay", "1s", "1"],
        &["send", "--redis", "http://h", "--stream", "s", "1"],
        &["consume", "--stream", "s", "--group", "g"],
        &["consume", "--stream", "s", "--group", "g", "--exec", "cat", "--name", "~x"],
        &["consume", "--stream", "s", "--group", "g", "--exec", "cat", "--reclaim-idle", "10ms"],
        &["consume", "--stream", "s", "--group", "g", "--exec", "cat", "--concurrency", "99999999999999999"],
        &["messages", "status", "--stream", "s"],
        &["scheduled", "cancel", "--stream", "s"],
    ] {
        let answer = streamkeeper(words);
        assert_eq!(answer.code, Some(2), "{words:?}: {answer:?}");
        assert!(answer.out.is_empty() && !answer.errors.is_empty(), "{words:?}: {answer:?}");
    }
}
