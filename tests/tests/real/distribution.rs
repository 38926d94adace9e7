//! Who gets how much: a burst for three, and the share of one that died.

use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::server::Server;

on_both!(a_burst_is_shared_fairly_and_so_is_the_share_of_the_dead, capacity_is_respected);

/// 300 announcements in one go: each of three gets its third, give or take 20 %. One dies: each of two gets half of
/// its share, give or take 20 %.
fn a_burst_is_shared_fairly_and_so_is_the_share_of_the_dead(flavor: Flavor) {
    let server = Server::start(flavor);
    // Nobody is waited for longer than some 125 ms: what a consumer has not taken by then others may. This machine may keep
    // one waiting for so long now and then, so one fair burst of three is enough.
    let unfair: Vec<String> = (0..3).map_while(|round| burst(&server, &format!("svc{round}")).err()).collect();
    assert!(unfair.len() < 3, "{unfair:?}");
}

/// The burst for a service of its own: how it was unfair, if it was.
fn burst(server: &Server, service: &str) -> Result<(), String> {
    let fleet = Fleet::on(server).service(service);
    let [a, b, c] = fleet.start_all(["a", "b", "c"]);
    let streams = fleet.announce("s", 300);
    fleet.wait_owned(&streams);
    let shares = [&a, &b, &c].map(|consumer| fleet.owned_by(consumer).len());
    a.kill();
    fleet.wait_owned_by(&streams, &[&b, &c]);
    let gained = [(&b, shares[1]), (&c, shares[2])]
        .map(|(consumer, before)| fleet.owned_by(consumer).len().saturating_sub(before));
    let fair = shares[0] / 2;
    fleet.conclude_with(&streams);
    let is_fair = shares.iter().all(|share| (80..=120).contains(share))
        && gained.iter().all(|gain| gain.abs_diff(fair) * 5 <= fair + 4);
    is_fair.then_some(()).ok_or_else(|| format!("{shares:?}, then {gained:?} of the first"))
}

/// Nobody takes more than it may, and what is left goes to whoever comes.
fn capacity_is_respected(flavor: Flavor) {
    let server = Server::start(flavor);
    let fleet = Fleet::on(&server).with(&["--capacity", "7"]);
    let [a, b] = fleet.start_all(["a", "b"]);
    let streams = fleet.announce("s", 20);
    fleet.wait("both to be full", |_| [&a, &b].iter().all(|consumer| fleet.owned_by(consumer).len() == 7));
    a.kill();
    fleet.observe(2 * fleet.ttl(), |_| assert_eq!(fleet.owned_by(&b).len(), 7));
    let [c, d] = fleet.start_all(["c", "d"]);
    fleet.wait_owned_by(&streams, &[&b, &c, &d]);
    assert!([&b, &c, &d].iter().all(|consumer| fleet.owned_by(consumer).len() <= 7));
    fleet.conclude_with(&streams);
}
