//! What managed services lack, taken away from real servers: `docs/redis-services.md` has the list.

use std::thread::sleep;
use std::time::Duration;

use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(without_patterns, without_anything_optional, what_is_there_is_shown);

/// A server without these commands. Valkey and Redis take the setting several times.
fn without(flavor: Flavor, commands: &[&str]) -> Server {
    let away: Vec<_> = commands.iter().map(|command| ("rename-command", format!("{command} ''"))).collect();
    let away: Vec<_> = away.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Server::start_with(flavor, &away)
}

/// Nobody connects again and again because something is not to be had.
fn are_content(fleet: &Fleet<'_>) {
    let made = || -> u64 {
        let text: String = fleet.run(&["INFO", "stats"]);
        let line = text.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.expect("a number of connections").trim().parse().expect("a number")
    };
    fleet.wait("the connections to stay", |_| {
        let before = made();
        sleep(Duration::from_secs(2));
        // One of them is ours.
        made() - before <= 1
    });
}

/// Kills the owner of some of the streams and waits until the other owns all; new ones are owned at once.
fn survive_a_crash(fleet: &Fleet<'_>) {
    let [a, b] = fleet.start_all(["a", "b"]);
    are_content(fleet);
    let mut streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    streams.extend(fleet.announce("t", 20));
    fleet.wait_owned_by(&streams, &[&b]);
    b.terminate();
    assert!(b.wait_end().success(), "{}", b.errors());
    assert!(fleet.leases().is_empty(), "everything was given back");
    fleet.conclude();
}

/// As `ElastiCache Serverless`, which has neither PSUBSCRIBE nor CONFIG.
fn without_patterns(flavor: Flavor) {
    let server = without(flavor, &["CONFIG", "PSUBSCRIBE"]);
    let fleet = Fleet::on(&server);
    survive_a_crash(&fleet);
    // The doorbell works without the pattern.
    let fleet = Fleet::on(&server).service("other");
    let [a, b] = fleet.start_all(["a", "b"]);
    fleet.wait("both to listen", |_| server.run::<(String, u64)>(&["PUBSUB", "NUMSUB", "other-orphans"]).1 == 2);
    let streams = fleet.announce("s", 10);
    fleet.wait_owned(&streams);
    a.terminate();
    assert!(a.wait_end().success(), "{}", a.errors());
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.conclude_with(&streams);
}

/// Nothing but what the protocol needs.
fn without_anything_optional(flavor: Flavor) {
    let server = without(flavor, &["CONFIG", "PSUBSCRIBE", "SUBSCRIBE", "PUBLISH", "PUBSUB", "CLIENT", "ROLE"]);
    survive_a_crash(&Fleet::on(&server));
}

/// `status` tells what of the server is used, and what is done without.
fn what_is_there_is_shown(flavor: Flavor) {
    let kind = match flavor {
        Flavor::Redis => "redis",
        Flavor::Valkey => "valkey",
    };
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    fleet.start_all(["a", "b"]);
    fleet.wait("both to listen", |_| server.run::<(String, u64)>(&["PUBSUB", "NUMSUB", "svc-orphans"]).1 == 2);
    let said = fleet.command_ok(&["status", "--json"]).out;
    for part in [
        &format!(r#""kind":"{kind}""#),
        r#""info":true"#,
        r#""config":true"#,
        r#""expiry_notifications":true"#,
        r#""listening":2"#,
        r#""wakes_readers":true"#,
        &format!(r#""counts_lag":{}"#, !flavor.is_before_7()),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = fleet.command_ok(&["status"]).out;
    assert!(said.contains("listening    2"), "{said}");
    assert_eq!(said.contains("without "), flavor.is_before_7(), "{said}");
    fleet.conclude();

    let server = without(flavor, &["CONFIG", "PUBSUB", "CLIENT", "INFO"]);
    let fleet = Fleet::on(&server);
    fleet.start_all(["a"]);
    let said = fleet.command_ok(&["status"]).out;
    for part in ["without INFO", "without CONFIG", "without CLIENT UNBLOCK", "without lag", "listening    unknown"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    fleet.conclude();
}
