//! The command line by a URL alone, and what it says where that cannot work.

use streamkeeper_tests::acl::{PASSWORD, SERVICE, least_privilege};
use streamkeeper_tests::cluster::Cluster;
use streamkeeper_tests::command::streamkeeper;
use streamkeeper_tests::crew::{Crew, Handler};
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::{Server, free_port};

on_both!(by_url_alone, wrong_urls, least_privilege_suffices);

/// Both halves, each in a slot of its own that another node serves than the first that is asked.
fn by_url_alone(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let fleet = Fleet::on_cluster(&cluster).service("stock");
    let answer = fleet.command_ok(&["announce", "s0", "s1"]);
    assert!(!answer.out.is_empty(), "{answer:?}");
    fleet.add_raw("*", "lbs-input", "{broken");
    let [a] = fleet.start_all(["a"]);
    let streams = ["s0", "s1"].map(str::to_owned);
    fleet.wait_owned(&streams);
    fleet.wait("one to be set aside", |_| a.said(Kind::Rejected));
    let status = fleet.command_ok(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.out).expect("one JSON object");
    assert!(status["server"]["cluster"] == true && status["server"]["role"] == "master", "{status}");
    let dead = fleet.command_ok(&["dead", "list"]);
    assert!(dead.out.contains("malformed"), "{dead:?}");
    fleet.command_ok(&["dead", "drop", "--all"]);
    assert_eq!(fleet.run::<u64>(&["XLEN", &fleet.keys().dead()]), 0);
    fleet.conclude_with(&streams);

    let crew = Crew::on_cluster(&cluster).with(&["--max-attempts", "1"]);
    crew.start("w", &Handler::new("[ \"$n\" != 1 ] || answer='dead no'"));
    crew.send(4);
    let (now, later) = (crew.next_number(), crew.next_number());
    let sent = crew.command_on_stream(&["send", &format!("{{\"n\":{now}}}")], b"");
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let sent = crew.command_on_stream(&["send", "--delay", "1s", &format!("{{\"n\":{later}}}")], b"");
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let scheduled = crew.command_on_stream(&["scheduled", "list"], b"");
    assert_eq!(scheduled.code, Some(0), "{scheduled:?}");
    crew.command_ok(&["messages", "status"]);
    crew.wait("one dead letter", || crew.dead_numbers() == [1]);
    crew.command_ok(&["dead", "list"]);
    crew.conclude();
    assert!(crew.run::<Vec<String>>(&["KEYS", "orders:*"]).is_empty(), "every key but the stream's own is tagged");
}

/// No cluster, nobody there, two kinds of URLs: each is told as what it is.
fn wrong_urls(flavor: Flavor) {
    let server = Server::start(flavor);
    let alone = server.url().replace("redis://", "redis-cluster://");
    let nobody = format!("redis-cluster://127.0.0.1:{}", free_port());
    let both = ["--redis", &alone, "--redis", &server.url()].map(str::to_owned);
    // A node that has joined nobody serves nothing.
    let bus = free_port().to_string();
    let empty = Server::start_with(flavor, &[("cluster-enabled", "yes"), ("cluster-port", &bus)]);
    let fresh = empty.url().replace("redis://", "redis-cluster://");
    for (urls, said) in [
        (&["--redis", &alone].map(str::to_owned)[..], "it is no node of a cluster"),
        (&["--redis", &nobody].map(str::to_owned), "none of its nodes answered"),
        (&both, "give URLs of one kind only"),
        (&["--redis", &fresh].map(str::to_owned), "no node serves slot"),
    ] {
        for command in [
            &["status", "--service", "svc"][..],
            &["work", "--service", "svc", "--start-within", "3s"],
            &["send", "--stream", "orders", "1"],
            &["consume", "--stream", "orders", "--group", "g", "--exec", "cat", "--start-within", "3s"],
        ] {
            let mut words = vec![command[0]];
            words.extend(urls.iter().map(String::as_str));
            words.extend(&command[1..]);
            let answer = streamkeeper(&words);
            assert!(answer.code.is_some_and(|code| code != 0), "{words:?}: {answer:?}");
            assert!(answer.errors.contains(said), "{words:?}: {answer:?}");
        }
    }
}

/// The user of `docs/operations.md`, with what a cluster needs on top; and what is said where that is missing.
fn least_privilege_suffices(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let slot = cluster.slot("{orders}");
    let keys = ["~{orders}-*", "~{orders}*<MUTEX_KEY_SEP>*", "&{orders}-orphans"];
    for node in cluster.members() {
        let user = least_privilege(node);
        node.run::<()>(&[&["ACL", "SETUSER", &user, "+cluster|slots", "+role"], &keys[..]].concat());
        node.run::<()>(&["ACL", "SETUSER", "poor", "on", ">pw", "~*", "resetchannels", "&*", "+@all", "-cluster"]);
    }
    let url = |user: &str, password: &str| cluster.url().replace("://", &format!("://{user}:{password}@"));
    let fleet = Fleet::on_cluster(&cluster).service(SERVICE).url(&url("streamkeeper", PASSWORD));
    let [a, b] = fleet.start_all(["a", "b"]);
    fleet.command_ok(&["announce", "s0", "s1", "s2", "s3"]);
    let streams = [0, 1, 2, 3].map(|n| format!("s{n}"));
    fleet.wait_owned(&streams);
    cluster.fail_over(slot);
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);
    fleet.conclude_with(&streams);
    for node in cluster.members() {
        let refused: Vec<Vec<redis::Value>> = node.run(&["ACL", "LOG"]);
        let objects = refused.iter().filter_map(|entry| redis::from_redis_value(entry.get(7)?.clone()).ok());
        let needed: Vec<String> =
            objects.filter(|object: &String| !object.starts_with("config") && !object.starts_with("client")).collect();
        assert!(needed.is_empty(), "refused: {needed:?}");
    }
    let poor = streamkeeper(&["status", "--redis", &url("poor", "pw"), "--service", "svc"]);
    assert!(poor.code == Some(1) && poor.errors.contains("+cluster|slots"), "{poor:?}");
    let wrong = streamkeeper(&["work", "--redis", &url("poor", "wrong"), "--service", "svc"]);
    assert!(wrong.code == Some(1) && wrong.errors.contains("WRONGPASS"), "{wrong:?}");
}
