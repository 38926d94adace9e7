//! Reading: in order, from where it is to begin, and whatever happens to the stream meanwhile.

use std::time::Duration;

use redis::Commands;
use streamkeeper::{
    Commits, Entries, EntriesError, FinishError, Lease, Lost,
    entries::{Start, Undecodable},
};
use streamkeeper_tests::flavor::Flavor;

use crate::stage::{SERVICE, Stage, block_on, id, owned, within};

on_both!(
    everything_in_order,
    a_start_at_the_end,
    a_stream_that_comes_later,
    a_key_of_a_wrong_type,
    a_stream_that_is_trimmed,
    a_stream_that_is_deleted_and_created_anew,
    what_cannot_be_decoded_is_set_aside,
    a_stream_is_finished_after_what_is_set_aside,
    who_opens_again_replaces_the_first,
);

/// The next so many numbers.
async fn numbers(entries: &mut Entries<u64>, count: usize) -> Vec<u64> {
    let mut all = Vec::new();
    while all.len() < count {
        let batch = within(entries.next_batch()).await.expect("it goes on").expect("entries");
        all.extend(batch.iter().map(|entry| {
            assert_eq!(entry.id, id(entry.value));
            entry.value
        }));
    }
    all
}

async fn error(entries: &mut Entries<u64>) -> EntriesError {
    within(entries.next_batch()).await.expect("it goes on").expect_err("no entries")
}

fn everything_in_order(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..5_000);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        assert_eq!(within(lease.position()).await, Ok(None));
        let mut entries = lease.read().batch(300).prefetch(700).open::<u64>();
        assert_eq!(numbers(&mut entries, 5_000).await, (0..5_000).collect::<Vec<_>>());
        stage.add("s", 5_000..5_010);
        assert_eq!(numbers(&mut entries, 10).await, (5_000..5_010).collect::<Vec<_>>());
        lease.release().await.unwrap();
        let last = within(entries.next_batch()).await.expect("a last item").unwrap_err();
        assert!(matches!(last, EntriesError::Lost { lost: Lost::Released, .. }), "{last}");
        assert!(entries.next_batch().await.is_none());
    });
}

fn a_start_at_the_end(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..100);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        let mut entries = lease.read().from(Start::End).open::<u64>();
        let first = async {
            // That it has begun is seen by what it commits.
            while stage.position("s").is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stage.add("s", 100..101);
        };
        let (numbers, ()) = tokio::join!(numbers(&mut entries, 1), within(first));
        assert_eq!(numbers, [100]);
    });
}

fn a_stream_that_comes_later(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let mut entries = owned(&client, "s").await.entries_as::<u64>();
        let waiting = tokio::time::timeout(Duration::from_millis(300), entries.next_batch()).await;
        assert!(waiting.is_err(), "there is nothing");
        stage.add("s", 0..3);
        assert_eq!(numbers(&mut entries, 3).await, [0, 1, 2]);
    });
}

fn a_key_of_a_wrong_type(flavor: Flavor) {
    let stage = Stage::on(flavor);
    let mut connection = stage.connection();
    connection.set::<_, _, ()>("bad", "no stream").unwrap();
    stage.add("good", 0..3);
    stage.announce(&["bad".to_owned(), "good".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let mut bad = owned(&client, "bad").await.entries_as::<u64>();
        let mut good = owned(&client, "good").await.entries_as::<u64>();
        let broken = error(&mut bad).await;
        assert!(matches!(&broken, EntriesError::Broken { stream, .. } if stream.as_str() == "bad"), "{broken}");
        assert_eq!(numbers(&mut good, 3).await, [0, 1, 2]);
        stage.add("good", 3..4);
        assert_eq!(numbers(&mut good, 1).await, [3], "a neighbour of a wrong type hurts nobody");
        connection.del::<_, ()>("bad").unwrap();
        stage.add("bad", 0..2);
        assert_eq!(numbers(&mut bad, 2).await, [0, 1]);
    });
}

fn a_stream_that_is_trimmed(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..10);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        let mut entries = lease.read().batch(5).prefetch(5).commits(Commits::Manual).open::<u64>();
        assert_eq!(numbers(&mut entries, 5).await, [0, 1, 2, 3, 4]);
        within(lease.commit(id(4))).await.unwrap();
        drop(entries);
        redis::cmd("XTRIM").arg("s").arg("MINID").arg("9-0").query::<u64>(&mut stage.connection()).unwrap();
        let mut entries = lease.entries_as::<u64>();
        if flavor.is_before_7() {
            assert_eq!(numbers(&mut entries, 2).await, [8, 9], "nobody has counted what was added");
            return;
        }
        let gap = error(&mut entries).await;
        let expected = (id(4), Some(id(8)), Some(3));
        assert!(
            matches!(gap, EntriesError::Gap { after, next, missing, .. } if (after, next, missing) == expected),
            "{gap:?}"
        );
        assert_eq!(numbers(&mut entries, 2).await, [8, 9]);
    });
}

fn a_stream_that_is_deleted_and_created_anew(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..10);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        let mut entries = lease.entries_as::<u64>();
        assert_eq!(numbers(&mut entries, 10).await.len(), 10);
        within(lease.commit(id(9))).await.unwrap();
        stage.connection().del::<_, ()>("s").unwrap();
        stage.add("s", 0..2);
        drop(entries);
        let mut entries = lease.entries_as::<u64>();
        let rewound = error(&mut entries).await;
        assert!(
            matches!(rewound, EntriesError::Rewound { after, last, .. } if (after, last) == (id(9), id(1))),
            "{rewound:?}"
        );
        stage.add("s", 20..21);
        assert_eq!(numbers(&mut entries, 1).await, [20]);
    });
}

fn what_cannot_be_decoded_is_set_aside(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..1);
    redis::cmd("XADD").arg("s").arg("2-0").arg("body").arg("no number").query::<()>(&mut stage.connection()).unwrap();
    stage.add("s", 2..3);
    stage.announce(&["s".to_owned()]);
    let aside = || stage.connection().xlen::<_, u64>(format!("{SERVICE}-dead-entries")).unwrap();
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        for (how, expected) in [(Undecodable::Yield, 0), (Undecodable::SetAside, 1)] {
            let mut entries = lease.read().undecodable(how).commits(Commits::Manual).open::<u64>();
            assert_eq!(numbers(&mut entries, 1).await, [0]);
            let broken = error(&mut entries).await;
            let EntriesError::Undecodable { id: broken, fields, .. } = broken else { panic!("{broken}") };
            assert_eq!((broken, fields), (id(1), vec![(b"body".to_vec(), b"no number".to_vec())]));
            assert_eq!(numbers(&mut entries, 1).await, [2]);
            if how == Undecodable::SetAside {
                within(entries.commit()).await.unwrap();
            }
            assert_eq!(aside(), expected, "{how:?}");
        }
    });
    assert_eq!(stage.position("s"), Some(id(2)));
}

fn a_stream_is_finished_after_what_is_set_aside(flavor: Flavor) {
    let stage = Stage::on(flavor);
    for n in 0..250 {
        redis::cmd("XADD")
            .arg("s")
            .arg(id(n).to_string())
            .arg("body")
            .arg("no number")
            .query::<()>(&mut stage.connection())
            .unwrap();
    }
    let dead = format!("{SERVICE}-dead-entries");
    let aside = || stage.connection().xlen::<_, u64>(&dead).unwrap();
    let read_all = async |lease: &Lease| {
        let mut entries = lease.read().undecodable(Undecodable::SetAside).commits(Commits::Manual).open::<u64>();
        for n in 0..250 {
            let broken = error(&mut entries).await;
            assert!(matches!(broken, EntriesError::Undecodable { id: broken, .. } if broken == id(n)), "{broken}");
        }
    };
    block_on(async {
        let client = stage
            .consumer("a")
            .failure_backoff(Duration::from_millis(10), Duration::from_millis(10))
            .start()
            .await
            .unwrap();
        within(client.announce("s")).await.unwrap();
        let lease = owned(&client, "s").await;
        read_all(&lease).await;
        within(lease.done()).await.unwrap();
        assert_eq!(aside(), 250);

        // Where they cannot be set aside, it is not finished, and nothing is lost.
        stage.connection().rename::<_, _, ()>(&dead, "elsewhere").unwrap();
        stage.connection().lpush::<_, _, ()>(&dead, "a list").unwrap();
        within(client.announce("s")).await.unwrap();
        let lease = owned(&client, "s").await;
        let mut entries = lease.read().undecodable(Undecodable::SetAside).commits(Commits::Manual).open::<u64>();
        error(&mut entries).await;
        let refused = within(lease.done()).await;
        assert!(matches!(refused, Err(FinishError::Released { .. })), "{refused:?}");
        drop(entries);
        stage.connection().del::<_, ()>(&dead).unwrap();
        let lease = owned(&client, "s").await;
        read_all(&lease).await;
        within(lease.done()).await.unwrap();
        assert_eq!(aside(), 250);
    });
}

fn who_opens_again_replaces_the_first(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..3);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        let mut first = lease.entries_as::<u64>();
        assert_eq!(numbers(&mut first, 3).await, [0, 1, 2]);
        let mut second = lease.entries_as::<u64>();
        let replaced = error(&mut first).await;
        assert!(matches!(replaced, EntriesError::Replaced { .. }), "{replaced}");
        assert!(first.next_batch().await.is_none());
        drop(first);
        stage.add("s", 3..4);
        let read = numbers(&mut second, 1).await;
        assert!(
            read.starts_with(&[3]) || read.starts_with(&[0]),
            "behind what was committed when it was opened: {read:?}"
        );
    });
}
