//! The runner: what fails is its own stream's matter.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::Commands;
use streamkeeper::{
    CommitError, EntryId, Lease,
    entries::{Entry, Idle, Next, Processor},
};
use streamkeeper_tests::{flavor::Flavor, wait};

use crate::stage::{SERVICE, Stage, block_on, id, within};

on_both!(
    a_panic_takes_nobody_down,
    done_when_the_application_says_so,
    an_idle_stream_rests,
    an_idle_stream_is_finished,
    what_redis_forgets_comes_again
);

/// Adds up, with writes that may be refused; fails if any is. Stands still at the number 7 until it is let on.
#[derive(Clone, Default)]
struct Sums {
    said: Arc<Mutex<Vec<String>>>,
    on: Arc<tokio::sync::Notify>,
}

impl Processor for Sums {
    type Entry = u64;
    type State = ();
    type Error = CommitError;

    async fn init(&self, _: &Lease, committed: Option<EntryId>) -> Result<(), CommitError> {
        self.said.lock().unwrap().push(format!("from {committed:?}"));
        Ok(())
    }

    async fn process(&self, lease: &Lease, (): &mut (), batch: &[Entry<u64>]) -> Result<Next, CommitError> {
        let Some(last) = batch.last() else { return Ok(Next::Batch) };
        if last.value == 7 {
            self.said.lock().unwrap().push("at 7".to_owned());
            self.on.notified().await;
        }
        let sum: u64 = batch.iter().map(|entry| entry.value).sum();
        let committing = lease.commit_with(last.id, |writes| {
            writes.incr_by("total", sum as i64);
        });
        committing.await?;
        Ok(Next::Batch)
    }
}

fn what_redis_forgets_comes_again(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.announce(&["s".to_owned()]);
    let total = || stage.connection().get::<_, Option<u64>>("total").unwrap();
    let sums = Sums::default();
    let seen = |word: &str| sums.said.lock().unwrap().iter().filter(|said| said.contains(word)).count();
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let running = tokio::spawn({
            let processing =
                client.process(sums.clone()).batch(1).backoff(Duration::from_millis(1), Duration::from_millis(5));
            async move { processing.run().await }
        });
        tokio::task::block_in_place(|| {
            stage.add("s", 0..3);
            wait::until("three are counted", || total() == Some(3));
            redis::cmd("SAVE").exec(&mut stage.connection()).unwrap();
            stage.add("s", 3..7);
            wait::until("seven are counted", || total() == Some(21));
            stage.add("s", 7..8);
            wait::until("it works on the last", || seen("at 7") == 1);
            stage.server.kill();
            stage.server.start_again();
            assert_eq!(total(), Some(3), "the last writes are lost");
            // What was fetched before is worked on before its reader hears of that.
            stage.add("s", 3..9);
            sums.on.notify_one();
            wait::until("it has gone back", || seen("at 7") == 2);
            sums.on.notify_one();
            wait::until("all are counted once", || total() == Some(36));
        });
        assert_eq!(
            (seen("from None"), seen("from Some")),
            (1, 1),
            "the state is made anew once, and nothing has failed"
        );
        client.shutdown(Duration::from_secs(10)).await;
        within(running).await.unwrap().unwrap();
    });
    assert_eq!((total(), stage.position("s")), (Some(36), Some(id(8))));
}

/// Panics at the number 3 of the stream `poison`; the number 99 ends a stream.
#[derive(Clone, Default)]
struct Careless(Arc<Mutex<Vec<String>>>);

impl Careless {
    fn said(&self, word: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|said| *said == word).count()
    }
}

impl Processor for Careless {
    type Entry = u64;
    type State = u64;
    type Error = String;

    async fn init(&self, lease: &Lease, committed: Option<EntryId>) -> Result<u64, String> {
        self.0.lock().unwrap().push(format!("init {}", lease.stream()));
        Ok(committed.map_or(0, |id| id.ms))
    }

    async fn process(&self, lease: &Lease, next: &mut u64, batch: &[Entry<u64>]) -> Result<Next, String> {
        for entry in batch {
            assert!(lease.stream().as_str() != "poison" || entry.value != 3, "poison");
            if entry.value != *next {
                return Err(format!("{} instead of {next}", entry.value));
            }
            *next += 1;
        }
        Ok(if *next == 100 { Next::Done } else { Next::Batch })
    }

    async fn done(&self, lease: &Lease, _: &mut u64) -> Result<(), String> {
        self.0.lock().unwrap().push(format!("done {}", lease.stream()));
        Ok(())
    }
}

fn a_panic_takes_nobody_down(flavor: Flavor) {
    let stage = Stage::on(flavor);
    let names: Vec<String> = ["good-1", "poison", "good-2"].map(str::to_owned).into();
    stage.announce(&names);
    names.iter().for_each(|stream| stage.add(stream, 0..10));
    let careless = Careless::default();
    block_on(async {
        let ms = Duration::from_millis;
        let client = stage.consumer("a").max_failures(2).failure_backoff(ms(50), ms(50)).start().await.unwrap();
        let running = tokio::spawn({
            let processing = client.process(careless.clone()).batch(1).tries(2).backoff(ms(10), ms(10));
            async move { processing.run().await }
        });
        tokio::task::block_in_place(|| {
            wait::until("the poisoned stream is set aside", || {
                stage.connection().xlen::<_, u64>(format!("{SERVICE}-dead")).unwrap() == 1
            });
            ["good-1", "good-2"].iter().for_each(|stream| stage.add(stream, 10..20));
            wait::until("the others go on", || {
                ["good-1", "good-2"].iter().all(|stream| stage.position(stream) == Some(id(19)))
            });
        });
        client.shutdown(Duration::from_secs(10)).await;
        within(running).await.unwrap().unwrap();
    });
    assert!(careless.said("init poison") >= 4, "each panic makes the state anew, and each ownership its own");
    assert_eq!((careless.said("init good-1"), careless.said("init good-2")), (1, 1));
}

fn done_when_the_application_says_so(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.announce(&["s".to_owned()]);
    stage.add("s", 0..100);
    let careless = Careless::default();
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let running = tokio::spawn({
            let processing = client.process(careless.clone()).batch(9).streams_at_once(1);
            async move { processing.run().await }
        });
        tokio::task::block_in_place(|| {
            wait::until("it is finished", || {
                stage.connection().xlen::<_, u64>(format!("{SERVICE}-input")).unwrap() == 0
            });
        });
        client.shutdown(Duration::from_secs(10)).await;
        within(running).await.unwrap().unwrap();
    });
    assert_eq!(careless.said("done s"), 1);
    assert_eq!(stage.position("s"), None);
}

fn an_idle_stream_rests(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.announce(&["s".to_owned()]);
    stage.add("s", 0..5);
    let careless = Careless::default();
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let running = tokio::spawn({
            let idle = Idle::Release { after: Duration::from_millis(200), pause: Duration::from_millis(500) };
            let processing = client.process(careless.clone()).idle(idle);
            async move { processing.run().await }
        });
        tokio::task::block_in_place(|| {
            wait::until("it was owned again", || careless.said("init s") >= 3);
        });
        client.shutdown(Duration::from_secs(10)).await;
        within(running).await.unwrap().unwrap();
    });
    assert_eq!(stage.position("s"), Some(id(4)));
}

fn an_idle_stream_is_finished(flavor: Flavor) {
    let stage = Stage::on(flavor);
    stage.announce(&["s".to_owned(), "busy".to_owned()]);
    stage.add("s", 0..5);
    let careless = Careless::default();
    let announced = || stage.connection().xlen::<_, u64>(format!("{SERVICE}-input")).unwrap();
    block_on(async {
        let client = stage.consumer("a").start().await.unwrap();
        let running = tokio::spawn({
            let processing = client.process(careless.clone()).idle(Idle::Done { after: Duration::from_secs(5) });
            async move { processing.run().await }
        });
        tokio::task::block_in_place(|| {
            let mut added = 0;
            wait::until("the idle one is finished", || {
                stage.add("busy", added..added + 1);
                added += 1;
                announced() == 1
            });
            assert_eq!((careless.said("done s"), careless.said("done busy")), (1, 0), "only the idle one");
        });
        client.shutdown(Duration::from_secs(10)).await;
        within(running).await.unwrap().unwrap();
    });
    assert_eq!(
        (careless.said("init s"), stage.position("s")),
        (1, None),
        "its position is removed, nobody has it again"
    );
    assert!(stage.position("busy").is_some());
}
