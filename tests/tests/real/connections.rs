//! The ways to a server: TLS, a unix socket, user and password, and the errors when there is none.

use streamkeeper_tests::certificates::Certificates;
use streamkeeper_tests::command::streamkeeper;
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::keys::Keys;
use streamkeeper_tests::server::{Server, free_port};

on_both!(unix_socket, ip_version_six, user_and_password, errors_at_start);

fn survive_a_crash(fleet: &Fleet<'_>) {
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 10);
    fleet.wait_owned(&streams);
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.command_ok(&["status"]);
    fleet.conclude_with(&streams);
}

fn unix_socket(flavor: Flavor) {
    let server = Server::start(flavor);
    let socket = server.socket();
    survive_a_crash(&Fleet::on(&server).url(&format!("redis+unix://{}", socket.display())));
    let url = format!("unix://{}?db=1", socket.display());
    survive_a_crash(&Fleet::on(&server).url(&url).database(1).service("other"));
}

/// An address of the newer kind stands in brackets.
fn ip_version_six(flavor: Flavor) {
    let server = Server::start_with(flavor, &[("bind", "127.0.0.1 ::1")]);
    survive_a_crash(&Fleet::on(&server).url(&format!("redis://[::1]:{}", server.port())));
}

fn user_and_password(flavor: Flavor) {
    let server = Server::start(flavor);
    server.run::<()>(&["ACL", "SETUSER", "somebody", "on", ">secret", "~*", "resetchannels", "&*", "+@all"]);
    survive_a_crash(&Fleet::on(&server).url(&server.url_as("somebody", "secret")));
    let url = server.url_as("somebody", "wrong");
    let answer = streamkeeper(&["work", "--redis", &url, "--service", "svc", "--name", "a"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(!answer.errors.contains("wrong@"), "the password is not repeated: {answer:?}");
}

/// Errors name what to change, and the exit code is 1; nobody waits for ever for what does not come by itself.
fn errors_at_start(flavor: Flavor) {
    let server = Server::start(flavor);
    let keys = Keys::of("svc");
    server.run::<()>(&["SET", &keys.lbs(), "not a stream"]);
    let work = ["work", "--service", "svc", "--name", "a", "--json", "--redis"];
    let with = |url: &str| streamkeeper(&[&work[..], &[url]].concat());
    let answer = with(&server.url());
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.errors.contains("svc-input"), "the key is named: {answer:?}");
    // `status` and `announce` do not wait for a server that is not there.
    let nowhere = format!("redis://127.0.0.1:{}", free_port());
    for command in [&["status"][..], &["announce", "s"], &["dead", "list"]] {
        let answer = streamkeeper(&[command, &["--service", "svc", "--redis", &nowhere]].concat());
        assert_eq!(answer.code, Some(1), "{command:?}: {answer:?}");
        assert!(answer.errors.contains("127.0.0.1"), "{command:?} names the server: {answer:?}");
    }
}

/// `rediss://` with an authority of one's own. Only Redis: the Valkey at hand is built without TLS.
#[test]
fn tls() {
    let certificates = Certificates::new();
    let port = free_port().to_string();
    let paths = [certificates.certificate(), certificates.key(), certificates.authority()];
    let [certificate, key, authority] = paths.each_ref().map(|path| path.to_str().unwrap());
    let server = Server::start_with(
        Flavor::Redis,
        &[
            ("tls-port", &port),
            ("tls-cert-file", certificate),
            ("tls-key-file", key),
            ("tls-ca-cert-file", authority),
            ("tls-auth-clients", "no"),
        ],
    );
    let url = format!("rediss://127.0.0.1:{port}");
    let fleet = Fleet::on(&server).url(&url).with(&["--tls-ca", authority]);
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 10);
    fleet.wait_owned(&streams);
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    assert!(!b.said(Kind::Terminated));
    fleet.conclude_with(&streams);
    // Without the authority the server is not believed.
    let answer = streamkeeper(&["status", "--redis", &url, "--service", "svc"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.errors.to_lowercase().contains("certificate"), "{answer:?}");
    let answer = streamkeeper(&["status", "--redis", &url, "--service", "svc", "--tls-ca", authority]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
}
