//! What producers can say, and what arrives of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
    count: u32,
}

fn tea() -> Order {
    Order { item: "tea".to_owned(), count: 3 }
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_codec_brings_the_same_back() {
    async fn there_and_back<C>(codec: C, fields: &[&str])
    where
        C: Encode<Order> + Decode<Order> + Clone,
    {
        let mut world = World::new().await;
        let builder = Producer::<Order>::builder("s").redis(world.redis.url()).codec(codec.clone());
        builder.build().unwrap().send(&tea()).await.unwrap();
        let entries: Vec<(String, Vec<String>)> = world.ask("XRANGE s - +").await;
        assert_eq!(entries[0].1, fields);
        let seen = Seen::default();
        let noted = seen.clone();
        let consumer = world
            .builder()
            .start_with(codec, move |order: Order, _: Context| {
                noted.push(format!("{order:?}"));
                std::future::ready(())
            })
            .await
            .unwrap();
        seen.wait(1).await;
        assert_eq!(seen.all(), [format!("{:?}", tea())]);
        consumer.shutdown(Duration::from_secs(10)).await;
    }

    let json = r#"{"item":"tea","count":3}"#;
    there_and_back(Json::default(), &["body", json]).await;
    there_and_back(Json::field("json"), &["json", json]).await;
    there_and_back(Flat, &["count", "3", "item", "tea"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_key_and_trace_context_arrive() {
    let world = World::new().await;
    let producer: Producer =
        Producer::builder("s").redis(world.redis.url()).trace_with(|| Some(TRACE.to_owned())).build().unwrap();
    producer.send(&json!({ "a": 1 })).await.unwrap();
    let other = TRACE.replace("-01", "-00");
    let message = Message::new(json!(2)).header("tenant", "acme").key("k").traceparent(&other);
    producer.send_message(message).await.unwrap();
    let (seen, spans) = (Seen::default(), Seen::default());
    let (noted, hooked) = (seen.clone(), spans.clone());
    let consumer = world
        .builder()
        .on_span(move |_, traceparent| hooked.push(traceparent))
        .start(move |message: Value, context: Context| {
            let headers: BTreeMap<_, _> = context.headers().collect();
            noted.push(format!("{message} {headers:?} {:?} {:?}", context.key(), context.traceparent().unwrap()));
            std::future::ready(())
        })
        .await
        .unwrap();
    seen.wait(2).await;
    let tenant: BTreeMap<_, _> = [("tenant", &b"acme"[..])].into();
    assert_eq!(
        seen.sorted(),
        [format!("2 {tenant:?} {:?} {other:?}", Some(&b"k"[..])), format!("{{\"a\":1}} {{}} None {TRACE:?}")]
    );
    assert_eq!(spans.sorted(), [other, TRACE.to_owned()]);
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_within_its_window_is_sent_once() {
    let mut world = World::new().await;
    let minute = Duration::from_secs(60);
    let producer = world.producer().build().unwrap();
    let once = |key: &str| producer.send_message(Message::new("m".to_owned()).once(key, minute));
    let first = once("a").await.unwrap();
    assert_eq!(once("a").await.unwrap(), first);
    assert_ne!(once("b").await.unwrap(), first);

    let strict = Producer::<String>::builder("s").redis(world.redis.url()).drop_concurrent_duplicates(minute);
    let strict = strict.build().unwrap();
    let sent = strict.send_batch(["x", "y", "x"].map(str::to_owned)).await;
    assert_eq!(sent[0], sent[2]);
    assert_ne!(sent[0], sent[1]);
    let length: u64 = world.ask("XLEN s").await;
    assert_eq!(length, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_comes_when_it_is_due_and_may_be_cancelled() {
    let world = World::new().await;
    let (producer, seen) = (world.producer().build().unwrap(), Seen::default());
    let later = |text: &str, ms: u64| Message::new(text.to_owned()).delay(Duration::from_millis(ms));
    let begun = std::time::Instant::now();
    let sent = producer
        .send_batch([
            later("late", 700).id("late"),
            Message::new("now".to_owned()),
            later("never", 700).id("never"),
            later("late again", 1).id("late"),
            later("soon", 300),
        ])
        .await;
    assert!(matches!(&sent[0], Ok(Sent::Scheduled { id, repeated: false, .. }) if &**id == "late"), "{sent:?}");
    assert!(matches!(&sent[1], Ok(Sent::Entry(_))), "{sent:?}");
    assert!(matches!(&sent[3], Ok(Sent::Scheduled { repeated: true, .. })), "{sent:?}");
    let messages = world.builder().messages().unwrap();
    let waiting: Vec<_> = messages.scheduled(0, 10).await.unwrap().into_iter().map(|s| s.id).collect();
    assert_eq!((waiting.len(), &*waiting[1], &*waiting[2]), (3, "late", "never"));
    assert_eq!(messages.cancel_scheduled(["never", "nobody"]).await, Ok(vec![true, false]));
    let consumer = world.builder().start(seen.worker()).await.unwrap();
    seen.wait(2).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    seen.wait(3).await;
    assert!(begun.elapsed() >= Duration::from_millis(700));
    assert_eq!(seen.sorted(), ["late", "now", "soon"]);
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_keeps_nothing_else_from_being_sent() {
    let mut world = World::new().await;
    let producer = Producer::<Value>::builder("s").redis(world.redis.url()).codec(Flat).build().unwrap();
    let results = producer.send_batch([json!({ "a": 1 }), json!(7), json!({ "a": 2 })]).await;
    assert!(matches!(results[..], [Ok(_), Err(SendError::Encode { .. }), Ok(_)]), "{results:?}");
    let length: u64 = world.ask("XLEN s").await;
    assert_eq!(length, 2);
    let _: String = world.ask("SET t x").await;
    let wrong = Producer::<str>::builder("t").redis(world.redis.url()).build().unwrap();
    let error = wrong.send("m").await.unwrap_err();
    assert!(matches!(&error, SendError::Refused { stream, .. } if stream == "t"), "{error}");
    let nobody = Producer::<str>::builder("t").redis("redis://127.0.0.1:1").build().unwrap();
    let error = nobody.send("m").await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_batch_stands_in_its_order_and_has_one_result_each() {
    let mut world = World::new().await;
    let producer = Producer::<Value>::builder("s").redis(world.redis.url()).codec(Flat);
    let producer = producer.call_timeout(Duration::from_secs(30)).build().unwrap();
    // Every hundredth cannot be encoded, and one is long enough to end what goes out together.
    let message = |n: usize| match n {
        n if n % 100 == 99 => json!(n),
        1_234 => json!({ "n": n, "long": "x".repeat(200_000) }),
        n => json!({ "n": n }),
    };
    let sent = producer.send_batch((0..3_000).map(message)).await;
    assert_eq!(sent.len(), 3_000);
    let entries: Vec<(String, Vec<String>)> = world.ask("XRANGE s - +").await;
    let stored: BTreeMap<_, _> = entries.into_iter().map(|(id, fields)| (id, fields.last().unwrap().clone())).collect();
    let mut last = None;
    for (n, sent) in sent.iter().enumerate() {
        match sent {
            Ok(Sent::Entry(entry)) => {
                assert!(last < Some(*entry), "{n} stands before what was sent before it");
                last = Some(*entry);
                assert_eq!(stored[&entry.to_string()], n.to_string());
            }
            Err(SendError::Encode { .. }) => assert_eq!(n % 100, 99),
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(stored.len(), 2_970);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_one_connection() {
    let mut world = World::new().await;
    let producer = world.producer().build().unwrap();
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.send(&n.to_string()).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let length: u64 = world.ask("XLEN s").await;
    let clients: String = world.ask("CLIENT LIST").await;
    assert_eq!((length, clients.lines().count()), (200, 2), "the producer's and this one: {clients}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_kept_short_but_drops_nothing_that_is_not_done() {
    let mut world = World::new().await;
    let producer = world.producer().max_len(100).build().unwrap();
    let seen = Seen::default();
    let consumer = world.builder().start(seen.worker()).await.unwrap();
    producer.send_batch((0..3_000).map(|n| n.to_string())).await;
    seen.wait(3_000).await;
    world.settle().await;
    consumer.shutdown(Duration::from_secs(10)).await;
    producer.send_batch((0..500).map(|n| n.to_string())).await;
    let length: u64 = world.ask("XLEN s").await;
    assert!((500..1_000).contains(&length), "500 are unread: {length}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reached_a_replica_goes_on_to_the_next_server() {
    let (mut primary, mut replica) = (World::new().await, World::new().await);
    let _: String = replica.ask("REPLICAOF 127.0.0.1 1").await;
    let producer =
        || Producer::<String>::builder("s").redis(replica.redis.url()).redis(primary.redis.url()).build().unwrap();
    producer().send(&"m".to_owned()).await.unwrap();
    // Not so those of a batch: they would fall behind others.
    let batching = producer();
    let error = batching.send_batch(["m".to_owned()]).await.pop().unwrap().unwrap_err();
    assert!(matches!(&error, SendError::Refused { trouble, .. } if trouble.message.contains("READONLY")), "{error}");
    batching.send_batch(["m".to_owned()]).await.pop().unwrap().unwrap();
    let length: u64 = primary.ask("XLEN s").await;
    assert_eq!(length, 2);
}
