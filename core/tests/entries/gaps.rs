//! Streams that are trimmed, deleted, forgotten, or of a wrong type while they are read.

use std::time::Duration;

use streamkeeper_core::entries::{
    Event, OwnedId,
    call::{Record, Start},
};

use super::story::{Story, id, stream};

/// A stream of ten of which six are read, and four are committed.
fn read() -> Story {
    let mut story = Story::unborn(|s| s.block = Duration::from_secs(60));
    story.added("a", 1..=10).reads("a", 1, Start::Beginning, 6).connected().at(10).commits(1, 4).at(20);
    story.in_short("of 1-0 to 10-0 in a, 6-0 are delivered, 4-0 committed");
    story
}

fn trimmed(story: &mut Story, first: u64) -> &mut Story {
    story.there(&format!("trimmed: {} is the first", id(first)), |redis| redis.trim(&stream("a"), id(first)))
}

#[test]
fn trimmed_before_it_was_read() {
    let mut story = read();
    trimmed(&mut story, 9).room(1, 6).at(30);
    story.ends("gap", "What was trimmed unread is counted.");
}

#[test]
fn trimmed_behind_the_reader() {
    let mut story = read();
    trimmed(&mut story, 7).room(1, 6).at(30);
    story.ends("no_gap", "What was read may go: nothing is said.");
}

#[test]
fn trimmed_away_altogether() {
    let mut story = read();
    trimmed(&mut story, 11).room(1, 6).at(30).added("a", [11]).at(40);
    story.ends("gap_to_nothing", "Nothing is left: said once, and what comes next is no second gap.");
}

#[test]
fn trimmed_while_nobody_owned_it() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=10).was_committed("a", Record { position: id(4), read: Some(4), mark: None });
    trimmed(&mut story, 6).reads("a", 1, Start::Beginning, 6).connected().at(10);
    story.ends("gap_at_takeover", "The record says how many had been read: one is missing.");
}

#[test]
fn trimmed_up_to_the_commit_while_nobody_owned_it() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=10).was_committed("a", Record { position: id(4), read: Some(4), mark: None });
    trimmed(&mut story, 5).reads("a", 1, Start::Beginning, 6).connected().at(10);
    story.ends("no_gap_at_takeover", "Exactly what was committed is gone: nothing is said.");
}

#[test]
fn trimmed_and_nobody_knows_how_many_were_read() {
    let mut story = Story::unborn(|_| {});
    story.added("a", 1..=10).was_committed("a", Record { position: id(4), read: None, mark: None });
    trimmed(&mut story, 6).reads("a", 1, Start::Beginning, 4).connected().at(10);
    trimmed(&mut story, 10).room(1, 4).at(20);
    story.ends("gap_unknown", "A position written by hand: perhaps something is missing. From then on it is known.");
}

#[test]
fn trimmed_before_anybody_read() {
    let mut story = Story::unborn(|_| {});
    trimmed(story.added("a", 1..=10), 6).reads("a", 1, Start::Beginning, 3).connected().at(10);
    story.ends("trimmed_at_first", "The beginning is what is there: no gap.");
}

#[test]
fn trimmed_where_the_server_does_not_count() {
    let mut story = Story::unborn(|s| s.block = Duration::from_secs(60));
    story.redis.does_not_count = true;
    story.added("a", 1..=10).reads("a", 1, Start::Beginning, 6).connected().at(10);
    trimmed(&mut story, 7).room(1, 2).at(20);
    story.in_short("Redis 6; 8-0 is delivered, 10-0 was seen to be the last").added("a", [11, 12]);
    trimmed(&mut story, 12).room(1, 4).at(30);
    trimmed(&mut story, 13).at(150_000);
    story.ends("gap_uncounted", "Only what was seen to be there and is not is missed for certain.");
}

#[test]
fn deleted_and_created_anew() {
    let mut story = read();
    story.room(1, 12).at(30).there("a is deleted", |redis| redis.streams.clear()).at(100_000);
    story.added("a", [20]).at(100_010);
    story.ends("created_anew", "Its ids go on, but it was gone: entries may have been lost with it.");
}

#[test]
fn rewound() {
    let mut story = read();
    story.there("Redis forgets all but 1-0 to 5-0", |redis| {
        let data = redis.streams.get_mut(&stream("a")).expect("it is there");
        data.entries.retain(|entry| *entry <= id(5));
        (data.added, data.last) = (5, id(5));
    });
    story.room(1, 6).at(100_000).added("a", [11]).at(100_010);
    story.ends("rewound", "The last id is smaller than what was read: said once; what comes next is greater.");
}

#[test]
fn forgotten_and_overtaken() {
    let mut story = read();
    story.there("Redis forgets all but 1-0 to 4-0", |redis| {
        let data = redis.streams.get_mut(&stream("a")).expect("it is there");
        data.entries.retain(|entry| *entry <= id(4));
        (data.added, data.last) = (4, id(4));
    });
    story.added("a", [20]).room(1, 6).at(30);
    story.ends("forgotten_and_overtaken", "It counts fewer entries than were read: some are forgotten.");
}

#[test]
fn of_a_wrong_type() {
    let mut story = Story::unborn(|_| {});
    story.reads("a", 1, Start::Beginning, 6).reads("b", 2, Start::Beginning, 6).connected().at(10);
    story.in_short("a and b are waited for").there("a becomes a list", |redis| {
        redis.streams.entry(stream("a")).or_default().wrong_type = true;
    });
    story.added("b", [1]).at(5_030).there("a is deleted", |redis| {
        redis.streams.remove(&stream("a"));
    });
    story.added("a", [1]).at(10_100);
    story.ends("wrong_type", "The wait fails for all; fetching tells which it is. It hurts no other, and heals.");
}

#[test]
fn whether_there_is_nothing_in_what_is_of_a_wrong_type() {
    let mut story = Story::unborn(|_| {});
    story.reads("a", 1, Start::Beginning, 6).connected().at(10).there("a becomes a list", |redis| {
        redis.streams.entry(stream("a")).or_default().wrong_type = true;
    });
    story.event(Event::Look(OwnedId(1))).at(100);
    assert_eq!(story.says("there is nothing"), 0, "nobody knows: {}", story.text());
    story.there("a is deleted", |redis| redis.streams.clear()).at(6_000);
    assert_eq!(story.says("there is nothing"), 1, "the look that it asked for: {}", story.text());
}

#[test]
fn a_record_that_cannot_be_read() {
    let mut story = Story::unborn(|_| {});
    story.added("a", [1]).there("the record of a is broken", |redis| {
        redis.odd_records.insert(stream("a"));
    });
    story.reads("a", 1, Start::Beginning, 6).commits(1, 9).connected().at(5_010).there("it is mended", |redis| {
        redis.odd_records.clear();
    });
    story.at(10_100);
    story.ends("odd_record", "Nothing is read from a position that nobody knows; who commits is told.");
}
