//! Whose a message is: the one's who works on it, and not the one's who is gone.

use super::*;

/// After so long a consumer's messages are taken from it: not so soon that it is enough for this machine to keep it waiting.
const IDLE: Duration = Duration::from_secs(3);

/// A consumer whose messages are taken from it soon.
fn impatient(world: &World) -> Builder {
    world.builder().reclaim_idle(IDLE).call_timeout(IDLE / 4).reclaim_interval(Duration::from_millis(100))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_keeps_its_message() {
    let mut world = World::new().await;
    let seen = Seen::default();
    let mut consumers = Vec::new();
    for _ in 0..2 {
        let noted = seen.clone();
        let worker = move |message: String, context: Context| {
            let noted = noted.clone();
            async move {
                noted.push(format!("begin {message}"));
                tokio::time::sleep(2 * IDLE).await;
                noted.push(format!("end {message} {}", context.is_lost()));
            }
        };
        consumers.push(impatient(&world).start(worker).await.unwrap());
    }
    world.producer().build().unwrap().send(&"m".to_owned()).await.unwrap();
    seen.wait(2).await;
    world.settle().await;
    assert_eq!(seen.all(), ["begin m", "end m false"]);
    for consumer in consumers {
        consumer.shutdown(Duration::from_secs(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_who_is_gone_are_run_by_others_whatever_their_name() {
    let mut world = World::new().await;
    world.producer().build().unwrap().send_batch((0..3).map(|n| n.to_string())).await;
    let _: String = world.ask("XGROUP CREATE s g 0").await;
    for name in ["gone", "c"] {
        let _: redis::Value = world.ask(&format!("XREADGROUP GROUP g {name} COUNT 1 STREAMS s >")).await;
    }
    let seen = Seen::default();
    let consumer = impatient(&world).start(seen.worker()).await.unwrap();
    seen.wait(3).await;
    world.settle().await;
    assert_eq!(seen.sorted(), ["0", "1", "2"]);
    consumer.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_a_message_is_told_and_can_fail_it_for_nobody() {
    let mut world = World::new().await;
    let Some(entry) = world.producer().build().unwrap().send(&"m".to_owned()).await.unwrap().entry() else {
        panic!("it is not delayed");
    };
    let seen = Seen::default();
    let noted = seen.clone();
    let worker = move |_: String, context: Context| {
        let noted = noted.clone();
        async move {
            noted.push("begin");
            context.lost().await;
            noted.push("lost");
            Outcome::dead("mine was the last word")
        }
    };
    let consumer = impatient(&world).start(worker).await.unwrap();
    let mut settled = consumer.settled();
    seen.wait(1).await;
    let _: redis::Value = world.ask(&format!("XCLAIM s g thief 0 {entry}")).await;
    seen.wait(2).await;
    let fate = futures::StreamExt::next(&mut settled).await.unwrap();
    assert_eq!((fate.entry, fate.fate), (entry, Fate::Lost));
    let dead: u64 = world.ask("XLEN s:g:dead").await;
    assert_eq!((dead, world.pending().await), (0, 1), "it is the thief's");
    consumer.shutdown(Duration::from_secs(10)).await;
}
