//! How a consumer ends, and what becomes of what it holds.

use tokio_util::sync::CancellationToken;

use super::*;

/// A worker that waits until the gate opens.
fn gated(seen: &Seen, gate: &Arc<tokio::sync::Semaphore>) -> impl Worker<String> + use<> {
    let (seen, gate) = (seen.clone(), gate.clone());
    move |message: String, _: Context| {
        let (seen, gate) = (seen.clone(), gate.clone());
        async move {
            seen.push(format!("begin {message}"));
            gate.acquire().await.unwrap().forget();
            seen.push(format!("end {message}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_may_finish_and_the_rest_is_given_back() {
    let mut world = World::new().await;
    let (seen, gate) = (Seen::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    world.producer().build().unwrap().send_batch((0..6).map(|n| n.to_string())).await;
    let consumer = world.builder().concurrency(4).prefetch(2).start(gated(&seen, &gate)).await.unwrap();
    seen.wait(4).await;
    let stopping = tokio::spawn({
        let consumer = consumer.clone();
        async move { consumer.shutdown(Duration::from_secs(2)).await }
    });
    // What has not begun is given back at once: now it is stopping.
    world.wait("ZCARD s:g:delayed", 2).await;
    gate.add_permits(3);
    let report = stopping.await.unwrap();
    assert_eq!((report.finished, report.returned, report.left), (3, 3, 0), "{report:?}");
    assert_eq!(consumer.shutdown(Duration::ZERO).await, report, "again: the same");
    assert_eq!(world.pending().await, 3, "parked");
    let records: u64 = world.ask("HLEN s:g:attempts").await;
    assert_eq!(records, 0, "given back is not failed");

    gate.add_permits(100);
    let next = world.builder().start(gated(&seen, &gate)).await.unwrap();
    world.settle().await;
    let ends = seen.all().into_iter().filter(|line| line.starts_with("end")).count();
    assert_eq!(ends, 6);
    next.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_again_the_shorter_deadline_counts() {
    let mut world = World::new().await;
    let (seen, gate) = (Seen::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    world.producer().build().unwrap().send_batch((0..3).map(|n| n.to_string())).await;
    let consumer = world.builder().concurrency(2).prefetch(1).start(gated(&seen, &gate)).await.unwrap();
    seen.wait(2).await;
    let patient = tokio::spawn({
        let consumer = consumer.clone();
        async move { consumer.shutdown(Duration::from_secs(3_600)).await }
    });
    world.wait("ZCARD s:g:delayed", 1).await;
    consumer.pause().await;
    let hour = consumer.shutdown(Duration::from_secs(3_600));
    assert!(tokio::time::timeout(Duration::from_millis(100), hour).await.is_err(), "as long as the first");
    let hasty = tokio::time::timeout(Duration::from_secs(60), consumer.shutdown(Duration::ZERO)).await;
    let report = hasty.expect("the shorter deadline counts");
    assert_eq!((report.finished, report.returned, report.left), (0, 3, 0), "{report:?}");
    assert_eq!(patient.await.unwrap(), report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_or_the_last_handle_stops_it_too() {
    let mut world = World::new().await;
    let seen = Seen::default();
    let token = CancellationToken::new();
    let consumer = world.builder().cancel(&token).start(seen.worker()).await.unwrap();
    token.cancel();
    assert_eq!(consumer.ended().await.unwrap(), Report::default());

    let consumer = world.builder().start(seen.worker()).await.unwrap();
    let consumers: Vec<redis::Value> = world.ask("XINFO CONSUMERS s g").await;
    assert!(consumers.len() <= 1);
    drop(consumer);
    let look = world.look.clone();
    until("only this client is left", || async {
        let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut look.clone()).await.unwrap();
        clients.lines().count() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_applications_runtime_ends_what_it_ran_is_given_back() {
    let mut world = World::new().await;
    let (seen, gate) = (Seen::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    world.producer().build().unwrap().send_batch((0..4).map(|n| n.to_string())).await;
    let application = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let builder = world.builder().grace(Duration::from_millis(500));
    let worker = gated(&seen, &gate);
    let consumer = application.spawn(async move { builder.start(worker).await }).await.unwrap().unwrap();
    seen.wait(4).await;
    application.shutdown_background();
    let report = consumer.ended().await.unwrap();
    assert_eq!((report.returned, report.left), (4, 0), "{report:?}");
    assert_eq!(world.pending().await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_started_says_why() {
    let mut world = World::new().await;
    let seen = Seen::default();
    let start = |builder: Builder| builder.start_within(Duration::from_millis(300)).start(seen.worker());
    let error = start(Consumer::builder("s", "g").redis("redis://127.0.0.1:1")).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { stream, group, .. } if stream == "s" && group == "g"), "{error}");
    let error = start(world.builder().name("~x")).await.unwrap_err();
    assert!(matches!(error, Error::Name(_)), "{error}");
    let error = start(world.builder().concurrency(0)).await.unwrap_err();
    assert!(error.to_string().contains("concurrency"), "{error}");
    let error = start(world.builder().redis("http://x")).await.unwrap_err();
    assert!(matches!(error, Error::Server(_)), "{error}");
    let _: String = world.ask("SET s x").await;
    let error = start(world.builder()).await.unwrap_err();
    assert!(matches!(error, Error::WrongType { .. }), "{error}");
    let token = CancellationToken::new();
    token.cancel();
    let error = start(Consumer::builder("s", "g").redis("redis://127.0.0.1:1").cancel(&token)).await.unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error}");
}
