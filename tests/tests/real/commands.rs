//! The one-shot commands: `announce`, `status`, `dead`, and wrong usage.

use std::time::Duration;

use streamkeeper_tests::command::streamkeeper;
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(announce, status, dead, patience);

fn announce(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).service("shop");
    fleet.command_ok(&["announce", "one", "two", "--info", r#"{"region":"eu"}"#]);
    assert_eq!(fleet.announced(), ["one", "two"]);
    fleet.command_ok(&["announce", "--prefix", "many", "--count", "250"]);
    let many: Vec<String> = fleet.announced().split_off(2);
    assert_eq!(many.len(), 250);
    assert!(many.iter().all(|stream| stream.starts_with("many")));
    // The same key twice announces once, however often a producer asks again.
    for _ in 0..3 {
        fleet.command_ok(&["announce", "once", "--key", "order-17"]);
    }
    assert_eq!(fleet.announced().iter().filter(|stream| *stream == "once").count(), 1);
    // What is refused is refused before anything is written.
    let answer = fleet.command(&["announce", "a<MUTEX_KEY_SEP>b"]);
    assert!(matches!(answer.code, Some(1 | 2)) && answer.errors.contains("MUTEX_KEY_SEP"), "{answer:?}");
    let answer = fleet.command(&["announce", "fine", "--info", "{not json"]);
    assert!(matches!(answer.code, Some(1 | 2)), "{answer:?}");
    assert_eq!(fleet.announced().len(), 253);
    let [a] = fleet.start_all(["a"]);
    fleet.wait_said(&a, Kind::Added, &["one".to_owned(), "once".to_owned()]);
    let life = a.life();
    let one = life.events.iter().find(|event| event.is(Kind::Added, "one")).unwrap();
    assert_eq!(one.info, Some(serde_json::json!({"region": "eu"})));
    fleet.conclude_with(&many);
}

fn status(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    // Nobody has ever used the service: that is an answer too.
    let empty = fleet.command(&["status"]);
    assert!(empty.code.is_some(), "{empty:?}");
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 10);
    fleet.wait_owned(&streams);
    let text = fleet.command_ok(&["status"]);
    assert!(text.out.contains("redis-consumer-a") || text.out.contains('a'), "{text:?}");
    let version = match flavor {
        Flavor::Redis => server.info("redis_version"),
        Flavor::Valkey => server.info("valkey_version"),
    };
    assert!(text.out.contains(&version.unwrap()), "the server's version: {text:?}");
    let json = fleet.command_ok(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("one JSON object");
    assert!(json.is_object(), "{json}");
    // An eviction policy that may take leases away is warned of.
    let before = fleet.command_ok(&["status"]);
    server.set("maxmemory-policy", "volatile-lru");
    let after = fleet.command_ok(&["status"]);
    assert!(after.out.contains("volatile-lru") && !before.out.contains("volatile-lru"), "{after:?}");
    // So are connections that are closed between two heartbeats.
    server.set("timeout", "2");
    let after = fleet.command_ok(&["status"]);
    server.set("timeout", "0");
    assert!(after.out.contains("timeout is 2 s") && !before.out.contains("timeout is"), "{after:?}");
    a.kill();
    fleet.wait_owned(&streams);
    // What is given back says so, rather than to be an hour old.
    b.terminate();
    assert!(b.wait_end().success(), "{}", b.errors());
    let json: serde_json::Value = serde_json::from_str(&fleet.command_ok(&["status", "--json"]).out).unwrap();
    let orphans = json["orphans"].as_array().unwrap();
    let is_told = |orphan: &serde_json::Value| orphan["released"] == true && orphan["age_ms"].as_u64() < Some(600_000);
    assert!(orphans.len() == streams.len() && orphans.iter().all(is_told), "{json}");
    assert!(fleet.command_ok(&["status"]).out.contains("given back"));
    let [c] = fleet.start_all(["c"]);
    fleet.wait_owned_by(&streams, &[&c]);
    fleet.conclude_with(&streams);
}

fn dead(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let dead_count = || fleet.run::<usize>(&["XLEN", &fleet.keys().dead()]);
    let none = fleet.command_ok(&["dead", "list"]);
    assert!(!none.out.contains("malformed"), "{none:?}");
    for text in ["{broken 1", "{broken 2", "{broken 3"] {
        fleet.add_raw("*", "lbs-input", text);
    }
    let [a] = fleet.start_all(["a"]);
    fleet.wait("three set aside", |ledger| {
        ledger.events().filter(|(_, event)| event.kind == Kind::Rejected).count() == 3
    });
    assert_eq!(dead_count(), 3);
    let rejected: Vec<String> = a.life().of(Kind::Rejected).filter_map(|event| event.entry.clone()).collect();
    let list = fleet.command_ok(&["dead", "list"]);
    assert!(list.out.contains("malformed"), "{list:?}");
    assert!(rejected.iter().all(|entry| list.out.contains(entry)), "{list:?} names {rejected:?}");
    let set_aside: Vec<(String, Vec<String>)> = fleet.run(&["XRANGE", &fleet.keys().dead(), "-", "+"]);
    let id_of = |text: &str| {
        let found = set_aside.iter().find(|(_, fields)| fields.iter().any(|field| field.contains(text)));
        found.unwrap_or_else(|| panic!("{text} is not in {set_aside:?}")).0.clone()
    };
    let show = fleet.command_ok(&["dead", "show", &id_of("broken 1")]);
    assert!(show.out.contains("{broken 1"), "the announcement as it was: {show:?}");
    // One, by its id; one that is not there; by reason; all.
    fleet.command_ok(&["dead", "drop", &id_of("broken 1")]);
    assert_eq!(dead_count(), 2);
    assert_eq!(fleet.command(&["dead", "drop", "1-1"]).code, Some(1));
    fleet.command_ok(&["dead", "drop", "--reason", "crash-loop"]);
    assert_eq!(dead_count(), 2);
    // What is still malformed comes back, and is set aside again.
    fleet.command_ok(&["dead", "retry", &id_of("broken 2")]);
    fleet.wait("set aside again", |ledger| {
        ledger.events().filter(|(_, event)| event.kind == Kind::Rejected).count() == 4
    });
    fleet.command_ok(&["dead", "drop", "--reason", "malformed"]);
    assert_eq!(dead_count(), 0);
    fleet.add_raw("*", "lbs-input", "{broken 4");
    fleet.wait("one more set aside", |_| dead_count() == 1);
    fleet.command_ok(&["dead", "drop", "--all"]);
    assert_eq!(dead_count(), 0);
    fleet.conclude();
}

/// Exit code 2, the program's name for what is wrong, and nothing on standard output.
#[test]
fn wrong_usage() {
    let work = ["work", "--redis", "redis://127.0.0.1:1", "--service", "s", "--name", "n"];
    let wrong: [&[&str]; 11] = [
        &[],
        &["no-such-command"],
        &["work", "--no-such-flag"],
        &["work", "--redis", "http://127.0.0.1", "--service", "s", "--name", "n"],
        &[&work[..], &["--lease-ttl", "soon"]].concat(),
        &[&work[..], &["--lease-ttl", "3s", "--heartbeat", "2s"]].concat(),
        &[&work[..], &["--lease-ttl", "1s"]].concat(),
        &[&work[..], &["--claim", "perhaps"]].concat(),
        &["announce", "--redis", "redis://127.0.0.1:1", "--service", "s"],
        &[&work[..], &["--partitions", "0"]].concat(),
        &["status", "--redis", "redis://127.0.0.1:1", "--service", "s{", "--partitions", "4"],
    ];
    for words in wrong {
        let answer = streamkeeper(words);
        assert_eq!(answer.code, Some(2), "{words:?}: {answer:?}");
        assert!(answer.out.is_empty() && !answer.errors.is_empty(), "{words:?}: {answer:?}");
    }
    let relation = streamkeeper(&[&work[..], &["--lease-ttl", "3s", "--heartbeat", "2s"]].concat());
    assert!(relation.errors.contains("heartbeat") && relation.errors.contains("2s"), "both are named: {relation:?}");
    for words in [&["--help"][..], &["work", "--help"], &["--version"]] {
        let answer = streamkeeper(words);
        assert_eq!(answer.code, Some(0), "{words:?}: {answer:?}");
        assert!(!answer.out.is_empty());
    }
}

/// Each command waits for a server that stands still for as long as it is told to, and no longer.
fn patience(flavor: Flavor) {
    let server = Server::start(flavor);
    let url = server.url();
    let commands = [
        "announce --service svc one",
        "status --service svc",
        "dead list --service svc",
        "dead list --stream m --group g",
        "send --stream m {}",
        "scheduled list --stream m",
        "messages status --stream m --group g",
    ];
    let run = |command: &str, timeout: &str| {
        let words: Vec<&str> = command.split(' ').chain(["--redis", &url, "--call-timeout", timeout]).collect();
        streamkeeper(&words)
    };
    server.run::<()>(&["XGROUP", "CREATE", "m", "g", "0", "MKSTREAM"]);
    server.freeze();
    for command in commands {
        let answer = run(command, "20ms");
        assert_eq!(answer.code, Some(1), "{command}: {answer:?}");
    }
    std::thread::scope(|scope| {
        let patient = commands.map(|command| scope.spawn(move || (command, run(command, "60s"))));
        // By default they would have given up by then: a second to connect, and one for the answer.
        std::thread::sleep(Duration::from_secs(4));
        server.thaw();
        for (command, answer) in patient.map(|command| command.join().expect("it ends")) {
            assert_eq!(answer.code, Some(0), "{command}: {answer:?}");
        }
    });
}
