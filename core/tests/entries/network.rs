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
    story::{Story, id, stream},
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
    let mut story = Story::unborn(|_| {});
    story.by_hand("wait").reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("a is waited for");
    story
        .event(Event::Disconnected(Link::Reader, reset()))
        .at(40)
        .added("a", [1])
        .event(Event::Connected(Link::Reader));
    story.at(60).refused("wait", reset()).by_itself("wait").at(80);
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
fn who_the_reader_was_is_nothing_to_the_new_connection() {
    let mut story = Story::unborn(|_| {});
    story.by_hand("identify").reads("a", 1, Start::Beginning, 6).connected().at(10);
    story.event(Event::Disconnected(Link::Reader, reset())).at(40).event(Event::Connected(Link::Reader)).at(50);
    story.answer("identify", Answer::Identified(Some(3)));
    assert_eq!((story.asks("identify"), story.asks("fetch")), (1, 0), "{}", story.text());
}

fn prepared_twice() -> Story {
    let mut story = Story::unborn(|_| {});
    story.by_hand("prepare").owned("a", 1).event(Event::Connected(Link::Commands)).at(10);
    story.event(Event::Disconnected(Link::Commands, reset())).at(40).event(Event::Connected(Link::Commands)).at(50);
    story.in_short("a is owned; the server was asked over a connection that broke, and over the next one");
    story
}

#[test]
fn what_the_server_was_is_nothing_to_the_new_connection() {
    let mut story = prepared_twice();
    story.goes("prepare").at(60).goes("prepare").at(70);
    story.ends("late_prepare", "It may be another server: nothing is asked of it before it is known.");
}

#[test]
fn an_old_connections_trouble_is_nothing_to_the_new_one() {
    let mut story = prepared_twice();
    story.refused("prepare", reset()).at(100).goes("prepare").at(110);
    story.ends("late_trouble", "The new one is used on; what was asked over it is not asked again.");
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

/// One entry of a stream is to be read, committed, and set aside; this call is answered by hand.
fn asking(call: &'static str) -> Story {
    let mut story = Story::unborn(|_| {});
    story.by_hand(call).added("a", [1]).reads("a", 1, Start::Beginning, 6).connected().at(10).commits(1, 1);
    story.event(Event::Undecodable { id: OwnedId(1), entry: entry(id(2)), error: "no JSON".into() });
    story
}

#[test]
fn whatever_is_refused_is_tried_again() {
    let busy = || Trouble { kind: TroubleKind::NotNow, message: "BUSY Redis is busy running a script.".into() };
    for call in ["prepare", "open", "fetch", "commit", "set_aside"] {
        let mut story = asking(call);
        for at in [40, 100, 250] {
            story.refused(call, busy());
            assert_eq!(story.asks(call), 0, "at once: {}", story.text());
            story.at(at);
            assert_eq!(story.asks(call), 1, "{call}: {}", story.text());
        }
        story.goes(call).by_itself(call).at(300);
        assert_eq!(story.redis.records[&stream("a")].position, id(1), "{call}: {}", story.text());
        assert_eq!(story.redis.dead.len(), 1, "{call}: {}", story.text());
    }
}

#[test]
fn pauses_begin_anew_when_a_call_went_well() {
    let busy = || Trouble { kind: TroubleKind::NotNow, message: "BUSY Redis is busy running a script.".into() };
    let mut story = asking("commit");
    for at in [40, 100, 250, 500] {
        story.refused("commit", busy()).at(at);
    }
    story.goes("commit").commits(1, 2).goes("commit").wishes(1, None, &[("sum", 1)]).refused("commit", busy()).at(526);
    assert_eq!(story.asks("commit"), 1, "a pause of 20 ms, give or take a quarter: {}", story.text());
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
    story.owned("c", 3).event(Event::Lost(OwnedId(3)));
    assert_eq!(story.machine().owned(), 1);
    story.owned("c", 4);
    assert_eq!(story.machine().owned(), 2);
    story.event(Event::Lost(OwnedId(4))).in_short("a is read and waited for").event(Event::Lost(OwnedId(1)));
    assert_eq!(story.machine().owned(), 0);
    story.event(Event::Disconnected(Link::Commands, reset()));
    story.event(Event::Disconnected(Link::Reader, reset())).refused("wait", reset()).at(1_000);
    story.reads("b", 2, Start::Beginning, 6);
    story.ends("nothing_owned", "Connections that break are made again only when something is owned.");
}
