//! The least-privilege user of `docs/operations.md` can do everything, and what is missing is named.

use streamkeeper_tests::acl::{PASSWORD, least_privilege_for_messages};
use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(least_privilege_suffices, a_missing_right_is_named);

/// Send, delay, cancel, consume, fail, crash, reclaim, bury, list, retry, drop, stop: with the rule that the
/// documentation gives, and nothing refused.
fn least_privilege_suffices(flavor: Flavor) {
    let server = Server::start(flavor);
    let user = least_privilege_for_messages(&server);
    let limits = ["--rate", "500/1s", "--group-rate", "500/1s", "--processed", "1h", "--delete-after-success"];
    let crew = Crew::on(&server).url(&server.url_as(&user, PASSWORD)).with(&limits).with(&["--max-attempts", "2"]);
    let handler = Handler::new("case $n in 1) answer=no;; 2) answer=dead;; esac; sleep 0.1");
    let a = crew.start("a", &handler);
    for words in [&["send", "--once", "k"][..], &["send"], &["send", "--delay", "500ms", "--id", "x"]] {
        let line = format!("{{\"n\":{}}}", crew.next_number());
        let answer = crew.command_on_stream(&[words, &[&line]].concat(), b"");
        assert_eq!(answer.code, Some(0), "{words:?}: {answer:?}");
    }
    let answer = crew.command_on_stream(&["send", "--delay", "1h", "--id", "y", "1"], b"");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(crew.command_on_stream(&["scheduled", "list"], b"").out.contains('y'));
    assert_eq!(crew.command_on_stream(&["scheduled", "cancel", "y"], b"").code, Some(0));
    crew.send(10);
    crew.wait_runs("a to work", |runs| !runs.running("a").is_empty());
    a.kill();
    let b = crew.start("b", &handler);
    crew.wait("two to be dead", || crew.dead_numbers() == [1, 2]);
    crew.command_ok(&["messages", "status"]);
    crew.command_ok(&["dead", "list"]);
    crew.command_ok(&["dead", "retry", "--reason", "failed"]);
    crew.wait("it to be dead again", || crew.dead_numbers() == [1, 2]);
    crew.wait_settled();
    b.terminate();
    assert!(b.wait_end().success(), "{}", b.errors());
    crew.conclude();
    crew.command_ok(&["dead", "drop", "--all"]);
    // What Redis refused stands in its own log: at most what may be missing.
    let refused: Vec<Vec<redis::Value>> = server.run(&["ACL", "LOG"]);
    let objects: Vec<String> =
        refused.iter().filter_map(|entry| redis::from_redis_value(entry.get(7)?.clone()).ok()).collect();
    let optional = |object: &String| object.starts_with("config") || object.starts_with("client|");
    assert!(objects.iter().all(optional), "refused: {objects:?}");
}

/// Without a right that consuming needs the program ends with 1 and names the right, or the keys.
fn a_missing_right_is_named(flavor: Flavor) {
    let server = Server::start(flavor);
    for (name, rights, named) in [
        ("poor", ["~*", "+@all", "-xreadgroup"], "xreadgroup"),
        ("scriptless", ["~*", "+@all", "-@scripting"], "eval"),
        ("narrow", ["~orders", "+@all", "+get"], "~orders:"),
    ] {
        server.run::<()>(&[&["ACL", "SETUSER", name, "on", ">pw"][..], &rights].concat());
        let crew = Crew::on(&server).url(&server.url_as(name, "pw"));
        let answer = crew.command(&["consume", "--exec", "cat", "--start-within", "3s"]);
        assert_eq!(answer.code, Some(1), "{name}: {answer:?}");
        assert!(answer.errors.contains(named), "{name}: {answer:?}");
        crew.waive("nothing was sent");
    }
}
