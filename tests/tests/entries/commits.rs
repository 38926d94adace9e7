//! Commits: fenced, monotonic, all or nothing.

use std::time::Duration;

use redis::Commands;
use streamkeeper::{CommitError, Commits, EntriesError};
use streamkeeper_tests::flavor::Flavor;

use crate::stage::{SERVICE, Stage, block_on, id, owned, within};

on_both!(
    the_next_owner_begins_right_behind_the_last_commit,
    a_late_owner_is_fenced_and_changes_nothing,
    positions_only_grow,
    writes_are_made_all_or_nothing,
    every_so_often_and_on_release,
    a_server_that_lost_its_last_writes,
);

fn the_next_owner_begins_right_behind_the_last_commit(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..10);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let a = stage.consumer("a").start().await.unwrap();
        let lease = owned(&a, "s").await;
        within(lease.commit(id(5))).await.unwrap();
        assert_eq!((lease.position().await, stage.position("s")), (Ok(Some(id(5))), Some(id(5))));
        let b = stage.consumer("b").start().await.unwrap();
        lease.release().await.unwrap();
        let lease = owned(&b, "s").await;
        assert_eq!(within(lease.position()).await, Ok(Some(id(5))));
        let mut entries = lease.entries_as::<u64>();
        let batch = within(entries.next_batch()).await.unwrap().unwrap();
        assert_eq!(batch.first().map(|entry| entry.value), Some(6));
    });
}

fn a_late_owner_is_fenced_and_changes_nothing(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        within(lease.commit(id(1))).await.unwrap();
        let key = format!("s<MUTEX_KEY_SEP>{}", lease.entry());
        stage.connection().set_ex::<_, _, ()>(key, "redis-consumer-other#1", 60).unwrap();
        let late = lease.commit_with(id(2), |writes| {
            writes.incr_by("total", 1);
        });
        let fenced = within(late).await.unwrap_err();
        // The heartbeat may have heard of it first.
        assert!(matches!(fenced, CommitError::Fenced { .. } | CommitError::Lost { .. }), "{fenced}");
        assert_eq!(stage.position("s"), Some(id(1)));
        assert_eq!(stage.connection().get::<_, Option<u64>>("total").unwrap(), None);
    });
}

fn positions_only_grow(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        within(lease.commit(id(5))).await.unwrap();
        let behind = within(lease.commit(id(3))).await.unwrap_err();
        assert!(matches!(behind, CommitError::Behind { committed, .. } if committed == id(5)), "{behind}");
        // Many at once: each is answered.
        let asked: Vec<_> = (6..200).map(|n| lease.commit(id(n))).collect();
        for committing in asked {
            within(committing).await.unwrap();
        }
        assert_eq!(stage.position("s"), Some(id(199)));
    });
}

fn writes_are_made_all_or_nothing(flavor: Flavor) {
    let stage = Stage::on(flavor);
    let mut connection = stage.connection();
    connection.set::<_, _, ()>("text", "no number").unwrap();
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        let _entries = lease.read().commits(Commits::Manual).open_raw();
        let rejected = lease.commit_with(id(1), |writes| {
            writes.incr_by("n", 1).incr_by("text", 1);
        });
        let rejected = within(rejected).await.unwrap_err();
        assert!(matches!(rejected, CommitError::Rejected { index: 1, .. }), "{rejected}");
        assert_eq!((connection.get::<_, Option<i64>>("n").unwrap(), stage.position("s")), (None, None));
        let committing = lease.commit_with(id(1), |writes| {
            writes.incr_by("n", 1).hset("h", [("f", "v")]);
        });
        within(committing).await.unwrap();
        let writing = lease.write(|writes| {
            writes.incr_by("n", 1).rpush("l", ["a", "b"]);
        });
        within(writing).await.unwrap();
        assert_eq!(connection.get::<_, i64>("n").unwrap(), 2);
        assert_eq!(connection.lrange::<_, Vec<String>>("l", 0, -1).unwrap(), ["a", "b"]);
        assert_eq!(stage.position("s"), Some(id(1)));
        within(lease.done()).await.unwrap();
        assert!(!connection.hexists::<_, _, bool>(format!("{SERVICE}-checkpoints"), "s").unwrap());
    });
}

/// The first time at once; then not before it is time to, without another batch being asked for, or on release.
fn every_so_often_and_on_release(flavor: Flavor) {
    let stage = Stage::on(flavor);
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(3_600));
    stage.announce(&["short".to_owned(), "long".to_owned()]);
    let reached = async |stream: &str, n| {
        while stage.position(stream) != Some(id(n)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        for (stream, span) in [("short", short), ("long", long)] {
            stage.add(stream, 0..20);
            let lease = owned(&client, stream).await;
            let mut entries = lease.read().batch(10).commits(Commits::Every(span)).open::<u64>();
            assert_eq!(within(entries.next_batch()).await.unwrap().unwrap().len(), 10);
            assert_eq!(stage.position(stream), None, "nobody has said that it is worked on");
            assert_eq!(within(entries.next_batch()).await.unwrap().unwrap().len(), 10);
            if span == short {
                // In a task of its own: nothing but its timer wakes it.
                let reading = tokio::spawn(async move { entries.next_batch().await.is_some() });
                within(reached(stream, 19)).await;
                assert!(!reading.is_finished(), "there is no more");
                continue;
            }
            within(reached(stream, 9)).await;
            let more = tokio::time::timeout(Duration::from_millis(500), entries.next_batch()).await;
            assert!(more.is_err(), "there is no more: {more:?}");
            assert_eq!(stage.position(stream), Some(id(9)), "it is not time to");
            within(lease.release()).await.unwrap();
            assert_eq!(stage.position(stream), Some(id(19)));
        }
    });
}

/// What was committed since the last snapshot is forgotten together with its writes: the entries come again, and their
/// effects count once.
fn a_server_that_lost_its_last_writes(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..10);
    stage.announce(&["s".to_owned()]);
    let total = || stage.connection().get::<_, Option<i64>>("total").unwrap();
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        let mut entries = lease.read().batch(5).commits(Commits::Manual).open::<u64>();
        let commit = |numbers: &[u64]| {
            let sum = numbers.iter().sum::<u64>().try_into().unwrap();
            lease.commit_with(id(*numbers.last().unwrap()), |writes| {
                writes.incr_by("total", sum);
            })
        };
        let mut next = async || {
            let batch = within(entries.next_batch()).await.expect("it goes on");
            batch.map(|batch| batch.iter().map(|entry| entry.value).collect::<Vec<u64>>())
        };
        assert_eq!(next().await.unwrap(), [0, 1, 2, 3, 4]);
        within(commit(&[0, 1, 2, 3, 4])).await.unwrap();
        redis::cmd("SAVE").exec(&mut stage.connection()).unwrap();
        assert_eq!(next().await.unwrap(), [5, 6, 7, 8, 9]);
        within(commit(&[5, 6, 7, 8, 9])).await.unwrap();
        assert_eq!((total(), stage.position("s")), (Some(45), Some(id(9))));

        stage.server.kill();
        stage.server.start_again();
        assert_eq!((total(), stage.position("s")), (Some(10), Some(id(4))), "the last writes are lost");
        stage.add("s", 10..11);
        assert_eq!(next().await.unwrap(), [10]);
        let forgotten = within(commit(&[10])).await.unwrap_err();
        assert!(
            matches!(forgotten, CommitError::RolledBack { id: Some(at), committed, .. } if (at, committed) == (id(10), id(4))),
            "{forgotten}"
        );
        assert_eq!((total(), stage.position("s")), (Some(10), Some(id(4))), "nothing changed");
        let back = next().await.unwrap_err();
        assert!(matches!(back, EntriesError::RolledBack { to, .. } if to == id(4)), "{back}");
        let mut again = Vec::new();
        while again.last() != Some(&10) {
            let batch = next().await.unwrap();
            within(commit(&batch)).await.unwrap();
            again.extend(batch);
        }
        assert_eq!(again, [5, 6, 7, 8, 9, 10]);
        assert_eq!((total(), stage.position("s")), (Some((0..11).sum()), Some(id(10))));
    });
}
