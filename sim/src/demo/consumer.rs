//! A consumer's process: the real client over TCP, and an application that works.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use futures::StreamExt;
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use streamkeeper::{Client, Clock, Lease, Notification};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    lines::{Held, Line, Said},
    work::{Ledger, STEP, STEPS, Step},
};

/// Where the URL of Redis stands, which may have a password and does not belong on a command line.
pub(super) const URL: &str = "STREAMKEEPER_DEMO_REDIS";
/// How often it is said what is owned.
const LOOK: Duration = Duration::from_millis(100);

/// Who it is.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Of which service.
    pub service: String,
    /// Its name in the fleet.
    pub name: String,
    /// `lease_ttl`.
    pub lease_ttl: Duration,
}

/// Consumes until it is told to stop by SIGTERM, or the demo ends.
///
/// # Errors
/// The client could not be started, or has ended not by wish.
pub async fn consume(consumer: Consumer) -> Result<(), String> {
    end_with_the_demo();
    let served = serve(&consumer).await.map_err(|error| error.to_string());
    if let Err(why) = &served {
        say(Said::Terminated { why: why.clone() });
    }
    served
}

async fn serve(consumer: &Consumer) -> Result<(), Box<dyn std::error::Error>> {
    let mut told_to_stop = signal(SignalKind::terminate())?;
    let url = std::env::var(URL)?;
    let client = Client::builder(&consumer.service)
        .redis(&url)
        .name(&consumer.name)
        .lease_ttl(consumer.lease_ttl)
        .heartbeat(consumer.lease_ttl * 3 / 10)
        .start()
        .await?;
    say(Said::Ready { id: client.id().to_string() });
    let mut notifications = client.notifications();
    let mut look = tokio::time::interval(LOOK);
    let work = Work { url, ledger: Ledger::new(&consumer.service), consumer: consumer.name.clone() };
    loop {
        tokio::select! {
            biased;
            notification = notifications.next() => match notification {
                Some(Notification::Added(lease)) => {
                    added(&lease);
                    tokio::spawn(work.clone().job(lease));
                }
                Some(Notification::Terminated(trouble)) => return Err(trouble.to_string().into()),
                Some(notification) => ended(&notification),
                None => return Ok(()),
            },
            _ = told_to_stop.recv() => {
                let client = client.clone();
                tokio::spawn(async move { client.shutdown(Duration::from_secs(2)).await });
            }
            _ = look.tick() => holds(&client),
        }
    }
}

fn added(lease: &Lease) {
    let (stream, entry, token) = (lease.stream().to_string(), lease.entry().to_string(), lease.token().0);
    let (takeover, until_us) = (lease.takeover(), lease.valid_until().as_micros());
    say(Said::Added { stream, entry, token, takeover, until_us });
}

fn ended(notification: &Notification) {
    let (entry, stream, token, how) = match notification {
        Notification::Done { entry, stream, token, .. } => (entry, stream, token, "done"),
        Notification::Released { entry, stream, token, .. } => (entry, stream, token, "released"),
        Notification::Disowned { entry, stream, token, reason, .. } => (entry, stream, token, reason.label()),
        Notification::Stopped(_) => return say(Said::Stopped),
        _ => return,
    };
    let (stream, entry, token) = (stream.to_string(), entry.to_string(), token.0);
    say(Said::Ended { stream, entry, token, how: how.to_owned() });
}

fn holds(client: &Client) {
    let leases = client.streams_owned();
    let held = |lease: &Lease| Held {
        stream: lease.stream().to_string(),
        token: lease.token().0,
        until_us: lease.valid_until().as_micros(),
    };
    say(Said::Holds { leases: leases.iter().map(held).collect() });
}

#[derive(Clone)]
struct Work {
    url: String,
    ledger: Ledger,
    consumer: String,
}

impl Work {
    /// Does what is left of a job, and finishes it.
    async fn job(self, lease: Lease) {
        let mut redis = None;
        while lease.is_valid() {
            match self.steps(&lease, &mut redis).await {
                Ok(true) => {
                    // How it ends is read among the notifications.
                    let _ = lease.done().await;
                    return;
                }
                Ok(false) => return,
                Err(_) => {
                    redis = None;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Whether the job is done; otherwise it is somebody else's.
    async fn steps(&self, lease: &Lease, redis: &mut Option<MultiplexedConnection>) -> Result<bool, redis::RedisError> {
        let stream = lease.stream().as_str();
        let redis = match redis {
            Some(redis) => redis,
            None => redis.insert(self.connect().await?),
        };
        let mut done = self.ledger.done(redis, stream).await?;
        while done < STEPS {
            tokio::time::sleep(STEP).await;
            // It should look whether it is still the owner before it writes, and does not, as many do not: after it
            // stood still, the ledger refuses it by its token.
            match self.ledger.write(redis, stream, lease.token().0, &self.consumer).await? {
                Step::Done(steps) => done = steps,
                Step::Refused => {
                    say(Said::Refused { stream: stream.to_owned() });
                    return Ok(false);
                }
            }
            let (stream, entry, token) = (stream.to_owned(), lease.entry().to_string(), lease.token().0);
            say(Said::Wrote { stream, entry, token });
        }
        Ok(true)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, redis::RedisError> {
        let span = Some(Duration::from_secs(1));
        let config = AsyncConnectionConfig::new().set_connection_timeout(span).set_response_timeout(span);
        redis::Client::open(self.url.as_str())?.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// Says something to the demo. Without a demo there is nothing to be done any more.
fn say(said: Said) {
    let line = Line { at_us: Clock::system().now().as_micros(), said };
    let Ok(mut text) = serde_json::to_vec(&line) else { return };
    text.push(b'\n');
    let mut stdout = io::stdout().lock();
    if stdout.write_all(&text).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Whatever ends the demo ends this process: by the kernel, even if it stands still, where there is such a thing; by the
/// end of its input everywhere.
fn end_with_the_demo() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = io::stdin().read_to_end(&mut rest);
        std::process::exit(1);
    });
}
