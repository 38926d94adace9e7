//! What everybody uses.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_seen_and_acknowledged() {
    let mut world = World::new().await;
    let (producer, seen) = (world.producer().build().unwrap(), Seen::default());
    producer.send(&"before".to_owned()).await.unwrap();
    let consumer = world.builder().start(seen.worker()).await.unwrap();
    seen.wait(1).await;
    for result in producer.send_batch((0..1_200).map(|n| format!("{n:04}"))).await {
        result.unwrap();
    }
    seen.wait(1_201).await;
    world.settle().await;
    let mut wanted: Vec<_> = (0..1_200).map(|n| format!("{n:04}")).collect();
    wanted.push("before".to_owned());
    assert_eq!(seen.sorted(), wanted);
    let report = consumer.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.returned, report.left), (0, 0));
    let consumers: Vec<redis::Value> = world.ask("XINFO CONSUMERS s g").await;
    assert_eq!(consumers, [], "its name was deleted");
}
