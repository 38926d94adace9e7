//! How messages come, run and end when nothing goes wrong.

use streamkeeper_core::{
    messages::{
        Answer, Event, Link,
        call::Delivery,
        config::{Processed, Rate},
    },
    trouble::Trouble,
};

use super::story::{Story, ms};

#[test]
fn a_start_beside_a_key_of_a_wrong_type() {
    let mut s = Story::unborn(|_| {});
    s.by_hand("due").event(Event::Timeout).event(Event::Connected(Link::Reader));
    s.event(Event::Connected(Link::Commands)).at(10);
    let wrong = || Trouble::from_reply("WRONGTYPE", "the key `s:g:delayed` holds something else than it should");
    s.refused("due", wrong()).at(20).sends(&[1]).at(40).succeeds(1).at(100);
    s.ends("start_wrong_type", "What can do without it goes on: new messages.");
}

#[test]
fn a_start() {
    let mut s = Story::unborn(|_| {});
    for call in ["prepare", "mine", "due", "read", "reclaim"] {
        s.told(call);
    }
    s.event(Event::Timeout).event(Event::Connected(Link::Reader)).event(Event::Connected(Link::Commands)).at(300);
    s.ends("start", "The own list first: a namesake's messages are not in it, those of a lost answer are.");
}

#[test]
fn a_server_that_refuses() {
    let mut s = Story::unborn(|_| {});
    s.by_hand("prepare").event(Event::Timeout).event(Event::Connected(Link::Commands));
    s.refused("prepare", Trouble::from_reply("NOPERM", "this user has no permissions"));
    s.ends("refused_at_start", "What waiting cannot mend is told at once, as long as nothing was ever read.");
}

#[test]
fn a_server_that_refuses_something() {
    let no = || Trouble::from_reply("NOPERM", "this user has no permissions");
    let mut s = Story::unborn(|_| {});
    s.event(Event::Timeout).event(Event::Disconnected(Link::Commands, no()));
    s.ends("refused_connection", "Nor can it mend this.");
    let mut s = Story::unborn(|_| {});
    s.by_hand("due").event(Event::Timeout).event(Event::Connected(Link::Commands)).at(10).refused("due", no());
    s.ends("refused_due", "Nor this.");
    let mut s = Story::unborn(|_| {});
    s.by_hand("prepare").event(Event::Timeout).event(Event::Connected(Link::Commands));
    s.refused("prepare", Trouble::from_reply("WRONGTYPE", "the key `s` holds something else"));
    s.ends("refused_stream", "Without the stream there is nothing to do.");
    let mut s = Story::started(|_| {});
    s.by_hand("ack").sends(&[1]).at(110).succeeds(1).refused("ack", no()).told("ack").at(300);
    s.event(Event::Disconnected(Link::Commands, no())).at(600);
    s.ends("refused_later", "Once it has worked, somebody may mend it: it is tried again.");
}

#[test]
fn what_is_being_settled_takes_no_room() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch, s.batch) = (2, 0, 6));
    s.by_hand("ack").sends(&(1..=30).collect::<Vec<u64>>()).at(110);
    assert_eq!((s.machine().held(), s.machine().running()), (2, 2));
    for step in 1..=30 {
        s.running().into_iter().for_each(|number| _ = s.succeeds(number));
        s.at(110 + 10 * step);
    }
    let most = 2 + 2 * 6;
    assert_eq!((s.machine().held(), s.machine().running()), (most, 0), "two batches may be on their way out");
}

#[test]
fn acknowledgements_wait_for_each_other() {
    let mut s = Story::started(|_| {});
    s.sends(&[1, 2, 3]).at(110).succeeds(1).at(112).succeeds(2).at(130).succeeds(3).at(140);
    s.ends("acks", "Up to 5 ms while something runs that may bring another one, at once when nothing does.");
}

#[test]
fn slots_and_prefetch() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (2, 1));
    s.told("read").sends(&[1, 2, 3, 4]).at(110).succeeds(1).at(120).succeeds(2).at(130);
    s.ends("slots", "Two run, one waits, and no more than that is asked for. An ended one makes room before its ack.");
}

#[test]
fn messages_are_read_by_halves() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (1, 4));
    s.told("read").sends(&[1, 2, 3, 4, 5, 6, 7, 8]).at(110);
    s.succeeds(1).at(112).succeeds(2).at(114).succeeds(3).at(116);
    s.ends("halves", "While no slot is free and more than half of the prefetch waits, nothing is read.");
}

#[test]
fn due_goes_before_new() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (1, 2));
    s.sends(&[1, 2, 3]).at(105);
    s.is_due(9, |_| {}).at(400).told("due").succeeds(1).at(410);
    s.ends("due_first", "The slot that is free is kept for what is due, and new messages that wait here go behind it.");
}

#[test]
fn due_is_asked_for_in_time() {
    let mut s = Story::started(|_| {});
    s.by_hand("due").at(200);
    s.told("due").at(201);
    s.by_hand("due").at(600);
    let deliveries: Vec<Delivery> = Vec::new();
    s.answer("due", Answer::Due { deliveries, next: Some(ms(40)), now_ms: 600 }).told("due").told("read").at(650);
    s.ends("due_in_time", "At the instant that the last answer named; the read that keeps the room waits no longer.");
}

#[test]
fn pause_and_go_on() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (1, 2));
    s.sends(&[1, 2]).at(110).event(Event::Pause(true)).succeeds(1).at(2_000).event(Event::Pause(false)).at(2_010);
    s.ends("pause", "Nothing is started or asked for; what ends is told all the same.");
}

#[test]
fn a_short_pause() {
    let mut s = Story::started(|s| s.due_interval = ms(10_000));
    s.at(150).event(Event::Pause(true)).is_due(1, |_| {}).at(300).event(Event::Pause(false)).at(310);
    s.ends("pause_short", "When it goes on, what has become due is asked for at once.");
}

#[test]
fn a_pause_while_a_start_is_written_down() {
    let mut s = Story::started(|_| {});
    s.by_hand("mark").is_due(1, |r| r.crashed = 1).at(400).event(Event::Pause(true)).goes("mark").told("mark").at(500);
    s.event(Event::Pause(false)).at(510);
    s.ends("pause_marking", "It does not start, and has its turn when things go on.");
}

#[test]
fn a_start_that_is_written_down_late() {
    let mut s = Story::started(|_| {});
    s.by_hand("mark").by_hand("refresh").is_due(1, |r| r.crashed = 1).at(29_000).goes("mark").told("mark").at(29_010);
    s.goes("refresh").at(29_020);
    s.ends("marked_late", "Others may have taken it meanwhile: it is confirmed first.");
}

#[test]
fn a_slow_key() {
    let mut s = Story::started(|s| s.ordered_by = Some("key".into()));
    for number in 1..=12 {
        s.sends_keyed(number, "slow");
    }
    s.at(110).sends_keyed(13, "b").sends_keyed(14, "c").at(120).succeeds(13).succeeds(14).succeeds(1).at(130);
    s.ends("slow_key", "What waits for its key takes no room from others.");
}

#[test]
fn a_slow_key_without_end() {
    let mut s = Story::started(|s| (s.ordered_by, s.batch) = (Some("key".into()), 3));
    for number in 1..=14 {
        s.sends_keyed(number, "slow");
    }
    s.at(110).sends_keyed(20, "b").at(15_000).at(15_300);
    s.ends(
        "slow_key_without_end",
        "As many as `batch` may wait beside; behind more of them others wait too, for a while.",
    );
}

#[test]
fn one_of_each_key() {
    let mut s = Story::started(|s| s.ordered_by = Some("key".into()));
    s.sends_keyed(1, "a").sends_keyed(2, "a").sends_keyed(3, "b").at(110).succeeds(1).at(120).succeeds(2).succeeds(3);
    s.at(130);
    s.ends("keys", "The second of a key waits until the first has ended; other keys do not wait.");
}

#[test]
fn a_rate() {
    let mut s = Story::started(|s| s.rate = Some(Rate { count: 2, per: ms(100) }));
    s.sends(&[1, 2, 3, 4]).at(110).succeeds(1).succeeds(2).at(300);
    s.ends("rate", "Two at once after a quiet time, then one every 50 ms.");
}

#[test]
fn a_rate_of_the_group() {
    let mut s = Story::started(|s| s.group_rate = Some(Rate { count: 2, per: ms(100) }));
    s.by_hand("permits").sends(&[1, 2, 3]).at(110);
    s.answer("permits", Answer::Permits { granted: 2, wait: ms(70) }).at(200);
    s.answer("permits", Answer::Permits { granted: 1, wait: ms(0) });
    s.ends("group_rate", "Permits are asked for when something could start, and again when the server says.");
}

#[test]
fn no_permits_yet() {
    let mut s = Story::started(|s| s.group_rate = Some(Rate { count: 2, per: ms(100) }));
    s.by_hand("permits").sends(&[1]).at(110).answer("permits", Answer::Permits { granted: 0, wait: ms(0) }).at(120);
    s.ends("no_permits", "A server that grants none, and does not say until when, is not asked without end.");
}

#[test]
fn a_check_is_refused() {
    let mut s = Story::started(|s| {
        (s.concurrency, s.prefetch) = (1, 0);
        s.processed = Some(Processed { age: ms(60_000), by: None });
    });
    s.by_hand("check").sends(&[1]).at(110).refused("check", Trouble::from_reply("LOADING", "loading")).told("check");
    s.at(300).succeeds(1).at(310);
    s.ends("check_refused", "It is asked again after the pause: nothing else would wake it.");
}

#[test]
fn processed_before() {
    let mut s = Story::started(|s| s.processed = Some(Processed { age: ms(60_000), by: Some("key".into()) }));
    s.sends_keyed(1, "a").sends_keyed(2, "b").at(110).succeeds(1).succeeds(2).at(120);
    s.sends_keyed(3, "a").at(200);
    s.ends("processed", "A message whose key was processed is acknowledged without a run.");
}

#[test]
fn without_acknowledgements() {
    let mut s = Story::started(|s| s.no_ack = true);
    s.told("refresh").sends(&[1, 2]).at(110).succeeds(1).fails(2, "no").at(20_000);
    s.ends("no_ack", "At most once: no refresh, no acknowledgement, no retry; a failure is only told.");
}

#[test]
fn a_hanging_run() {
    let mut s = Story::started(|s| s.reclaim_idle = ms(4_000));
    s.by_hand("refresh").sends(&[1]).at(41_000);
    s.ends("hangs", "It is kept, and remarked once: nobody knows whether it hangs.");
}

#[test]
fn a_timeout() {
    let mut s = Story::started(|s| s.timeout = Some(ms(2_000)));
    s.sends(&[1]).at(2_200).ran(1, streamkeeper_core::messages::Outcome::Cancelled).at(3_300);
    s.ends("timeout", "A run that is over its time is cancelled, which is a failure.");
}

#[test]
fn a_run_that_did_not_begin() {
    let mut s = Story::started(|s| s.timeout = Some(ms(2_000)));
    s.sends(&[1]).at(2_200).ran(1, streamkeeper_core::messages::Outcome::NotBegun).at(2_600);
    s.ends("not_begun", "The process stood still before the worker was called: over its time, and no failure.");
}

#[test]
fn a_timeout_that_cannot_be_enforced() {
    let mut s = Story::started(|s| (s.timeout, s.reclaim_idle) = (Some(ms(2_000)), ms(4_000)));
    s.sends(&[1]).at(9_000).another_takes(1).sends(&[2]).at(9_100).fails(1, "late").at(9_200);
    s.ends(
        "timeout_ignored",
        "What cannot be stopped is not refreshed any more, keeps its slot, and can fail nobody's run.",
    );
}

#[test]
fn a_small_question_after_what_is_due() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch, s.backoff.base) = (4, 1, ms(10)));
    s.told("read")
        .by_hand("due")
        .sends(&[1])
        .at(105)
        .fails(1, "no")
        .at(120)
        .sends(&[2])
        .at(125)
        .goes("due")
        .told("due");
    s.at(400);
    s.ends(
        "due_not_starved",
        "It had to do with what a read had left: the next read keeps the room for a moment only, and more is asked for.",
    );
}
