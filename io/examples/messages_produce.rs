//! Sends an event every 100 ms, until ctrl-c: the counterpart of goxstreams' producer.
//!
//! `cargo run --example messages_produce`, with `REDIS_URL` if the server is not on this machine; then
//! `messages_consume` in another terminal.

use std::time::Duration;

use serde::Serialize;
use streamkeeper::messages::{Message, Producer};

#[derive(Debug, Serialize)]
struct Event {
    message: String,
    name: String,
    foo: u32,
    bar: u32,
    sub_event: SubEvent,
}

#[derive(Debug, Serialize)]
struct SubEvent {
    bar_bar: String,
    foo_foo: SubSubEvent,
}

#[derive(Debug, Serialize)]
struct SubSubEvent {
    foo_foo_foo: u32,
}

fn event(number: u32) -> Event {
    Event {
        message: "message".to_owned(),
        name: "name".to_owned(),
        foo: number,
        bar: number.wrapping_mul(7_919) % 1_000,
        sub_event: SubEvent { bar_bar: "1234".to_owned(), foo_foo: SubSubEvent { foo_foo_foo: 777 } },
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let producer = Producer::<Event>::builder("mystream").redis(url).build()?;

    // Many at once, each with its own result.
    for result in producer.send_batch((0..20).map(event)).await {
        println!("sent {:?}", result?);
    }
    // One that is to come later, and one that may be sent again without being there twice.
    let later = Message::new(event(100)).delay(Duration::from_secs(3)).id("reminder-100");
    println!("sent {:?}", producer.send_message(later).await?);
    let once = || Message::new(event(101)).header("tenant", "acme").once("event-101", Duration::from_secs(60));
    let (first, again) = (producer.send_message(once()).await?, producer.send_message(once()).await?);
    println!("sent {first:?}, and again {again:?}");

    let mut number = 200;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        let event = event(number);
        match producer.send(&event).await {
            Ok(sent) => println!("sent {sent:?}: {event:?}"),
            Err(error) => eprintln!("{error}"),
        }
        number += 1;
    }
}
