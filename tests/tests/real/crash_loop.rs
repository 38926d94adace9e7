//! A stream that kills its owners, and a deploy that kills them all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamkeeper_tests::consumer::Consumer;
use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;
use streamkeeper_tests::wait;

on_both!(a_stream_that_kills_its_owners_is_set_aside, a_deploy_that_crashes_everywhere_sets_nothing_aside);

const TTL: Duration = Duration::from_secs(2);
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Kills whoever owns the stream and starts another one, until somebody sets the stream aside. Answers the one that
/// did, and how often it killed.
fn kill_until_set_aside(fleet: &Fleet<'_>, stream: &str) -> (Arc<Consumer>, usize) {
    let start = Instant::now();
    for round in 0.. {
        let victim = fleet.start(&format!("victim{round}"));
        fleet.wait(&format!("{stream} to be owned by victim{round} or set aside"), |ledger| {
            victim.said_of(Kind::Added, stream) || ledger.count(Kind::Rejected, stream) > 0
        });
        if fleet.ledger().count(Kind::Rejected, stream) > 0 {
            return (victim, round);
        }
        victim.kill();
        assert!(start.elapsed() < 2 * wait::LIMIT, "{stream} is handed out again and again");
    }
    unreachable!("the loop ends by itself")
}

/// Slowed down, then set aside, while the others live on. `dead retry` brings it back.
fn a_stream_that_kills_its_owners_is_set_aside(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).lease(TTL, HEARTBEAT).with(&["--max-takeovers", "4"]);
    let steady = fleet.start_with("steady", &["--capacity", "1"]);
    fleet.wait_ready(&steady);
    let good = fleet.announce("good", 1);
    fleet.wait_owned_by(&good, &[&steady]);
    // One stream has to live for 20 leases, or the streams would not be blamed.
    fleet.wait("a stream to have lived for long", |_| {
        fleet.run::<Option<u64>>(&["HGET", &fleet.keys().epoch(), "lived"]).is_some()
    });
    let poison = fleet.announce("poison", 1);
    let (survivor, kills) = kill_until_set_aside(&fleet, "poison0");
    assert!((3..=5).contains(&kills), "{kills} owners died before it was set aside");
    let rejected = fleet.ledger().events().find(|(_, event)| event.is(Kind::Rejected, "poison0")).unwrap().1.clone();
    assert_eq!(rejected.reason(), "crash-loop");
    assert_eq!(fleet.announced(), good, "it left the LBS");
    assert_eq!(fleet.ledger().count(Kind::Rejected, "good0"), 0, "the other stream is not blamed");

    let list = fleet.command_ok(&["dead", "list"]);
    assert!(list.out.contains("poison0") && list.out.contains("crash-loop"), "{list:?}");
    fleet.command_ok(&["dead", "retry", "--all"]);
    fleet.wait_owned_by(&poison, &[&survivor]);
    assert_eq!(fleet.run::<u64>(&["XLEN", &fleet.keys().dead()]), 0);
    fleet.conclude_with(&[good, poison].concat());
}

/// When every owner of every stream crashes, the streams are not the cause: at the limit nothing is set aside, but tried
/// again after the longest pause, a minute.
fn a_deploy_that_crashes_everywhere_sets_nothing_aside(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).lease(TTL, HEARTBEAT).with(&["--max-takeovers", "4"]);
    let streams = fleet.announce("s", 5);
    for round in 0..4 {
        let victims = [fleet.start(&format!("left{round}")), fleet.start(&format!("right{round}"))];
        fleet.wait_owned(&streams);
        for victim in victims {
            victim.kill();
        }
    }
    let fixed = fleet.start("fixed");
    fleet.wait_owned_by(&streams, &[&fixed]);
    assert!(fleet.ledger().events().all(|(_, event)| event.kind != Kind::Rejected), "nothing was set aside");
    assert_eq!(fleet.run::<u64>(&["XLEN", &fleet.keys().dead()]), 0);
    fleet.conclude_with(&streams);
}
