//! Renewals, and the ways in which a lease is lost.

use streamkeeper_core::{
    streams::{Link, call::RenewException},
    trouble::Trouble,
};

use crate::{answers::group_lost, story::Story};

/// One stream is owned, and renewals are told and answered by hand.
fn owner() -> Story {
    let mut s = Story::started(|_| {});
    s.by_hand("renew").at(100).owns(1, "orders", 70);
    s
}

#[test]
fn a_renewal() {
    let mut s = owner();
    s.at(1_000).at(1_050).renewed(vec![]).at(2_000).at(2_700).valid(1).renewed(vec![]);
    s.ends("renew", "Each heartbeat renews; a lease is trusted from when the renewal was sent, not from its answer.");
}

#[test]
fn a_lost_answer_to_a_renewal() {
    let mut s = owner();
    s.at(1_000).at(2_000).fails("renew", Trouble::connection("no answer in time"));
    s.at(2_100).connected(Link::Commands).at(2_110).renewed(vec![]);
    s.at(2_800).valid(1);
    s.ends("lost_renewal", "One lost answer costs no lease: a new connection, and the renewal is sent again.");
}

#[test]
fn the_local_deadline() {
    let mut s = owner();
    s.disconnected(Link::Commands).disconnected(Link::Subscriber).disconnected(Link::Reader);
    s.at(2_789).valid(1).at(2_790).valid(1).at(2_800);
    s.ends("local_deadline", "Cut off from Redis, the owner stops at its own deadline, before the lease ends there.");
}

#[test]
fn a_late_answer() {
    let mut s = owner();
    s.at(1_000).at(2_790).renewed(vec![]).valid(1).by_itself("release").at(2_800);
    s.ends("late_answer", "An answer that comes after the deadline revives nothing: Disowned comes first.");
}

#[test]
fn taken_by_somebody() {
    let mut s = owner();
    s.at(1_000).renewed(vec![(0, RenewException::Lost(Some("redis-consumer-go".into())))]).at(1_100);
    s.ends("taken", "Somebody else's name stands in the lease: it is theirs.");
}

#[test]
fn vanished() {
    let mut s = owner();
    s.at(1_000).renewed(vec![(0, RenewException::Lost(None))]).by_itself("release").at(1_400);
    s.ends(
        "vanished",
        "The lease is gone from Redis: the stream is given back, so that nobody has to wait for its ttl.",
    );
}

#[test]
fn the_entry_is_gone() {
    let mut s = owner();
    s.at(1_000).renewed(vec![(0, RenewException::Gone)]).at(1_100);
    s.ends("entry_gone", "The announcement is no longer in the LBS: somebody finished or removed it.");
}

#[test]
fn the_group_is_lost() {
    let mut s = owner();
    s.by_hand("prepare").at(1_000).answer("renew", group_lost());
    s.at(1_100).by_itself("prepare").at(1_200).reads(&[1]).at(1_300).valid(1);
    s.at(2_000).renewed(vec![(0, RenewException::TakenBack)]);
    s.ends(
        "group_lost",
        "The group is created again at 0; who owns a stream goes on owning it, though it is read again.",
    );
}

#[test]
fn a_key_of_a_wrong_type() {
    let mut s = owner();
    s.at(200).owns(2, "invoices", 71);
    s.at(1_000).renewed(vec![(0, RenewException::Broken("WRONGTYPE".into()))]);
    s.at(2_000).renewed(vec![(0, RenewException::Broken("WRONGTYPE".into()))]).at(2_800).valid(1).valid(2);
    s.ends(
        "wrong_type",
        "A list stands where one lease should be: that stream ends at its deadline, its neighbour lives on.",
    );
}

#[test]
fn a_pause_longer_than_the_ttl() {
    let mut s = owner();
    s.at(1_000).frozen_until(2_789).valid(1).frozen_until(2_790).valid(1);
    s.frozen_until(9_000).renewed(vec![]).valid(1).at(9_010);
    s.ends(
        "paused",
        "The process stood still for longer than its lease: it hears that first, whatever came meanwhile.",
    );
}

#[test]
fn several_exceptions() {
    let mut s = owner();
    s.at(200).owns(2, "invoices", 71).at(800).owns(3, "returns", 72).at(1_000);
    s.renewed(vec![(0, RenewException::TakenBack), (2, RenewException::Gone)]).at(1_100).valid(1).valid(2).valid(3);
    s.ends("several_exceptions", "Of one batch some are kept, some are taken back, and some are lost: each by itself.");
}

#[test]
fn renewals_in_batches() {
    let mut s = Story::started(|settings| settings.renew_batch = 1);
    for number in 1..=6 {
        s.owns(number, &format!("stream-{number}"), 70 + number).at(600 * number);
    }
    s.by_hand("renew").at(3_999).disconnected(Link::Commands).at(4_050).connected(Link::Commands).at(4_060);
    for _ in 0..6 {
        s.renewed(vec![]);
    }
    s.ends(
        "renewals_in_batches",
        "Four batches at most are under way at once; each that is answered makes room for one.",
    );
}
