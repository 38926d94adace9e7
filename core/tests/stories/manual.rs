//! Claiming by hand.

use streamkeeper_core::{
    config::ClaimMode,
    streams::{
        Answer, Event, Link,
        call::{Acquired, Idle},
    },
    trouble::Trouble,
};

use crate::story::{Story, entry, ms};

fn manual() -> Story {
    let mut s = Story::started(|settings| settings.claim = ClaimMode::Manual);
    s.at(100).pending(1, "orders").hint(1, "orders").at(110);
    s
}

#[test]
fn claimed() {
    let mut s = manual();
    s.event(Event::Claim(entry(1))).at(112).grants(&[80]).event(Event::Claim(entry(1)));
    s.ends("manual_claim", "An orphan is told of, claimed, and owned.");
}

#[test]
fn claim_lost() {
    let mut s = manual();
    s.event(Event::Claim(entry(1))).at(112).acquired(vec![Acquired::Held(ms(2_800))]);
    s.ends("manual_claim_lost", "Somebody else was faster: a normal answer.");
}

#[test]
fn claimed_and_gone() {
    let mut s = manual();
    s.event(Event::Claim(entry(9))).at(120).event(Event::Claim(entry(1))).at(122).acquired(vec![Acquired::Gone]);
    s.ends("manual_claim_gone", "What is not pending any more cannot be claimed.");
}

#[test]
fn told_again() {
    let mut s = manual();
    s.at(1_000).hint(1, "orders").at(1_010).at(3_200).hint(1, "orders").at(3_300);
    s.ends("manual_told_again", "An orphan that nobody claims is told of once a ttl.");
}

#[test]
fn told_and_rung_for() {
    let mut s = Story::started(|settings| settings.claim = ClaimMode::Manual);
    s.by_hand("reap").pending(1, "orders");
    for at in [210, 420, 630] {
        let idle = vec![Idle { entry: entry(1), idle: ms(3_050) }];
        s.at(at).answer("reap", Answer::Reaped { idle, announced: 1 }).at(at + 10);
    }
    s.ends(
        "manual_rung_for",
        "The reaper's own application is told of an orphan once a ttl, and the bell rings for it each time: somebody who \
         takes by itself need not wait for somebody who does not claim.",
    );
}

#[test]
fn claimed_while_cut_off() {
    let mut s = manual();
    s.event(Event::Claim(entry(1))).at(112).fails("acquire", Trouble::connection("reset"));
    s.at(200).connected(Link::Commands).at(210).grants(&[80]);
    s.ends("manual_claim_cut_off", "A claim outlives the connection that it was made on.");
}

#[test]
fn claimed_beyond_the_capacity() {
    let mut s = Story::started(|settings| {
        settings.claim = ClaimMode::Manual;
        settings.capacity = 1;
    });
    s.at(100).pending(2, "invoices").hint(2, "invoices").at(110).owns(1, "orders", 70);
    s.event(Event::Claim(entry(2))).at(200);
    s.ends("manual_claim_full", "A full consumer claims nothing.");
}

#[test]
fn claimed_and_not_to_be_had() {
    let mut s = manual();
    let busy = || Trouble::from_reply("BUSY", "Redis is busy running a script.");
    s.by_hand("look").event(Event::Claim(entry(2))).fails("look", busy());
    s.at(200).event(Event::Claim(entry(3))).at(300).event(Event::Claim(entry(1))).drain();
    s.ends(
        "manual_claim_refused",
        "Who claims gets an answer, also if Redis could not be asked, or the consumer takes nothing more.",
    );
}

#[test]
fn claimed_before_and_after_it_was_known() {
    let mut s = Story::started(|settings| settings.claim = ClaimMode::Manual);
    s.idle = ms(2);
    s.at(100).pending(1, "orders").event(Event::Claim(entry(1))).at(110);
    s.ends("manual_claim_unknown", "What is claimed is asked for, though it looks as if somebody had got it just now.");
}
