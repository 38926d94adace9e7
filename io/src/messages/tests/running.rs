//! How runs are started, and what holds them up.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::StreamExt;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_blocks_holds_up_neither_others_nor_the_driver() {
    let mut world = World::new().await;
    let (seen, (closed, gate)) = (Seen::default(), std::sync::mpsc::channel::<()>());
    let (noted, gate) = (seen.clone(), Mutex::new(gate));
    let consumer = world
        .builder()
        .start(move |message: String, _: Context| {
            if message.starts_with("block") {
                let _ = gate.lock().unwrap().recv();
            }
            noted.push(message);
            std::future::ready(())
        })
        .await
        .unwrap();
    let producer = world.producer().build().unwrap();
    for message in ["block 1", "a", "block 2", "b", "c"] {
        producer.send(&message.to_owned()).await.unwrap();
    }
    seen.wait(3).await;
    assert_eq!(seen.sorted(), ["a", "b", "c"]);
    until("only the blocked ones are left", || async { consumer.health()[0].held == 2 }).await;
    assert!(consumer.health()[0].is_well(Duration::from_secs(5)));
    drop(closed);
    seen.wait(5).await;
    world.settle().await;
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_run_at_once_than_are_allowed() {
    let mut world = World::new().await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (running.clone(), most.clone());
    let consumer = world
        .builder()
        .concurrency(7)
        .start(move |_: String, _: Context| {
            let (running, most) = counters.clone();
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                running.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await
        .unwrap();
    world.producer().build().unwrap().send_batch((0..100).map(|n| n.to_string())).await;
    until("all are done", || async { consumer.health()[0].held == 0 && most.load(Ordering::SeqCst) > 0 }).await;
    world.settle().await;
    assert_eq!(most.load(Ordering::SeqCst), 7);
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_key_run_one_at_a_time_in_order() {
    let mut world = World::new().await;
    let busy: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let (seen, shared) = (Seen::default(), busy.clone());
    let noted = seen.clone();
    let consumer = world
        .builder()
        .ordered_by("key")
        .start(move |n: usize, context: Context| {
            let key = String::from_utf8(context.key().unwrap().to_vec()).unwrap();
            let (busy, seen) = (shared.clone(), noted.clone());
            async move {
                assert_eq!(busy.lock().unwrap().insert(key.clone(), n), None, "{key} runs twice");
                tokio::time::sleep(Duration::from_millis(1)).await;
                busy.lock().unwrap().remove(&key);
                seen.push(format!("{key} {n:03}"));
            }
        })
        .await
        .unwrap();
    let producer = Producer::<usize>::builder("s").redis(world.redis.url()).build().unwrap();
    let message = |n: usize| Message::new(n).key(["a", "b", "c"][n % 3]);
    producer.send_batch((0..150).map(message)).await;
    seen.wait(150).await;
    world.settle().await;
    for key in ["a", "b", "c"] {
        let of_key: Vec<_> = seen.all().into_iter().filter(|line| line.starts_with(key)).collect();
        assert!(of_key.is_sorted() && of_key.len() == 50, "{of_key:?}");
    }
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_runs_start_than_the_rate_allows() {
    let rate = Rate { count: 10, per: Duration::from_millis(500) };
    let world = World::new().await;
    let producer = world.producer().build().unwrap();
    for whole_group in [false, true] {
        let seen = Seen::default();
        let builder = || if whole_group { world.builder().group_rate(rate) } else { world.builder().rate(rate) };
        let begun = std::time::Instant::now();
        let mut consumers = vec![builder().start(seen.worker()).await.unwrap()];
        if whole_group {
            consumers.push(builder().start(seen.worker()).await.unwrap());
        }
        producer.send_batch((0..30).map(|n| n.to_string())).await;
        seen.wait(30).await;
        // Ten at once, and the rest one every 50 ms.
        assert!(begun.elapsed() >= Duration::from_millis(900), "group: {whole_group}, {:?}", begun.elapsed());
        for consumer in consumers {
            consumer.shutdown(Duration::from_secs(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pauses_starts_nothing_until_it_goes_on() {
    let mut world = World::new().await;
    let (producer, seen) = (world.producer().build().unwrap(), Seen::default());
    let consumer = world.builder().start(seen.worker()).await.unwrap();
    producer.send(&"a".to_owned()).await.unwrap();
    seen.wait(1).await;
    consumer.pause().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    producer.send(&"b".to_owned()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(seen.all(), ["a"]);
    consumer.resume().await;
    seen.wait(2).await;
    world.settle().await;
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_removed_from_the_group_or_lost_it_goes_on() {
    let mut world = World::new().await;
    let (producer, seen) = (world.producer().build().unwrap(), Seen::default());
    let consumer = world.builder().start(seen.worker()).await.unwrap();
    producer.send(&"a".to_owned()).await.unwrap();
    seen.wait(1).await;
    world.settle().await;
    let name = consumer.name().to_owned();
    let _: u64 = world.ask(&format!("XGROUP DELCONSUMER s g {name}")).await;
    producer.send(&"b".to_owned()).await.unwrap();
    seen.wait(2).await;
    world.settle().await;
    let _: u64 = world.ask("XGROUP DESTROY s g").await;
    producer.send(&"c".to_owned()).await.unwrap();
    until("c is seen", || async { seen.all().contains(&"c".to_owned()) }).await;
    world.settle().await;
    let _: u64 = world.ask("DEL s").await;
    producer.send(&"d".to_owned()).await.unwrap();
    until("d is seen", || async { seen.all().contains(&"d".to_owned()) }).await;
    world.settle().await;
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_streams_share_one_worker() {
    let world = World::new().await;
    let seen = Seen::default();
    let noted = seen.clone();
    let consumer = world
        .builder()
        .stream("t")
        .start(move |message: String, context: Context| {
            noted.push(format!("{} {message}", context.stream()));
            std::future::ready(())
        })
        .await
        .unwrap();
    let mut settled = consumer.settled();
    for stream in ["s", "t"] {
        let producer = Producer::<str>::builder(stream).redis(world.redis.url()).build().unwrap();
        producer.send("m").await.unwrap();
    }
    seen.wait(2).await;
    assert_eq!(seen.sorted(), ["s m", "t m"]);
    let mut fates = [settled.next().await.unwrap(), settled.next().await.unwrap()];
    fates.sort_by_key(|settled| settled.stream.clone());
    assert_eq!(
        (&*fates[0].stream, &*fates[1].stream, fates[0].fate, fates[1].fate),
        ("s", "t", Fate::Acked, Fate::Acked)
    );
    assert!(consumer.health().iter().all(|health| health.is_well(Duration::from_secs(5))));
    assert_eq!(consumer.shutdown(Duration::from_secs(10)).await.left, 0);
    assert_eq!(settled.next().await, None);
    assert!(consumer.health().iter().all(|health| health.ended));
    let twice = world.builder().stream("s").start(seen.worker()).await.unwrap_err();
    assert!(matches!(twice, Error::Twice { .. }), "{twice}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_succeeded_may_be_deleted_and_what_was_processed_be_remembered() {
    let mut world = World::new().await;
    let (producer, seen) = (world.producer().build().unwrap(), Seen::default());
    let processed = Processed { age: Duration::from_secs(60), by: Some("key".into()) };
    let builder = world.builder().delete_after_success(true).processed(processed);
    let consumer = builder.start(seen.worker()).await.unwrap();
    producer.send_message(Message::new("a".to_owned()).key("1")).await.unwrap();
    seen.wait(1).await;
    world.settle().await;
    producer.send_message(Message::new("again".to_owned()).key("1")).await.unwrap();
    producer.send_message(Message::new("b".to_owned()).key("2")).await.unwrap();
    seen.wait(2).await;
    world.settle().await;
    assert_eq!(seen.all(), ["a", "b"]);
    let left: u64 = world.ask("XLEN s").await;
    assert_eq!(left, 0);
    consumer.shutdown(Duration::from_secs(10)).await;
}
