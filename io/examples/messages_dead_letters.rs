//! What redstream's example does: a plain function as handler, a handler for what has failed too often, and a message
//! that is not sent twice at the same time. Then looks after the dead letters.

use std::{collections::BTreeMap, time::Duration};

use streamkeeper::messages::{Backoff, Consumer, Context, Dead, Json, Outcome, Producer, Retried, Worker};

type Fields = BTreeMap<String, String>;

/// The handler, and the one for the dead: redstream's `RegisterHandler` and `DLQHandler`.
struct Handler;

impl Worker<Fields> for Handler {
    async fn process(&self, message: Fields, context: Context) -> Outcome {
        println!("{}: attempt {}: {message:?}", context.entry(), context.attempt());
        match message.get("foo").map(String::as_str) {
            Some("bar") => Outcome::ack(),
            Some("later") if context.attempt() == 1 => Outcome::retry_after(Duration::from_millis(300)),
            Some("later") => Outcome::ack(),
            other => Outcome::retry().because(format!("`foo` is {other:?}")),
        }
    }

    async fn process_dead(&self, dead: Dead<Fields>, context: Context) -> Outcome {
        println!("{}: given up: {}", context.entry(), dead.error());
        // `ack` would say that it stands elsewhere now, such as in a database.
        Outcome::dead(dead.error())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let builder = || {
        Consumer::builder("myStream", "myGroup")
            .redis(&url)
            .name("myConsumer")
            .max_attempts(3)
            .backoff(Backoff { base: Duration::from_millis(100), ..Backoff::default() })
            .reclaim_idle(Duration::from_secs(5))
            .delete_after_success(true)
    };
    let consumer = builder().start_with(Json::field("json"), Handler).await?;

    let producer = Producer::<Fields>::builder("myStream")
        .redis(&url)
        .codec(Json::field("json"))
        .drop_concurrent_duplicates(Duration::from_secs(10))
        .build()?;
    let message = |value: &str| Fields::from([("foo".to_owned(), value.to_owned())]);
    let sent = producer.send_batch(["bar", "bar", "later", "bad"].map(message)).await;
    println!("sent {sent:?}: the second is the first");

    let messages = builder().messages()?;
    let letters = loop {
        let letters = messages.dead(None, 100).await?;
        if !letters.is_empty() {
            break letters;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for letter in &letters {
        println!("dead letter {}: {} after {} attempts: {}", letter.id, letter.reason, letter.attempts, letter.error);
    }
    // Once what was wrong is mended, they are sent again; here it is not, and they come back.
    let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
    for retried in messages.retry_dead(&ids).await? {
        if let Retried::Sent(entry) = retried {
            println!("sent again as {entry}");
        }
    }
    while messages.status().await?.dead < letters.len() as u64 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ids: Vec<_> = messages.dead(None, 100).await?.iter().map(|letter| letter.id).collect();
    println!("dropped {}", messages.drop_dead(&ids).await?);

    let report = consumer.shutdown(Duration::from_secs(5)).await;
    println!("given back {}, left {}", report.returned, report.left);
    Ok(())
}
