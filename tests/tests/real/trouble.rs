//! A server in trouble: full, busy, forgetful, frozen, or with no connection to spare.

use std::time::Duration;

use redis::Connection;
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::ledger::Ledger;
use streamkeeper_tests::server::Server;
use streamkeeper_tests::wait;

on_both!(
    out_of_memory,
    scripts_flushed,
    busy_script,
    frozen_for_2500_ms,
    frozen_for_5_s,
    frozen_for_10_s,
    no_connection_to_spare,
);

fn nobody_disowned(ledger: &Ledger) {
    let disowned: Vec<_> = ledger.events().filter(|(_, event)| event.kind == Kind::Disowned).collect();
    assert!(disowned.is_empty(), "{disowned:?}");
}

/// Owners keep their leases, nobody takes new streams, and nobody gives up.
fn out_of_memory(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let a = fleet.start_with("a", &["--capacity", "5"]);
    fleet.wait_ready(&a);
    let streams = fleet.announce("s", 10);
    fleet.wait("a to be full", |_| fleet.owned_by(&a).len() == 5);
    assert_eq!(server.setting("maxmemory-policy"), "noeviction");
    server.set("maxmemory", "1");
    let b = fleet.start("b");
    fleet.observe(fleet.ttl() + fleet.ttl() / 3, |ledger| {
        nobody_disowned(ledger);
        assert_eq!(fleet.leases().len(), 5);
    });
    assert!(!b.said(Kind::Terminated), "{}", b.errors());
    server.set("maxmemory", "0");
    fleet.wait_owned(&streams);
    assert_eq!(fleet.owned_by(&b).len(), 5);
    nobody_disowned(&fleet.ledger());
    fleet.conclude_with(&streams);
}

/// Nothing is noticed.
fn scripts_flushed(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let [_a, _b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    let mut round = 0;
    let mut all = streams;
    fleet.observe(fleet.ttl() + fleet.ttl() / 3, |ledger| {
        server.run::<()>(&["SCRIPT", "FLUSH"]);
        nobody_disowned(ledger);
        round += 1;
        if round % 20 == 0 {
            all.extend(fleet.announce(&format!("t{round}-"), 1));
        }
    });
    fleet.wait_owned(&all);
    nobody_disowned(&fleet.ledger());
    fleet.conclude_with(&all);
}

/// A script of somebody else runs for two leases: all is silent, then `-BUSY`. Afterwards everything is owned again.
fn busy_script(flavor: Flavor) {
    let server = Server::start_with(flavor, &[("lua-time-limit", "200")]);
    let fleet = Fleet::on(&server);
    let [_a, _b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait_owned(&streams);
    let mut other = server.connect();
    std::thread::scope(|scope| {
        let endless = scope.spawn(|| {
            redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut server.connect()).expect_err("it is killed")
        });
        std::thread::sleep(2 * fleet.ttl());
        // Before the threshold there is no answer at all, and after it only this command is let through.
        redis::cmd("SCRIPT").arg("KILL").exec(&mut other).expect("the script is killed");
        let _ = endless.join();
    });
    fleet.wait_owned(&streams);
    let more = fleet.announce("t", 5);
    fleet.wait_owned(&more);
    fleet.conclude_with(&streams);
}

fn frozen(flavor: Flavor, span: Duration) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server);
    let [a, b, _c] = fleet.start_all(["a", "b", "c"]);
    let streams = fleet.announce("s", 30);
    fleet.wait_owned(&streams);
    server.freeze();
    std::thread::sleep(span);
    server.thaw();
    // It answers again only when all that had queued up is through; then every stream has one owner, and keeps it.
    wait::until("the server to answer again", || server.info("run_id").is_some());
    fleet.wait_owned(&streams);
    let more = fleet.announce("t", 5);
    let all: Vec<String> = streams.iter().chain(&more).cloned().collect();
    fleet.wait_owned(&all);
    a.kill();
    b.kill();
    fleet.wait_owned(&all);
    fleet.conclude_with(&all);
}

fn frozen_for_2500_ms(flavor: Flavor) {
    frozen(flavor, Duration::from_millis(2500));
}

fn frozen_for_5_s(flavor: Flavor) {
    frozen(flavor, Duration::from_secs(5));
}

fn frozen_for_10_s(flavor: Flavor) {
    frozen(flavor, Duration::from_secs(10));
}

/// All connections are taken: a new consumer waits, and comes in when some are free. Those inside notice nothing.
fn no_connection_to_spare(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).patient();
    let a = fleet.start_with("a", &["--capacity", "5"]);
    fleet.wait_ready(&a);
    let streams = fleet.announce("s", 10);
    fleet.wait("a to be full", |_| fleet.owned_by(&a).len() == 5);
    let mut harness = fleet.connect();
    let ballast: Vec<Connection> = (0..20).map(|_| server.connect()).collect();
    let clients: String = redis::cmd("CLIENT").arg("LIST").query(&mut harness).unwrap();
    let limit = clients.lines().count().to_string();
    redis::cmd("CONFIG").arg(&["SET", "maxclients", &limit]).exec(&mut harness).unwrap();
    let b = fleet.start("b");
    let mut rejected = || {
        let text: String = redis::cmd("INFO").arg("stats").query(&mut harness).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("rejected_connections:")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    fleet.wait("b to be turned away, more than once", |_| rejected() > 2);
    assert!(!b.said(Kind::Ready) && !b.said(Kind::Terminated), "it waits");
    drop(ballast);
    fleet.wait_ready(&b);
    fleet.wait_owned(&streams);
    nobody_disowned(&fleet.ledger());
    drop(harness);
    fleet.conclude_with(&streams);
}
