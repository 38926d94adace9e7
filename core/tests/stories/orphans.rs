//! From a hint to a takeover.

use streamkeeper_core::{
    config::Retry,
    id::Token,
    streams::{
        Answer, Event, Link,
        call::{Acquired, Grant, Idle},
    },
    trouble::Trouble,
};

use crate::{
    answers::{all_done, all_released},
    story::{Story, entry, ms},
};

fn takeover(token: u64) -> Acquired {
    Acquired::Granted(Grant { token: Token(token), takeover: true, takeovers: 1, failures: 0, deliveries: 1 })
}

#[test]
fn a_notification_leads_to_a_takeover() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "orders").hint(1, "orders").at(110).acquired(vec![takeover(80)]);
    s.ends("takeover", "Redis says that a lease has expired: a look at the announcement, then it is asked for.");
}

#[test]
fn the_reaper_finds_what_nobody_told() {
    let mut s = Story::started(|_| {});
    s.by_hand("reap").at(210).pending(1, "orders");
    let idle = vec![Idle { entry: entry(1), idle: ms(3_050) }];
    s.answer("reap", Answer::Reaped { idle, announced: 1 }).at(220).acquired(vec![takeover(80)]);
    s.at(420).answer("reap", Answer::Reaped { idle: vec![], announced: 1 }).at(600);
    s.ends(
        "reaper",
        "The reaper finds an orphan that no notification told of, rings for everybody, and claims it itself.",
    );
}

#[test]
fn somebody_else_is_the_reaper() {
    let mut s = Story::started(|_| {});
    s.by_hand("reap").at(210).answer("reap", Answer::ReaperIs(ms(900))).at(1_200);
    s.ends("not_the_reaper", "While somebody else looks for orphans, nobody else does.");
}

#[test]
fn the_doorbell() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "orders").pending(2, "invoices");
    s.event(Event::Doorbell("1-0 nonsense 2-0".to_owned())).at(110).acquired(vec![takeover(80), takeover(81)]);
    s.ends("doorbell", "The reaper rings for two orphans: both are looked at and asked for in one call each.");
}

#[test]
fn the_least_loaded_first() {
    let mut s = Story::started(|_| {});
    s.fleet.announced = 4;
    s.fleet.consumers = 2;
    s.fleet.rank = 1;
    s.at(100).owns(1, "a", 70).at(200).owns(2, "b", 71).at(300).pending(3, "c").hint(3, "c").at(600);
    s.ends("fair_delay", "Who has the fair share already leaves an orphan to the others for a while.");
}

#[test]
fn another_services_lease() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "orders").hint(1, "parcels").at(200);
    s.hint(7, "parcels").at(300);
    s.ends(
        "another_service",
        "The entry id is ours by chance, or not at all: the stream's name decides, nothing is asked.",
    );
}

#[test]
fn a_rumour_of_a_takeover() {
    let mut s = Story::started(|_| {});
    s.idle = ms(2);
    s.at(100).pending(1, "orders").hint(1, "orders").at(200);
    s.idle = ms(999);
    s.hint(1, "orders").at(300);
    s.idle = ms(1_000);
    s.hint(1, "orders").at(400);
    s.ends(
        "rumour_of_a_takeover",
        "A takeover announces the expiry, too: somebody has got it, unless no heartbeat came.",
    );
}

#[test]
fn a_name_with_the_tag() {
    let mut s = Story::tagged();
    s.at(100).pending(1, "{svc}orders").hint(1, "{svc}orders").at(200);
    s.ends(
        "tagged_name",
        "In the layout for clusters a stream's own name may begin with the tag: its hints count, too.",
    );
}

#[test]
fn not_quite_an_orphan() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "orders").hint(1, "orders").at(110).acquired(vec![Acquired::Held(ms(2_500))]).at(200);
    s.ends("lost_race", "Somebody else was faster: no word of it in automatic mode.");
}

#[test]
fn held_for_long() {
    let mut s = Story::started(|_| {});
    s.by_hand("reap").at(210).pending(1, "orders");
    for (at, token) in [(300, None), (2_000, None), (3_500, Some(80))] {
        let idle = vec![Idle { entry: entry(1), idle: ms(3_050) }];
        s.at(at).answer("reap", Answer::Reaped { idle, announced: 1 }).at(at + 10);
        match token {
            Some(token) => s.acquired(vec![takeover(token)]),
            None if at == 300 => s.acquired(vec![Acquired::Held(ms(60_000))]),
            None => &mut s,
        };
    }
    s.ends(
        "held_for_long",
        "However long it is held: things change, and nobody may hear of it. It is asked for once a ttl.",
    );
}

#[test]
fn a_reader_that_is_silent() {
    let mut s = Story::started(|_| {});
    s.idle = ms(2);
    s.by_hand("mine").by_hand("read").at(100);
    s.fails("read", Trouble::connection("no answer in time")).at(150).connected(Link::Reader);
    s.answer("mine", Answer::Mine(vec![entry(1)])).pending(1, "orders").at(210).grants(&[70]);
    s.ends(
        "reader_timeout",
        "What the reader may have been handed unseen is pending under the own name: it is looked for.",
    );
}

#[test]
fn a_new_reader_beside_a_dead_connection_for_commands() {
    let mut s = Story::started(|_| {});
    s.by_hand("mine").by_hand("reap").by_hand("epoch").by_hand("read").at(100);
    s.fails("read", Trouble::connection("no answer in time")).at(150).connected(Link::Reader).at(1_100);
    s.fails("mine", Trouble::connection("no answer in time"))
        .at(1_150)
        .by_itself("epoch")
        .connected(Link::Commands)
        .at(1_160);
    s.ends(
        "reader_beside_dead_commands",
        "What broke the reader may have broken the connection for commands, unnoticed: what is read could not be acquired. \
         Nothing is read before that one has answered what it was asked since; that the subscriber answers proves nothing.",
    );
}

#[test]
fn an_idle_reader_that_is_closed_again_and_again() {
    let mut s = Story::started(|settings| {
        (settings.capacity, settings.retry) = (1, Retry::Times(2));
    });
    s.owns(1, "orders", 70);
    for at in [2_000, 4_000, 6_000, 8_000] {
        s.at(at).disconnected(Link::Reader).at(at + 100).connected(Link::Reader);
    }
    s.ends(
        "idle_reader_closed",
        "Who is full asks nothing on the reader's connection, and a server closes what is idle: no try has failed.",
    );
}

#[test]
fn the_reaper_with_room_for_one() {
    let mut s = Story::started(|settings| settings.capacity = 1);
    s.by_hand("reap").at(210).pending(1, "orders");
    let idle = vec![Idle { entry: entry(1), idle: ms(3_050) }];
    s.answer("reap", Answer::Reaped { idle, announced: 1 }).at(220).acquired(vec![takeover(80)]);
    s.ends(
        "reaper_with_room_for_one",
        "The place that is kept for the reader does not keep a consumer from looking for orphans.",
    );
}

#[test]
fn delivered_while_a_hint_waits() {
    let mut s = Story::started(|_| {});
    s.idle = ms(2);
    s.at(100).pending(1, "orders").hint(1, "orders").reads(&[1]).grants(&[70]).at(200);
    s.ends(
        "delivered_after_a_hint",
        "A group that starts anew delivers what a hint named: it is ours to own, however fresh it looks.",
    );
}

#[test]
fn delivered_while_it_is_looked_at() {
    let mut s = Story::started(|_| {});
    s.idle = ms(2);
    s.by_hand("take").at(100).pending(1, "orders").pending(2, "invoices").by_hand("look").hint(1, "orders").at(110);
    s.reads(&[1]).by_itself("look").at(120).grants(&[70]).at(200);
    s.ends("delivered_while_looking", "The same, and the look is answered after the delivery: the delivery stands.");
}

#[test]
fn delivered_to_a_full_one() {
    let mut s = Story::started(|settings| settings.capacity = 1);
    s.at(100).pending(1, "orders").pending(2, "invoices").hint(1, "orders").at(110).grants(&[70]);
    s.at(120).reads(&[2]).grants(&[71]).answer("release", all_released(1)).at(200);
    s.ends(
        "delivered_to_a_full_one",
        "An orphan has taken the last place while the reader waited: what the reader brings is given back at once, or it \
         would stand under this consumer's name, where nobody looks for a ttl.",
    );
}

#[test]
fn a_place_for_what_was_delivered() {
    let mut s = Story::started(|settings| settings.capacity = 1);
    s.at(100).pending(1, "orders").pending(2, "invoices").hint(1, "orders").at(110).grants(&[70]);
    s.at(120).reads(&[2]).done(1).answer("done", all_done(1)).grants(&[71]).at(200);
    s.ends("place_for_delivered", "The same, and a stream is done before the answer: there is room, so it is kept.");
}

#[test]
fn left_to_others_once_the_share_is_reached() {
    let mut s = Story::started(|_| {});
    (s.fleet.announced, s.fleet.consumers) = (2, 2);
    s.at(100).pending(1, "orders").hint(1, "orders").at(150).owns(2, "invoices", 70).at(300);
    s.ends(
        "share_reached_meanwhile",
        "It was to take the orphan if others do not; it has got its share meanwhile, and waits a little longer.",
    );
}

#[test]
fn an_orphan_in_a_record_that_changes_all_the_time() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "orders").hint(1, "orders").at(110);
    for other in 2..=9 {
        s.acquired(vec![Acquired::Other(entry(other))]);
    }
    s.at(500).hint(1, "orders").at(510);
    s.ends(
        "record_changes",
        "Each time another announcement of the stream stands in the record: in the end it is left alone.",
    );
}

#[test]
fn an_orphan_that_cannot_be_judged() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "orders").hint(1, "orders").at(110).acquired(vec![Acquired::Broken("WRONGTYPE".into())]);
    s.at(5_000).hint(1, "orders").at(10_050).hint(1, "orders").at(10_150).hint(1, "orders").at(10_200);
    s.ends("orphan_of_a_wrong_type", "A key of a wrong type is left alone for ten seconds, whoever says what of it.");
}

#[test]
fn dead_consumers() {
    let mut s = Story::started(|_| {});
    s.by_hand("clean").at(60_500).answer("clean", Answer::Cleaned(vec!["old".into()]));
    s.at(659_000).at(661_000).answer("clean", Answer::Cleaned(vec![])).at(1_261_500);
    s.ends(
        "dead_consumers",
        "The reaper looks for consumers that died long ago, a minute after the start, then every ten.",
    );
}

#[test]
fn the_reaper_rings_for_nothing_that_is_being_dealt_with() {
    let mut s = Story::started(|_| {});
    let idle = |number| Idle { entry: entry(number), idle: ms(3_050) };
    s.by_hand("reap").pending(1, "orders").pending(2, "invoices").at(190).owns(3, "returns", 70);
    s.release(3, None).answer("release", all_released(1)).hint(1, "orders").at(205).hint(2, "invoices");
    s.answer("reap", Answer::Reaped { idle: vec![idle(1), idle(2), idle(3)], announced: 3 }).at(300);
    s.ends(
        "reaper_and_known",
        "One is asked for, one is looked at, one was given back just now: the bell is not rung for them.",
    );
}
