//! A processor: for each owned stream a state of its own, batches with retries, an end that the entries tell. Until
//! ctrl-c.
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example entries_processor
//! redis-cli XADD game-1 '*' body '{"player":"anna","points":7,"over":false}'
//! ```

use std::{collections::BTreeMap, pin::pin, time::Duration};

use serde::Deserialize;
use streamkeeper::{
    Announce, Client, CommitError, EntryId, Lease, Lost,
    entries::{Entry, Idle, Next, Processor},
};

#[derive(Deserialize)]
struct Move {
    player: String,
    points: i64,
    over: bool,
}

struct Games;

impl Processor for Games {
    type Entry = Move;
    /// The points of each player, as far as this owner has seen them.
    type State = BTreeMap<String, i64>;
    type Error = CommitError;

    async fn init(&self, lease: &Lease, committed: Option<EntryId>) -> Result<Self::State, CommitError> {
        println!("{}: ours, behind {committed:?}", lease.stream());
        Ok(BTreeMap::new())
    }

    async fn process(&self, lease: &Lease, seen: &mut Self::State, batch: &[Entry<Move>]) -> Result<Next, CommitError> {
        let Some(last) = batch.last() else { return Ok(Next::Batch) };
        let scores = format!("scores:{}", lease.stream());
        let committing = lease.commit_with(last.id, |writes| {
            for entry in batch {
                writes.hincr_by(&scores, &entry.value.player, entry.value.points);
            }
        });
        match committing.await {
            // `Behind`: a try before this one was made, and only its answer is missing.
            Ok(()) | Err(CommitError::Behind { .. }) => {}
            Err(error) => return Err(error),
        }
        for entry in batch {
            *seen.entry(entry.value.player.clone()).or_default() += entry.value.points;
        }
        println!("{}: {seen:?} up to {}", lease.stream(), last.id);
        Ok(if last.value.over { Next::Done } else { Next::Batch })
    }

    async fn lost(&self, lease: &Lease, _: Self::State, lost: Lost) {
        println!("{}: not ours any more: {}", lease.stream(), lost.label());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let client = Client::builder("games").redis(url).start().await?;
    for number in 1..=3 {
        let stream = format!("game-{number}");
        client.announce(Announce::new(&stream).once(stream.as_str(), Duration::from_secs(3_600))).await?;
    }
    let minute = Duration::from_secs(60);
    let processing = client.process(Games).tries(3).idle(Idle::Release { after: minute, pause: minute });
    let mut running = pin!(processing.run());
    tokio::select! {
        ended = &mut running => return ended.map(|_| ()).map_err(Into::into),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    let (report, ended) = tokio::join!(client.shutdown(Duration::from_secs(10)), running);
    println!("given back: {}", report.released);
    ended?;
    Ok(())
}
