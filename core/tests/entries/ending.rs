//! Entries that cannot be decoded, and stopping.

use streamkeeper_core::{
    entries::{Event, Link, OwnedId, call::Start},
    time::Time,
};

use super::{
    redis::entry,
    story::{Story, attempt, id, stream},
};

fn delivered() -> Story {
    let mut story = Story::unborn(|_| {});
    story
        .added("a", 1..=3)
        .reads("a", 1, Start::Beginning, 6)
        .connected()
        .at(10)
        .in_short("1-0 to 3-0 of a are delivered");
    story
}

fn undecodable(story: &mut Story, number: u64) -> &mut Story {
    story.event(Event::Undecodable { id: OwnedId(1), entry: entry(id(number)), error: "no JSON".into() })
}

#[test]
fn set_aside_before_anything_beyond_is_committed() {
    let mut story = delivered();
    story.by_hand("set_aside");
    undecodable(&mut story, 2).commits(1, 1).commits(1, 3).at(20).goes("set_aside").at(30);
    assert!(story.redis.dead.contains(&(stream("a"), id(2))));
    story.ends("set_aside", "A commit beyond it waits: should we crash, the entry must not be passed over untold.");
}

#[test]
fn who_only_wants_it_set_aside_waits_for_that() {
    let mut story = delivered();
    story.by_hand("set_aside").wishes(1, None, &[]);
    undecodable(&mut story, 2).wishes(1, None, &[]).at(20).goes("set_aside").at(30).wishes(1, None, &[]);
    story.ends("set_aside_awaited", "Nothing else is wanted: it is answered at once where nothing waits.");
}

#[test]
fn a_commit_beyond_it_does_not_join_one_that_may_go() {
    let mut story = delivered();
    let lost = || streamkeeper_core::trouble::Trouble::connection("connection reset");
    story.event(Event::Disconnected(Link::Commands, lost())).commits(1, 1);
    undecodable(&mut story, 2).commits(1, 2).commits(1, 3).at(40).by_hand("set_aside");
    story.event(Event::Connected(Link::Commands)).at(50).goes("set_aside").at(60);
    story.ends("set_aside_joined", "They wait together for a connection; only one of them waits for the entry, too.");
}

#[test]
fn it_cannot_be_set_aside() {
    let mut story = delivered();
    story.there("S-dead-entries is a list", |redis| redis.odd_dead = true);
    undecodable(&mut story, 2).commits(1, 3).commits(1, 1).at(20).there("it is mended", |redis| redis.odd_dead = false);
    story.commits(1, 3).wishes(1, None, &[]).at(5_020);
    story.ends("cannot_set_aside", "Who wants to commit beyond it is told; it is tried again.");
}

#[test]
fn its_setting_aside_is_not_answered() {
    let mut story = delivered();
    story.by_hand("set_aside");
    undecodable(&mut story, 2).unanswered("set_aside").by_itself("set_aside").at(50);
    undecodable(&mut story, 2).event(Event::Connected(Link::Commands)).at(70);
    story.ends("set_aside_unanswered", "The same again; told twice, it is set aside once.");
}

#[test]
fn too_much_is_set_aside_in_smaller_pieces() {
    let mut story = delivered();
    story.event(Event::Disconnected(
        Link::Commands,
        streamkeeper_core::trouble::Trouble::connection("connection reset"),
    ));
    for number in 1..=3 {
        undecodable(&mut story, number);
    }
    story.by_hand("set_aside").at(40).event(Event::Connected(Link::Commands)).at(60).unanswered("set_aside").at(100);
    story.in_short("three in one call were not answered").event(Event::Connected(Link::Commands)).at(120);
    story.goes("set_aside").by_itself("set_aside").goes("set_aside").at(200);
    assert_eq!(story.redis.dead.len(), 3, "{}", story.text());
    story.ends("set_aside_too_much", "Half of it, and what goes well makes it more again.");
}

#[test]
fn the_lease_is_lost_as_it_is_set_aside() {
    let mut story = delivered();
    story.there("Redis forgets the lease", |redis| redis.leases.clear());
    undecodable(&mut story, 2).at(20).commits(1, 3).at(300).event(Event::Lost(OwnedId(1))).at(1_000);
    story.ends(
        "set_aside_fenced",
        "It may come back; else whoever owns the stream next reads the entry, and sets it aside.",
    );
}

/// Entries of `a`, `b` and `c` cannot be decoded while there is no connection.
fn undecodable_in_three(a: u64, b: u64, c: u64) -> Story {
    let mut story = Story::unborn(|_| {});
    for (number, name, count) in [(1, "a", a), (2, "b", b), (3, "c", c)] {
        story.owned(name, number);
        for at in 1..=count {
            let error = "no JSON".into();
            story.event(Event::Undecodable { id: OwnedId(number), entry: entry(id(at)), error });
        }
    }
    story.by_hand("set_aside").in_short("entries of a, b and c are to be set aside");
    story
}

#[test]
fn so_many_are_set_aside_in_one_call() {
    for (a, b, c, calls) in [(60, 60, 1, [100, 21]), (100, 1, 0, [100, 1]), (30, 70, 5, [100, 5])] {
        let mut story = undecodable_in_three(a, b, c);
        story.event(Event::Connected(Link::Commands)).at(10);
        let mut done = 0;
        for call in calls {
            story.goes("set_aside").at(10);
            done += call;
            assert_eq!(story.redis.dead.len(), done, "{a} of a, {b} of b, {c} of c");
        }
        assert_eq!(story.asks("set_aside"), 0, "{}", story.text());
    }
}

#[test]
fn what_was_to_be_set_aside_of_a_stream_that_is_lost() {
    let mut story = undecodable_in_three(1, 1, 0);
    story.event(Event::Lost(OwnedId(1))).by_itself("set_aside").event(Event::Connected(Link::Commands)).at(20);
    assert_eq!(story.redis.dead.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), [stream("b")]);
    story.ends("set_aside_lost", "It is for who owns it next; the others go on.");
}

#[test]
fn fenced_while_entries_wait_to_be_set_aside() {
    let mut story = delivered();
    story.by_hand("set_aside");
    undecodable(&mut story, 2).there("another takes the lease", |redis| {
        redis.leases.insert((stream("a"), id(1_000)), attempt(2));
    });
    story.commits(1, 1).commits(1, 2).at(20).by_itself("set_aside").goes("set_aside").at(1_000);
    story.ends("set_aside_of_another", "Who owns it now reads the entry, and sets it aside.");
}

#[test]
fn who_reads_what_is_anothers_keeps_nobody_from_stopping() {
    let mut story = Story::unborn(|_| {});
    story.owned("a", 1).connected().at(10).there("another takes the lease", |redis| {
        redis.leases.insert((stream("a"), id(1_000)), attempt(2));
    });
    story.commits(1, 1).at(20).read(1, Start::End, 6).at(30).event(Event::Shutdown(Time::from_millis(9_000))).at(40);
    assert!(story.machine().stopped(), "{}", story.text());
}

#[test]
fn too_many_that_cannot_be_decoded() {
    let mut story = Story::unborn(|s| (s.batch, s.prefetch) = (200, 200));
    story.added("a", 1..=200).by_hand("set_aside").reads("a", 1, Start::Beginning, 120).connected().at(10);
    for number in 1..=100 {
        undecodable(&mut story, number);
    }
    story.in_short("120 of 200 are delivered, 100 of them wait to be set aside").room(1, 120).at(100);
    assert_eq!(story.says("fetch"), 0, "{}", story.text());
    story.by_itself("set_aside").goes("set_aside").at(110);
    let lines = story.text().lines().filter(|line| line.contains("fetch") || line.contains("room")).count();
    assert_eq!(lines, 3, "{}", story.text());
}

#[test]
fn stopped_with_commits_outstanding() {
    let mut story = delivered();
    story.by_hand("commit").commits(1, 1).commits(1, 3).event(Event::Shutdown(Time::from_millis(1_000))).at(20);
    story.added("a", [4]).goes("commit").goes("commit").commits(1, 4).at(2_000);
    assert!(story.machine().stopped());
    story.ends("stopped", "Nothing more is read; what was wished is answered; then it ends.");
}

#[test]
fn stopped_at_the_deadline() {
    let mut story = delivered();
    story.by_hand("commit").by_hand("set_aside");
    undecodable(&mut story, 2).commits(1, 1).commits(1, 3).event(Event::Shutdown(Time::from_millis(1_000)));
    story.event(Event::Shutdown(Time::from_millis(500))).event(Event::Shutdown(Time::from_millis(3_000))).at(2_000);
    assert!(story.machine().stopped());
    story.ends("stopped_at_the_deadline", "What was sent may stand there. A second wish only brings it forward.");
}

#[test]
fn stopped_with_nothing_outstanding() {
    let mut story = delivered();
    story.commits(1, 3).at(20).event(Event::Shutdown(Time::from_millis(1_000))).at(30);
    story.ends("stopped_at_once", "There is nothing to wait for.");
}
