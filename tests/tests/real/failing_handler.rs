//! A handler that always fails: its stream is tried again later and later, and then set aside.

use streamkeeper_tests::event::Kind;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(backs_off_and_is_set_aside);

fn backs_off_and_is_set_aside(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).with(&["--max-failures", "4"]).patient();
    let steady = fleet.start_with("steady", &["--capacity", "1"]);
    fleet.wait_ready(&steady);
    let good = fleet.announce("good", 1);
    fleet.wait_owned_by(&good, &[&steady]);
    let failing = fleet.start_with("failing", &["--fail-after", "100ms"]);
    fleet.wait_ready(&failing);
    let bad = fleet.announce("bad", 2);
    fleet.wait("both set aside", |ledger| bad.iter().all(|stream| ledger.count(Kind::Rejected, stream) == 1));
    let life = failing.life();
    for stream in &bad {
        let at = |kind| life.events.iter().filter(move |event| event.is(kind, stream)).map(|event| event.at_us);
        let (added, released): (Vec<u64>, Vec<u64>) = (at(Kind::Added).collect(), at(Kind::Released).collect());
        assert_eq!(added.len(), 4, "tried four times: {added:?}");
        let pauses: Vec<u64> = added[1..].iter().zip(&released).map(|(next, end)| next.saturating_sub(*end)).collect();
        // 1, 2, 4 s, give or take a quarter, and this machine may make each longer: so half of it is what all keep to.
        let least = [500_000, 1_000_000, 2_000_000];
        assert!(
            pauses.iter().zip(least).all(|(pause, least)| *pause >= least),
            "it waits longer each time: {pauses:?}"
        );
        let rejected = life.events.iter().find(|event| event.is(Kind::Rejected, stream)).unwrap();
        assert_eq!(rejected.reason(), "failed", "{rejected:?}");
    }
    assert_eq!(fleet.ledger().count(Kind::Added, "good0"), 1, "the other stream stayed with its owner all the time");
    assert_eq!(fleet.announced(), good);
    let list = fleet.command_ok(&["dead", "list"]);
    assert!(bad.iter().all(|stream| list.out.contains(stream)) && list.out.contains("failed"), "{list:?}");
    // The handler is mended, and the streams are brought back.
    failing.terminate();
    assert!(failing.wait_end().success(), "{}", failing.errors());
    let [mended] = fleet.start_all(["mended"]);
    fleet.command_ok(&["dead", "retry", "--reason", "failed"]);
    fleet.wait_owned_by(&bad, &[&mended]);
    fleet.conclude_with(&[good, bad].concat());
}
