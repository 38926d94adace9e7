//! The least-privilege user of `docs/operations.md` can do everything, and what is missing is named.

use streamkeeper_tests::acl::{PASSWORD, SERVICE, least_privilege, refused};
use streamkeeper_tests::command::streamkeeper;
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(least_privilege_suffices, a_missing_right_is_named);

/// Announce, own, crash, finish, set aside: all with the rule that the documentation gives, and nothing refused.
fn least_privilege_suffices(flavor: Flavor) {
    let server = Server::start(flavor);
    let user = least_privilege(&server);
    let fleet = Fleet::on(&server).service(SERVICE).url(&server.url_as(&user, PASSWORD));
    let bad = fleet.add_raw("*", "lbs-input", "{not json");
    let [a, b] = fleet.start_all(["a", "b"]);
    fleet.command_ok(&["announce", "s0", "s1", "s2", "s3", "s4", "s5"]);
    let streams: Vec<String> = (0..6).map(|index| format!("s{index}")).collect();
    fleet.wait_owned(&streams);
    fleet.wait("the malformed one rejected", |ledger| {
        ledger.events().any(|(_, event)| event.kind == Kind::Rejected && event.entry.as_deref() == Some(&bad))
    });
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.command_ok(&["status"]);
    fleet.command_ok(&["dead", "list"]);
    b.terminate();
    assert!(b.wait_end().success(), "{}", b.errors());
    let c = fleet.start_with("c", &["--finish-after", "100ms"]);
    fleet.wait_said(&c, Kind::Done, &streams);
    fleet.conclude_with(&streams);
    assert_eq!(refused(&server), [""; 0]);
}

/// Without a right that the protocol needs the program ends with 1 and names the right.
fn a_missing_right_is_named(flavor: Flavor) {
    let server = Server::start(flavor);
    server.run::<()>(&["ACL", "SETUSER", "poor", "on", ">pw", "~*", "resetchannels", "&*", "+@all", "-xreadgroup"]);
    let url = server.url_as("poor", "pw");
    let answer = streamkeeper(&["work", "--redis", &url, "--service", "svc", "--name", "a", "--json"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.errors.to_lowercase().contains("xreadgroup"), "{answer:?}");

    server.run::<()>(&["ACL", "SETUSER", "narrow", "on", ">pw", "~other-*", "resetchannels", "&*", "+@all"]);
    let url = server.url_as("narrow", "pw");
    let answer = streamkeeper(&["work", "--redis", &url, "--service", "svc", "--name", "a", "--json"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.errors.contains("svc-"), "the key is named: {answer:?}");
}
