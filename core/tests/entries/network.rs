//! Connections that break, calls that are refused, answers that nobody asked for.

use streamkeeper_core::{
    entries::{
        Answer, Event, Link, OwnedId,
        call::{About, Fetched, Start},
    },
    id::CallId,
    trouble::{Trouble, TroubleKind},
};

use super::{
    redis::entry,
    story::{Story, id},
};

fn reset() -> Trouble {
    Trouble::connection("connection reset")
}

fn waited_for() -> Story {
    let mut story = Story::unborn(|_| {});
    story.reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("a is read and waited for");
    story
}

#[test]
fn the_readers_connection_breaks_while_it_waits() {
    let mut story = waited_for();
    story
        .event(Event::Disconnected(Link::Reader, reset()))
        .at(40)
        .added("a", [1])
        .event(Event::Connected(Link::Reader));
    story.at(60).refused("wait", reset()).at(80);
    story.ends("lost_in_wait", "Nothing is asked over the new connection before the old call is answered.");
}

#[test]
fn the_readers_connection_breaks_while_it_fetches() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=2).by_hand("fetch").reads("a", 1, Start::Beginning, 6).connected().at(10);
    story
        .in_short("a is being fetched")
        .unanswered("fetch")
        .by_itself("fetch")
        .at(40)
        .event(Event::Connected(Link::Reader));
    story.at(60);
    story.ends("lost_in_fetch", "The answer is lost: it is asked for again, less at first.");
}

#[test]
fn what_is_too_much_is_asked_for_in_smaller_pieces() {
    let mut story = Story::unborn(|s| (s.batch, s.prefetch) = (20, 40));
    story.added("a", 1..=40).by_hand("fetch").reads("a", 1, Start::Beginning, 40).connected().at(10);
    story.in_short("a is being fetched");
    for at in [100, 300, 600] {
        story.unanswered("fetch").at(at).event(Event::Connected(Link::Reader)).at(at + 20);
    }
    assert!(story.text().ends_with("fetch a behind 0-0 (≤ 2)"), "{}", story.text());
    story.goes("fetch").goes("fetch").by_itself("fetch").goes("fetch").at(700);
    assert_eq!(story.machine().buffered(), 40, "{}", story.text());
    story.ends("too_much", "Half of it each time; what goes well makes it more again.");
}

#[test]
fn the_readers_connection_breaks_as_it_is_identified() {
    let mut story = Story::unborn(|_| {});
    story.by_hand("identify").reads("a", 1, Start::Beginning, 6).connected().at(10).refused("identify", reset());
    story.by_itself("identify").at(40).event(Event::Connected(Link::Reader)).at(60);
    story.ends("lost_in_identify", "The new connection is another client.");
}

#[test]
fn the_commands_connection_breaks_while_it_opens() {
    let mut story = Story::unborn(|_| {});
    story.added("a", [1]).by_hand("open").reads("a", 1, Start::Beginning, 6).connected().at(10).unanswered("open");
    story.by_itself("open").at(40).event(Event::Connected(Link::Commands)).at(60);
    story.ends("lost_in_open", "Prepared again, and opened again.");
}

#[test]
fn a_commits_answer_is_lost() {
    let mut story = waited_for();
    story
        .added("a", 1..=2)
        .at(20)
        .by_hand("commit")
        .commits(1, 1)
        .commits(1, 2)
        .unanswered("commit")
        .by_itself("commit");
    story.at(50).event(Event::Connected(Link::Commands)).at(70);
    story.ends("lost_in_commit", "The same again: Redis says that it stands there already. Then the next.");
}

#[test]
fn a_wake_ups_answer_is_lost() {
    let mut story = waited_for();
    story.by_hand("wake").reads("b", 2, Start::Beginning, 6).at(20).refused("wake", reset()).by_itself("wake");
    story.at(50).event(Event::Connected(Link::Commands)).at(70);
    story.ends("lost_in_wake", "The same again.");
}

#[test]
fn refused() {
    let mut story = Story::unborn(|_| {});
    let busy = || Trouble { kind: TroubleKind::NotNow, message: "BUSY Redis is busy running a script.".into() };
    story.by_hand("fetch").by_hand("commit").reads("a", 1, Start::Beginning, 6).connected().at(10);
    story.in_short("a is being fetched").refused("fetch", busy()).at(40).refused("fetch", busy()).at(100).goes("fetch");
    story.commits(1, 1).refused("commit", busy()).at(150).goes("commit");
    story.ends(
        "refused",
        "What is refused is tried again, after pauses that grow; a connection is not replaced for that.",
    );
}

#[test]
fn a_wait_is_refused() {
    let mut story = waited_for();
    let refused = Trouble { kind: TroubleKind::Refused, message: "NOPERM no permission for xread".into() };
    story.by_hand("wait").refused("wait", refused.clone()).added("a", [1]).at(60).refused("wait", refused).at(70);
    story.ends("wait_refused", "A wait is a hint: without it there is a look now and then.");
}

#[test]
fn answers_that_do_not_fit() {
    let mut story = Story::unborn(|_| {});
    story.by_hand("fetch").reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("a is being fetched");
    let backwards = Fetched::Entries(vec![entry(id(2)), entry(id(1))], About::default());
    story.answer("fetch", Answer::Fetched(vec![backwards])).at(40);
    story.answer("fetch", Answer::Fetched(vec![])).at(100).answer("fetch", Answer::Woken(None)).at(200);
    story.ends("unfit", "In no order, too few, another call's: as good as refused.");
}

#[test]
fn an_answer_that_comes_twice() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=2).by_hand("commit").reads("a", 1, Start::Beginning, 6).connected().at(10);
    story.in_short("1-0 and 2-0 are delivered").commits(1, 2).goes("commit");
    let again = Answer::Committed(vec![streamkeeper_core::entries::call::Committed::Fenced]);
    for call in 1..=9 {
        story.event(Event::Answered(CallId(call), Ok(again.clone())));
    }
    story
        .ends("twice", "Nobody asked for that any more, or it is to another question: nothing follows for the commit.");
}

#[test]
fn nothing_is_wanted_while_nothing_is_owned() {
    let mut story = waited_for();
    story.event(Event::Lost(OwnedId(1))).event(Event::Disconnected(Link::Commands, reset()));
    story.event(Event::Disconnected(Link::Reader, reset())).refused("wait", reset()).at(1_000);
    story.reads("b", 2, Start::Beginning, 6);
    story.ends("nothing_owned", "Connections that break are made again only when something is owned.");
}
