//! Reading and committing while the cluster changes: each entry once, in order, in whatever order the slot's owners come.

use std::time::Duration;

use redis::RedisResult;
use streamkeeper::{Announce, Client, Lease};
use streamkeeper_tests::cluster::Cluster;
use streamkeeper_tests::flavor::Flavor;
use streamkeeper_tests::server::run_on;
use streamkeeper_tests::wait;

on_both!(commits_over_failovers_and_moves);

/// How many entries each stream gets in a round.
const ROUND: u64 = 60;

fn names() -> [String; 3] {
    // The streams that are read carry the service's tag: all lies in one slot.
    [0, 1, 2].map(|n| format!("{{svc}}s{n}"))
}

/// Runs a command wherever the slot is now, until it is answered.
fn run<T: redis::FromRedisValue>(cluster: &Cluster, words: &[&str]) -> T {
    let (mut answer, slot) = (None, cluster.slot("{svc}"));
    wait::until("an answer", || {
        let asked = || run_on(&mut cluster.node(cluster.wait_serving(slot)).try_connect()?, words);
        answer = asked().ok();
        answer.is_some()
    });
    answer.expect("it is there")
}

/// Adds the entry `n + 1`-0, that says `n`. What was added before its answer was lost is not added twice.
fn add(cluster: &Cluster, stream: &str, n: u64) {
    let slot = cluster.slot("{svc}");
    wait::until("an entry to be added", || {
        let words = ["XADD", stream, &format!("{}-0", n + 1), "body", &n.to_string()];
        let added =
            || -> RedisResult<String> { run_on(&mut cluster.node(cluster.wait_serving(slot)).try_connect()?, &words) };
        added().map_or_else(|error| error.to_string().contains("equal or smaller"), |_| true)
    });
}

/// Writes each entry into the stream's log, in one step with the commit.
async fn keep(lease: Lease) {
    let mut entries = lease.entries_as::<u64>();
    let log = lease.stream().as_str().replace("}s", "}log");
    while let Some(Ok(batch)) = entries.next_batch().await {
        for entry in batch {
            let committed = lease.commit_with(entry.id, |writes| {
                writes.rpush(&log, [entry.value.to_string()]);
            });
            if let Err(error) = committed.await {
                eprintln!("not committed: {error}");
                // Whoever owns it next reads on behind what is committed.
                let _ = lease.release().await;
                return;
            }
        }
    }
}

fn commits_over_failovers_and_moves(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let slot = cluster.slot("{svc}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let clients = runtime.block_on(async {
        let service = Client::builder("svc").redis(cluster.url()).service().unwrap();
        let announced = service.announce_many(names().iter().map(Announce::new)).await;
        assert!(announced.iter().all(Result::is_ok), "{announced:?}");
        let mut clients = Vec::new();
        for name in ["a", "b"] {
            let client = Client::builder("svc").redis(cluster.url()).name(name).start().await.unwrap();
            let running = client.clone();
            tokio::spawn(async move {
                let ended = running
                    .run(|lease| async {
                        keep(lease).await;
                        Ok::<(), std::io::Error>(())
                    })
                    .await;
                eprintln!("{name} has ended: {ended:?}");
            });
            clients.push(client);
        }
        clients
    });
    for round in 0..4 {
        for n in round * ROUND..(round + 1) * ROUND {
            names().iter().for_each(|stream| add(&cluster, stream, n));
            // In the middle of a round, so that there is something under way.
            match (n % ROUND == ROUND / 2).then_some(round) {
                Some(0) => cluster.fail_over(slot),
                Some(1) => cluster.move_slot(slot, cluster.join(), Duration::ZERO),
                Some(2) => cluster.move_slot(slot, cluster.another_primary(slot), Duration::ZERO),
                _ => {}
            }
        }
    }
    for stream in names() {
        let log = stream.replace("}s", "}log");
        let whole: Vec<u64> = (0..4 * ROUND).collect();
        let logged = || run::<Vec<u64>>(&cluster, &["LRANGE", &log, "0", "-1"]);
        wait::until("everything to be in the log", || logged().len() >= whole.len());
        assert_eq!(logged(), whole, "{stream}");
    }
    runtime.block_on(async {
        for client in clients {
            client.shutdown(Duration::from_secs(10)).await;
        }
    });
}
