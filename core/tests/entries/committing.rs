//! Commits, and what may become of them.

use streamkeeper_core::{
    entries::{
        Event, OwnedId,
        call::{Mark, Record, Start},
    },
    trouble::Trouble,
};

use super::story::{Story, attempt, id, stream};

/// Ten entries of a stream are delivered.
fn delivered() -> Story {
    let mut story = Story::unborn(|s| (s.batch, s.prefetch) = (10, 10));
    story.added("a", 1..=10).reads("a", 1, Start::Beginning, 10).connected().at(10).room(1, 10).at(11);
    story.in_short("1-0 to 10-0 of a are delivered");
    story
}

fn plain(position: u64) -> Record {
    Record { position: id(position), read: Some(position), mark: None }
}

fn mark(number: u64) -> Option<Mark> {
    Some(Mark { attempt: attempt(1), number })
}

#[test]
fn positions_that_wait_are_merged() {
    let mut story = delivered();
    story.by_hand("commit").commits(1, 1).commits(1, 2).commits(1, 5).commits_with(1, 6, &[("sum", 3)]).commits(1, 7);
    story.by_itself("commit").goes("commit").at(30);
    assert_eq!(story.redis.ledger.values().copied().collect::<Vec<_>>(), [3]);
    story.ends(
        "merged",
        "One of a stream is under way; positions that wait go along with the last; writes stay their own.",
    );
}

#[test]
fn many_streams_go_in_one_call() {
    let mut story = Story::unborn(|s| s.commit_batch = 2);
    for (number, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")] {
        story.owned(name, number);
    }
    story.by_hand("commit").connected().at(10).in_short("a to e are owned");
    for number in 1..=5 {
        story.commits(number, 3);
    }
    story.by_itself("commit").goes("commit").at(20);
    story.ends(
        "one_call",
        "Two calls are under way at most; what comes meanwhile goes with the next, so many at a time.",
    );
}

#[test]
fn so_many_writes_go_in_one_call() {
    let mut story = Story::unborn(|_| {});
    for (number, name, count) in [(1, "a", 600), (2, "b", 400), (3, "c", 1)] {
        story.owned(name, number).commits_with(number, 3, &vec![(name, 1); count]);
    }
    story.by_hand("commit").connected().at(10);
    assert_eq!(story.asks("commit"), 2, "a thousand go in one, about");
    story.goes("commit");
    assert_eq!(story.redis.ledger.values().copied().collect::<Vec<_>>(), [600, 400]);
    story.goes("commit");
    assert_eq!(story.redis.ledger.values().copied().collect::<Vec<_>>(), [600, 400, 1]);
}

#[test]
fn what_stands_there_already() {
    let mut story = delivered();
    story
        .commits(1, 5)
        .at(20)
        .commits(1, 5)
        .commits(1, 3)
        .commits_with(1, 5, &[("sum", 1)])
        .wishes(1, None, &[])
        .at(30);
    story.ends("stands_there", "No call is needed to say so.");
}

#[test]
fn writes_without_a_position() {
    let mut story = delivered();
    story.commits(1, 5).at(20).wishes(1, None, &[("sum", 1)]).at(30).wishes(1, None, &[("bad", 1)]).at(40);
    assert_eq!(story.redis.records[&stream("a")], Record { mark: mark(1), ..plain(5) });
    story.ends("writes_without_position", "The position stays; the mark tells a repeat from a new one.");
}

#[test]
fn a_write_that_cannot_be_made() {
    let mut story = delivered();
    story.commits_with(1, 5, &[("sum", 1), ("bad", 1)]).commits_with(1, 6, &[("sum", 10)]).at(30);
    story.ends("rejected", "Nothing of it is made; its number is not used again.");
}

#[test]
fn an_answer_is_lost_that_had_writes() {
    let mut story = delivered();
    story.by_hand("commit").commits_with(1, 5, &[("sum", 1)]).unanswered("commit").by_itself("commit").at(40);
    story.event(Event::Connected(streamkeeper_core::entries::Link::Commands)).at(60);
    assert_eq!(story.redis.ledger.values().copied().collect::<Vec<_>>(), [1]);
    story.ends("writes_repeated", "Asked again, made once.");
}

#[test]
fn redis_forgets_positions() {
    let mut story = delivered();
    story.commits(1, 5).at(20).there("Redis forgets all but 2-0", |redis| {
        redis.records.insert(stream("a"), plain(2));
    });
    story.commits(1, 7).at(30).there("a hand writes 9-0", |redis| {
        redis.records.insert(stream("a"), plain(9));
    });
    story.commits(1, 8).at(40).commits(1, 10).at(50);
    story.ends("positions_forgotten", "A position alone goes forward from whatever stands there, and never back.");
}

#[test]
fn redis_forgets_writes() {
    let mut story = delivered();
    story.commits_with(1, 3, &[("sum", 3)]).at(15).commits_with(1, 5, &[("sum", 2)]).at(20);
    story.there("Redis forgets the second", |redis| {
        redis.records.insert(stream("a"), Record { mark: mark(1), ..plain(3) });
        redis.ledger.insert(b"sum".as_slice().into(), 3);
    });
    story.by_hand("commit").commits_with(1, 7, &[("sum", 2)]).commits_with(1, 9, &[("sum", 2)]).goes("commit");
    story.by_itself("commit").at(30).commits_with(1, 10, &[("sum", 1)]).knows_of_the_rollback();
    story.commits_with(1, 5, &[("sum", 2)]).at(40);
    assert_eq!(story.redis.ledger.values().copied().collect::<Vec<_>>(), [5]);
    story.ends(
        "rolled_back",
        "All that build upon it are refused, until the application has taken in that it is taken back.",
    );
}

/// Commits with writes up to 9-0 are forgotten, but for the first, up to 3-0.
fn rolled_back() -> Story {
    let mut story = delivered();
    story.commits_with(1, 3, &[("sum", 3)]).at(15).commits_with(1, 9, &[("sum", 6)]).at(20);
    story.there("Redis forgets the second", |redis| {
        redis.records.insert(stream("a"), Record { mark: mark(1), ..plain(3) });
    });
    story
}

#[test]
fn what_was_trimmed_when_it_was_rolled_back() {
    let mut story = rolled_back();
    story.there("trimmed: 6-0 is the first", |redis| redis.trim(&stream("a"), id(6)));
    story.commits_with(1, 10, &[("sum", 1)]).at(30);
    assert_eq!(story.says("gap behind 3-0, next is 6-0, missing: 2"), 1, "the record counts: {}", story.text());
}

#[test]
fn counts_are_forgotten_with_what_was_counted() {
    let mut story = rolled_back();
    story.by_hand("fetch").commits_with(1, 10, &[("sum", 1)]).at(30).knows_of_the_rollback();
    story.commits_with(1, 10, &[("sum", 1)]).at(40);
    let there = &story.redis.records[&stream("a")];
    assert_eq!((there.position, there.read), (id(10), None), "nobody knows how many there are now: {}", story.text());
}

#[test]
fn redis_forgets_positions_between_writes() {
    let mut story = delivered();
    story.commits_with(1, 3, &[("sum", 3)]).at(15).commits(1, 5).at(20);
    story.there("Redis forgets the second", |redis| {
        redis.records.insert(stream("a"), Record { mark: mark(1), ..plain(3) });
    });
    story.commits_with(1, 7, &[("sum", 2)]).at(30);
    story.ends("positions_between_writes", "The same mark: nothing that was written is forgotten.");
}

#[test]
fn a_hand_skips_what_was_to_be_written() {
    let mut story = delivered();
    story.commits_with(1, 3, &[("sum", 3)]).at(15);
    story.there("a hand writes 5-0", |redis| {
        redis.records.insert(stream("a"), Record { mark: mark(1), ..plain(5) });
    });
    story.commits_with(1, 7, &[("sum", 4)]).at(30);
    story.ends("skipped_by_hand", "Part of these writes is about what was skipped: taken back to there.");
}

#[test]
fn rolled_back_to_before_the_start() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=3).reads("a", 1, Start::End, 6).connected().at(10).added("a", [4, 5]).at(20);
    story
        .commits_with(1, 4, &[("sum", 1)])
        .at(30)
        .in_short("a was opened at its end, 3-0; 4-0 is committed, with writes");
    story.there("Redis forgets every record", |redis| redis.records.clear()).commits_with(1, 5, &[("sum", 1)]).at(40);
    story.ends("rolled_back_to_the_start", "What is before the start was never for this reader.");
}

#[test]
fn the_lease_is_not_there_for_a_while() {
    let mut story = delivered();
    story.there("Redis forgets the lease", |redis| redis.leases.clear()).commits(1, 5).at(300);
    story.there("its owner creates it again", |redis| {
        redis.leases.insert((stream("a"), id(1_000)), attempt(1));
    });
    story.at(700);
    story.ends("absent", "Its owner may create it again: asked every 250 ms until it is told that it has lost it.");
}

#[test]
fn the_lease_is_not_there_and_is_lost() {
    let mut story = delivered();
    story.there("the lease lapses", |redis| redis.leases.clear()).commits(1, 5).at(30);
    story.commits_with(1, 6, &[("sum", 1)]).event(Event::Lost(OwnedId(1))).at(1_000).commits(1, 7);
    story.ends("absent_and_lost", "Nothing was changed: that is certain.");
}

#[test]
fn fenced() {
    let mut story = delivered();
    story.there("another takes the lease", |redis| {
        redis.leases.insert((stream("a"), id(1_000)), attempt(2));
    });
    story.by_hand("commit").commits(1, 5).commits_with(1, 6, &[("sum", 1)]).goes("commit").commits(1, 7);
    story.added("a", [11]).at(50).event(Event::Lost(OwnedId(1))).at(60);
    story.ends("fenced", "Nothing changed, and nothing more is sent or read.");
}

#[test]
fn fenced_after_an_answer_was_lost() {
    let mut story = delivered();
    story.by_hand("commit").commits_with(1, 5, &[("sum", 1)]).unanswered("commit");
    story.there("another takes the lease", |redis| {
        redis.leases.insert((stream("a"), id(1_000)), attempt(2));
        redis.records.insert(stream("a"), plain(6));
    });
    story.by_itself("commit").at(40).event(Event::Connected(streamkeeper_core::entries::Link::Commands)).at(60);
    story.ends("fenced_doubtful", "The first try was executed or not: nobody can say that nothing changed.");
}

#[test]
fn lost_with_commits_waiting() {
    let mut story = delivered();
    story.by_hand("commit").commits(1, 5).commits_with(1, 6, &[("sum", 1)]).event(Event::Lost(OwnedId(1)));
    story.goes("commit").at(30);
    story.ends(
        "lost_waiting",
        "What was sent may stand in Redis; what was not does not. The answer says nothing to anybody.",
    );
}

#[test]
fn lost_before_it_could_be_sent() {
    let mut story = Story::unborn(|_| {});
    story.owned("a", 1).commits(1, 5).at(30).event(Event::Lost(OwnedId(1))).commits(1, 6).at(60);
    story.ends("lost_unsent", "There was no connection: nothing changed.");
}

#[test]
fn a_key_of_ours_cannot_be_used() {
    let mut story = delivered();
    story.there("the record is broken", |redis| {
        redis.odd_records.insert(stream("a"));
    });
    story.commits(1, 5).at(30).there("it is mended", |redis| redis.odd_records.clear()).commits(1, 6).at(50);
    story.ends("commit_broken", "Said to who waits; the next one is tried.");
}

#[test]
fn the_same_ownership_is_told_of_twice() {
    let mut story = delivered();
    story
        .commits_with(1, 5, &[("sum", 1)])
        .at(20)
        .event(Event::Lost(OwnedId(1)))
        .in_short("write 1 of #1 stands there");
    let owned = streamkeeper_core::entries::Owned {
        id: OwnedId(2),
        entry: id(1_000),
        stream: stream("a"),
        attempt: attempt(1),
    };
    story.event(Event::Owned(owned)).at(30).commits_with(2, 6, &[("sum", 1)]).at(40);
    assert_eq!(story.redis.ledger.values().copied().collect::<Vec<_>>(), [2]);
    story.ends("numbers_go_on", "Its writes go on behind the number that stands there: none is taken for a repeat.");
}

#[test]
fn an_unknown_trouble_is_no_answer() {
    let mut story = delivered();
    story.by_hand("commit").commits(1, 5).refused("commit", Trouble::other("ERR who knows"));
    story.event(Event::Lost(OwnedId(1)));
    story.ends("refused_and_lost", "A call that failed somehow was executed or not.");
}
