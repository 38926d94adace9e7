//! Done, release, shutdown.

use streamkeeper_core::{
    streams::{
        Answer, End, Event, Link,
        call::{Finished, Released},
    },
    trouble::Trouble,
};

use crate::{
    answers::{all_done, all_released, granted},
    story::{Story, entry, ms},
};

/// One stream is owned.
fn owner() -> Story {
    let mut s = Story::started(|_| {});
    s.at(100).owns(1, "orders", 70).at(500);
    s
}

#[test]
fn done() {
    let mut s = owner();
    s.done(1).valid(1).at(502).answer("done", all_done(1)).at(2_000);
    s.ends("done", "Validity ends when the application says done, before Redis hears of it.");
}

#[test]
fn done_whose_answer_is_lost() {
    let mut s = owner();
    s.done(1).at(1_500).fails("done", Trouble::connection("no answer in time")).at(1_600).connected(Link::Commands);
    s.at(1_700).answer("done", Answer::Done(vec![Finished::Gone]));
    s.ends("done_answer_lost", "Done is told again; that the announcement is gone means that the first one arrived.");
}

#[test]
fn done_and_gone_at_once() {
    let mut s = owner();
    s.done(1).answer("done", Answer::Done(vec![Finished::Gone])).at(600);
    s.ends("done_gone", "Gone at the first try means that somebody else finished or removed it.");
}

#[test]
fn done_fenced() {
    let mut s = owner();
    s.done(1).answer("done", Answer::Done(vec![Finished::Fenced])).at(600);
    s.ends("done_fenced", "Somebody else owns the stream, or may: nothing was changed.");
}

#[test]
fn done_unanswered() {
    let mut s = owner();
    s.done(1).disconnected(Link::Commands).at(3_500);
    s.ends("done_unanswered", "Without an answer until the deadline, nobody knows; later answers say nothing.");
}

#[test]
fn release() {
    let mut s = owner();
    s.release(1, None).valid(1).answer("release", all_released(1)).hint(1, "orders").at(700);
    s.hint(1, "orders").at(850).hint(1, "orders").at(900);
    s.ends(
        "release",
        "Released, touched so that Redis tells everybody, and left to the others for twice the longest delay.",
    );
}

#[test]
fn a_rest() {
    let mut s = owner();
    s.event(Event::Rest(entry(1), ms(30_000))).valid(1).answer("release", all_released(1)).at(900);
    s.owns(2, "invoices", 71).event(Event::Rest(entry(2), ms(30 * 24 * 3_600_000)));
    s.ends("rest", "A stream that rests is given back with a pause that is no failure, and lasts a week at most.");
}

#[test]
fn release_fenced() {
    let mut s = owner();
    s.release(1, None).answer("release", Answer::Released(vec![Released::Fenced])).at(600);
    s.ends("release_fenced", "The ownership had ended before it was released.");
}

#[test]
fn an_end_that_comes_twice() {
    let mut s = owner();
    s.done(1).done(1).release(1, None).answer("done", all_done(1)).done(1);
    s.ends("ended_twice", "Only the first word counts.");
}

#[test]
fn an_end_that_nobody_waits_for_any_more() {
    let mut s = owner();
    s.done(1).at(3_250).owns(1, "orders", 71).fails("done", Trouble::from_reply("LOADING", "LOADING")).done(1);
    s.at(3_500).answer("done", Answer::Done(vec![Finished::Gone])).at(3_600);
    s.ends(
        "done_of_a_former_ownership",
        "The first done is given up and fails late; the announcement is owned anew and finished: one done is told, once.",
    );
}

#[test]
fn shutdown_with_everything() {
    let mut s = owner();
    s.owns(2, "invoices", 71).at(1_200).pending(3, "returns").reads(&[3]).shutdown(End::Release, 4_000);
    s.at(1_203).answer("acquire", granted(72)).answer("release", all_released(3)).by_itself("release").at(1_300);
    s.ends("shutdown", "Everything is released; what was asked for and is not answered yet is given back blindly.");
}

#[test]
fn draining() {
    let mut s = owner();
    s.owns(2, "invoices", 71).at(1_200).pending(3, "returns").reads(&[3]).drain();
    s.at(1_203).answer("acquire", granted(72)).by_itself("release").event(Event::Claim(entry(4))).at(2_300);
    s.release(1, None).at(2_900).shutdown(End::Release, 4_000).at(3_000);
    s.ends(
        "draining",
        "Nothing more is taken, and what is owned is kept until the application or the shutdown ends it.",
    );
}

#[test]
fn shutdown_at_its_deadline() {
    let mut s = owner();
    s.shutdown(End::Done, 1_500).disconnected(Link::Subscriber).at(2_000);
    s.ends("shutdown_deadline", "The time is up before Redis answers: the report says so.");
}

#[test]
fn shutdown_asked_for_again() {
    let mut s = owner();
    s.shutdown(End::Release, 9_000).at(700).shutdown(End::Done, 20_000).at(900).shutdown(End::Done, 1_500).at(2_000);
    s.ends("shutdown_again", "The shorter deadline counts, whichever came first; the first word on how it ends does.");
}

#[test]
fn shutdown_while_cut_off() {
    let mut s = owner();
    s.disconnected(Link::Commands).shutdown(End::Release, 9_000).at(5_000);
    s.ends("shutdown_cut_off", "Cut off from Redis, a shutdown ends when the last patience does.");
}

#[test]
fn given_back_and_not_heard() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "orders").reads(&[1]).drain().fails("release", Trouble::from_reply("BUSY", "busy"));
    s.at(150).at(190).at(300);
    s.ends("given_back_again", "What was asked for and is given back is given back until Redis has heard it.");
}
