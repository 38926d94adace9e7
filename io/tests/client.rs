//! The client against a real server: what an application does with it, and what it is told.
//!
//! `tests/` has the failures; here is the interface.

#![allow(clippy::disallowed_methods)] // an application of the shell

mod server;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture};
use streamkeeper::{
    Announce, ByteStream, ClaimError, ClaimLost, ClaimMode, Client, Connect, Error, FinishError, Lease, Link, Lost,
    LostReason, Notification, Notifications, RedisConnectionInfo, Retry, Tcp, Tls, TroubleKind,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::server::Server;

/// Whatever takes longer does not happen at all.
const LIMIT: Duration = Duration::from_secs(60);

async fn next(notifications: &mut Notifications) -> Notification {
    timeout(LIMIT, notifications.next()).await.expect("in time").expect("not the end")
}

async fn added(notifications: &mut Notifications) -> Lease {
    loop {
        if let Notification::Added(lease) = next(notifications).await {
            return lease;
        }
    }
}

#[tokio::test]
async fn a_lease_is_finished_given_back_and_stale_ones_do_nothing() {
    let server = Server::start(&[]).await;
    let client = server.builder("a").start().await.unwrap();
    assert_eq!(client.id().as_str(), "redis-consumer-a");
    let mut notifications = client.notifications();
    assert!(matches!(next(&mut notifications).await, Notification::Ready));

    let entry = client.announce(Announce::new("s").info(&serde_json::json!({"n": 1}))).await.unwrap();
    let first = added(&mut notifications).await;
    assert_eq!((first.entry(), first.stream().as_str(), first.info()), (entry, "s", Some(r#"{"n":1}"#)));
    assert!(first.is_valid() && !first.takeover());
    assert_eq!(client.streams_owned().len(), 1);
    sleep(Duration::from_secs(7)).await;
    assert!(first.is_valid(), "it is renewed");

    first.release().await.unwrap();
    assert!(!first.is_valid());
    assert_eq!(first.lost().await, Lost::Released);
    let second = added(&mut notifications).await;
    assert!(second.token() > first.token() && second.takeover());
    assert!(matches!(first.done().await, Err(FinishError::Released { .. })));
    assert!(second.is_valid(), "an old handle ends nothing");

    assert!(matches!(client.done_stream("other").await, Err(FinishError::NotOwned { .. })));
    client.done_stream("s").await.unwrap();
    assert_eq!(second.lost().await, Lost::Done);
    assert!(client.streams_owned().is_empty());
    assert_eq!(client.service().status().await.unwrap().announced, 0);

    let report = client.shutdown(LIMIT).await;
    assert_eq!((report.released, report.done), (0, 0));
    assert_eq!(client.shutdown(LIMIT).await, report);
    let rest: Vec<_> = notifications.collect().await;
    assert!(matches!(rest.last(), Some(Notification::Stopped(_))));
}

#[tokio::test]
async fn a_shutdown_that_is_asked_for_again_keeps_the_shorter_deadline() {
    let server = Server::start(&[]).await;
    // Long enough for what follows, since an ownership that is not answered for ends by itself; and no longer, since a new
    // server is not believed for so long.
    let client = server.builder("a").lease_ttl(Duration::from_secs(15)).heartbeat(Duration::from_secs(2));
    let client = client.start().await.unwrap();
    let mut notifications = client.notifications();
    client.announce("s").await.unwrap();
    let lease = added(&mut notifications).await;
    // From here on Redis answers nothing: only the deadline ends a shutdown, until the ownership ends.
    server.pause().await;
    let patient = tokio::spawn({
        let client = client.clone();
        async move { client.shutdown(Duration::from_secs(3_600)).await }
    });
    while lease.is_valid() {
        sleep(Duration::from_millis(10)).await;
    }
    // By itself it would end after thirteen seconds.
    let claim = timeout(Duration::from_secs(6), client.claim(lease.entry())).await;
    assert!(matches!(claim, Ok(Err(ClaimError::Stopped { .. }))), "{claim:?}");
    let report = timeout(Duration::from_secs(6), client.shutdown(Duration::ZERO)).await;
    let report = report.expect("the shorter deadline counts");
    assert_eq!((report.disowned, report.unanswered), (0, 1), "{report:?}");
    assert_eq!(patient.await.unwrap(), report);
}

#[tokio::test]
async fn handlers_run_and_their_results_count() {
    let server = Server::start(&[]).await;
    let client =
        server.builder("a").failure_backoff(Duration::from_millis(50), Duration::from_millis(50)).max_failures(2);
    let client = client.start().await.unwrap();
    let results = client.announce_many(["good", "bad", "panics", "long"]).await;
    assert!(results.iter().all(Result::is_ok));

    let (seen, stopped) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let handler = {
        let (seen, stopped) = (seen.clone(), stopped.clone());
        move |lease: Lease| {
            let (seen, stopped) = (seen.clone(), stopped.clone());
            async move {
                seen.lock().unwrap().push(lease.stream().to_string());
                match lease.stream().as_str() {
                    "good" => Ok(()),
                    "bad" => Err("it is bad"),
                    "panics" => panic!("oh no"),
                    _ => {
                        // Counts how often it is dropped instead of finished.
                        let guard = Guard(stopped);
                        sleep(10 * LIMIT).await;
                        drop(guard);
                        Ok(())
                    }
                }
            }
        }
    };
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.run(handler).await }
    });
    let dead = async {
        loop {
            let dead = client.service().dead(None, 10).await.unwrap();
            if dead.len() == 2 {
                return dead;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let dead = timeout(LIMIT, dead).await.expect("both are set aside after two failures");
    let errors: Vec<&str> = dead.iter().map(|one| &*one.error).collect();
    assert!(errors.contains(&"it is bad") && errors.contains(&"panicked: oh no"), "{errors:?}");

    let report = client.shutdown(LIMIT).await;
    assert_eq!(report.released, 1, "the long one");
    assert_eq!(running.await.unwrap().unwrap(), report);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, ["bad", "bad", "good", "long", "panics", "panics"]);
    // The handler's task is woken by the end of its lease.
    let stopped = async {
        while stopped.load(Ordering::Relaxed) < 1 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, stopped).await.expect("the long handler is stopped");
}

struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn in_manual_mode_the_application_claims() {
    let server = Server::start(&[]).await;
    let manual = |name| server.builder(name).claim(ClaimMode::Manual);
    let one = manual("one").start().await.unwrap();
    let mut told = one.notifications();
    one.announce("s").await.unwrap();
    let lease = added(&mut told).await;

    let other = manual("other").start().await.unwrap();
    let lost = other.claim(lease.entry()).await.unwrap_err();
    assert!(matches!(lost, ClaimError::Lost { why: ClaimLost::Held(_), .. }), "{lost}");
    assert_eq!(other.claim("1-1".parse().unwrap()).await.unwrap_err().to_string().split(' ').nth(1), Some("1-1"));

    let mut hears = other.notifications();
    one.shutdown(LIMIT).await;
    let expired = loop {
        if let Notification::Expired { entry, stream, .. } = next(&mut hears).await {
            assert_eq!(stream.as_str(), "s");
            break entry;
        }
    };
    let claimed = other.claim(expired).await.unwrap();
    assert!(claimed.token() > lease.token() && claimed.is_valid());
    assert_eq!(added(&mut hears).await.token(), claimed.token(), "the notifications tell it too");
    other.shutdown(LIMIT).await;
    assert_eq!(other.claim(expired).await.unwrap_err(), ClaimError::Stopped { entry: expired });
}

#[tokio::test]
async fn dropping_or_cancelling_hands_over() {
    let server = Server::start(&[]).await;
    let next_owner = server.builder("z").start().await.unwrap();
    let mut told = next_owner.notifications();
    let token = CancellationToken::new();
    for cancel in [false, true] {
        // The first to come owns it only if the other is not there yet: it is announced for the full one.
        let client = server.builder("a").cancel(&token).start().await.unwrap();
        let mut own = client.notifications();
        let mut streams = 0;
        while client.streams_owned().is_empty() {
            streams += 1;
            client.announce(format!("s{cancel}{streams}")).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        let lease = added(&mut own).await;
        if cancel {
            token.cancel();
        } else {
            drop(client);
        }
        let taken = loop {
            let taken = added(&mut told).await;
            if taken.entry() == lease.entry() {
                break taken;
            }
        };
        assert!(taken.token() > lease.token());
        assert_eq!(lease.lost().await, Lost::Released);
    }
    next_owner.shutdown(LIMIT).await;
}

#[tokio::test]
async fn everything_can_be_finished_at_once() {
    let server = Server::start(&[]).await;
    let client = server.builder("a").start().await.unwrap();
    client.announce_many((0..50).map(|n| format!("s{n}"))).await;
    let all = async {
        while client.streams_owned().len() < 50 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, all).await.expect("all are owned");
    let report = client.done_all(LIMIT).await;
    assert_eq!((report.done, report.released), (50, 0));
    assert_eq!(client.service().status().await.unwrap().announced, 0);
}

#[tokio::test]
async fn errors_at_start_say_what_to_do() {
    let server = Server::start(&["--requirepass", "secret"]).await;
    let error = server.builder("a").start().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");

    let nobody = Client::builder("svc").redis("redis://:secret@127.0.0.1:1").start_within(Duration::from_millis(300));
    let error = nobody.start().await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { trouble, .. } if trouble.kind == TroubleKind::Connection), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");

    let refused = Client::builder("svc").redis("redis://127.0.0.1:1").retry(Retry::None);
    let error = refused.start().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");

    let error = server.builder("").start().await.unwrap_err();
    assert!(matches!(error, Error::Name(_)), "{error}");
    let error = server.builder("a").heartbeat(Duration::from_secs(3)).start().await.unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    let error = Client::builder("svc").redis("nonsense").start().await.unwrap_err();
    assert!(matches!(error, Error::Url { .. }), "{error}");
}

#[tokio::test]
async fn a_repeat_with_a_key_announces_once() {
    let server = Server::start(&[]).await;
    let service = server.builder("a").service().unwrap();
    let once = || Announce::new("s").once("key", Duration::from_secs(60));
    let entry = service.announce(once()).await.unwrap();
    assert_eq!(service.announce(once()).await.unwrap(), entry);
    assert_ne!(service.announce("s").await.unwrap(), entry);
    let mixed = service.announce_many(["good", "", "better"]).await;
    assert_eq!(mixed.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
}

/// The seam of the simulation: the driver runs in place, as a task among the application's.
struct InPlace(Tcp);

impl Connect for InPlace {
    fn open(&self, link: Link) -> BoxFuture<'static, std::io::Result<Box<dyn ByteStream>>> {
        self.0.open(link)
    }

    fn login(&self) -> RedisConnectionInfo {
        self.0.login()
    }

    fn drive(&self, _name: &str, driver: BoxFuture<'static, ()>) -> std::io::Result<()> {
        self.spawn(driver);
        Ok(())
    }
}

#[tokio::test]
async fn the_driver_can_run_in_place() {
    let server = Server::start(&[]).await;
    let tcp = Tcp::new([server.url.as_str()], &Tls::default(), Duration::from_secs(1)).unwrap();
    let client = server.builder("a").connect_with(Arc::new(InPlace(tcp))).start().await.unwrap();
    let mut told = client.notifications();
    client.announce("s").await.unwrap();
    let lease = added(&mut told).await;
    // The whole process stands still for longer than the lease: it is lost by the clock, without asking anybody.
    std::thread::sleep(Duration::from_millis(6_100));
    assert!(!lease.is_valid());
    let lost = lease.lost().await;
    assert!(matches!(&lost, Lost::Disowned(LostReason::Paused(_) | LostReason::Expired(_))), "{lost:?}");
    let again = added(&mut told).await;
    assert!(again.token() > lease.token());
    client.shutdown(LIMIT).await;
}

#[tokio::test]
async fn a_token_that_was_cancelled_before_the_start_stops_it() {
    let server = Server::start(&[]).await;
    let token = CancellationToken::new();
    token.cancel();
    let client = server.builder("a").cancel(&token).start().await;
    // Whether it was still started or not: nothing hangs, and it ends.
    if let Ok(client) = client {
        client.shutdown(LIMIT).await;
        client.ended().await.unwrap();
    }
}
