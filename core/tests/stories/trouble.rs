//! Trouble with the server.

use streamkeeper_core::{
    streams::{Link, call::RenewException},
    trouble::Trouble,
};

use crate::story::Story;

#[test]
fn out_of_memory() {
    let mut s = Story::started(|_| {});
    s.by_hand("renew").by_hand("read").at(100).owns(1, "orders", 70);
    s.at(110).pending(2, "invoices").reads(&[2]);
    s.fails("acquire", Trouble::from_reply("OOM", "command not allowed when used memory > 'maxmemory'."));
    s.at(1_000).renewed(vec![]).at(1_050);
    s.ends(
        "out_of_memory",
        "A full server still renews; nothing new is taken while one acquisition waits to be tried again.",
    );
}

#[test]
fn busy() {
    let mut s = Story::started(|_| {});
    s.by_hand("renew").by_hand("read").at(100).owns(1, "orders", 70);
    s.at(1_000).fails("renew", Trouble::from_reply("BUSY", "Redis is busy running a script."));
    s.at(1_250).fails("renew", Trouble::from_reply("BUSY", "Redis is busy running a script."));
    s.at(1_500).renewed(vec![]).valid(1);
    s.ends("busy", "A server that cannot answer now is asked again, a little later each time; the lease lives on.");
}

#[test]
fn readonly() {
    let mut s = Story::started(|_| {});
    s.by_hand("renew").at(100).owns(1, "orders", 70);
    s.at(1_000).fails("renew", Trouble::from_reply("READONLY", "You can't write against a read only replica."));
    s.at(1_100).connected(Link::Commands).at(1_200).renewed(vec![]);
    s.ends("readonly", "A demoted server: the connection is dropped, and a new one leads to the right server.");
}

#[test]
fn an_answer_that_does_not_fit() {
    let mut s = Story::started(|_| {});
    s.by_hand("renew").at(100).owns(1, "orders", 70);
    s.at(1_000).renewed(vec![(5, RenewException::Gone)]).at(1_300);
    s.ends("misfit", "An answer that cannot be one is a failed call, not a fact.");
}

#[test]
fn an_answer_that_nobody_asked_for() {
    let mut s = Story::started(|_| {});
    s.by_hand("renew").at(100).owns(1, "orders", 70);
    s.stray().at(200).valid(1);
    s.ends("stray", "An answer to no question is dropped and counted.");
}

#[test]
fn the_subscriber_is_lost() {
    let mut s = Story::started(|_| {});
    s.by_hand("mine").by_hand("reap").at(100).disconnected(Link::Subscriber).at(200).connected(Link::Subscriber);
    s.at(201);
    s.ends("subscriber_lost", "Whatever was published meanwhile is lost: everything is looked at.");
}
