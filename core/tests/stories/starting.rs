//! Starting, taking, acquiring.

use streamkeeper_core::{
    config::Retry,
    streams::{Answer, Event, Link, Load, call::Acquired},
    trouble::Trouble,
};

use crate::{
    answers::{all_done, all_released},
    story::{Story, entry, ms},
};

fn elsewhere(held: usize, owned: usize) -> Event {
    Event::Elsewhere(Load { held, owned })
}

#[test]
fn first_start() {
    let mut s = Story::unborn(|_| {});
    for call in ["prepare", "epoch", "mine", "reap", "read"] {
        s.by_hand(call);
    }
    s.event(Event::Timeout).connected(Link::Commands).connected(Link::Subscriber).connected(Link::Reader);
    for call in ["prepare", "epoch", "mine", "reap"] {
        s.by_itself(call);
    }
    s.at(10).ends("first_start", "A consumer connects, prepares the server, asks where the fleet stands, and waits.");
}

#[test]
fn take_and_acquire() {
    let mut s = Story::started(|_| {});
    s.by_hand("take").at(100).pending(1, "orders").pending(2, "invoices").pending(3, "returns").reads(&[1]);
    s.at(102).grants(&[70]);
    s.takes(&[2, 3]).at(105).grants(&[71, 72]);
    s.ends(
        "take_and_acquire",
        "A first announcement wakes the reader; what else is there is taken and acquired as a batch.",
    );
}

#[test]
fn the_last_of_the_capacity() {
    let mut s = Story::started(|settings| settings.capacity = 2);
    s.by_hand("read").by_hand("reap").at(100).owns(1, "orders", 70);
    s.at(600).owns(2, "invoices", 71).answer("reap", Answer::Reaped { idle: vec![], announced: 2 }).at(2_000);
    s.at(2_100).done(1).answer("done", all_done(1));
    s.at(2_500);
    s.ends("capacity_full", "A full consumer neither reads nor looks for orphans; it goes on once a stream is done.");
}

#[test]
fn a_capacity_that_is_shared() {
    let mut s = Story::started(|settings| settings.capacity = 2);
    s.by_hand("read").by_hand("reap").at(100).event(elsewhere(2, 2)).at(200).event(elsewhere(1, 1));
    s.at(300).owns(1, "orders", 70).at(1_100).event(elsewhere(0, 0)).at(1_200);
    s.ends("capacity_shared", "What the other partitions hold takes up capacity here, too.");
}

#[test]
fn handed_over_when_others_were_faster() {
    let mut s = Story::started(|settings| settings.capacity = 1);
    s.by_hand("reap").at(100).pending(1, "orders").event(elsewhere(1, 0)).reads(&[1]);
    s.at(105).event(elsewhere(1, 1)).at(110).grants(&[70]).answer("release", all_released(1)).at(200);
    s.ends(
        "handed_over_beyond_capacity",
        "The readers of two partitions wait while there is one place: what the second one brings is given back.",
    );
}

#[test]
fn others_have_asked_for_all_that_is_left() {
    let mut s = Story::started(|settings| settings.capacity = 4);
    s.by_hand("reap").by_hand("take").at(100).pending(1, "orders").event(elsewhere(4, 1)).reads(&[1]);
    s.at(110).grants(&[70]).at(120).event(elsewhere(1, 1)).at(200);
    s.ends(
        "capacity_asked_for",
        "The readers of two partitions wait; one asks for all that is left of the capacity: what the other one brings is \
         kept, since there may be room.",
    );
}

#[test]
fn a_backlogged_application() {
    let mut s = Story::started(|_| {});
    s.by_hand("read").by_hand("reap").by_hand("mine").at(250).owns(1, "orders", 70);
    s.event(Event::Backlogged(true)).at(300).event(Event::Doorbell("2-0".to_owned()));
    s.at(1_750).answer("reap", Answer::Reaped { idle: vec![], announced: 1 });
    s.at(1_800).event(Event::Backlogged(false));
    s.ends(
        "backlogged",
        "Nothing new is taken while the application does not read its notifications; leases are kept. Once it has caught up, \
         what was passed over is looked for at once.",
    );
}

#[test]
fn a_late_grant() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "orders").reads(&[1]).at(3_000).grants(&[70]);
    s.valid(1).at(3_010).by_itself("release").at(3_050);
    s.ends("late_grant", "A grant counts from when it was asked for: one that comes too late is given back, not told.");
}

#[test]
fn an_acquisition_whose_answer_is_lost() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "orders").reads(&[1]).at(1_100).fails("acquire", Trouble::connection("no answer in time"));
    s.at(1_200).connected(Link::Commands).at(1_210).grants(&[70]);
    s.ends("lost_acquire", "An acquisition that was not answered is asked for again as the very same attempt.");
}

#[test]
fn an_announcement_that_is_held() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "orders").reads(&[1]).acquired(vec![Acquired::Held(ms(2_000))]);
    s.at(1_000).event(Event::Doorbell("1-0".to_owned())).at(1_010).grants(&[70]);
    s.ends("held", "What somebody else holds is left alone, until somebody says that it is an orphan.");
}

#[test]
fn a_right_that_only_the_scripts_need() {
    let mut s = Story::unborn(|_| {});
    s.by_hand("epoch").event(Event::Timeout).connected(Link::Subscriber).connected(Link::Commands).at(3);
    s.fails("epoch", Trouble::from_reply("NOPERM", "this user has no permissions to run the 'hmget' command"));
    s.at(1_000).ends("fatal_in_script", "Where the fleet stands cannot be asked for: the consumer says so and stops.");
}

#[test]
fn fatal_trouble_at_the_start() {
    let mut s = Story::unborn(|_| {});
    s.by_hand("prepare").event(Event::Timeout).connected(Link::Subscriber).connected(Link::Commands).at(3);
    s.fails("prepare", Trouble::from_reply("NOPERM", "this user has no permissions to run the 'xgroup' command"));
    s.at(1_000).ends("fatal_at_start", "A right that the protocol needs is missing: the consumer says so and stops.");
}

#[test]
fn trouble_of_a_partition_that_is_reached_later() {
    let refused = || Trouble::from_reply("NOPERM", "this user has no permissions to run the 'xgroup' command");
    let mut s = Story::unborn(|_| {});
    s.by_hand("prepare").by_hand("epoch").event(Event::Timeout).event(Event::Begun);
    s.event(Event::Disconnected(Link::Commands, Trouble::from_reply("WRONGPASS", "invalid username-password pair")));
    s.at(100).connected(Link::Subscriber).connected(Link::Commands).connected(Link::Reader).at(110);
    s.fails("prepare", refused()).at(1_000).fails("prepare", refused()).at(2_000).by_itself("prepare").at(3_000);
    s.fails("epoch", refused()).at(4_000).by_itself("epoch").at(4_100);
    s.ends("begun_without", "What is wrong with a partition that comes later is waited out: the others are served.");
}

#[test]
fn retries_exhausted() {
    let mut s = Story::unborn(|settings| settings.retry = Retry::Times(2));
    s.event(Event::Timeout);
    for at in [1, 100, 500] {
        s.at(at).disconnected(Link::Commands);
    }
    s.at(1_000)
        .ends("retries_exhausted", "The connection is tried as often as the settings allow, then the consumer stops.");
}

#[test]
fn retries_exhausted_when_much_is_due() {
    let mut s = Story::started(|settings| settings.retry = Retry::None);
    s.by_hand("ping").at(100).frozen_until(1_500).disconnected(Link::Commands).at(3_000);
    s.ends("nothing_after_the_end", "Who has stopped does nothing more, though a heartbeat is due.");
}

#[test]
fn a_backlogged_application_and_what_it_was_to_get() {
    let mut s = Story::started(|_| {});
    (s.fleet.announced, s.fleet.consumers) = (9, 2);
    s.by_hand("reap").by_hand("mine").at(100).pending(1, "orders").pending(3, "invoices").pending(4, "returns");
    s.hint(1, "orders")
        .hint(3, "invoices")
        .at(105)
        .event(Event::Claim(entry(3)))
        .event(Event::Backlogged(true))
        .at(400);
    s.event(Event::Claim(entry(4))).at(410);
    s.ends(
        "backlogged_candidates",
        "An orphan whose time comes while the application is behind is left to others; what it has claimed by hand is not.",
    );
}

#[test]
fn what_is_taken_up() {
    let mut s = Story::started(|settings| settings.capacity = 10);
    s.by_hand("take").at(100).owns(1, "a", 70).takes(&[]).load();
    for number in 2..=7 {
        s.pending(number, &format!("stream-{number}"));
    }
    s.reads(&[2]).load().takes(&[3]).load().takes(&[4, 5]).load().takes(&[6]).load().takes(&[]).load();
    s.grants(&[71]).load().grants(&[72]).load();
    s.ends("taken_up", "What is owned, asked for, waits to be asked for, and may come of what is being asked for.");
}

#[test]
fn no_more_is_chosen_than_can_be_asked_for() {
    let mut s = Story::started(|settings| settings.acquire_batch = 1);
    for number in 1..=4 {
        s.pending(number, &format!("stream-{number}")).hint(number, &format!("stream-{number}"));
    }
    s.at(20).load().acquired(vec![Acquired::Gone]).load().acquired(vec![Acquired::Gone]).load();
    s.ends("chosen_one_by_one", "Two questions are under way at once; orphans beyond them take up nothing, and wait.");
}

#[test]
fn a_server_that_closes_each_connection() {
    let mut s = Story::unborn(|settings| settings.retry = Retry::Times(2));
    s.by_hand("prepare").by_hand("epoch").event(Event::Timeout);
    for at in [1, 100, 500] {
        s.at(at).connected(Link::Commands).disconnected(Link::Commands);
    }
    s.at(1_000).ends(
        "closed_before_any_answer",
        "A connection on which nothing was answered is one more try that has failed, as long as it may have stood.",
    );
}
