//! Acknowledge, park, take again, bury.

use super::*;
use streamkeeper_core::messages::config::Processed;

fn ack_of(entry: EntryId, key: Option<&str>) -> AckItem {
    AckItem { entry, recorded: false, processed: key.map(|key| key.as_bytes().into()) }
}

#[test]
fn a_failure_is_counted_once_for_each_delivery() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let mut hold = a.given("x").await;
        for failed in 1..=3 {
            let error = format!("error {failed}");
            // The answer is lost, and it is asked again.
            for _ in 0..2 {
                assert_eq!(a.park(hold, Some(&error)).await, Fenced::Done);
            }
            let taken = a.take().await;
            assert_eq!(taken.hold, Hold { entry: hold.entry, deliveries: hold.deliveries + 1 });
            let history = taken.history.unwrap();
            assert_eq!((history.failed, &*history.error), (failed, &*error));
            hold = taken.hold;
        }
        // Given back: not counted.
        for _ in 0..2 {
            assert_eq!(a.park(hold, None).await, Fenced::Done);
        }
        let taken = a.take().await;
        assert_eq!(taken.history.as_ref().unwrap().failed, 3);
        // The last failure, counted with the mark; that `process_dead` fails too does not count again.
        for _ in 0..2 {
            assert_eq!(a.dying(taken.hold, "the last").await, Fenced::Done);
        }
        assert_eq!(a.park(taken.hold, Some("process_dead")).await, Fenced::Done);
        let history = a.take().await.history.unwrap();
        assert_eq!((history.failed, history.dying, &*history.error), (4, Some(Reason::Failed), "the last"));
    });
}

#[test]
fn a_message_that_never_failed_leaves_nothing_behind() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let hold = a.given("x").await;
        a.refresh(hold).await;
        a.park(hold, None).await;
        assert_eq!(a.take().await.history, None);
        assert_eq!(a.call(Call::Ack(vec![ack_of(hold.entry, None)])).await.unwrap(), Answer::Acked(1));
        assert_eq!(a.int("EXISTS m:g:attempts m:g:delayed m:g:dead").await, 0);
    });
}

#[test]
fn an_error_is_cut_and_an_odd_record_is_replaced() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let hold = a.given("x").await;
        a.park(hold, Some(&format!("two\nlines {}", "ä".repeat(1_000)))).await;
        let taken = a.take().await;
        let error = taken.history.unwrap().error;
        assert!(error.starts_with("two\nlines ää") && error.len() == 500, "{}", error.len());
        a.raw(&format!("HSET m:g:attempts {} nonsense", hold.entry)).await;
        a.park(taken.hold, None).await;
        let taken = a.take().await;
        assert!(taken.history.unwrap().error.contains("nonsense"));
        a.park(taken.hold, Some("now")).await;
        let history = a.take().await.history.unwrap();
        assert_eq!((history.failed, &*history.error), (1, "now"));
    });
}

#[test]
fn what_is_due_comes_in_its_order_and_not_before() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let (one, two, three) = (a.given("1").await, a.given("2").await, a.given("3").await);
        a.park_for(one, 60_000, Some("x")).await;
        for (hold, due_ms) in [(two, 5), (three, 4)] {
            a.park(hold, Some("x")).await;
            a.raw(&format!("ZADD m:g:delayed {due_ms} {}", hold.entry)).await;
        }
        let (mut seen, mut next) = (Vec::new(), None);
        while seen.len() < 2 {
            let (taken, then) = a.due(1).await;
            seen.extend(taken.into_iter().map(|d| d.hold.entry));
            next = then;
        }
        assert_eq!(seen, [three.entry, two.entry]);
        assert!(next.is_some_and(|next| next > Duration::from_secs(50) && next <= Duration::from_secs(60)), "{next:?}");
        assert_eq!(a.due(9).await.0, vec![]);
    });
}

#[test]
fn what_is_never_due_is_not_asked_for_at_once() {
    on_redis(&[], async |redis| {
        let mut a = Peer::ready(&redis, "a").await;
        for score in ["+inf", "1e300"] {
            a.raw("DEL m:g:delayed").await;
            a.raw(&format!("ZADD m:g:delayed {score} 1-1")).await;
            let (_, next) = a.due(10).await;
            assert!(next.is_some_and(|next| next > Duration::from_secs(3_600)), "{score}: {next:?}");
        }
    });
}

#[test]
fn no_more_are_taken_than_there_is_room_for() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        for i in 0..5 {
            let hold = a.given(&i.to_string()).await;
            a.park(hold, None).await;
        }
        let (taken, next) = a.due(2).await;
        assert_eq!((taken.len(), next), (2, Some(Duration::ZERO)));
        let (taken, next) = a.due(0).await;
        assert_eq!((taken.len(), next), (0, Some(Duration::ZERO)));
        let (taken, next) = a.due(9).await;
        assert_eq!((taken.len(), next), (3, None));
    });
}

#[test]
fn what_is_due_is_taken_from_nobody() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::ready(&redis, "a").await, Peer::ready(&redis, "b").await);
        let (held, acked, deleted) = (a.given("1").await, a.given("2").await, a.given("3").await);
        a.dying(acked, "x").await;
        a.ack(acked.entry).await;
        a.mark(acked, Mark::Started).await;
        a.park(deleted, Some("x")).await;
        a.raw(&format!("XDEL m {}", deleted.entry)).await;
        // Somebody else's leftovers.
        for member in
            [held.entry.to_string(), acked.entry.to_string(), "nonsense".into(), "99999999999999999999-1".into()]
        {
            a.raw(&format!("ZADD m:g:delayed 5 {member}")).await;
        }
        a.raw(&format!("HSET m:g:attempts {} x", acked.entry)).await;
        let (taken, next) = b.due(9).await;
        assert_eq!(next, None);
        let gone = &taken[0];
        assert_eq!((taken.len(), gone.hold.entry, &gone.fields), (1, deleted.entry, &None));
        assert_eq!(gone.history.as_ref().unwrap().failed, 1);
        assert_eq!(a.pending(held.entry).await.unwrap().0, a.me());
        assert_eq!(a.pending(deleted.entry).await, None);
        assert_eq!(a.int("EXISTS m:g:attempts m:g:delayed").await, 0);
    });
}

#[test]
fn what_was_taken_is_fetched_when_the_answer_was_lost() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::ready(&redis, "a").await, Peer::ready(&redis, "b").await);
        let hold = a.given("x").await;
        a.park(hold, Some("failed")).await;
        let taken = a.take().await;
        let (second, deleted) = (a.given("y").await, a.given("z").await);
        a.raw(&format!("XDEL m {}", deleted.entry)).await;
        let others = b.given("w").await;
        let all = vec![hold.entry, second.entry, deleted.entry, others.entry];
        for _ in 0..2 {
            let Answer::Fetched(fetched) = a.call(Call::Fetch(all.clone())).await.unwrap() else { panic!() };
            assert_eq!(fetched[0], taken);
            assert_eq!(fetched[1], Delivery { hold: second, fields: Some(body("y")), history: None });
            // It is acknowledged, and told of only once.
            assert!(fetched.len() == 2 || fetched[2] == Delivery { hold: deleted, fields: None, history: None });
        }
        assert_eq!(b.pending(others.entry).await.unwrap().0, b.me());
        assert_eq!(a.pending(hold.entry).await.unwrap().2, 2, "no delivery was counted");
    });
}

#[test]
fn acknowledging_forgets_and_remembers() {
    on_redis(&[], |redis| async move {
        let processed = Some(Processed { age: Duration::from_secs(60), by: None });
        let mut a = Peer::with(&redis, "a", Settings { processed, ..settings() }, false).await;
        a.call(Call::Prepare).await.unwrap();
        let (one, two) = (a.given("1").await, a.given("2").await);
        a.park(one, Some("x")).await;
        a.raw("CONFIG SET maxmemory 1").await;
        // A late success, while the message is parked: it counts.
        let item = AckItem { recorded: true, ..ack_of(one.entry, Some("k\u{fc}")) };
        let call = Call::Ack(vec![item, ack_of(two.entry, None)]);
        assert_eq!(a.call(call.clone()).await.unwrap(), Answer::Acked(2));
        assert_eq!(a.call(call).await.unwrap(), Answer::Acked(0));
        assert_eq!(a.int("EXISTS m:g:attempts m:g:delayed").await, 0);
        let left = a.int("PTTL m:g:done:k\u{fc}").await;
        assert!((59_000..=60_000).contains(&left), "{left}");
        let check = |key: &str| (one.entry, key.as_bytes().into());
        let answer = a.call(Call::Check(vec![check("no"), check("k\u{fc}")])).await.unwrap();
        assert_eq!(answer, Answer::Checked(vec![false, true]));
        assert_eq!(a.int("XLEN m").await, 2, "nothing is deleted unless it is to be");
    });
}

#[test]
fn what_succeeded_is_deleted_while_no_other_group_reads() {
    on_redis(&[], |redis| async move {
        let delete = Settings { delete_after_success: true, ..settings() };
        let mut a = Peer::with(&redis, "a", delete, false).await;
        a.call(Call::Prepare).await.unwrap();
        let (one, two) = (a.given("1").await, a.given("2").await);
        assert_eq!(a.call(Call::Ack(vec![ack_of(one.entry, None)])).await.unwrap(), Answer::Acked(1));
        a.bury(two).await;
        assert_eq!(a.int("XLEN m").await, 0);
        let three = a.given("3").await;
        let (four, _) = (a.given("4").await, a.raw("XGROUP CREATE m other 0").await);
        assert_eq!(a.call(Call::Ack(vec![ack_of(three.entry, None)])).await.unwrap(), Answer::Acked(1));
        a.bury(four).await;
        assert_eq!(a.int("XLEN m").await, 2, "the other group has not read them");
        // Nor where only the other group is left.
        let five = a.given("5").await;
        a.raw("XGROUP DESTROY m g").await;
        assert_eq!(a.call(Call::Ack(vec![ack_of(five.entry, None)])).await.unwrap(), Answer::Acked(0));
        assert_eq!(a.int("XLEN m").await, 3);
    });
}

#[test]
fn a_dead_letter_tells_the_whole_story_and_stands_there_once() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let entry = value::entry_id(&a.raw("XADD m * body x h:trace 17 body again").await).unwrap();
        let hold = a.read(1).await[0];
        assert_eq!(hold.entry, entry);
        a.park(hold, Some("first")).await;
        let hold = a.take().await.hold;
        a.dying(hold, "second").await;
        for answer in [Fenced::Done, Fenced::Gone, Fenced::Gone] {
            assert_eq!(a.bury_item(hold, Reason::Failed, None).await, answer);
        }
        // Nor from memory: it was not lost.
        let gone = Some(body("x"));
        assert_eq!(a.bury_item(hold, Reason::Failed, gone).await, Fenced::Gone);
        assert_eq!(a.pending(entry).await, None);
        assert_eq!(a.int("EXISTS m:g:attempts").await, 0);
        let dead = a.calls.dead(&mut a.connection, None, 10).await.unwrap();
        let [letter] = &*dead else { panic!("{dead:?}") };
        assert_eq!((letter.entry, &*letter.reason, &*letter.error), (Some(entry), "failed", "no such order"));
        assert_eq!((letter.attempts, letter.crashed, letter.deliveries), (2, 0, 2));
        assert_eq!(*letter.consumer, a.me());
        assert!(letter.first_ms >= entry.ms && letter.first_ms <= letter.last_ms && letter.last_ms <= letter.at_ms);
        assert_eq!(letter.original, fields(&[("body", "x"), ("h:trace", "17"), ("body", "again")]));
    });
}

#[test]
fn what_lost_its_payload_while_it_ran_is_buried_from_memory_once() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::ready(&redis, "a").await, Peer::ready(&redis, "b").await);
        let (hold, acked) = (a.given("x").await, a.given("y").await);
        // Before anybody knows that it is gone.
        assert_eq!(a.bury_item(hold, Reason::Failed, None).await, Fenced::Done);
        let hold = a.given("z").await;
        a.dying(hold, "why").await;
        a.raw(&format!("XDEL m {}", hold.entry)).await;
        assert_eq!(a.refresh(hold).await, Fenced::Gone);
        // Acknowledged by somebody else, and deleted: it is not for us to bury it.
        b.ack(acked.entry).await;
        a.raw(&format!("XDEL m {}", acked.entry)).await;
        assert_eq!(a.refresh(acked).await, Fenced::Gone);
        assert_eq!(a.bury_item(acked, Reason::Failed, Some(body("y"))).await, Fenced::Gone);
        let other = Hold { deliveries: 2, ..hold };
        assert_eq!(a.bury_item(other, Reason::Failed, Some(body("z"))).await, Fenced::Gone, "another delivery's");
        a.raw("CONFIG SET maxmemory 1").await;
        for answer in [Fenced::Done, Fenced::Gone] {
            assert_eq!(a.bury_item(hold, Reason::Failed, Some(body("z"))).await, answer);
        }
        let dead = a.calls.dead(&mut a.connection, None, 10).await.unwrap();
        assert_eq!(dead.len(), 2);
        assert_eq!((dead[1].entry, dead[1].attempts, &dead[1].original), (Some(hold.entry), 1, &body("z")));
    });
}

#[test]
fn what_was_delivered_again_is_not_buried_from_memory() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let hold = a.given("x").await;
        assert_eq!(a.bury_item(hold, Reason::Failed, Some(body("x"))).await, Fenced::Lost);
        assert_eq!(a.int("EXISTS m:g:dead").await, 0);
        assert!(a.pending(hold.entry).await.is_some());
        assert_eq!(a.bury_item(hold, Reason::Failed, None).await, Fenced::Done);
    });
}

#[test]
fn a_burial_that_finds_the_payload_gone_itself_uses_what_is_remembered() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let hold = a.given("x").await;
        a.raw(&format!("XDEL m {}", hold.entry)).await;
        for answer in [Fenced::Done, Fenced::Gone] {
            assert_eq!(a.bury_item(hold, Reason::Broken, Some(body("x"))).await, answer);
        }
        assert_eq!(a.int("XLEN m:g:dead").await, 1);
        assert_eq!(a.pending(hold.entry).await, None);
    });
}

#[test]
fn the_failure_for_which_it_is_buried_is_counted_where_its_payload_is_gone() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let hold = a.given("x").await;
        a.raw(&format!("XDEL m {}", hold.entry)).await;
        assert_eq!(a.bury_item(hold, Reason::Failed, Some(body("x"))).await, Fenced::Done);
        let dead = a.calls.dead(&mut a.connection, None, 9).await.unwrap();
        assert_eq!((dead.len(), dead[0].attempts), (1, 1));
    });
}

#[test]
fn old_dead_letters_go_where_they_are_limited() {
    on_redis(&["--stream-node-max-entries", "10"], |redis| async move {
        let limited = Settings { dead_limit: Some(20), ..settings() };
        let mut a = Peer::with(&redis, "a", limited, false).await;
        a.call(Call::Prepare).await.unwrap();
        for i in 0..60 {
            let hold = a.given(&i.to_string()).await;
            assert_eq!(a.bury(hold).await, Fenced::Done);
        }
        let left = a.int("XLEN m:g:dead").await;
        assert!((20..40).contains(&left), "{left}");
    });
}
