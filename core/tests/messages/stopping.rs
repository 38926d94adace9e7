//! Stops: within the deadline, and nothing is forgotten.

use streamkeeper_core::{
    messages::{Event, Link, Outcome},
    trouble::Trouble,
};

use super::story::Story;

#[test]
fn in_time() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (2, 2));
    s.sends(&[1, 2, 3]).at(110).stop(5_000).at(200).succeeds(1).at(300).fails(2, "no").at(5_000);
    s.ends("stop", "What waits is given back, what runs may finish, the read that is under way is waited for.");
}

#[test]
fn the_read_brings_something() {
    let mut s = Story::started(|_| {});
    s.by_hand("read").at(2_300).stop(5_000).at(2_310).sends(&[1]).goes("read").at(2_400);
    s.ends("stop_reading", "What the last read brings is given back.");
}

#[test]
fn at_the_deadline() {
    let mut s = Story::started(|_| {});
    s.sends(&[1, 2]).at(110).stop(500).at(501).ran(1, Outcome::Cancelled).at(600).at(3_000);
    s.ends(
        "stop_deadline",
        "It is cancelled and given back; what cannot be stopped stays pending, for others to reclaim.",
    );
}

#[test]
fn asked_again() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(110).stop(9_000).at(200).stop(20_000).at(300).stop(500).at(501);
    s.ran(1, Outcome::Cancelled).at(3_000);
    s.ends("stop_again", "The shorter deadline counts, whichever came first.");
}

#[test]
fn the_last_attempt_fails() {
    let mut s = Story::started(|s| s.max_attempts = 1);
    s.sends(&[1]).at(110).stop(5_000).fails(1, "no").at(500);
    s.ends("stop_dying", "process_dead is not started any more: it is given back as dying.");
}

#[test]
fn while_one_is_given_back() {
    let mut s = Story::started(|_| {});
    s.by_hand("park").sends(&[1, 2]).at(110).another_takes(1).at(15_200).comes_back(1, 2).at(15_600).fails(1, "late");
    s.stop(16_000).succeeds(2).at(15_800).goes("park").at(15_900);
    s.ends("stop_stray", "What came while it was lost is given back first, then leave is taken.");
    let mut s = Story::started(|_| {});
    s.by_hand("park").sends(&[1, 2]).at(110).another_takes(1).at(15_200).comes_back(1, 2).at(15_600).fails(1, "late");
    s.stop(16_000).at(40_000);
    s.ends("stop_stray_left", "Two are left: one whose run does not stop, and one that nobody takes back.");
}

#[test]
fn while_redis_is_away() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(110).event(Event::Disconnected(Link::Commands, Trouble::connection("gone")));
    s.stop(1_000).succeeds(1).at(4_000);
    s.ends("stop_away", "It ends all the same, and says what it had to leave.");
}

#[test]
fn while_redis_loads() {
    let mut s = Story::started(|_| {});
    s.event(Event::Disconnected(Link::Commands, Trouble::connection("gone"))).by_hand("prepare").at(150);
    s.event(Event::Connected(Link::Commands)).at(160);
    s.refused("prepare", Trouble::from_reply("LOADING", "Redis is loading the dataset in memory"));
    s.stop(600_000).at(10_000);
    s.ends("stop_loading", "Nothing is held, and nobody can take leave of it: the name goes once it is stale.");
}

#[test]
fn at_once() {
    let mut s = Story::unborn(|_| {});
    s.event(Event::Timeout).stop(0).at(100);
    s.ends("stop_at_once", "One that never connected has nothing to wait for.");
}
