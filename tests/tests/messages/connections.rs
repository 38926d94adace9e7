//! The ways to a server: TLS, a cluster, and a password that changes.

use streamkeeper_tests::certificates::Certificates;
use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::{Server, free_port};
use streamkeeper_tests::wait;

use crate::life::whole_life;

on_both!(a_cluster_of_one, a_password_that_changes);

/// In a Redis Cluster all keys of a stream must share its slot: with `--hash-tagged` they do, without it the programs say
/// so and do not begin.
fn a_cluster_of_one(flavor: Flavor) {
    // The bus of a cluster needs a port of its own; before Redis 7 it cannot be chosen.
    let bus = free_port().to_string();
    let settings = [("cluster-enabled", "yes"), ("cluster-port", &bus)];
    let server = Server::start_with(flavor, if flavor.is_before_7() { &settings[..1] } else { &settings });
    let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
    let add: Vec<&str> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
    server.run::<()>(&add);
    wait::until("the cluster to be up", || server.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    let plain = Crew::on(&server);
    let answer = plain.command(&["consume", "--exec", "cat", "--start-within", "3s"]);
    assert!(answer.code == Some(1) && answer.errors.contains("hash-tagged"), "{answer:?}");
    plain.waive("it cannot begin");
    let crew = Crew::on(&server).hash_tagged().with(&["--max-attempts", "2", "--group-rate", "500/1s"]);
    whole_life(&crew);
    assert!(crew.run::<Vec<String>>(&["KEYS", "orders:*"]).is_empty(), "every key but the stream's own is tagged");
}

/// `--password-file`: every connection is cut, and what was being done is done once.
fn a_password_that_changes(flavor: Flavor) {
    let server = Server::start(flavor);
    let file = server.folder().join("password");
    let set = |password: &str| {
        std::fs::write(&file, password).expect("a written file");
        let password = format!(">{password}");
        server.run::<()>(&["ACL", "SETUSER", "somebody", "resetpass", &password, "on", "~*", "+@all"]);
    };
    set("first");
    let url = format!("redis://somebody@127.0.0.1:{}", server.port());
    let reach = ["--password-file", file.to_str().expect("text")];
    // Nothing is to be reclaimed meanwhile, however slow this machine is.
    let idle = ["--reclaim-idle", "60s"];
    let crew = Crew::on(&server).url(&url).reached_with(&reach).with(&idle);
    crew.start("a", &Handler::quick());
    crew.send(20);
    crew.wait_settled();
    set("second");
    let cut: u64 = server.run(&["CLIENT", "KILL", "USER", "somebody"]);
    assert!(cut >= 2, "{cut}");
    crew.send(20);
    crew.wait_settled();
    crew.conclude();
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
    let crew = Crew::on(&server).url(&url).reached_with(&["--tls-ca", authority]).with(&["--max-attempts", "2"]);
    whole_life(&crew);
    // Without the authority the server is not believed, whatever is asked of it.
    let stranger = Crew::on(&server).url(&url);
    for words in [&["consume", "--exec", "cat", "--start-within", "2s"][..], &["messages", "status"], &["dead", "list"]]
    {
        let answer = stranger.command(words);
        assert_eq!(answer.code, Some(1), "{words:?}: {answer:?}");
        assert!(answer.errors.to_lowercase().contains("certificate"), "{words:?}: {answer:?}");
    }
    let answer = stranger.command_on_stream(&["send", "1"], b"");
    assert!(answer.code == Some(1) && answer.errors.to_lowercase().contains("certificate"), "{answer:?}");
    assert_eq!(crew.run::<u64>(&["XLEN", crew.stream()]), crew.sent() + 1, "and the one that was sent again");
    stranger.waive("it was only refused");
}
