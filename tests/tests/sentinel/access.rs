//! The way to sentinels: passwords and TLS of their own, and errors that say what to change.

use std::time::Duration;

use streamkeeper::{Client, Error};
use streamkeeper_tests::certificates::Certificates;
use streamkeeper_tests::command::{streamkeeper, streamkeeper_with};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::sentinel::{NAME, Sentinel, Setup, Watched};
use streamkeeper_tests::server::{Server, free_port};
use streamkeeper_tests::wait;

use crate::load::wait_replicated;

on_both!(passwords_of_their_own, errors_say_what_to_change, a_replica_is_not_used);

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

/// Sentinels have one password, the servers a user with another one.
fn passwords_of_their_own(flavor: Flavor) {
    let lines = ["requirepass guarded", "sentinel sentinel-pass guarded"];
    let setup = Setup { sentinels: &lines, password: Some("guarded"), ..Setup::default() };
    let watched = Watched::start_with(flavor, setup);
    for server in watched.servers() {
        server.run::<()>(&["ACL", "SETUSER", "somebody", "on", ">secret", "~*", "resetchannels", "&*", "+@all"]);
    }
    let url = watched.url_as("somebody:secret@");
    let status = ["status", "--redis", &url, "--service", "svc"];
    for (password, what) in [("", "NOAUTH"), ("wrong-one", "WRONGPASS")] {
        let answer = streamkeeper_with(&[("REDIS_SENTINEL_PASSWORD", password)], &status);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.errors.contains(what) && answer.errors.contains("REDIS_SENTINEL_PASSWORD"), "{answer:?}");
        assert!(!answer.errors.contains("secret") && !answer.errors.contains("wrong-one"), "{answer:?}");
    }
    let answer = streamkeeper_with(&[("REDIS_SENTINEL_PASSWORD", "guarded")], &status);
    assert_eq!(answer.code, Some(0), "{answer:?}");

    block_on(async {
        let builder = || Client::builder("svc").redis(&url);
        // That cannot mend itself: nobody waits for it.
        let refused = builder().start_within(Duration::from_secs(3_600)).start().await.unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }), "{refused}");
        let client = builder().sentinel_login(None, Some("guarded")).name("a").start().await.unwrap();
        let service = builder().sentinel_login(None, Some("guarded")).service().unwrap();
        service.announce("before").await.unwrap();
        let added = |stream: &str| {
            let owned = || client.streams_owned().iter().any(|lease| lease.stream().as_str() == stream);
            tokio::task::block_in_place(|| wait::until("the stream to be owned", owned));
        };
        added("before");
        tokio::task::block_in_place(|| {
            wait_replicated(watched.first());
            watched.fail_over();
            let _ = watched.wait_other_than(watched.first());
        });
        let announced = async {
            while service.announce("after").await.is_err() {
                tokio::time::sleep(wait::GLANCE).await;
            }
        };
        tokio::time::timeout(wait::LIMIT, announced).await.expect("announced in time");
        added("after");
        client.shutdown(Duration::from_secs(10)).await;
    });
}

/// Each error names the sentinel, the primary and what to do.
fn errors_say_what_to_change(flavor: Flavor) {
    let server = Server::start(flavor);
    let sentinel = Sentinel::start(flavor, server.port(), Setup::default());
    wait::until("the sentinel", || sentinel.knows_primary());
    let (nowhere, sentinel, server) = (free_port(), sentinel.port(), server.port());
    for (url, code, said) in [
        (format!("redis-sentinel://127.0.0.1:{sentinel}/nobody"), 1, vec!["`nobody`".to_owned(), sentinel.to_string()]),
        (format!("redis-sentinel://127.0.0.1:{server}/{NAME}"), 1, vec!["no sentinel".to_owned(), server.to_string()]),
        (
            format!("redis-sentinel://127.0.0.1:{nowhere}/{NAME}"),
            1,
            vec![nowhere.to_string(), format!("`{NAME}`"), "refused".to_owned()],
        ),
        (format!("redis-sentinel://127.0.0.1:{nowhere}"), 2, vec!["primary".to_owned()]),
    ] {
        for task in [&["status"][..], &["work", "--name", "a", "--start-within", "3s"]] {
            let answer = streamkeeper(&[task, &["--redis", &url, "--service", "svc"]].concat());
            assert_eq!(answer.code, Some(code), "{url}: {answer:?}");
            assert!(said.iter().all(|word| answer.errors.contains(word)), "{url}: {answer:?}");
        }
    }
    let mixed = format!("redis-sentinel://127.0.0.1:{sentinel}/{NAME}");
    let plain = format!("redis://127.0.0.1:{server}");
    let answer = streamkeeper(&["status", "--service", "svc", "--redis", &mixed, "--redis", &plain]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
}

/// TLS to both, to the sentinels alone, and to the server alone. Only Redis: the Valkey at hand is built without TLS.
#[test]
fn tls() {
    let certificates = Certificates::new();
    let paths = [certificates.certificate(), certificates.key(), certificates.authority()];
    let [certificate, key, authority] = paths.each_ref().map(|path| path.to_str().unwrap());
    let (server_port, sentinel_port) = (free_port().to_string(), free_port().to_string());
    let files = [
        ("tls-cert-file", certificate),
        ("tls-key-file", key),
        ("tls-ca-cert-file", authority),
        ("tls-auth-clients", "no"),
    ];
    let server = Server::start_with(Flavor::Redis, &[&files[..], &[("tls-port", &server_port)]].concat());
    let mut lines: Vec<String> = files.iter().map(|(name, value)| format!("{name} {value}")).collect();
    lines.push(format!("tls-port {sentinel_port}"));
    let plain: Vec<&str> = lines.iter().map(String::as_str).collect();
    // So it speaks TLS with the servers.
    let encrypted = [&plain[..], &["tls-replication yes"]].concat();
    let ok = |arguments: &[&str]| {
        let answer = streamkeeper(&[&["status", "--service", "svc", "--redis"], arguments].concat());
        assert_eq!(answer.code, Some(0), "{arguments:?}: {answer:?}");
    };
    let not_believed = |arguments: &[&str]| {
        let answer = streamkeeper(&[&["status", "--service", "svc", "--redis"], arguments].concat());
        assert_eq!(answer.code, Some(1), "{arguments:?}: {answer:?}");
        assert!(answer.errors.contains("certificate"), "{arguments:?}: {answer:?}");
    };
    {
        let setup = Setup { sentinels: &encrypted, ..Setup::default() };
        let sentinel = Sentinel::start(Flavor::Redis, server_port.parse().unwrap(), setup);
        wait::until("the sentinel", || sentinel.knows_primary());
        let both = format!("rediss-sentinel://127.0.0.1:{sentinel_port}/{NAME}");
        ok(&[&both, "--tls-ca", authority]);
        not_believed(&[&both]);
        // The sentinel's certificate is believed, the server's is not.
        not_believed(&[&both, "--sentinel-tls-ca", authority]);
        let servers_only = format!("rediss-sentinel://127.0.0.1:{}/{NAME}", sentinel.port());
        ok(&[&servers_only, "--tls-ca", authority, "--sentinel-tls", "off"]);
    }
    let setup = Setup { sentinels: &plain, ..Setup::default() };
    let sentinel = Sentinel::start(Flavor::Redis, server.port(), setup);
    wait::until("the sentinel", || sentinel.knows_primary());
    let sentinels_only = format!("redis-sentinel://127.0.0.1:{sentinel_port}/{NAME}");
    ok(&[&sentinels_only, "--sentinel-tls-ca", authority]);
    not_believed(&[&sentinels_only, "--sentinel-tls", "on"]);
}

/// Both want to see a certificate: the sentinels another one than the servers, if that is given.
#[test]
fn client_certificates() {
    let [servers, sentinels] = [Certificates::new(), Certificates::new()];
    let files = |certificates: &Certificates| {
        let paths = [certificates.certificate(), certificates.key(), certificates.authority()];
        paths.map(|path| path.to_str().unwrap().to_owned())
    };
    let [certificate, key, authority] = files(&servers);
    let server_port = free_port().to_string();
    let settings = [
        ("tls-port", &*server_port),
        ("tls-cert-file", &certificate),
        ("tls-key-file", &key),
        ("tls-ca-cert-file", &authority),
    ];
    let server = Server::start_with(Flavor::Redis, &settings);
    let [their_certificate, their_key, their_authority] = files(&sentinels);
    let sentinel_port = free_port();
    let lines = [
        format!("tls-port {sentinel_port}"),
        format!("tls-cert-file {their_certificate}"),
        format!("tls-key-file {their_key}"),
        format!("tls-ca-cert-file {their_authority}"),
    ];
    let lines = lines.each_ref().map(String::as_str);
    let sentinel = Sentinel::start(Flavor::Redis, server.port(), Setup { sentinels: &lines, ..Setup::default() });
    wait::until("the sentinel", || sentinel.knows_primary());
    // It looks after the port without TLS, so that is what it names.
    let url = format!("redis-sentinel://127.0.0.1:{sentinel_port}/{NAME}");
    let status = ["status", "--service", "svc", "--redis", &url, "--tls-ca", &authority];
    let trusting = ["--sentinel-tls", "on", "--sentinel-tls-ca", &their_authority];
    let shown = ["--sentinel-tls-cert", &their_certificate, "--sentinel-tls-key", &their_key];
    let answer = streamkeeper(&[&status[..], &trusting, &shown].concat());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let others = ["--sentinel-tls-cert", &certificate, "--sentinel-tls-key", &key];
    for refused in [&trusting[..], &[&trusting[..], &others].concat()] {
        let answer = streamkeeper(&[&status[..], refused].concat());
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.errors.contains("sentinel"), "{answer:?}");
    }
}

/// What a sentinel calls the primary is asked for its role.
fn a_replica_is_not_used(flavor: Flavor) {
    let server = Server::start(flavor);
    let primary = format!("127.0.0.1 {}", server.port());
    let replica = Server::start_with(flavor, &[("replicaof", &primary)]);
    wait::until("the replica", || replica.info("master_link_status").as_deref() == Some("up"));
    let sentinel = Sentinel::start(flavor, replica.port(), Setup::default());
    let url = format!("redis-sentinel://127.0.0.1:{}/{NAME}", sentinel.port());
    wait::until("the sentinel", || sentinel.knows_primary());
    let answer = streamkeeper(&["status", "--redis", &url, "--service", "svc"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.errors.contains("is a replica") && answer.errors.contains(NAME), "{answer:?}");
}
