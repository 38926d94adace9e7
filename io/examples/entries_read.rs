//! Reads every owned stream in order, and commits after each batch: start several of them, kill one, and the others go on
//! right behind its last commit. Until ctrl-c.
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example entries_read
//! redis-cli XADD orders-1 '*' body '{"item":"tea"}'
//! ```

use std::{pin::pin, time::Duration};

use serde::Deserialize;
use streamkeeper::{Client, EntriesError, Lease};

#[derive(Deserialize)]
struct Order {
    item: String,
}

async fn read(lease: Lease) -> Result<(), EntriesError> {
    println!("{}: ours, token {}", lease.stream(), lease.token());
    let mut orders = lease.entries_as::<Order>();
    while let Some(batch) = orders.next_batch().await {
        match batch {
            Ok(batch) => {
                for order in &batch {
                    println!("{} {}: {}", lease.stream(), order.id, order.value.item);
                }
                // Asking for the next batch commits this one.
            }
            Err(error) if error.is_last() => return Err(error),
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let client = Client::builder("orders").redis(url).start().await?;
    for number in 1..=3 {
        let stream = format!("orders-{number}");
        // Announced once, however often this is started.
        client.announce(streamkeeper::Announce::new(&stream).once(stream.as_str(), Duration::from_secs(3_600))).await?;
    }
    let mut running = pin!(client.run(read));
    tokio::select! {
        ended = &mut running => return ended.map(|_| ()).map_err(Into::into),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    // Each reader finishes its batch, commits it, and gives its stream back.
    let (report, ended) = tokio::join!(client.shutdown(Duration::from_secs(10)), running);
    println!("given back: {}", report.released);
    ended?;
    Ok(())
}
