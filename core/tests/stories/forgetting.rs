//! A server that may have forgotten (DESIGN 5.8).

use streamkeeper_core::{
    streams::{Answer, Event, Link, call::RenewException},
    trouble::Trouble,
};

use crate::story::Story;

/// One stream is owned when the connection breaks and leads to another server, on which somebody waits.
fn failover() -> Story {
    let mut s = Story::started(|_| {});
    s.by_hand("renew").by_hand("epoch").by_hand("read").at(100).owns(1, "orders", 70);
    s.at(500).disconnected(Link::Commands).server("run-2:repl-2", Some("wait:5"));
    s.at(600).connected(Link::Commands).at(610).by_itself("epoch").by_hand("epoch").at(620);
    s
}

#[test]
fn wait_and_settle() {
    let mut s = failover();
    s.renewed(vec![]).at(1_000).renewed(vec![]).by_itself("epoch").by_itself("renew");
    s.at(3_500).by_hand("epoch").by_hand("renew").at(3_611).server("run-2:repl-2", None).by_itself("epoch").at(3_630);
    s.ends(
        "quarantine",
        "Another server: what is owned is renewed, nothing is acquired for the longest ttl, then it is settled on.",
    );
}

#[test]
fn flushed_during_the_first_wait() {
    let mut s = Story::unborn(|_| {});
    s.by_hand("epoch").server("run-1:repl-1", Some("wait:5")).event(Event::Timeout).connected(Link::Commands);
    s.by_itself("epoch").by_hand("epoch").at(1_100);
    s.ends(
        "seen_before",
        "Who has seen a wait is not new to the service: should it be gone, it takes nothing for a birth.",
    );
}

#[test]
fn changed_meanwhile() {
    let mut s = failover();
    s.renewed(vec![]).by_itself("epoch").by_itself("renew").at(3_500).server("run-2:repl-2", Some("wait:6"));
    s.by_hand("epoch").at(3_611).by_itself("epoch").by_hand("epoch").at(3_620).by_itself("epoch");
    s.at(6_500).by_hand("epoch").at(6_620);
    s.ends("quarantine_again", "Another wait stands there than the one that was sat out: all over again.");
}

#[test]
fn created_again() {
    let mut s = failover();
    s.renewed(vec![(0, RenewException::Recreated)]).at(1_000).valid(1);
    s.ends("recreated", "The server forgot the lease: its owner, still valid by its own clock, creates it again.");
}

#[test]
fn not_created_again() {
    let mut s = failover();
    s.renewed(vec![(0, RenewException::Lost(None))]).by_itself("release").at(700).valid(1);
    s.ends("not_recreated", "The record shows another ownership: the stream is lost.");
}

#[test]
fn an_idle_reader_is_renewed() {
    let mut s = Story::started(|_| {});
    s.at(500).disconnected(Link::Commands).server("run-2:repl-2", Some("wait:5"));
    s.at(600).connected(Link::Commands).at(610).connected(Link::Reader).by_hand("read");
    s.at(3_600).server("run-2:repl-2", None).at(3_700);
    s.ends(
        "idle_reader",
        "Nobody reads while the fleet waits for a new server, so nobody would notice that the reader's connection broke with \
         the one for commands: it is made anew with it.",
    );
}

#[test]
fn an_idle_reader_of_a_start_is_renewed() {
    let mut s = Story::unborn(|_| {});
    for call in ["prepare", "epoch", "read"] {
        s.by_hand(call);
    }
    s.event(Event::Timeout).connected(Link::Commands).connected(Link::Subscriber).connected(Link::Reader);
    s.at(1_000).fails("prepare", Trouble::connection("timed out")).fails("epoch", Trouble::connection("timed out"));
    s.at(1_100).by_itself("prepare").connected(Link::Commands).server("run-1:repl-1", Some("wait:5"));
    s.at(1_110).connected(Link::Reader).at(1_200);
    s.ends(
        "idle_reader_of_a_start",
        "What broke the connection for commands before anything was answered may have broken the reader's: it is made anew.",
    );
}

#[test]
fn the_epoch_differs() {
    let mut s = Story::started(|_| {});
    s.by_hand("epoch").at(100).pending(1, "orders").reads(&[1]).answer("acquire", Answer::EpochDiffers);
    s.at(110).server("run-2:repl-2", Some("wait:5")).by_itself("epoch").at(200);
    s.at(3_105).server("run-2:repl-2", None).at(3_200).grants(&[70]);
    s.ends(
        "epoch_differs",
        "The script itself says that the server is another: nothing is acquired before the fleet has settled.",
    );
}
