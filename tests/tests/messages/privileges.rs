//! The least-privilege user of `docs/operations.md` can do everything, and what is missing is named.

use streamkeeper_tests::acl::{PASSWORD, least_privilege_for_messages};
use streamkeeper_tests::crew::Crew;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

use crate::life::whole_life;

on_both!(least_privilege_suffices, a_missing_right_is_named);

/// Every command, with the rule that the documentation gives, and nothing refused.
fn least_privilege_suffices(flavor: Flavor) {
    let server = Server::start(flavor);
    let user = least_privilege_for_messages(&server);
    let limits = ["--rate", "500/1s", "--group-rate", "500/1s", "--processed", "1h", "--delete-after-success"];
    let crew = Crew::on(&server).url(&server.url_as(&user, PASSWORD)).with(&limits).with(&["--max-attempts", "2"]);
    whole_life(&crew);
    // What Redis refused stands in its own log: at most what may be missing.
    let refused: Vec<Vec<redis::Value>> = server.run(&["ACL", "LOG"]);
    let objects: Vec<String> =
        refused.iter().filter_map(|entry| redis::from_redis_value(entry.get(7)?.clone()).ok()).collect();
    let optional = |object: &String| object.starts_with("config") || object.starts_with("client");
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
