//! The password changes while consumers run.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use streamkeeper_tests::consumer::Consumer;
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(what_is_connected_goes_on, a_new_password_is_read_for_each_connection);

const USER: &str = "somebody";

/// Everything is allowed, with this password alone.
fn set_password(server: &Server, password: &str) {
    let password = format!(">{password}");
    let rights = ["on", "~*", "resetchannels", "&*", "+@all"];
    server.run::<()>(&[&["ACL", "SETUSER", USER, "resetpass", &password][..], &rights].concat());
}

fn what_is_connected_goes_on(flavor: Flavor) {
    let server = Server::start(flavor);
    set_password(&server, "old");
    let fleet = Fleet::on(&server).url(&server.url_as(USER, "old")).patient();
    let [_a] = fleet.start_all(["a"]);
    let streams = fleet.announce("s", 10);
    fleet.wait_owned(&streams);
    set_password(&server, "new");
    fleet.observe(fleet.ttl() + fleet.ttl() / 3, |ledger| assert_eq!(ledger.owners().len(), streams.len()));
    fleet.conclude_with(&streams);
}

/// `--password-file`: every connection is cut, and no stream is lost; not even if the file is late.
fn a_new_password_is_read_for_each_connection(flavor: Flavor) {
    let server = Server::start(flavor);
    let file: PathBuf = server.folder().join("password");
    let write = |password: &str| fs::write(&file, format!("{password}\n")).expect("a written file");
    set_password(&server, "first");
    write("first");
    // The lease is long: what is tested is that the streams stay, not how fast this machine is.
    let (ttl, heartbeat) = (Duration::from_secs(15), Duration::from_secs(2));
    let url = format!("redis://{USER}@127.0.0.1:{}", server.port());
    let fleet =
        Fleet::on(&server).url(&url).lease(ttl, heartbeat).with(&["--password-file", file.to_str().expect("text")]);
    let [a, b] = fleet.start_all(["a", "b"]);
    let mut streams = fleet.announce("s", 10);
    fleet.wait_owned(&streams);
    for (round, password) in ["second", "third"].into_iter().enumerate() {
        let late = round == 1;
        if !late {
            write(password);
        }
        set_password(&server, password);
        let cut: usize = server.run(&["CLIENT", "KILL", "USER", USER]);
        assert!(cut >= 2, "{cut} connections of two consumers");
        if late {
            let says = |consumer: &Consumer| {
                let errors = consumer.errors();
                errors.lines().any(|line| line.contains("connection refused") && line.contains("WRONGPASS"))
            };
            fleet.wait("both to say that their password is refused", |_| says(&a) && says(&b));
            fleet.observe(2 * heartbeat, |_| ());
            write(password);
        }
        // New streams are owned, so commands and reader are there; nobody has lost the others meanwhile.
        streams.extend(fleet.announce(&format!("{password}-"), 10));
        fleet.wait_owned(&streams);
        fleet.observe(2 * heartbeat, |ledger| {
            assert!(ledger.events().all(|(_, event)| event.kind != Kind::Disowned), "{}", ledger.story(10));
            for stream in &streams {
                assert_eq!(ledger.count(Kind::Added, stream), 1, "{stream}");
            }
        });
    }
    // One that is killed is missed: the subscriber's connection came back, too, or the reaper's.
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.conclude_with(&streams);
}
