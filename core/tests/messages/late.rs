//! Answers that come late: over an older connection, of an earlier server, after what they were about has changed.

use std::time::Duration;

use streamkeeper_core::{
    id::CallId,
    messages::{
        Answer, Event, Link, Outcome, Settings,
        call::{Fenced, Hold},
        config::{Processed, Rate},
    },
    trouble::Trouble,
};

use super::{
    story::{Story, entry, ms},
    words::rejected,
};

fn gone() -> Trouble {
    Trouble::connection("no answer in time")
}

#[test]
fn what_older_connections_prepared() {
    let mut s = Story::started(|_| {});
    s.told("mine").by_hand("prepare").at(150).breaks(&[Link::Commands]).at(500).event(Event::Connected(Link::Commands));
    s.at(510).breaks(&[Link::Commands]).goes("prepare").at(1_000).event(Event::Connected(Link::Commands));
    s.at(1_010).breaks(&[Link::Commands]).at(2_000).event(Event::Connected(Link::Commands));
    s.goes("prepare").at(2_010).goes("prepare").at(2_020);
    s.ends("prepared_late", "Only what the connection that is in use says counts, and it is asked once.");
}

#[test]
fn what_older_connections_refused() {
    let loading = || Trouble::from_reply("LOADING", "loading");
    let mut s = Story::started(|_| {});
    s.told("mine").by_hand("prepare").at(150).breaks(&[Link::Commands]).at(500).event(Event::Connected(Link::Commands));
    s.at(510).breaks(&[Link::Commands]).at(1_000).event(Event::Connected(Link::Commands));
    s.refused("prepare", loading()).at(2_000).goes("prepare").at(2_010);
    s.ends("prepare_refused_late", "The one that is in use has been asked already.");
}

#[test]
fn a_trouble_of_an_older_connection() {
    let mut s = Story::started(|_| {});
    s.by_hand("park").sends(&[1]).at(110).fails(1, "no").at(120).breaks(&[Link::Commands]).at(400);
    s.event(Event::Connected(Link::Commands)).at(410).refused("park", gone()).goes("park").at(420);
    s.ends("trouble_late", "It breaks no new one: what was asked is asked again over that.");
}

#[test]
fn an_unfit_answer() {
    let mut s = Story::started(|_| {});
    s.by_hand("refresh").sends(&[1]).at(15_500);
    s.answer("refresh", Answer::Refreshed(vec![Fenced::Done, Fenced::Done])).at(15_510);
    s.at(16_000).goes("refresh").at(16_010);
    s.ends("unfit", "It is not believed, and the question is asked again.");
}

#[test]
fn an_acknowledgement_that_an_earlier_server_was_asked_for() {
    let mut s = Story::started(|_| {});
    s.by_hand("ack").sends(&[1]).at(110).succeeds(1).breaks(&[Link::Commands]);
    s.group.fail_over();
    s.at(400).event(Event::Connected(Link::Commands)).at(420).refused("ack", gone()).told("ack").at(500);
    s.ends("ack_earlier_server", "This server has confirmed it, and is told once.");
}

#[test]
fn delivered_again_while_it_is_acknowledged() {
    let mut s = Story::started(|_| {});
    s.by_hand("ack").sends(&[1]).at(110).succeeds(1).comes_back(1, 2).at(600).goes("ack").at(700);
    s.ends("again_acking", "Its success is good for that delivery, too: it does not run again.");
}

#[test]
fn delivered_again_while_it_is_put_aside() {
    let mut s = Story::started(|_| {});
    s.by_hand("park").sends(&[1]).at(110).ran(1, Outcome::Failed { error: "no".into(), pause: Some(ms(10)) });
    let late = s.executes("park");
    s.at(600).answer("park", late).at(700).succeeds(1).at(710);
    s.ends("again_parking", "So it was put aside, and the answer that says so is late: its retry is here.");
}

#[test]
fn what_is_on_its_way_is_not_fetched() {
    let mut s = Story::started(|s| s.batch = 2);
    s.told("mine").by_hand("due").is_due(1, |_| {}).at(400);
    let late = s.executes("due");
    s.event(Event::Answered(CallId(9_999), Ok(Answer::Read(vec![])))).at(450).answer("due", late).at(460);
    s.ends("due_on_its_way", "It is pending here, and the answer that brings it is awaited.");
    let mut s = Story::started(|s| s.batch = 2);
    s.told("mine").by_hand("read").at(2_200).by_hand("due").at(2_500).sends(&[1]).unanswered("read").at(2_800);
    s.event(Event::Connected(Link::Reader)).at(2_900);
    s.ends("due_brings_nothing_new", "A new message is fetched at once: no answer about what is due would bring it.");
}

/// A full page of the own list comes when nothing more can be asked.
#[test]
fn a_page_that_comes_late() {
    let page = || Answer::Mine([1, 2].map(|number| Hold { entry: entry(number), deliveries: 1 }).into());
    let mut s = Story::started(|s| s.batch = 2);
    s.by_hand("mine").sends(&[1, 2]).at(110).event(Event::Answered(CallId(9_999), Ok(Answer::Read(vec![]))));
    s.at(120).breaks(&[Link::Commands]).answer("mine", page()).at(500).event(Event::Connected(Link::Commands));
    s.at(510).answer("mine", page()).at(520).goes("mine").at(530);
    s.ends("page_late", "The list is looked at from its beginning once there is a connection again.");
    let mut s = Story::started(|s| s.batch = 2);
    s.by_hand("mine").sends(&[1, 2]).at(110).event(Event::Answered(CallId(9_999), Ok(Answer::Read(vec![]))));
    s.at(120).stop(5_000).answer("mine", page()).at(200);
    assert_eq!(s.under_way("mine"), 0, "who stops looks for nothing more");
}

/// A call to a server that is none any more by the time that its answer comes; whatever it says, all comes right.
fn over_another_server(call: &'static str, change: fn(&mut Settings), so_far: impl Fn(&mut Story)) {
    let mut s = Story::started(change);
    s.by_hand(call);
    so_far(&mut s);
    assert_eq!(s.under_way(call), 1, "{call} is under way\n{}", s.text());
    let late = s.executes(call);
    s.breaks(&[Link::Commands]);
    s.group.fail_over();
    let begun = s.now_ms();
    s.at(begun + 300).event(Event::Connected(Link::Commands)).at(begun + 310).answer(call, late).told(call);
    while s.under_way(call) > 0 {
        s.goes(call);
    }
    for step in 1..100 {
        s.running().into_iter().for_each(|number| _ = s.succeeds(number));
        s.at(begun + 310 + step * 100);
    }
    assert!(s.group.pending.is_empty() && s.machine().held() == 0, "{call}: something is left\n{}", s.text());
}

#[test]
fn answers_of_an_earlier_server() {
    let any = |_: &mut Settings| {};
    let stray = || Event::Answered(CallId(9_999), Ok(Answer::Read(vec![])));
    over_another_server("due", any, |s| _ = s.is_due(1, |r| r.failed = 1).at(400));
    over_another_server("mine", any, |s| _ = s.sends(&[1]).at(110).event(stray()));
    over_another_server("fetch", any, |s| {
        s.by_hand("read").at(2_200).sends(&[1]).unanswered("read").told("read").at(2_300);
        s.event(Event::Connected(Link::Reader)).at(2_310);
    });
    over_another_server("refresh", any, |s| _ = s.sends(&[1]).at(15_100));
    over_another_server("mark", any, |s| _ = s.is_due(1, |r| r.crashed = 1).at(400));
    over_another_server("mark", |s| s.max_attempts = 1, |s| _ = s.sends(&[1]).at(110).fails(1, "no"));
    over_another_server("ack", any, |s| _ = s.sends(&[1]).at(110).succeeds(1));
    over_another_server("park", any, |s| _ = s.sends(&[1]).at(110).fails(1, "no"));
    over_another_server("bury", any, |s| _ = s.sends(&[1]).at(110).ran(1, rejected("no")));
    over_another_server("reclaim", any, |s| _ = s.at(9_000));
    over_another_server("sweep", any, |s| _ = s.at(9_000));
    let rate = |s: &mut Settings| s.group_rate = Some(Rate { count: 2, per: Duration::from_secs(1) });
    over_another_server("permits", rate, |s| _ = s.sends(&[1]).at(110));
    let processed = |s: &mut Settings| s.processed = Some(Processed { age: Duration::from_secs(60), by: None });
    over_another_server("check", processed, |s| _ = s.sends(&[1]).at(110));
}
