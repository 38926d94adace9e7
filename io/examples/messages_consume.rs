//! Works on what `messages_produce` sends, until ctrl-c: the counterpart of goxstreams' consumer.
//!
//! Every twentieth event fails now and then, number 13 always: it ends among the dead letters, which
//! `messages_dead_letters` looks after.

use std::time::Duration;

use serde::Deserialize;
use streamkeeper::messages::{Broken, Consumer, Context, Dead, Outcome, Worker};

#[derive(Debug, Deserialize)]
struct Event {
    name: String,
    foo: u32,
    bar: u32,
}

struct Foo {
    worker: String,
}

impl Worker<Event> for Foo {
    async fn process(&self, event: Event, context: Context) -> Outcome {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if event.foo == 13 || (event.foo.is_multiple_of(20) && context.attempt() == 1) {
            return Outcome::retry().because(format!("{} is unlucky", event.foo));
        }
        let (entry, attempt) = (context.entry(), context.attempt());
        println!("{entry}: attempt {attempt}, {} {} {}, worker {}", event.name, event.foo, event.bar, self.worker);
        Outcome::ack()
    }

    async fn process_broken(&self, broken: Broken, context: Context) -> Outcome {
        println!("{}: broken: {}", context.entry(), broken.error());
        Outcome::dead(broken.error())
    }

    async fn process_dead(&self, dead: Dead<Event>, context: Context) -> Outcome {
        println!("{}: dead after {} attempts: {}", context.entry(), dead.failed(), dead.error());
        Outcome::dead(dead.error())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let consumer = Consumer::builder("mystream", "mygroup")
        .redis(url)
        .name("consumer")
        .batch(100)
        .concurrency(5_000)
        .max_attempts(4)
        .reclaim_interval(Duration::from_secs(1))
        .reclaim_idle(Duration::from_secs(5))
        .start(Foo { worker: "foo".to_owned() })
        .await?;
    println!("consumer {} started", consumer.name());

    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        ended = consumer.ended() => println!("ended by itself: {ended:?}"),
    }
    let report = consumer.shutdown(Duration::from_secs(10)).await;
    println!("finished {}, given back {}, left to others {}", report.finished, report.returned, report.left);
    Ok(())
}
