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
    s.ends("rumour_of_a_takeover", "A takeover announces the expiry, too: somebody has got it, since nobody is idle.");
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
    s.fails("read", Trouble::connection("no answer in time")).at(150).connected(Link::Reader).at(900);
    s.fails("mine", Trouble::connection("no answer in time"))
        .at(950)
        .by_itself("epoch")
        .connected(Link::Commands)
        .at(960);
    s.ends(
        "reader_beside_dead_commands",
        "What broke the reader may have broken the connection for commands, unnoticed: what is read could not be acquired. \
         Nothing is read before that one has answered what it was asked since.",
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
