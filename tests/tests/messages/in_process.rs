//! Workers within this process: what a command line cannot show.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use streamkeeper::messages::{Backoff, Builder, Consumer, Context, Dead, DeadFailure, Outcome, Worker};
use streamkeeper_tests::crew::Crew;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::Server;

on_both!(
    no_acknowledgement_is_lost,
    a_handler_of_the_dead_that_fails_is_asked_again,
    a_handler_of_the_dead_that_fails_may_be_overruled,
    panics_are_failures,
    a_stopped_consumer_leaves_nothing_pending,
);

#[derive(Debug, serde::Deserialize)]
struct Order {
    n: u64,
}

fn builder(crew: &Crew<'_>, server: &Server) -> Builder {
    Consumer::builder(crew.stream(), crew.group())
        .redis(server.url())
        .reclaim_idle(Duration::from_secs(1))
        .reclaim_interval(Duration::from_millis(200))
        .block(Duration::from_millis(500))
        .call_timeout(Duration::from_millis(250))
        .backoff(Backoff { base: Duration::from_millis(100), ..Backoff::default() })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

/// Waits for the crew's condition without standing in the way of the runtime's tasks.
async fn settled(crew: &Crew<'_>) {
    tokio::task::block_in_place(|| crew.wait_settled());
}

/// PEERS.md C, "lost acks": a handler of 200 ms at concurrency 5,000. Of 100,000 handled messages goxstreams never
/// acknowledges 1,620 to 2,836, and handles 2,400 a second time. Here: 20,000, each handled once, none left.
fn no_acknowledgement_is_lost(flavor: Flavor) {
    const COUNT: u64 = 20_000;
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    crew.send(COUNT);
    let handled: Arc<Vec<AtomicU64>> = Arc::new((0..COUNT).map(|_| AtomicU64::new(0)).collect());
    block_on(async {
        let counts = handled.clone();
        let consumer = builder(&crew, &server).reclaim_idle(Duration::from_secs(30)).concurrency(5_000).prefetch(5_000);
        let worker = move |order: Order, _: Context| {
            let counts = counts.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                counts[usize::try_from(order.n).unwrap()].fetch_add(1, Ordering::Relaxed);
            }
        };
        let consumer = consumer.start(worker).await.unwrap();
        settled(&crew).await;
        let report = consumer.shutdown(Duration::from_secs(10)).await;
        assert_eq!((report.returned, report.left), (0, 0));
    });
    assert!(handled.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    assert_eq!(crew.pending(), []);
    crew.waive("the handlers were counted here");
}

/// Fails always; and so does what is asked at last, for so many times.
struct Failing {
    refusals: u64,
    runs: AtomicU64,
    asked: Mutex<Vec<Instant>>,
}

impl Failing {
    fn new(refusals: u64) -> Arc<Failing> {
        Arc::new(Failing { refusals, runs: AtomicU64::new(0), asked: Mutex::default() })
    }
}

struct Shared(Arc<Failing>);

impl Worker<Order> for Shared {
    async fn process(&self, _: Order, _: Context) -> Outcome {
        self.0.runs.fetch_add(1, Ordering::Relaxed);
        Outcome::retry().because("no luck")
    }

    async fn process_dead(&self, dead: Dead<Order>, _: Context) -> Outcome {
        let mut asked = self.0.asked.lock().unwrap();
        asked.push(Instant::now());
        match asked.len() as u64 > self.0.refusals {
            true => Outcome::dead(dead.error()),
            false => Outcome::retry().because("the queue of the dead is down"),
        }
    }
}

/// PEERS.md C, "ProcessDead returns an error": goxstreams calls it every 3 s without end. D, "DLQ handler errors":
/// redstream has deleted the message before, it is lost. Here it is asked again after growing pauses, the handler is
/// not called again meanwhile, and in the end the message stands among the dead letters, once.
fn a_handler_of_the_dead_that_fails_is_asked_again(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    crew.send(1);
    let failing = Failing::new(3);
    block_on(async {
        let consumer = builder(&crew, &server).max_attempts(2).start(Shared(failing.clone())).await.unwrap();
        settled(&crew).await;
        consumer.shutdown(Duration::from_secs(10)).await;
    });
    assert_eq!(failing.runs.load(Ordering::Relaxed), 2);
    let asked = failing.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 4);
    let pauses: Vec<Duration> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.iter().all(|pause| *pause >= Duration::from_millis(75)), "{pauses:?}");
    assert_eq!(crew.dead_numbers(), [0]);
    assert_eq!(crew.dead()[0]["reason"], "failed");
    crew.conclude();
}

/// `DeadFailure::Bury`: it is asked once, and the message is buried whatever it says.
fn a_handler_of_the_dead_that_fails_may_be_overruled(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    crew.send(3);
    let failing = Failing::new(u64::MAX);
    block_on(async {
        let consumer = builder(&crew, &server).max_attempts(1).dead_failure(DeadFailure::Bury);
        let consumer = consumer.start(Shared(failing.clone())).await.unwrap();
        settled(&crew).await;
        consumer.shutdown(Duration::from_secs(10)).await;
    });
    assert_eq!((failing.runs.load(Ordering::Relaxed), failing.asked.lock().unwrap().len()), (3, 3));
    crew.conclude();
    assert_eq!(crew.dead_numbers(), [0, 1, 2]);
}

/// A panic is a failure like another: counted, tried again, buried with what it said; its neighbours do not notice.
fn panics_are_failures(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    crew.send(30);
    let runs: Arc<Mutex<BTreeMap<u64, u64>>> = Arc::default();
    block_on(async {
        let counts = runs.clone();
        let worker = move |order: Order, _: Context| {
            let counts = counts.clone();
            async move {
                *counts.lock().unwrap().entry(order.n).or_default() += 1;
                assert_ne!(order.n, 17, "seventeen is too much");
            }
        };
        let consumer = builder(&crew, &server).max_attempts(3).start(worker).await.unwrap();
        settled(&crew).await;
        consumer.shutdown(Duration::from_secs(10)).await;
    });
    let runs = runs.lock().unwrap();
    assert_eq!(runs.len(), 30);
    assert!(runs.iter().all(|(number, count)| *count == if *number == 17 { 3 } else { 1 }), "{runs:?}");
    let dead = crew.dead();
    assert_eq!((dead.len(), crew.dead_numbers()), (1, vec![17]));
    assert!(dead[0]["error"].contains("seventeen is too much"), "{dead:?}");
    crew.waive("the handlers were counted here");
}

/// Many start and stop in a row on one stream: nothing stays pending under anybody's name, and no name stays behind.
fn a_stopped_consumer_leaves_nothing_pending(flavor: Flavor) {
    let server = Server::start(flavor);
    let crew = Crew::on(&server);
    let handled = Arc::new(AtomicU64::new(0));
    block_on(async {
        for _ in 0..5 {
            crew.send(200);
            let count = handled.clone();
            let worker = move |_: Order, _: Context| {
                let count = count.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            };
            let consumer = builder(&crew, &server).concurrency(8).start(worker).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let report = consumer.shutdown(Duration::from_secs(10)).await;
            assert_eq!(report.left, 0);
            let held: Vec<_> = crew.pending().into_iter().filter(|(_, name, _)| name != "~delayed").collect();
            assert_eq!(held, []);
        }
        let consumer = builder(&crew, &server).start(move |_: Order, _: Context| async {}).await.unwrap();
        settled(&crew).await;
        consumer.shutdown(Duration::from_secs(10)).await;
    });
    let names: Vec<BTreeMap<String, redis::Value>> = crew.run(&["XINFO", "CONSUMERS", crew.stream(), crew.group()]);
    let names: Vec<String> = names.iter().map(|one| redis::from_redis_value(one["name"].clone()).unwrap()).collect();
    assert!(names.iter().all(|name| name == "~delayed"), "{names:?}");
    crew.waive("the handlers were counted here");
}
