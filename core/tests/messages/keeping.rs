//! Messages are kept while they are worked on, and none is stranded.

use streamkeeper_core::{
    id::CallId,
    messages::{Answer, Event, Link, Outcome, call::Fenced},
    trouble::Trouble,
};

use super::story::{Story, entry, ms};

#[test]
fn a_long_run() {
    let mut s = Story::started(|_| {});
    s.sends(&[1, 2]).at(110).succeeds(2).at(32_000).succeeds(1).at(40_000);
    s.ends("long_run", "It is refreshed every quarter of reclaim_idle; what ended before costs nothing.");
}

#[test]
fn a_refresh_is_not_answered() {
    let mut s = Story::started(|_| {});
    s.by_hand("refresh").sends(&[1]).at(15_500);
    s.refused("refresh", Trouble::connection("no answer in time")).told("refresh").at(15_600);
    s.event(Event::Connected(Link::Commands)).at(15_700);
    s.ends("refresh_unanswered", "It is asked again at once, on a new connection.");
}

#[test]
fn a_reconnect() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(8_900).breaks(&[Link::Commands]).at(9_100).event(Event::Connected(Link::Commands)).at(14_900);
    s.ends("reconnect", "What is held is kept at once, before anybody takes it for that of a dead process.");
}

#[test]
fn an_idle_reader_is_renewed() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (1, 0));
    s.told("read").by_hand("due").at(600).refused("due", Trouble::connection("no answer in time")).told("due");
    s.at(1_000).event(Event::Connected(Link::Commands)).at(1_010).event(Event::Connected(Link::Reader)).at(1_300);
    s.ends(
        "idle_reader",
        "Nobody reads while there is no connection for commands, so nobody would notice that the reader's broke with it: it \
         is made anew with it.",
    );
}

#[test]
fn an_idle_reader_of_a_start_is_renewed() {
    let mut s = Story::unborn(|_| {});
    s.by_hand("prepare").event(Event::Timeout);
    s.event(Event::Connected(Link::Commands)).event(Event::Connected(Link::Reader));
    s.at(1_000).refused("prepare", Trouble::connection("timed out")).told("prepare");
    s.at(1_100).event(Event::Connected(Link::Commands)).at(1_110).event(Event::Connected(Link::Reader)).at(1_200);
    s.ends(
        "idle_reader_of_a_start",
        "What broke the connection for commands before anything was answered may have broken the reader's: it is made anew.",
    );
}

#[test]
fn very_many_are_kept() {
    let mut s = Story::started(|s| s.concurrency = 3_000);
    s.sends(&(1..=2_600).collect::<Vec<u64>>()).by_hand("refresh").at(15_100);
    assert_eq!((s.machine().held(), s.under_way("refresh")), (2_600, 4), "others get a turn");
    s.goes("refresh").goes("refresh");
    assert_eq!(s.under_way("refresh"), 4, "and the rest follows");
    for _ in 0..4 {
        s.goes("refresh");
    }
    assert_eq!(s.under_way("refresh"), 0);
    assert!(s.group.pending.values().all(|pending| pending.touched.as_micros() > 15_000_000), "all are kept");
}

#[test]
fn lost_to_another() {
    let mut s = Story::started(|_| {});
    s.sends(&[1, 2, 3]).at(110).another_takes(1).another_takes(2).another_takes(3).at(8_000);
    s.at(16_000).fails(1, "no").succeeds(2).ran(3, Outcome::Drop).at(16_100);
    s.ends("lost", "The run is told. Its failure is ignored; a success is one, whoever holds the message.");
}

#[test]
fn lost_and_taken_again() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(110).another_takes(1).at(15_200);
    s.group.pending.insert(
        entry(1),
        super::group::Pending {
            owner: super::group::DELAYED,
            deliveries: 2,
            touched: streamkeeper_core::time::Time::from_millis(15_200),
        },
    );
    s.group.delayed.insert(entry(1), streamkeeper_core::time::Time::from_millis(15_200));
    s.at(15_600).fails(1, "late").at(17_000);
    s.ends("taken_again", "Never two runs of it in one process: it is given back for a second, then comes again.");
}

/// A server that forgets may hand out the very same delivery once more.
#[test]
fn given_back_and_handed_out_again() {
    let mut s = Story::started(|_| {});
    s.by_hand("park").sends(&[1]).at(110).another_takes(1).at(15_200);
    for (fails, at) in [(true, 15_600), (false, 16_000)] {
        let (owner, touched) = (super::group::DELAYED, streamkeeper_core::time::Time::from_millis(at - 400));
        s.group.pending.insert(entry(1), super::group::Pending { owner, deliveries: 2, touched });
        s.group.delayed.insert(entry(1), touched);
        s.at(at);
        if fails {
            s.fails(1, "late");
        }
    }
    s.goes("park").at(18_000);
    s.ends("given_back_twice", "It is being given back already: it is not run beside that, but when it comes next.");
}

#[test]
fn trimmed_while_it_runs() {
    let mut s = Story::started(|_| {});
    s.sends(&[1, 2]).at(110).trimmed(1).trimmed(2).at(8_000).fails(1, "no").succeeds(2).at(8_010);
    s.sends(&[3]).at(8_100).trimmed(3).fails(3, "no").at(8_200);
    s.ends(
        "trimmed",
        "A failure of what is not in the stream any more is buried from memory: nothing else is left of it.",
    );
}

#[test]
fn trimmed_and_failed_later() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(8_000).trimmed(1).at(20_000).fails(1, "no").at(20_010);
    s.ends("trimmed_known", "It is known to be gone: there is nothing to put aside, and it is buried from memory.");
}

#[test]
fn trimmed_and_back() {
    let mut s = Story::started(|_| {});
    s.sends(&[1, 2]).at(8_000).trimmed(1).trimmed(2).at(20_000).stands_again(1).at(40_000).fails(1, "no").at(40_010);
    s.ends(
        "trimmed_and_back",
        "What is gone while it runs is asked for all the same: a server that forgets may have it again, and then it is \
         kept, and its failure counted.",
    );
}

#[test]
fn trimmed_and_back_on_another_server() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(8_000).trimmed(1).at(20_000).breaks(&[Link::Commands, Link::Reader]);
    s.group.fail_over();
    s.stands_again(1).at(20_300).connects().at(20_310).fails(1, "no").at(20_320);
    s.ends(
        "trimmed_and_back_elsewhere",
        "The new server still has it, and says so: it is not buried, but tried again.",
    );
}

#[test]
fn trimmed_before_it_runs() {
    let mut s = Story::started(|_| {});
    s.is_due(1, |_| {}).trimmed(1).at(500);
    s.ends("trimmed_early", "What has no payload cannot run: it is acknowledged.");
}

#[test]
fn what_a_lost_answer_brought_cannot_be_fetched() {
    let mut s = Story::started(|_| {});
    s.told("mine").told("read").by_hand("fetch").by_hand("read").at(2_200).sends(&[1]).unanswered("read");
    s.told("read").at(2_300).event(Event::Connected(Link::Reader)).at(2_310);
    let wrong = || Trouble::from_reply("WRONGTYPE", "the key `s:g:attempts` holds something else");
    s.refused("fetch", wrong()).at(2_315).sends(&[2]).at(2_330).succeeds(2).at(2_400).refused("fetch", wrong());
    s.told("fetch").at(2_600);
    s.ends("fetch_wrong_type", "What cannot be told apart waits until somebody has mended it; what is new goes on.");
}

#[test]
fn a_read_is_not_answered() {
    let mut s = Story::started(|_| {});
    for call in ["mine", "fetch", "due", "read"] {
        s.told(call);
    }
    s.by_hand("read").at(2_200).sends(&[1]).unanswered("read").told("read").at(2_300);
    s.event(Event::Connected(Link::Reader)).at(2_310).succeeds(1).at(2_320);
    s.ends(
        "read_unanswered",
        "What the lost answer brought is pending under our name: it is taken in before anything new.",
    );
}

#[test]
fn an_answer_too_large_for_its_time() {
    let mut s = Story::started(|_| {});
    s.by_hand("read").at(2_200).sends(&[1, 2, 3, 4]).by_hand("fetch").unanswered("read").told("read");
    s.event(Event::Connected(Link::Reader)).at(2_300);
    for again in 1..=2 {
        s.unanswered("fetch").at(2_300 + again * 200).event(Event::Connected(Link::Commands)).at(2_400 + again * 200);
    }
    s.goes("fetch").at(2_900).goes("fetch").at(2_910);
    s.ends("too_large", "It would not come in time the next time either: fewer are asked for, until they come.");
}

#[test]
fn a_fetch_that_is_refused() {
    let mut s = Story::started(|s| s.concurrency = 4);
    s.by_hand("read").at(2_200).sends(&[1, 2]).by_hand("fetch").unanswered("read");
    s.at(2_250).event(Event::Connected(Link::Reader));
    for again in 1..=4 {
        s.at(2_000 + again * 1_000).refused("fetch", Trouble::from_reply("NOREPLICAS", "not enough good replicas"));
    }
    s.told("fetch").at(9_000);
    s.ends("fetch_refused", "The server cannot do it now: that says nothing about how large it is.");
    assert_eq!(s.running(), [1, 2]);
}

#[test]
fn a_message_too_large_even_alone() {
    let mut s = Story::started(|s| s.concurrency = 4);
    s.by_hand("read").at(2_200).sends(&[1]).by_hand("fetch").unanswered("read").told("read");
    s.at(2_250).event(Event::Connected(Link::Reader)).at(2_300);
    for again in 1..=3 {
        s.unanswered("fetch").at(2_300 + again * 200).event(Event::Connected(Link::Commands)).at(2_400 + again * 200);
    }
    s.event(Event::Connected(Link::Reader)).sends(&[2]).goes("read").at(3_110).succeeds(2).at(3_200);
    s.ends("too_large_alone", "It keeps nobody waiting, and is left alone for so long that others can reclaim it.");
    s.told("read").at(62_000);
    assert_eq!(s.under_way("fetch"), 0, "twice reclaim_idle: others can take it");
    s.at(80_000);
    assert_eq!(s.under_way("fetch"), 1, "nobody did");
}

#[test]
fn due_is_not_answered() {
    let mut s = Story::started(|_| {});
    s.told("mine").is_due(1, |r| r.failed = 1).by_hand("due").at(400).unanswered("due").told("due");
    s.at(450).event(Event::Connected(Link::Commands)).at(470);
    s.ends("due_unanswered", "The same for what was due; the message keeps its story.");
}

#[test]
fn a_late_answer() {
    let mut s = Story::started(|_| {});
    s.told("mine").sends(&[1]).at(110).event(Event::Answered(CallId(9_999), Ok(Answer::Read(vec![]))));
    s.by_hand("mine").by_hand("read").at(500);
    s.ends(
        "stray",
        "Nobody asked that, but it may have brought something: the own list is looked at, and nothing else runs twice.",
    );
}

#[test]
fn stood_still() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (1, 1));
    s.sends(&[1, 2]).at(110).frozen_until(8_000).succeeds(1).at(8_010);
    s.ends("stood_still", "Within two thirds of reclaim_idle nothing can have happened: the second one starts.");
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (1, 1));
    s.sends(&[1, 2]).at(110).frozen_until(60_000).another_takes(2).succeeds(1).at(60_300);
    s.ends("stood_still_long", "After longer than that it is not started: it is another's.");
}

#[test]
fn doubted() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch, s.block) = (1, 1, ms(30_000)));
    s.by_hand("read").at(2_500);
    s.answer("read", Answer::Read(vec![])).told("refresh").sends(&[1]).at(29_490).goes("read").at(29_600);
    s.ends(
        "doubted",
        "It counts as confirmed when the read was issued, not when it was answered: asked before it runs.",
    );
}

#[test]
fn unstarted_for_too_long() {
    let mut s = Story::started(|s| (s.concurrency, s.prefetch) = (1, 1));
    s.sends(&[1, 2]).at(110).at(16_000).at(16_500);
    s.ends("unstarted", "What waits here for a third of reclaim_idle is given back: another may have a free slot.");
}

#[test]
fn the_group_is_lost() {
    let mut s = Story::started(|_| {});
    s.sends(&[1, 2]).at(110);
    s.group.destroy();
    s.succeeds(1).at(700).fails(2, "no").at(1_900);
    s.ends("group_lost", "It is created again at the beginning, and everything comes again: what was in flight too.");
}

#[test]
fn a_group_that_is_missing_at_the_start() {
    let mut s = Story::unborn(|_| {});
    s.group.destroy();
    s.told("prepare").event(Event::Timeout).connects().at(100).sends(&[1]).at(110);
    s.ends("group_missing", "It is created. Nothing is lost with it.");
}

#[test]
fn the_group_is_lost_while_it_is_away() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(110).breaks(&[Link::Commands]);
    s.group.destroy();
    s.told("prepare").at(300).connects().at(310);
    s.ends("group_lost_away", "Who creates it again knows that everything comes again.");
}

#[test]
fn the_group_is_lost_while_one_is_given_back() {
    let mut s = Story::started(|_| {});
    s.by_hand("park").sends(&[1]).at(110).another_takes(1).at(15_200).comes_back(1, 2).at(15_600).fails(1, "late");
    s.group.destroy();
    s.refused("park", Trouble::from_reply("NOGROUP", "No such consumer group")).at(16_000);
    s.ends("group_lost_stray", "It comes again at its first delivery, and is not taken for what was given back.");
}

#[test]
fn the_group_is_lost_without_acknowledgements() {
    let mut s = Story::started(|s| s.no_ack = true);
    s.sends(&[1]).at(110);
    s.group.destroy();
    s.told("due").at(900).succeeds(1).at(1_000);
    s.ends("group_lost_no_ack", "What comes again beside its run is nobody's already, and not given back.");
}

#[test]
fn out_of_memory() {
    let mut s = Story::started(|_| {});
    s.by_hand("park").sends(&[1, 2]).at(110).fails(1, "no").at(112);
    s.refused("park", Trouble::from_reply("OOM", "command not allowed when used memory > 'maxmemory'."));
    s.at(120).succeeds(2).at(124).sends(&[3]).at(130).succeeds(3).told("park").at(200);
    s.ends("out_of_memory", "Reading and acknowledging go on: they are the way out. The rest is tried again.");
}

#[test]
fn the_id_of_a_done_one_is_given_again() {
    let mut s = Story::started(|_| {});
    s.by_hand("ack").sends(&[1]).at(110).succeeds(1).fails_over_without(1).told("ack").told("read").told("due").at(200);
    s.sends(&[1]).connects().at(300).succeeds(1).at(310);
    s.ends(
        "id_again_acking",
        "A server whose clock is behind gives a new message the id of one that it has forgotten. Nothing is read before \
         all that is held was asked about: the old one's success acknowledges nothing, and the new one runs.",
    );
}

#[test]
fn the_id_of_a_done_one_is_given_to_another() {
    let mut s = Story::started(|_| {});
    s.by_hand("ack").sends(&[1]).at(110).succeeds(1).fails_over_without(1).told("ack").at(200);
    s.sends(&[1]).another_takes(1).connects().at(300);
    s.ends("id_again_another", "Another consumer works on the new one: the old one's success does not end it.");
}

#[test]
fn the_id_of_a_running_one_is_given_again() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(110).fails_over_without(1).told("read").at(200).sends_keyed(1, "b").connects().at(300).succeeds(1);
    s.at(310).at(1_600).succeeds(1).at(1_700);
    s.ends(
        "id_again_running",
        "The old one's run is told, its success acknowledges nothing, and the new one runs after it.",
    );
}

#[test]
fn what_another_server_hands_out_again() {
    let mut s = Story::started(|_| {});
    s.sends(&[1]).at(110).fails_over_without(1).told("read").at(200).sends(&[1]).connects().at(300).succeeds(1).at(310);
    s.ends("handed_out_again", "It says the same, so that it is the same: its run is good for it.");
}

#[test]
fn what_another_server_cannot_judge() {
    let mut s = Story::started(|_| {});
    s.by_hand("park")
        .sends(&[1])
        .at(110)
        .fails(1, "no")
        .fails_over_without(1)
        .told("read")
        .at(200)
        .sends(&[2])
        .connects();
    s.at(205).answer("park", Answer::Parked(vec![Fenced::Broken("WRONGTYPE".into())])).at(250);
    s.ends("id_again_broken", "It holds up nobody: the refresh says that it is not ours, and that is enough.");
}

#[test]
fn an_answer_of_a_server_that_is_none_any_more() {
    let mut s = Story::started(|_| {});
    s.by_hand("read").at(260).sends(&[1]);
    s.event(Event::Disconnected(Link::Commands, Trouble::connection("closed"))).at(280);
    s.group.fail_over_without(entry(1));
    s.told("mine").at(300).event(Event::Connected(Link::Commands)).at(310);
    let fields = vec![(b"body".to_vec(), b"1".to_vec())].into();
    s.answer("read", Answer::Read(vec![(entry(1), Some(fields))])).told("read").at(320);
    s.ends("answer_of_earlier_server", "What it handed out is nothing here: the own list knows better.");
}
