//! Waiting for news, what ends a wait, and the looks at streams that nobody has news of.

use std::time::Duration;

use streamkeeper_core::{
    entries::{Answer, Settings, call::Start},
    trouble::{Trouble, TroubleKind},
};

use super::story::Story;

fn name(number: u64) -> String {
    format!("s{number:02}")
}

#[test]
fn who_gets_room_at_its_tail_is_waited_for_too() {
    let mut story = Story::unborn(|_| {});
    story.added("b", [1]).reads("a", 1, Start::Beginning, 6).reads("b", 2, Start::Beginning, 1).connected().at(10);
    story.in_short("a is waited for; b has no room, and nothing more").room(2, 1).at(20).added("b", [2]).at(30);
    story.ends("room_at_its_tail", "Nothing is to be fetched of it for now: the wait goes on for both.");
}

#[test]
fn a_wake_up_that_does_not_help_is_repeated() {
    let mut story = Story::unborn(|_| {});
    story.by_hand("wait").by_hand("wake").reads("a", 1, Start::Beginning, 6).connected().at(10);
    story.reads("b", 2, Start::Beginning, 6).at(20).answer("wake", Answer::Woken(Some(true))).at(1_000);
    assert_eq!(story.asks("wake"), 0, "the answer to the wait may be on its way: {}", story.text());
    story.at(1_100);
    assert_eq!(story.asks("wake"), 1, "it is not: {}", story.text());
}

/// Streams that nothing comes in are looked at, each by itself.
#[test]
fn looks_are_spread_over_a_quarter_of_half_a_minute_before_and_after() {
    let mut story = Story::unborn(|s| s.block = Duration::from_millis(500));
    for number in 1..=20 {
        story.reads(&name(number), number, Start::Beginning, 6);
    }
    story.connected().at(50).in_short("20 streams are waited for").at(22_400);
    assert_eq!(story.says("→ fetch"), 0, "{}", story.text());
    story.at(38_100);
    for number in 1..=20 {
        assert!(story.says(&format!("{} behind 0-0 (≤", name(number))) >= 1, "{}: {}", name(number), story.text());
    }
    assert!(story.says("→ fetch") >= 10, "not all at once: {}", story.text());
}

#[test]
fn a_look_waits_for_fetches_that_were_refused() {
    let minute = |s: &mut Settings| {
        (s.retry_backoff, s.retry_backoff_limit) = (Duration::from_secs(60), Duration::from_secs(60));
    };
    let mut story = Story::unborn(minute);
    story.reads("a", 1, Start::Beginning, 6).connected().at(10).by_hand("fetch").reads("b", 2, Start::Beginning, 6);
    let refused = Trouble { kind: TroubleKind::Refused, message: "NOPERM no permission for xrange".into() };
    story.at(20).refused("fetch", refused).in_short("a is waited for; fetching was refused, for 45 s at least");
    for second in 1..=44 {
        story.at(second * 1_000);
    }
    assert_eq!(story.says("→ fetch"), 0, "{}", story.text());
    story.by_itself("fetch");
    for second in 45..=76 {
        story.at(second * 1_000);
    }
    assert!(story.says("a behind 0-0") >= 1 && story.says("b behind 0-0") >= 1, "both are read then: {}", story.text());
}
