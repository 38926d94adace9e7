//! Producers and consumers, end to end, on a real redis-server, one server a test.

mod basics;
mod failures;
mod holding;
mod running;
mod sending;
mod stopping;

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{Cmd, FromRedisValue, aio::MultiplexedConnection};

use super::*;
use crate::wire::server::Redis;

/// A server, and a client of its own to look with.
struct World {
    redis: Redis,
    look: MultiplexedConnection,
}

impl World {
    async fn new() -> World {
        let redis = Redis::start(&[]).await;
        let client = redis::Client::open(redis.url()).unwrap();
        World { look: client.get_multiplexed_async_connection().await.unwrap(), redis }
    }

    /// A consumer of the stream `s` in the group `g` that waits for nothing long.
    fn builder(&self) -> Builder {
        Consumer::builder("s", "g")
            .redis(self.redis.url())
            .name("c")
            .metrics(None)
            .block(Duration::from_millis(200))
            .backoff(Backoff {
                base: Duration::from_millis(20),
                factor: 1,
                limit: Duration::from_secs(1),
                jitter_percent: 0,
            })
            .due_interval(Duration::from_millis(20))
    }

    /// A producer for the stream `s`.
    fn producer(&self) -> ProducerBuilder<String> {
        Producer::builder("s").redis(self.redis.url()).metrics(None)
    }

    /// What Redis answers to a line of words.
    async fn ask<T: FromRedisValue>(&mut self, line: &str) -> T {
        let mut words = line.split(' ');
        let mut cmd: Cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut self.look).await.unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// Waits until a line of words is answered by this number.
    async fn wait(&mut self, line: &str, number: u64) {
        for _ in 0..2_000 {
            if self.ask::<u64>(line).await == number {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{line} is never {number}");
    }

    async fn pending(&mut self) -> usize {
        let (count, ..): (usize, redis::Value, redis::Value, redis::Value) = self.ask("XPENDING s g").await;
        count
    }

    /// Waits until nothing is pending in the group.
    async fn settle(&mut self) {
        for _ in 0..1_000 {
            if self.pending().await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} messages are still pending", self.pending().await);
    }
}

/// What workers saw, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn push(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// In order of the words, not of time.
    fn sorted(&self) -> Vec<String> {
        let mut all = self.all();
        all.sort();
        all
    }

    /// Waits until that many were seen.
    async fn wait(&self, count: usize) {
        until(&format!("{count} are seen"), || async { self.all().len() >= count }).await;
    }

    /// A worker that only notes down what it sees.
    fn worker(&self) -> impl Fn(String, Context) -> std::future::Ready<()> + Send + Sync + use<> {
        let seen = self.clone();
        move |message: String, _| {
            seen.push(message);
            std::future::ready(())
        }
    }
}

/// Waits for a condition, with a generous limit.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..2_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came that {what}");
}
