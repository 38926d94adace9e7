//! Orphans in a crowd: who looks at them, and who does when nobody else is able to.

use streamkeeper_core::{
    config::ClaimMode,
    id::Token,
    streams::{
        Answer, Event,
        call::{Acquired, Grant, Idle},
    },
};

use crate::{
    answers::all_released,
    story::{Story, entry, ms},
};

fn takeover(token: u64) -> Acquired {
    Acquired::Granted(Grant { token: Token(token), takeover: true, takeovers: 1, failures: 0, deliveries: 1 })
}

fn idle(numbers: &[u64]) -> Answer {
    let idle = numbers.iter().map(|&number| Idle { entry: entry(number), idle: ms(3_050) }).collect();
    Answer::Reaped { idle, announced: 40 }
}

/// One of ten consumers; an orphan has two heirs. It has heard of that with its first heartbeat. Another is the reaper.
fn one_of_ten() -> Story {
    let mut s = Story::started(|settings| settings.heirs = 2);
    s.by_hand("reap");
    crowded(&mut s);
    s.answer("reap", Answer::ReaperIs(ms(60_000)));
    s
}

fn crowded(s: &mut Story) {
    s.fleet.announced = 40;
    s.fleet.consumers = 10;
    s.at(1_010);
    for number in 1..=6 {
        s.pending(number, &format!("stream-{number}"));
    }
}

#[test]
fn heirs_only() {
    let mut s = one_of_ten();
    for number in 1..=6 {
        s.hint(number, &format!("stream-{number}"));
    }
    s.at(1_200);
    s.ends(
        "crowd",
        "Six leases expire in a fleet of ten. One in five is for this consumer, the others it does not look at.",
    );
}

#[test]
fn a_small_fleet_has_no_heirs() {
    let mut s = Story::started(|_| {});
    s.fleet.announced = 40;
    s.fleet.consumers = 16;
    s.at(1_010).pending(1, "a").pending(2, "b").hint(1, "a").hint(2, "b").at(1_300);
    s.ends("no_crowd", "Sixteen consumers are no crowd: everybody looks at every orphan.");
}

#[test]
fn the_reaper_stands_in_every_line() {
    let mut s = Story::started(|settings| settings.heirs = 2);
    crowded(&mut s);
    s.by_hand("reap").at(1_300).answer("reap", idle(&[1, 2])).at(1_350);
    s.hint(3, "stream-3").at(1_400).acquired(vec![takeover(80), takeover(81)]).at(1_490);
    s.ends(
        "crowd_reaper",
        "The reaper rings for what it finds. Whoever its heirs are, and were it none of them: it looks when they have had \
         their time, also at what it hears of otherwise.",
    );
}

#[test]
fn the_reaper_rings_for_more_and_more() {
    let mut s = Story::started(|settings| {
        settings.heirs = 2;
        settings.claim = ClaimMode::Manual;
    });
    crowded(&mut s);
    s.by_hand("reap");
    for at in [1_300, 1_500, 1_700, 1_900] {
        s.at(at).answer("reap", idle(&[1])).at(at + 10);
    }
    s.at(2_100).answer("reap", idle(&[])).at(2_300).answer("reap", idle(&[1])).at(2_310);
    s.ends(
        "crowd_manual_reaper",
        "The reaper claims by hand and its application does not. Each time that it finds the orphan again it rings for four \
         times as many. One that was gone in between is new.",
    );
}

#[test]
fn rung_for_more() {
    let mut s = one_of_ten();
    s.event(Event::Doorbell("1-0 2-0 3-0 4-0".to_owned())).at(1_100);
    s.event(Event::Doorbell("heirs=8 1-0 2-0 3-0 4-0".to_owned())).at(1_200);
    s.event(Event::Doorbell("heirs=many 5-0".to_owned())).at(1_300);
    s.ends("crowd_doorbell", "The bell rings for the usual heirs, then for eight of ten: those behind look later.");
}

#[test]
fn who_has_the_fair_share_waits_for_the_other_heirs() {
    let mut s = Story::started(|settings| settings.heirs = 2);
    s.fleet.announced = 5;
    s.fleet.consumers = 5;
    s.at(100).owns(11, "mine", 70).at(1_110);
    for number in 1..=6 {
        s.pending(number, &format!("stream-{number}")).hint(number, &format!("stream-{number}"));
    }
    s.at(1_300);
    s.ends("crowd_full_share", "An heir with its fair share asks when all heirs have had their turn.");
}

#[test]
fn a_fleet_that_has_shrunk() {
    let mut s = Story::started(|settings| settings.heirs = 2);
    s.by_hand("reap");
    crowded(&mut s);
    s.answer("reap", Answer::ReaperIs(ms(300)));
    s.fleet.consumers = 1;
    s.hint(1, "stream-1").hint(4, "stream-4").at(1_330).acquired(vec![takeover(80)]);
    s.answer("reap", idle(&[1])).at(1_600);
    s.ends(
        "crowd_has_shrunk",
        "All others have died since it last heard of them: what it leaves to them it finds as the reaper.",
    );
}

#[test]
fn a_fleet_that_has_grown() {
    let mut s = Story::started(|settings| settings.heirs = 2);
    s.fleet.announced = 40;
    s.fleet.consumers = 10;
    s.by_hand("reap").at(500).answer("reap", Answer::ReaperIs(ms(60_000)));
    for number in 1..=3 {
        s.pending(number, &format!("stream-{number}")).hint(number, &format!("stream-{number}"));
    }
    s.at(510).acquired(vec![takeover(80), takeover(81), takeover(82)]).at(600);
    s.pending(5, "stream-5").hint(5, "stream-5").at(700);
    s.ends(
        "crowd_has_grown",
        "It was alone when it last heard: it looks at all, learns of the others by that, and leaves them the rest.",
    );
}

#[test]
fn given_back_by_who_was_not_the_reaper_yet() {
    let mut s = Story::started(|settings| settings.heirs = 2);
    crowded(&mut s);
    s.by_hand("reap").at(1_300).answer("reap", Answer::ReaperIs(ms(300))).owns(11, "mine", 70);
    s.at(1_500).release(11, None).answer("release", all_released(1)).at(1_700).answer("reap", idle(&[11])).at(1_710);
    s.ends(
        "crowd_given_back",
        "Who becomes the reaper rings as if for the first time, also for what it has given back.",
    );
}

#[test]
fn a_reaper_that_is_full() {
    let mut s = Story::started(|settings| {
        settings.heirs = 2;
        settings.capacity = 1;
    });
    crowded(&mut s);
    s.at(1_300).owns(11, "mine", 70).at(1_400);
    for number in 1..=6 {
        s.hint(number, &format!("stream-{number}"));
    }
    s.at(1_500);
    s.ends("crowd_full_reaper", "The reaper stands in every line, but not when it is full: others are to look then.");
}

#[test]
fn a_fleet_that_nobody_could_count() {
    let mut s = one_of_ten();
    s.fleet.consumers = 0;
    s.at(2_100);
    for number in 1..=6 {
        s.hint(number, &format!("stream-{number}"));
    }
    s.ends("crowd_not_counted", "How many there are is not known at the moment: they are as many as they were.");
}
