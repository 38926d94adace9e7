//! Announcements that are special: twice, malformed, trimmed, deadly.

use streamkeeper_core::{
    id::Token,
    streams::{
        Answer,
        call::{Acquired, Grant},
    },
    trouble::Trouble,
};

use crate::{
    answers::{all_done, all_released, set_aside},
    story::{Story, entry, ms},
};

#[test]
fn a_backlog_that_others_have_no_room_for() {
    let mut s = Story::started(|_| {});
    s.by_hand("take").at(100).pending(1, "orders").pending(2, "invoices").reads(&[1]).grants(&[70]);
    s.withheld().at(150).withheld().at(200).withheld().at(250);
    s.done(1).answer("done", all_done(1)).takes(&[2]).grants(&[71]);
    s.withheld().at(300).withheld().at(350);
    let more = |s: &mut Story, number: u64, token: u64| {
        s.pending(number, &format!("stream-{number}"));
        s.taken_of_more(&[number]).grants(&[token]).at(400 + 50 * number);
    };
    more(&mut s, 3, 72);
    more(&mut s, 4, 73);
    s.withheld().at(700).takes(&[]).at(750);
    s.ends(
        "others_have_no_room",
        "A share is left to others for a while. Whoever finishes streams meanwhile gets some more of its own, and does not \
         begin to wait anew each time. Of what others leave, more is taken each time, until nothing is left.",
    );
}

#[test]
fn announced_twice() {
    let mut s = Story::started(|_| {});
    s.by_hand("take").at(100).pending(1, "orders").pending(2, "orders").reads(&[1]);
    s.takes(&[2]).grants(&[70]).acquired(vec![Acquired::Other(entry(1))]);
    s.acquired(vec![Acquired::Busy(ms(2_900))]);
    s.at(500).done(1).answer("done", all_done(1));
    s.at(3_200).hint(2, "orders").at(3_300).grants(&[71]);
    s.ends(
        "announced_twice",
        "One stream has one owner at a time: its second announcement waits until the first is done.",
    );
}

#[test]
fn announced_twice_and_owned_here() {
    let mut s = Story::started(|_| {});
    s.at(100).owns(1, "orders", 70).at(700).pending(2, "orders").reads(&[2]).at(800);
    s.ends("announced_twice_here", "The second announcement of a stream that is owned here is not even asked for.");
}

#[test]
fn malformed() {
    let mut s = Story::started(|_| {});
    let fields = vec![(b"lbs-input".to_vec(), b"{\"DataStreamName\":5}".to_vec())];
    s.at(100).pending_raw(1, fields).pending(2, "orders").reads(&[1, 2]).grants(&[70]).at(200);
    s.ends("malformed", "What is no announcement is set aside, with what is wrong about it; its neighbour is owned.");
}

#[test]
fn trimmed() {
    let mut s = Story::started(|_| {});
    s.by_hand("forget").at(100).pending_raw(1, vec![]).hint(1, "orders").at(110);
    s.answer("forget", Answer::Forgotten(vec![entry(1)])).at(200);
    s.at(3_103).hint(1, "orders").at(3_105).hint(1, "orders").at(3_200);
    s.ends(
        "trimmed",
        "An announcement without payload can have no owner: it is acknowledged once nobody has touched it for a ttl. \
         Before that, nobody looks at it again.",
    );
}

#[test]
fn a_stream_that_kills_its_owners() {
    let mut s = Story::started(|_| {});
    s.at(100).pending(1, "deadly").hint(1, "deadly").at(110).acquired(vec![Acquired::SetAside(10)]).at(200);
    s.ends(
        "crash_loop",
        "The last ten owners of a stream crashed: it is set aside, by the same script that would grant it.",
    );
}

#[test]
fn a_handler_that_always_fails() {
    let mut s = Story::started(|settings| settings.max_failures = 3);
    s.at(100).owns(1, "orders", 70).at(200).release(1, Some("boom"));
    s.answer("release", all_released(1)).at(1_500).pending(1, "orders").hint(1, "orders").at(1_600);
    s.acquired(vec![failed_before(71, 2)]).at(1_700).release(1, Some("boom again"));
    s.answer("release", set_aside()).at(1_800);
    s.ends("failing_handler", "A handler's failures are counted; each pause is longer; then the stream is set aside.");
}

fn failed_before(token: u64, failures: u32) -> Acquired {
    Acquired::Granted(Grant { token: Token(token), takeover: true, takeovers: 0, failures, deliveries: 1 })
}

#[test]
fn malformed_and_not_set_aside_at_once() {
    let mut s = Story::started(|_| {});
    s.by_hand("bury").by_hand("prepare").at(100).pending_raw(1, vec![(b"x".to_vec(), b"y".to_vec())]).reads(&[1]);
    s.fails("bury", Trouble::from_reply("BUSY", "Redis is busy running a script.")).at(500).hint(1, "orders").at(3_099);
    s.at(3_150).fails("bury", Trouble::from_reply("NOGROUP", "no such group")).at(7_200).by_itself("prepare").at(7_210);
    s.ends(
        "malformed_again",
        "What could not be set aside is set aside a ttl later, on a server that is prepared; what is heard of it is of no \
         interest.",
    );
}
