//! What becomes of messages that fail.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// What the dead letters say: reason, error, attempts.
async fn letters(world: &World) -> Vec<(String, String, u64)> {
    let dead = world.builder().messages().unwrap().dead(None, 100).await.unwrap();
    dead.into_iter().map(|letter| (letter.reason.into(), letter.error.into(), letter.attempts)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_fails_is_tried_again_until_it_succeeds() {
    let mut world = World::new().await;
    world.producer().build().unwrap().send(&"m".to_owned()).await.unwrap();
    let seen = Seen::default();
    let noted = seen.clone();
    let consumer = world
        .builder()
        .start(move |message: String, context: Context| {
            let before = context.history().map_or("nothing".to_owned(), |history| history.error.to_string());
            noted.push(format!("{message} {} after {before}", context.attempt()));
            async move { if context.attempt() < 3 { Err(format!("no {}", context.attempt())) } else { Ok(()) } }
        })
        .await
        .unwrap();
    seen.wait(3).await;
    world.settle().await;
    assert_eq!(seen.all(), ["m 1 after nothing", "m 2 after no 1", "m 3 after no 2"]);
    assert_eq!(letters(&world).await, []);
    let records: u64 = world.ask("HLEN s:g:attempts").await;
    assert_eq!(records, 0, "what is done with is forgotten");
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_may_choose_the_pause() {
    let mut world = World::new().await;
    world.producer().build().unwrap().send(&"m".to_owned()).await.unwrap();
    let seen = Seen::default();
    let noted = seen.clone();
    let first = Mutex::new(None);
    let consumer = world
        .builder()
        .start(move |_: String, context: Context| {
            let begun = *first.lock().unwrap().get_or_insert_with(std::time::Instant::now);
            noted.push(format!("{} {}", context.attempt(), begun.elapsed() >= Duration::from_millis(590)));
            std::future::ready(match context.attempt() {
                1 => Outcome::retry_after(Duration::from_millis(600)).because("later"),
                _ => Outcome::ack(),
            })
        })
        .await
        .unwrap();
    seen.wait(2).await;
    world.settle().await;
    assert_eq!(seen.all(), ["1 false", "2 true"]);
    consumer.shutdown(Duration::from_secs(10)).await;
}

/// Answers what it was made with, and notes down what it was asked.
struct Stubborn {
    seen: Seen,
    dead: Outcome,
}

impl Worker<u8> for Stubborn {
    async fn process(&self, message: u8, context: Context) -> Outcome {
        self.seen.push(format!("process {message} {}", context.attempt()));
        assert!(message != 9, "nine");
        Outcome::retry().because("never works")
    }

    async fn process_broken(&self, broken: Broken, _: Context) -> Outcome {
        self.seen.push("broken");
        Outcome::dead(broken.error())
    }

    async fn process_dead(&self, dead: Dead<u8>, context: Context) -> Outcome {
        let message = dead.message().map_or("broken".to_owned(), u8::to_string);
        let story = (dead.reason().label(), dead.failed(), dead.error());
        self.seen.push(format!("dead {message} {story:?} {}", context.header("tenant").is_some()));
        self.dead.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_are_used_up_end_among_the_dead_letters() {
    let mut world = World::new().await;
    let producer = Producer::<u8>::builder("s").redis(world.redis.url()).build().unwrap();
    producer.send_message(Message::new(7).header("tenant", "acme")).await.unwrap();
    let seen = Seen::default();
    let worker = Stubborn { seen: seen.clone(), dead: Outcome::dead("given up") };
    let consumer = world.builder().max_attempts(2).start(worker).await.unwrap();
    seen.wait(3).await;
    world.settle().await;
    assert_eq!(seen.all(), ["process 7 1", "process 7 2", "dead 7 (\"failed\", 2, \"never works\") true"]);
    assert_eq!(letters(&world).await, [("failed".to_owned(), "given up".to_owned(), 2)]);

    let messages = world.builder().messages().unwrap();
    let letter = messages.dead(None, 1).await.unwrap().remove(0);
    assert_eq!(letter.original[0], (b"body".to_vec(), b"7".to_vec()));
    assert!(matches!(messages.retry_dead(&[letter.id]).await.unwrap()[..], [Retried::Sent(_)]));
    seen.wait(6).await;
    world.settle().await;
    assert_eq!(seen.all()[3], "process 7 1", "it begins anew");
    let letter = messages.dead(None, 1).await.unwrap().remove(0);
    assert_eq!(messages.drop_dead(&[letter.id]).await, Ok(1));
    assert_eq!(messages.dead(None, 1).await, Ok(Vec::new()));
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_may_take_care_of_the_dead_itself() {
    let mut world = World::new().await;
    Producer::<u8>::builder("s").redis(world.redis.url()).build().unwrap().send(&9).await.unwrap();
    let seen = Seen::default();
    let worker = Stubborn { seen: seen.clone(), dead: Outcome::ack() };
    let consumer = world.builder().max_attempts(1).start(worker).await.unwrap();
    seen.wait(2).await;
    world.settle().await;
    assert_eq!(seen.all(), ["process 9 1", "dead 9 (\"failed\", 1, \"panicked: nine\") false"]);
    assert_eq!(letters(&world).await, []);
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_decoded_is_dead_and_stops_nobody() {
    let mut world = World::new().await;
    for fields in ["body 300", "body x", "other 1", "body 1"] {
        let _: String = world.ask(&format!("XADD s * {fields}")).await;
    }
    let seen = Seen::default();
    let worker = Stubborn { seen: seen.clone(), dead: Outcome::drop() };
    let consumer = world.builder().max_attempts(1).start(worker).await.unwrap();
    seen.wait(5).await;
    world.settle().await;
    let mut reasons: Vec<_> =
        letters(&world).await.into_iter().map(|(reason, error, _)| reason + ": " + &error).collect();
    reasons.sort();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[2].starts_with("broken: the field `body` is not the JSON expected: invalid value"), "{reasons:?}");
    assert!(reasons[0].starts_with("broken: the field `body` is missing"), "{reasons:?}");
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panics_are_failures_wherever_they_happen() {
    struct Fuse;
    impl Decode<Fuse> for Fuse {
        fn decode(&self, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<Fuse, CodecError> {
            assert_ne!(fields[0].1, b"decode", "blown");
            Ok(Fuse)
        }
    }
    /// Panics when it is dropped, unless it panics already.
    struct Grudge;
    impl Drop for Grudge {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "grudge");
        }
    }

    let mut world = World::new().await;
    for kind in ["decode", "call", "poll", "drop"] {
        let _: String = world.ask(&format!("XADD s * body {kind}")).await;
    }
    let consumer = world
        .builder()
        .max_attempts(1)
        .start_with(Fuse, |_: Fuse, context: Context| {
            let kind = String::from_utf8(context.fields()[0].1.clone()).unwrap();
            assert_ne!(kind, "call", "called");
            let grudge = (kind == "drop").then(|| Grudge);
            async move {
                tokio::task::yield_now().await;
                assert_ne!(kind, "poll", "polled");
                drop(grudge);
            }
        })
        .await
        .unwrap();
    until("all are buried", || async { letters(&world).await.len() == 4 }).await;
    world.settle().await;
    let mut told: Vec<_> = letters(&world).await.into_iter().map(|(reason, error, _)| reason + ": " + &error).collect();
    told.sort();
    assert!(told[0].starts_with("broken: the codec panicked: assertion `left != right` failed: blown"), "{told:?}");
    assert!(told[1].starts_with("failed: panicked: assertion `left != right` failed: called"), "{told:?}");
    assert!(told[2].starts_with("failed: panicked: assertion `left != right` failed: polled"), "{told:?}");
    assert!(told[3].starts_with("failed: panicked: grudge"), "{told:?}");
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_takes_too_long_is_dropped_and_has_failed() {
    struct Dropped(Seen);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.push("dropped");
        }
    }

    let mut world = World::new().await;
    world.producer().build().unwrap().send(&"m".to_owned()).await.unwrap();
    let seen = Seen::default();
    let noted = seen.clone();
    let consumer = world
        .builder()
        .timeout(Some(Duration::from_millis(100)))
        .start(move |_: String, context: Context| {
            let noted = noted.clone();
            async move {
                if context.attempt() == 1 {
                    let _dropped = Dropped(noted.clone());
                    context.lost().await;
                    std::future::pending::<()>().await;
                }
                noted.push(context.history().map_or_else(String::new, |history| history.error.to_string()));
            }
        })
        .await
        .unwrap();
    seen.wait(2).await;
    world.settle().await;
    assert_eq!(seen.all()[0], "dropped");
    assert!(seen.all()[1].contains("100ms"), "{:?}", seen.all());
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_message_whose_handler_fails_is_handled_again_or_buried() {
    struct Flaky(Arc<AtomicU32>);
    impl Worker<String> for Flaky {
        async fn process(&self, _: String, _: Context) -> Outcome {
            Outcome::retry().because("never")
        }
        async fn process_dead(&self, _: Dead<String>, _: Context) -> Outcome {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => Outcome::retry().because("the database is down"),
                _ => Outcome::ack(),
            }
        }
    }

    for (what, calls, buried) in [(DeadFailure::Keep, 2, 0), (DeadFailure::Bury, 1, 1)] {
        let mut world = World::new().await;
        world.producer().build().unwrap().send(&"m".to_owned()).await.unwrap();
        let called = Arc::new(AtomicU32::new(0));
        let builder = world.builder().max_attempts(1).dead_failure(what);
        let consumer = builder.start(Flaky(called.clone())).await.unwrap();
        until("it is called", || async { called.load(Ordering::SeqCst) == calls }).await;
        world.settle().await;
        assert_eq!((letters(&world).await.len(), called.load(Ordering::SeqCst)), (buried, calls), "{what:?}");
        consumer.shutdown(Duration::from_secs(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_acknowledgements_a_message_is_run_once_at_most() {
    let mut world = World::new().await;
    let producer = world.producer().build().unwrap();
    let seen = Seen::default();
    let noted = seen.clone();
    let consumer = world
        .builder()
        .no_ack(true)
        .start(move |message: String, _: Context| {
            noted.push(message);
            std::future::ready(Err::<(), _>("no"))
        })
        .await
        .unwrap();
    for message in ["a", "b"] {
        producer.send(&message.to_owned()).await.unwrap();
    }
    seen.wait(2).await;
    assert_eq!(consumer.shutdown(Duration::from_secs(10)).await.returned, 0);
    assert_eq!((seen.sorted(), world.pending().await), (vec!["a".to_owned(), "b".to_owned()], 0));
    assert_eq!(letters(&world).await, []);
}
