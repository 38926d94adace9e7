//! The harness itself against plain servers: what the other tests rely on.

use std::time::Duration;

use streamkeeper_tests::certificates::Certificates;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::go_peer::GoPeer;
use streamkeeper_tests::server::{Server, free_port, run_on};
use streamkeeper_tests::wait;

on_both!(
    servers_restart,
    connections_that_end_are_no_answer,
    go_peers_take_from_each_other,
    leases_are_seen_without_touching
);

fn servers_restart(flavor: Flavor) {
    let server = Server::start(flavor);
    server.run::<()>(&["SET", "a", "1"]);
    server.kill();
    assert!(server.try_connect().is_err());
    server.start_again();
    assert_eq!(server.run::<Option<String>>(&["GET", "a"]), None);
    server.freeze();
    let frozen = redis::Client::open(server.url()).unwrap().get_connection_with_timeout(Duration::from_millis(300));
    assert!(frozen.is_err(), "a frozen server answers nothing");
    server.thaw();
    wait::until("the server to answer again", || server.try_run::<String>(&["PING"]).is_ok());

    let durable = Server::start_with(flavor, &[("appendonly", "yes"), ("appendfsync", "always")]);
    durable.run::<()>(&["SET", "a", "1"]);
    durable.kill();
    durable.start_again();
    assert_eq!(durable.run::<Option<String>>(&["GET", "a"]).as_deref(), Some("1"));
    assert_eq!(durable.setting("appendonly"), "yes");
    assert!(durable.info("run_id").is_some());
}

/// As a sentinel ends them when it makes a server a replica: a test that waits for that must not fail of it.
fn connections_that_end_are_no_answer(flavor: Flavor) {
    let server = Server::start(flavor);
    let mut killer = server.connect();
    let seen = std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let mut unanswered = 0;
            wait::within_limit(|| {
                unanswered += usize::from(server.info("role").is_none());
                unanswered >= 3
            })
        });
        while !asker.is_finished() {
            run_on::<u64>(&mut killer, &["CLIENT", "KILL", "TYPE", "normal"]).expect("it does not kill itself");
        }
        asker.join().expect("no question panics")
    });
    assert!(seen, "connections were ended in the middle of a question");
    assert_eq!(server.info("role").as_deref(), Some("master"));
}

fn go_peers_take_from_each_other(flavor: Flavor) {
    let server = Server::start(flavor);
    let mut a = GoPeer::start(&server, "svc", "a");
    let mut b = GoPeer::start(&server, "svc", "b");
    b.claim_what_expires(&server);
    let fleet = Fleet::on(&server);
    let streams = fleet.announce("s", 3);
    assert_eq!(a.read(), streams);
    assert_eq!(fleet.leases().len(), 3);
    assert!(fleet.leases().iter().all(|(_, value)| value == a.id()));
    a.crash();
    wait::until("b to own them", || b.owned() == streams);
    assert_eq!(b.done("s0"), 1);
    assert_eq!(fleet.announced(), ["s1", "s2"]);
    fleet.conclude();
}

fn leases_are_seen_without_touching(flavor: Flavor) {
    let server = Server::start(flavor);
    server.run::<()>(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    let fleet = Fleet::on(&server);
    server.run::<()>(&["SET", "s<MUTEX_KEY_SEP>1-1", "a", "PX", "60000"]);
    assert_eq!(fleet.leases().len(), 1);
    server.run::<()>(&["PEXPIRE", "s<MUTEX_KEY_SEP>1-1", "1"]);
    wait::until("the lease to lapse", || fleet.leases().is_empty());
    assert_eq!(server.run::<u64>(&["DBSIZE"]), 1, "looking deleted nothing");
    fleet.conclude();
}

#[test]
fn a_server_speaks_tls() {
    let certificates = Certificates::new();
    let port = free_port().to_string();
    let paths = [certificates.certificate(), certificates.key(), certificates.authority()];
    let [certificate, key, authority] = paths.each_ref().map(|path| path.to_str().unwrap());
    let _server = Server::start_with(
        Flavor::Redis,
        &[
            ("tls-port", &port),
            ("tls-cert-file", certificate),
            ("tls-key-file", key),
            ("tls-ca-cert-file", authority),
            ("tls-auth-clients", "no"),
        ],
    );
    assert!(std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
}
