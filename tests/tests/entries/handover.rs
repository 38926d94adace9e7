//! Handing over well: no gap, no repeat.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use streamkeeper::{Client, Commits, EntriesError, Lease, Lost};
use streamkeeper_tests::flavor::Flavor;

use crate::stage::{Stage, block_on, id, owned, within};

on_both!(
    a_reader_hands_over_between_two_batches,
    who_listens_hands_over,
    the_shorter_of_two_shutdowns_counts,
    the_processed_is_committed_before_a_release
);

type Seen = Arc<Mutex<Vec<u64>>>;

/// Reads until the reader ends, and says how.
async fn read(lease: Lease, seen: Seen) -> EntriesError {
    let mut entries = lease.read().batch(10).prefetch(20).open::<u64>();
    loop {
        match entries.next_batch().await.expect("an error comes last") {
            Ok(batch) => {
                // Takes a while, and is finished whatever happens.
                tokio::time::sleep(Duration::from_millis(20)).await;
                seen.lock().unwrap().extend(batch.iter().map(|entry| entry.value));
            }
            Err(error) => return error,
        }
    }
}

fn a_reader_hands_over_between_two_batches(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..10_000);
    stage.announce(&["s".to_owned()]);
    let seen = Seen::default();
    block_on(async {
        let mut client = stage.consumer("c0").start().await.unwrap();
        for round in 1..5 {
            let reading = tokio::spawn(read(owned(&client, "s").await, seen.clone()));
            let before = seen.lock().unwrap().len();
            within(async {
                while seen.lock().unwrap().len() < before + 25 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            let next = stage.consumer(&format!("c{round}")).start().await.unwrap();
            let report = client.shutdown(Duration::from_secs(30)).await;
            assert_eq!((report.released, report.unanswered), (1, 0));
            let last = within(reading).await.unwrap();
            assert!(matches!(last, EntriesError::Lost { lost: Lost::Released, .. }), "{last}");
            client = next;
        }
    });
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>(), "no gap, no repeat");
}

fn who_listens_hands_over(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..10);
    stage.announce(&["idle".to_owned(), "s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        let idle = owned(&client, "idle").await;
        let mut entries = lease.read().commits(Commits::Manual).open::<u64>();
        let batch = within(entries.next_batch()).await.unwrap().unwrap();
        let draining = lease.draining();
        let stopping = tokio::spawn({
            let client: Client = client.clone();
            async move { client.shutdown(Duration::from_secs(30)).await }
        });
        let until = within(draining).await;
        assert!(lease.is_valid() && until > client.clock().now());
        // Nobody works on that one: it is given back at once.
        within(idle.lost()).await;
        assert!(!stopping.is_finished());
        let said = within(entries.next_batch()).await.unwrap().unwrap_err();
        assert!(matches!(said, EntriesError::Draining { until: said, .. } if said == until), "{said}");
        within(lease.commit(batch.last().unwrap().id)).await.unwrap();
        within(lease.release()).await.unwrap();
        let report = within(stopping).await.unwrap();
        assert_eq!((report.released, report.disowned, report.unanswered), (2, 0, 0));
    });
    assert_eq!(stage.position("s"), Some(id(9)));
}

/// Whoever asks until when is told so, too.
fn the_shorter_of_two_shutdowns_counts(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        let draining = lease.draining();
        let stop = |seconds| {
            let client: Client = client.clone();
            tokio::spawn(async move { client.shutdown(Duration::from_secs(seconds)).await })
        };
        let first = stop(36_000);
        let long = within(draining).await;
        let second = stop(3_600);
        let sooner = async {
            while lease.draining().await >= long {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(sooner).await;
        assert!(lease.is_valid() && !first.is_finished() && !second.is_finished());
        within(lease.release()).await.unwrap();
        for report in [within(first).await, within(second).await] {
            let report = report.unwrap();
            assert_eq!((report.released, report.unanswered), (1, 0));
        }
    });
}

fn the_processed_is_committed_before_a_release(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.add("s", 0..30);
    stage.announce(&["s".to_owned()]);
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let lease = owned(&client, "s").await;
        let mut entries = lease.read().batch(10).commits(Commits::OnRelease).open::<u64>();
        for _ in 0..3 {
            within(entries.next_batch()).await.unwrap().unwrap();
        }
        assert_eq!(stage.position("s"), None);
        // What the third batch's work came to nobody knows.
        within(lease.release()).await.unwrap();
    });
    assert_eq!(stage.position("s"), Some(id(19)));
}
