//! Opening streams and reading them.

use streamkeeper_core::entries::{
    Answer, Event, Link, OwnedId,
    call::{Record, Start},
};
use streamkeeper_core::trouble::Trouble;

use super::story::{Story, attempt, id, stream};

fn up_to(position: u64) -> Record {
    Record { position: id(position), read: Some(position), mark: None }
}

#[test]
fn from_the_beginning() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=4).reads("a", 1, Start::Beginning, 6).at(1).connected().at(20);
    story.commits(1, 4).at(30).added("a", [5]).at(40);
    story
        .ends("from_the_beginning", "Connected only once something is owned; then open, fetch, wait, and fetch again.");
}

#[test]
fn behind_what_was_committed() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=4).was_committed("a", up_to(3));
    story.reads("a", 1, Start::End, 6).connected().at(20);
    story
        .ends("behind_what_was_committed", "A takeover goes on right behind the last commit, whatever the start says.");
}

#[test]
fn from_the_end() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=4).reads("a", 1, Start::End, 6).connected().at(10);
    story.reads("b", 2, Start::End, 6).at(20).added("b", [1]).at(30);
    let there = (story.redis.records[&stream("a")].clone(), story.redis.records[&stream("b")].clone());
    let empty = Record { position: id(0), read: Some(0), mark: None };
    assert_eq!(there, (Record { position: id(4), read: None, mark: None }, empty));
    story.ends(
        "from_the_end",
        "The end is committed at once, even that of a stream that is not there: a takeover begins there.",
    );
}

#[test]
fn from_an_empty_end_after_a_takeover() {
    let mut story = Story::unborn(|_| {});
    story.was_committed("a", Record { position: id(0), read: Some(0), mark: None });
    story.added("a", 1..=2).reads("a", 1, Start::End, 6).connected().at(10);
    story.ends("from_an_empty_end", "Opened at its end when it was empty: everything since is for its readers.");
}

#[test]
fn writes_alone_are_no_position() {
    let mark = Some(streamkeeper_core::entries::call::Mark { attempt: attempt(9), number: 1 });
    let mut story = Story::unborn(|_| {});
    story.was_committed("a", Record { position: id(0), read: None, mark });
    story.added("a", 1..=2).reads("a", 1, Start::End, 6).connected().at(10);
    story.ends("writes_alone", "A record of writes without a position says nothing of where reading begins.");
}

#[test]
fn an_empty_end_behind_writes_alone() {
    let mark = Some(streamkeeper_core::entries::call::Mark { attempt: attempt(9), number: 1 });
    let mut story = Story::unborn(|_| {});
    story.was_committed("a", Record { position: id(0), read: None, mark });
    story.reads("a", 1, Start::End, 6).connected().at(10);
    assert_eq!(story.redis.records[&stream("a")], Record { position: id(0), read: Some(0), mark });
    story.added("a", 1..=2).event(Event::Lost(OwnedId(1))).reads("a", 2, Start::End, 6).at(20);
    story.ends("empty_end_after_writes", "That it begins there is committed: what came since is for who owns it next.");
}

#[test]
fn from_an_id_and_from_a_time() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=4).added("b", 1..=4);
    story.reads("a", 1, Start::After(id(2)), 6).reads("b", 2, Start::At { unix_ms: 3 }, 6).connected().at(10);
    story.ends("from_an_id_and_from_a_time", "Behind an entry; and from the first of a time on.");
}

#[test]
fn asked_for_its_position_alone() {
    let mut story = Story::unborn(|_| {});
    story.was_committed("a", up_to(7)).owned("a", 1).connected().at(10);
    story.event(Event::Lost(OwnedId(1))).at(20);
    story.ends("position_alone", "Who does not read needs no reader's connection.");
}

#[test]
fn opened_while_waiting() {
    let mut story = Story::unborn(|_| {});
    story.reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("a is read and waited for");
    story.added("b", [1]).reads("b", 2, Start::Beginning, 6).at(30);
    story.ends("opened_while_waiting", "A wait is ended when there is something to fetch, and goes on for both.");
}

#[test]
fn woken_too_early() {
    let mut story = Story::unborn(|_| {});
    story.reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("a is read and waited for").by_hand("wake");
    story.reads("b", 2, Start::Beginning, 6).at(20).answer("wake", Answer::Woken(Some(false))).at(29);
    story.by_itself("wake").at(40);
    story.ends("woken_too_early", "A wake-up that overtook the wait is repeated.");
}

#[test]
fn a_late_wakening_is_nothing_to_the_next_wait() {
    let mut story = Story::unborn(|_| {});
    story.reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("a is read and waited for").by_hand("wake");
    story.reads("b", 2, Start::Beginning, 6).at(20).added("a", [1]).at(30);
    story.answer("wake", Answer::Woken(Some(true))).by_itself("wake");
    story.reads("c", 3, Start::Beginning, 6).at(50);
    story.ends("late_wakening", "The wait had ended by itself: the answer says nothing of the one that followed.");
}

#[test]
fn cannot_be_woken() {
    let mut story = Story::unborn(|_| {});
    story.redis.no_client = true;
    story.reads("a", 1, Start::Beginning, 6).connected().at(10);
    story.added("b", [1]).reads("b", 2, Start::Beginning, 6).at(120);
    story.ends("cannot_be_woken", "Where CLIENT is refused, no wait lasts for long. Said once.");
}

#[test]
fn a_busy_stream_among_idle_ones() {
    let mut story = Story::unborn(|_| {});
    story.reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("a is read and waited for");
    story.added("b", 1..=45).reads("b", 2, Start::Beginning, 100).at(14).added("a", [1]).at(30);
    story.ends("busy_among_idle", "Between fetches there is a look at the others, every 10 ms.");
}

#[test]
fn waiting_is_paced() {
    let mut story = Story::unborn(|_| {});
    for number in 1..=1_000 {
        story.reads(&format!("s{number:04}"), number, Start::Beginning, 6);
    }
    story.connected().at(90).in_short("a thousand streams are read and waited for");
    story.added("s0005", [1]).at(100);
    story.ends("paced", "After a wait for a thousand streams the next one comes 3.6 ms later; fetching does not wait.");
}

#[test]
fn room_is_used_up_and_given_again() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=9).reads("a", 1, Start::Beginning, 4).connected().at(20);
    assert_eq!(story.machine().buffered(), 4);
    story.room(1, 1).at(30).room(1, 3).at(40).room(1, 4).at(50);
    story.ends("room", "Never more than there is room for; without room nothing is fetched, nor waited for.");
}

#[test]
fn the_buffers_are_shared() {
    let mut story = Story::unborn(|s| (s.prefetch, s.prefetch_total) = (8, 8));
    story.added("a", 1..=20).added("b", 1..=20);
    story.reads("a", 1, Start::Beginning, 8).connected().at(20).reads("b", 2, Start::Beginning, 8).at(40);
    assert!(story.machine().buffered() <= 8);
    story.room(2, 2).at(50).room(1, 3).at(60);
    story.ends("shared_buffers", "One stream's entries may fill half of the buffers; the rest is for who has none.");
}

#[test]
fn who_has_nothing_gets_one_however_full_the_buffers_are() {
    let mut story = Story::unborn(|s| (s.prefetch, s.prefetch_total) = (8, 8));
    for (at, name) in (1..).zip(["a", "b", "c", "d", "e", "f"]) {
        story.added(name, 1..=20).reads(name, at, Start::Beginning, 8).connected().at(20 * at);
    }
    assert_eq!(story.machine().buffered(), 10, "{}", story.text());
    story.room(6, 1).at(140);
    assert_eq!(story.machine().buffered(), 10, "{}", story.text());
    story.ends("one_more_each", "The first four have filled the buffers, and stand still: the others get on.");
}

#[test]
fn one_call_is_shared() {
    let mut story = Story::unborn(|s| (s.batch, s.prefetch, s.prefetch_total) = (20, 20, 24));
    for (name, owned) in [("a", 1), ("b", 2), ("c", 3)] {
        story.added(name, 1..=20).reads(name, owned, Start::Beginning, 20);
    }
    story.connected().at(20);
    story.ends("one_call_is_shared", "Whoever comes first leaves the others their part of the call.");
}

#[test]
fn who_takes_nothing_in_takes_no_part_of_a_call() {
    let mut story = Story::unborn(|s| (s.batch, s.prefetch, s.prefetch_total) = (20, 40, 40));
    for (at, name) in (1..).zip(["a", "b", "c"]) {
        story.added(name, 1..=50).reads(name, at, Start::Beginning, 40).connected().at(20 * at);
    }
    assert_eq!(story.machine().buffered(), 36, "20, 10 and 6: {}", story.text());
    story.added("d", 1..=50).reads("d", 4, Start::Beginning, 40).at(100);
    assert_eq!(story.says("→ fetch d behind 0-0 (≤ 4)"), 1, "what is left: {}", story.text());
}

#[test]
fn who_waits_for_room_is_read_on_when_another_leaves_some() {
    let mut story = Story::unborn(|s| (s.prefetch, s.prefetch_total) = (8, 8));
    story.added("a", 1..=20).added("b", 1..=20);
    story.reads("a", 1, Start::Beginning, 8).connected().at(20).reads("b", 2, Start::Beginning, 8).at(40);
    story.in_short("4 of a and 2 of b are delivered").event(Event::Closed(OwnedId(1))).at(60);
    assert_eq!(story.machine().buffered(), 4, "half of the buffers: {}", story.text());
}

#[test]
fn who_has_nothing_gets_one_however_little_goes_into_a_call() {
    let mut story = Story::unborn(|s| (s.batch, s.prefetch, s.prefetch_total) = (1, 2, 2));
    story.added("a", 1..=9).added("b", 1..=9).by_hand("fetch");
    story.reads("a", 1, Start::Beginning, 2).reads("b", 2, Start::Beginning, 2).connected().at(10);
    story
        .unanswered("fetch")
        .at(40)
        .event(Event::Connected(Link::Reader))
        .at(50)
        .in_short("two are too many for a call");
    story.goes("fetch").goes("fetch").at(60);
    assert_eq!(story.machine().buffered(), 2, "{}", story.text());
    story.ends(
        "one_each_in_turn",
        "They are read one after the other, though the first has filled half of the buffers.",
    );
}

#[test]
fn so_many_are_opened_in_one_call() {
    let mut story = Story::unborn(|_| {});
    for number in 1..=501 {
        story.owned(&format!("s{number:04}"), number);
    }
    story.by_hand("open").connected().at(10);
    assert_eq!(story.says("(500 streams)"), 1, "{}", story.says("→ open"));
    story.goes("open").goes("open").at(20);
    assert_eq!(story.says(": open, nothing was committed"), 501);
}

#[test]
fn whether_there_is_nothing() {
    let mut story = Story::unborn(|_| {});
    story.added("a", [1]).reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("1-0 was delivered");
    story.event(Event::Look(OwnedId(1))).at(20);
    story.by_hand("fetch").event(Event::Look(OwnedId(1))).at(30).added("a", [2]).by_itself("fetch").goes("fetch");
    story.at(40);
    story.ends("whether_there_is_nothing", "A look that begins from then on tells, unless it brings something.");
}

#[test]
fn whether_there_is_nothing_where_nothing_can_be_read() {
    let mut story = Story::unborn(|_| {});
    story.reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("a is read and waited for").by_hand("fetch");
    story.event(Event::Look(OwnedId(1))).at(20).refused("fetch", Trouble::connection("timed out")).at(30);
    story.at(50).event(Event::Connected(Link::Reader)).at(60).event(Event::Look(OwnedId(1))).by_itself("fetch");
    story.goes("fetch").at(80);
    story.ends(
        "nothing_cannot_be_read",
        "A look that fails says nothing, nor one that began before it was asked again.",
    );
}

#[test]
fn a_look_that_fails_is_taken_again() {
    let mut story = Story::unborn(|_| {});
    story.reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("a is read and waited for").by_hand("fetch");
    story.event(Event::Look(OwnedId(1))).at(20).refused("fetch", Trouble::connection("timed out")).at(50);
    story.event(Event::Connected(Link::Reader)).at(60).goes("fetch");
    assert_eq!(story.says("there is nothing"), 1, "{}", story.text());
}

#[test]
fn read_anew_and_read_no_more() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=3).reads("a", 1, Start::Beginning, 6).connected().at(10).in_short("1-0 to 3-0 were delivered");
    story.commits(1, 2).read(1, Start::Beginning, 6).at(20).event(Event::Closed(OwnedId(1))).at(30);
    assert_eq!(story.machine().buffered(), 0);
    story.commits(1, 3).at(40);
    story.ends("read_anew", "Anew from what was committed, once that is answered; who reads no more may still commit.");
}

#[test]
fn read_anew_while_a_commit_waits() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=3).by_hand("commit").reads("a", 1, Start::Beginning, 6).connected().at(10);
    story.in_short("1-0 to 3-0 were delivered").commits(1, 1).commits(1, 2).read(1, Start::Beginning, 6).at(20);
    story.by_itself("commit").goes("commit").at(30);
    assert_eq!(story.redis.records[&stream("a")], up_to(2));
    story.ends("read_anew_waits", "What is still to be committed keeps its count, and is not delivered again.");
}

#[test]
fn read_anew_while_it_is_fetched() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=2).by_hand("fetch").reads("a", 1, Start::Beginning, 6).connected().at(10);
    story.in_short("a is being fetched").read(1, Start::Beginning, 6).goes("fetch").goes("fetch").at(20);
    story.ends("read_anew_while_fetched", "What was asked for by the reader before is not for the new one.");
}

#[test]
fn a_stream_that_comes_into_being() {
    let mut story = Story::unborn(|_| {});
    story.reads("a", 1, Start::Beginning, 6).connected().at(10).added("a", [1, 2]).at(20);
    story.ends("comes_into_being", "One that is not there is waited for like any other.");
}

#[test]
fn looked_at_now_and_then() {
    let mut story = Story::unborn(|s| s.block = std::time::Duration::from_secs(60));
    story.added("a", [7]).was_committed("a", up_to(7)).reads("a", 1, Start::Beginning, 6).connected().at(10);
    story.in_short("a is waited for, behind 7-0").there("a is deleted, and 3-0 is added", |redis| {
        redis.streams.clear();
        redis.add(&stream("a"), id(3));
    });
    story.at(100_000);
    story.ends("looked_at", "A stream that began anew with smaller ids wakes nobody: it is noticed all the same.");
}
