//! A ledger that balances: each payment is added to the total of its account once, whatever is killed in between, since
//! the position and the totals are written together, all or nothing, by the stream's owner alone. Until ctrl-c.
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example entries_exactly_once
//! redis-cli XADD payments-1 '*' body '{"account":"anna","cents":250}'
//! redis-cli HGETALL balances
//! ```

use std::{collections::BTreeMap, pin::pin, time::Duration};

use serde::Deserialize;
use streamkeeper::{Announce, Client, CommitError, Commits, EntriesError, Lease};

#[derive(Deserialize)]
struct Payment {
    account: String,
    cents: i64,
}

async fn keep_ledger(lease: Lease) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut payments = lease.read().batch(100).commits(Commits::Manual).open::<Payment>();
    loop {
        let batch = tokio::select! {
            _ = lease.draining() => break,
            batch = payments.next_batch() => match batch {
                None => return Ok(()),
                Some(Ok(batch)) => batch,
                Some(Err(error @ EntriesError::Lost { .. })) => return Err(error.into()),
                // Nothing of it was committed: it goes on.
                Some(Err(error)) => {
                    eprintln!("{error}");
                    continue;
                }
            },
        };
        let Some(last) = batch.last() else { continue };
        let mut sums = BTreeMap::<&str, i64>::new();
        for payment in &batch {
            *sums.entry(&payment.value.account).or_default() += payment.value.cents;
        }
        let committing = lease.commit_with(last.id, |writes| {
            for (account, cents) in &sums {
                writes.hincr_by("balances", account, *cents);
            }
        });
        match committing.await {
            Ok(()) => println!("{}: {} payments up to {}", lease.stream(), batch.len(), last.id),
            // Redis has forgotten commits; their entries come again.
            Err(CommitError::RolledBack { committed, .. }) => eprintln!("back to {committed}"),
            Err(error) => return Err(error.into()),
        }
    }
    lease.release().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let client = Client::builder("payments").redis(url).start().await?;
    for number in 1..=3 {
        let stream = format!("payments-{number}");
        client.announce(Announce::new(&stream).once(stream.as_str(), Duration::from_secs(3_600))).await?;
    }
    let mut running = pin!(client.run(|lease| async move { keep_ledger(lease).await.map_err(|e| e.to_string()) }));
    tokio::select! {
        ended = &mut running => return ended.map(|_| ()).map_err(Into::into),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    let (report, ended) = tokio::join!(client.shutdown(Duration::from_secs(10)), running);
    println!("given back: {}", report.released);
    ended?;
    Ok(())
}
