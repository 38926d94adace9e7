//! Look for what is idle; count crashes; be the only one who does.

use super::*;

impl Peer {
    async fn reclaim(&mut self) -> Reclaimed {
        match self.call(Call::Reclaim).await.unwrap() {
            Answer::Reclaimed(reclaimed) => reclaimed,
            other => panic!("{other:?}"),
        }
    }

    /// Its process has died: what it holds has been idle for too long. Answers how often it counts as having crashed
    /// its process, and in how many seconds it is due.
    async fn crash(&mut self, entry: EntryId) -> (u32, i64) {
        self.idle(entry, 60_000).await;
        let reclaimed = self.reclaim().await;
        let [(moved, crashed)] = *reclaimed.moved else { panic!("{reclaimed:?}") };
        assert_eq!(moved, entry);
        let due: f64 = self.text(&format!("ZSCORE m:g:delayed {entry}")).await.parse().unwrap();
        // At once, for what follows.
        self.raw(&format!("ZADD m:g:delayed 1 {entry}")).await;
        (crashed, (due as i64 - reclaimed.now_ms as i64) / 1_000)
    }
}

#[test]
fn crashes_are_counted_by_who_moves_the_message() {
    on_redis(&[], |redis| async move {
        let (mut a, mut r) = (Peer::ready(&redis, "a").await, Peer::ready(&redis, "r").await);
        let mut hold = a.given("x").await;
        // The first always, then only those whose run was marked; the pause doubles from the second on.
        let table = [
            (false, 1, 0),
            (false, 1, 0),
            (true, 2, 1),
            (false, 2, 0),
            (true, 3, 2),
            (true, 4, 4),
            (true, 5, 8),
            (true, 6, 16),
            (true, 7, 32),
            (true, 8, 60),
            (true, 9, 60),
        ];
        for (i, (marked, crashed, pause)) in table.into_iter().enumerate() {
            if marked {
                assert_eq!(a.mark(hold, Mark::Started).await, Fenced::Done);
            }
            assert_eq!(r.crash(hold.entry).await, (crashed, pause), "crash {i}");
            // The one who was thought dead finds out.
            assert_eq!(a.refresh(hold).await, Fenced::Lost);
            assert_eq!(a.park(hold, Some("late")).await, Fenced::Lost);
            let taken = a.take().await;
            assert_eq!(taken.hold.deliveries, hold.deliveries + 1);
            let history = taken.history.unwrap();
            assert_eq!((history.crashed, history.failed, history.dying), (crashed, 0, None));
            assert!(history.error.contains("a-0000000000000007 was not heard of"), "{history:?}");
            hold = taken.hold;
        }
    });
}

#[test]
fn a_mark_of_an_earlier_delivery_counts_nothing() {
    on_redis(&[], |redis| async move {
        let (mut a, mut r) = (Peer::ready(&redis, "a").await, Peer::ready(&redis, "r").await);
        let hold = a.given("x").await;
        assert_eq!(r.crash(hold.entry).await, (1, 0));
        let hold = a.take().await.hold;
        a.mark(hold, Mark::Started).await;
        a.park(hold, Some("failed, and its process lives")).await;
        let taken = a.take().await;
        assert_eq!(r.crash(hold.entry).await, (1, 0));
        assert_eq!(taken.history.unwrap().failed, 1);
        assert_eq!(&*a.take().await.history.unwrap().error, "failed, and its process lives");
    });
}

#[test]
fn who_dies_while_dying_is_buried_without_another_call() {
    on_redis(&[], |redis| async move {
        let (mut a, mut r) = (Peer::ready(&redis, "a").await, Peer::ready(&redis, "r").await);
        let hold = a.given("x").await;
        // The run was marked, not `process_dead`.
        a.mark(hold, Mark::Started).await;
        a.dying(hold, "why").await;
        assert_eq!(r.crash(hold.entry).await, (1, 0));
        let taken = a.take().await;
        let history = taken.history.unwrap();
        assert_eq!((history.dying, history.buried_alive), (Some(Reason::Failed), false));
        a.mark(taken.hold, Mark::Started).await;
        assert_eq!(r.crash(hold.entry).await, (2, 1));
        let history = a.take().await.history.unwrap();
        assert_eq!((history.dying, history.buried_alive, history.failed), (Some(Reason::Failed), true, 1));
    });
}

#[test]
fn only_what_is_idle_and_not_parked_and_not_its_own_is_moved() {
    on_redis(&[], |redis| async move {
        let (mut a, mut r) = (Peer::ready(&redis, "a").await, Peer::ready(&redis, "r").await);
        let (live, own, parked) = (a.given("1").await, r.given("2").await, a.given("3").await);
        let (idle, deleted, foreign) = (a.given("4").await, a.given("5").await, r.add("6").await);
        r.raw("XREADGROUP GROUP g redis-peer STREAMS m >").await;
        a.park(parked, None).await;
        for entry in [own.entry, parked.entry, idle.entry, foreign, deleted.entry] {
            a.idle(entry, 2_001).await;
        }
        a.idle(live.entry, 1_000).await;
        a.raw(&format!("XDEL m {}", deleted.entry)).await;
        let mut moved = r.reclaim().await.moved;
        moved.sort();
        assert_eq!(moved, [(idle.entry, 1), (foreign, 1)]);
        assert_eq!(r.pending(live.entry).await.unwrap().0, a.me());
        assert_eq!(r.pending(own.entry).await.unwrap().0, r.me());
        assert_eq!(r.pending(deleted.entry).await, None);
        assert_eq!(r.int("HLEN m:g:attempts").await, 2, "the parked one has not crashed anything");
        assert_eq!(r.reclaim().await.moved, []);
        assert_eq!(r.due(9).await.0.len(), 3);
    });
}

#[test]
fn any_name_is_reclaimed_from() {
    on_redis(&[], |redis| async move {
        let mut r = Peer::ready(&redis, "r").await;
        for (i, name) in ["worker-1", "r-0000000000000008", "~odd", "ä#b"].into_iter().enumerate() {
            let entry = r.add(&i.to_string()).await;
            r.raw(&format!("XREADGROUP GROUP g {name} STREAMS m >")).await;
            r.idle(entry, 60_000).await;
        }
        assert_eq!(r.reclaim().await.moved.len(), 4);
    });
}

#[test]
fn much_is_moved_in_pages() {
    on_redis(&[], |redis| async move {
        let mut r = Peer::with(&redis, "r", Settings { reclaim_count: 3, ..settings() }, false).await;
        r.call(Call::Prepare).await.unwrap();
        for i in 0..7 {
            let entry = r.add(&i.to_string()).await;
            r.raw(&format!("XREADGROUP GROUP g dead-{} STREAMS m >", i % 2)).await;
            r.idle(entry, 60_000).await;
        }
        let mut pages = Vec::new();
        loop {
            let page = r.reclaim().await;
            pages.push(page.moved.len());
            if !page.more {
                break;
            }
        }
        assert_eq!(pages, [3, 3, 1]);
    });
}

#[test]
fn one_reclaimer_at_a_time() {
    on_redis(&[], |redis| async move {
        let (mut a, mut b) = (Peer::ready(&redis, "a").await, Peer::ready(&redis, "b").await);
        let hold = a.given("x").await;
        a.idle(hold.entry, 60_000).await;
        // Out of memory, there must be one all the same.
        a.raw("CONFIG SET maxmemory 1").await;
        assert_eq!(b.reclaim().await.moved, [(hold.entry, 1)]);
        let Answer::ReclaimerIs(left) = a.call(Call::Reclaim).await.unwrap() else { panic!() };
        assert!(left > Duration::from_millis(1_000) && left <= Duration::from_secs(2), "{left:?}");
        a.raw("CONFIG SET maxmemory 0").await;
        // For as long as it asks it stays.
        let me = b.me();
        b.raw("PEXPIRE m:g:reclaimer 60000").await;
        b.reclaim().await;
        assert_eq!(a.text("GET m:g:reclaimer").await, me);
        assert!(b.int("PTTL m:g:reclaimer").await <= 2_000);
        // A namesake is somebody else, and a value without a ttl is nobody's.
        b.raw("SET m:g:reclaimer b-0123456789abcdef PX 60000").await;
        assert!(matches!(b.call(Call::Reclaim).await.unwrap(), Answer::ReclaimerIs(_)));
        b.raw("SET m:g:reclaimer x").await;
        b.reclaim().await;
        assert!(b.int("PTTL m:g:reclaimer").await > 0);
    });
}

#[test]
fn who_leaves_takes_nothing_along() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::ready(&redis, "a").await;
        let hold = a.given("x").await;
        assert_eq!(a.call(Call::Leave).await.unwrap(), Answer::Left(false));
        a.park(hold, None).await;
        for _ in 0..2 {
            assert_eq!(a.call(Call::Leave).await.unwrap(), Answer::Left(true));
        }
        // Reading makes it a member again.
        assert_eq!(a.take().await.hold.entry, hold.entry);
    });
}
