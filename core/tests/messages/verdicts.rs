//! What Redis says of a message that something is to be done with: it is another's, it is gone, it cannot be judged.

use streamkeeper_core::{
    id::EntryId,
    messages::{
        Answer, Event, Link,
        call::{Fenced, Reason},
    },
};

use super::{
    story::{Story, entry, ms},
    words::rejected,
};

fn broken() -> Fenced {
    Fenced::Broken("WRONGTYPE".into())
}

fn dead(s: &Story) -> Vec<(EntryId, Reason)> {
    s.group.dead.clone()
}

#[test]
fn a_start_that_cannot_be_judged() {
    let mut s = Story::started(|_| {});
    s.by_hand("mark").is_due(1, |r| r.crashed = 1).at(400).answer("mark", Answer::Marked(vec![broken()])).told("mark");
    s.at(2_500);
    s.ends("mark_broken", "It gives its slot back, and is tried again later.");
}

#[test]
fn a_start_of_what_is_anothers() {
    let mut s = Story::started(|_| {});
    s.by_hand("mark").is_due(1, |r| r.crashed = 1).at(400).another_takes(1).goes("mark").at(410);
    s.ends("mark_lost", "It does not run here.");
}

#[test]
fn an_end_that_cannot_be_judged() {
    let mut s = Story::started(|s| s.max_attempts = 1);
    s.by_hand("mark").sends(&[1]).at(110).fails(1, "no").answer("mark", Answer::Marked(vec![broken()])).told("mark");
    s.at(2_200);
    s.ends("dying_broken", "It is tried again later, and its failure not forgotten.");
}

#[test]
fn an_end_of_what_is_trimmed() {
    let mut s = Story::started(|s| s.max_attempts = 1);
    s.sends(&[1]).at(110).trimmed(1).fails(1, "no").at(200);
    assert_eq!(dead(&s), [(entry(1), Reason::Failed)]);
    s.ends("dying_trimmed", "Its last run has failed, and what is left of it is here: it is buried from memory.");
    let mut s = Story::started(|s| s.max_attempts = 3);
    s.by_hand("mark").is_due(1, |r| r.failed = 3).at(400).trimmed(1).goes("mark").at(410);
    s.ends("used_up_trimmed", "It did not run here, and no error of it is known: it is nobody's any more.");
}

#[test]
fn a_burial_of_what_is_trimmed() {
    let mut s = Story::started(|_| {});
    s.by_hand("bury").sends(&[1]).at(110).ran(1, rejected("no")).trimmed(1).goes("bury").goes("bury").at(200);
    assert_eq!(dead(&s), [(entry(1), Reason::Rejected)]);
    s.ends("bury_trimmed", "It is buried from memory.");
    let mut s = Story::started(|_| {});
    s.by_hand("bury").sends(&[1]).at(110).ran(1, rejected("no")).answer("bury", Answer::Buried(vec![Fenced::Gone]));
    s.answer("bury", Answer::Buried(vec![Fenced::Gone])).at(200);
    s.ends("bury_gone", "It was not trimmed while it was ours: another has ended it.");
}

/// The script noted that its payload was gone, and the answer that said so is lost: asked again it says `gone`, as it would
/// if all had been done.
#[test]
fn what_is_trimmed_and_not_answered() {
    let mut s = Story::started(|_| {});
    s.by_hand("bury").sends(&[1]).at(110).ran(1, rejected("no")).trimmed(1).unanswered("bury").told("bury").at(400);
    s.event(Event::Connected(Link::Commands)).at(420);
    assert_eq!(dead(&s), [(entry(1), Reason::Rejected)], "{}", s.text());
    s.ends(
        "bury_trimmed_unanswered",
        "Gone may mean that the first one arrived, or found no payload: the script knows.",
    );
    let mut s = Story::started(|_| {});
    s.by_hand("park").sends(&[1]).at(110).fails(1, "no").trimmed(1).unanswered("park").told("park").at(400);
    s.event(Event::Connected(Link::Commands)).at(420);
    assert_eq!(dead(&s), [(entry(1), Reason::Failed)], "{}", s.text());
    s.ends("park_trimmed_unanswered", "The same for a failure.");
}

#[test]
fn a_burial_of_what_is_anothers() {
    let mut s = Story::started(|_| {});
    s.by_hand("bury").told("mine").sends(&[1]).at(110).ran(1, rejected("no")).another_takes(1).goes("bury").at(200);
    s.ends("bury_lost", "It is the other's to end, and nothing of it is looked for here.");
}

#[test]
fn a_given_back_delivery_is_refused() {
    let mut s = Story::started(|_| {});
    s.by_hand("park").sends(&[1]).at(110).another_takes(1).at(15_200).comes_back(1, 2).at(15_600);
    s.refused("park", streamkeeper_core::trouble::Trouble::from_reply("LOADING", "loading")).told("park").at(15_800);
    s.ends("stray_refused", "It is given back all the same, a moment later.");
}

#[test]
fn a_refresh_that_cannot_be_judged() {
    let mut s = Story::started(|_| {});
    s.by_hand("refresh").sends(&[1]).at(15_100).answer("refresh", Answer::Refreshed(vec![broken()])).at(15_200);
    s.succeeds(1).at(15_210);
    s.ends("refresh_broken", "It was ours, and nobody says otherwise: it runs on, and its success is told.");
    let mut s = Story::started(|s| (s.concurrency, s.prefetch, s.block) = (1, 1, ms(30_000)));
    s.by_hand("read").by_hand("refresh").at(2_500).answer("read", Answer::Read(vec![])).sends(&[1]).at(29_490);
    s.goes("read").at(29_500).answer("refresh", Answer::Refreshed(vec![broken()])).told("refresh").at(32_000);
    s.ends("doubted_broken", "It does not run before somebody knows: it is asked again later.");
}

#[test]
fn a_refresh_that_another_server_cannot_judge() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (2, 1));
    s.by_hand("refresh").by_hand("park").sends(&[1, 2, 3]).at(110).event(Event::Pause(true)).fails(2, "no");
    s.breaks(&[Link::Commands, Link::Reader]);
    s.group.fail_over();
    s.at(400).connects().at(410);
    s.answer("refresh", Answer::Refreshed(vec![broken(), broken(), broken()])).at(420);
    s.ends(
        "sift_broken",
        "What an earlier server handed out counts for nothing here; what has ended is told all the same.",
    );
}

/// Found by fuzzing, after two minutes. Who restores a server by hand may bring it about; Redis itself does not.
#[test]
fn an_end_that_two_answers_disagree_about() {
    let mut s = Story::started(|s| s.max_attempts = 1);
    s.by_hand("mark").by_hand("refresh").sends(&[1]).at(110).fails(1, "no").breaks(&[Link::Commands, Link::Reader]);
    s.group.fail_over();
    s.at(400).connects().at(410).answer("refresh", Answer::Refreshed(vec![Fenced::Lost])).at(420);
    s.goes("mark").goes("mark").at(500);
    s.ends("dying_disputed", "Its own call has the last word: it is ours, and is buried.");
}
