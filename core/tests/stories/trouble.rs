//! Trouble with the server.

use streamkeeper_core::{
    streams::{Answer, Event, Link, call::RenewException},
    trouble::Trouble,
};

use crate::{answers::group_lost, story::Story};

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
    s.at(1_000).renewed(vec![(1, RenewException::Gone)]).at(1_300);
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

#[test]
fn a_server_that_is_full_until_it_is_not() {
    let mut s = Story::started(|_| {});
    s.by_hand("read").by_hand("take").at(100).pending(1, "orders").pending(2, "invoices").reads(&[1]);
    s.fails("acquire", Trouble::from_reply("OOM", "command not allowed when used memory > 'maxmemory'."));
    s.takes(&[]).at(200).grants(&[70]).at(300).reads(&[2]).at(310);
    s.ends(
        "room_in_memory_again",
        "Once something could be acquired, the server has memory again: more is asked for while an acquisition is under way.",
    );
}

#[test]
fn a_right_that_is_lost_later() {
    let mut s = Story::started(|_| {});
    let refused = || Trouble::from_reply("NOPERM", "this user has no permissions to run the 'hmget' command");
    s.by_hand("epoch").at(1_100).fails("epoch", refused()).at(1_400).by_itself("epoch").at(1_500);
    s.event(Event::Disconnected(Link::Commands, refused())).at(1_600);
    s.ends(
        "right_lost_later",
        "What would end a consumer that starts does not end one that has worked: somebody may mend it.",
    );
}

#[test]
fn a_server_that_is_loading_at_the_start() {
    let mut s = Story::unborn(|_| {});
    s.by_hand("epoch").event(Event::Timeout).connected(Link::Subscriber).connected(Link::Commands).at(3);
    s.fails("epoch", Trouble::from_reply("LOADING", "Redis is loading the dataset in memory")).at(400);
    s.ends("loading_at_start", "Where the fleet stands cannot be told yet: that passes, and is asked again.");
}

#[test]
fn questions_that_an_older_connection_has_left_open() {
    let mut s = Story::unborn(|_| {});
    let lost = || Trouble::connection("connection reset by peer");
    s.by_hand("prepare").by_hand("epoch").event(Event::Timeout).connected(Link::Commands);
    s.at(10).disconnected(Link::Commands).at(100).connected(Link::Commands).at(110);
    s.fails("prepare", lost()).at(120).fails("epoch", lost()).at(130).by_itself("epoch").by_itself("prepare").at(140);
    s.ends(
        "older_questions",
        "That an older connection has not answered says nothing of this one: the server is not prepared twice, and the epoch \
         is asked for at once.",
    );
}

#[test]
fn a_group_that_is_lost_again_and_again() {
    let mut s = Story::started(|_| {});
    s.by_hand("renew").by_hand("prepare").by_hand("read").at(100).owns(1, "orders", 70);
    for at in [1_000, 2_000, 3_000] {
        s.at(at).answer("renew", group_lost()).at(at + 400).by_itself("prepare").at(at + 500).by_hand("prepare");
    }
    s.ends(
        "group_lost_again",
        "The group is created again at once the first time, then after longer and longer pauses.",
    );
}

#[test]
fn a_heartbeat_asks_the_subscriber_once() {
    let mut s = Story::started(|_| {});
    s.by_hand("ping").at(2_500).answer("ping", Answer::Pong).at(3_500).fails("ping", Trouble::connection("reset"));
    s.at(4_500);
    s.ends(
        "pings",
        "The subscriber's connection is asked with each heartbeat whether it is there, one question at a time.",
    );
}

#[test]
fn reading_goes_on_after_a_trouble() {
    let mut s = Story::started(|_| {});
    s.by_hand("read").by_hand("reap").by_hand("mine").at(300);
    s.fails("read", Trouble::from_reply("LOADING", "Redis is loading the dataset in memory")).at(800);
    s.ends("reading_goes_on", "A server in trouble is left alone for a moment; reading then goes on by itself.");
}

#[test]
fn looking_for_orphans_fails() {
    let mut s = Story::started(|_| {});
    s.by_hand("reap").at(300).fails("reap", Trouble::from_reply("BUSY", "Redis is busy running a script.")).at(600);
    s.ends("reap_fails", "A look for orphans that fails is not tried again before the next one is due.");
}
