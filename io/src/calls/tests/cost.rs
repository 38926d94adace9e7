//! What the calls cost, here and in Redis. `cargo test --release -p streamkeeper --lib cost -- --ignored --nocapture`

use std::future::Future;

use super::*;

const BATCH: usize = 500;
const ROUNDS: usize = 40;

/// CPU time of this thread in µs.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<u64>().unwrap() / 1_000
}

/// CPU time of Redis's one thread in µs.
async fn spent(peer: &mut Peer) -> f64 {
    let stats = peer.text("INFO cpu").await;
    let seconds = |name: &str| -> f64 {
        stats.lines().find_map(|l| l.strip_prefix(name)).and_then(|s| s.trim().parse().ok()).unwrap_or(0.0)
    };
    1e6 * (seconds("used_cpu_user_main_thread:") + seconds("used_cpu_sys_main_thread:"))
}

async fn measure<F: Future>(what: &str, peer: &mut Peer, items: usize, work: impl FnOnce(Peer) -> F) {
    let worker = Peer {
        calls: peer.calls.clone(),
        connection: peer.connection.clone(),
        incarnation: peer.incarnation,
        number: peer.number + 1_000_000,
    };
    peer.number += 1_000_000;
    // How fast this machine is just now: the cost of one GET in a script, a quarter of a µs on an idle one.
    let idle = spent(peer).await;
    let mut calibrate = redis::cmd("EVAL");
    calibrate.arg("for i = 1, 20000 do redis.call('GET', 'x') end").arg(0);
    super::super::script::send(&mut peer.connection, &calibrate).await.unwrap();
    let get = (spent(peer).await - idle) / 20_000.0;
    let (cpu_before, spent_before) = (cpu(), spent(peer).await);
    let start = tokio::time::Instant::now();
    work(worker).await;
    let wall = start.elapsed();
    let (redis, here) = (spent(peer).await - spent_before, cpu() - cpu_before);
    let each = |micros: f64| micros / items as f64;
    println!(
        "{what:24} redis {:.2} µs ({:.0} GET of {get:.2} µs), this thread {:.2} µs, wall {:.2} µs each ({:.0}/s)",
        each(redis),
        each(redis) / get,
        each(here as f64),
        each(wall.as_micros() as f64),
        items as f64 / wall.as_secs_f64()
    );
}

#[test]
#[ignore = "a measurement"]
fn cost() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "redis-worker-0123456789-abcdefgh").await;
        let here = a.settle().await;
        let total = BATCH * ROUNDS;
        let info: Box<str> = format!("\"{}\"", "i".repeat(160)).into();
        let all: Vec<_> = (0..total)
            .map(|i| ToAnnounce {
                stream: name(&format!("stream-of-tenant-{i:08}")),
                info: Some(info.clone()),
                once: None,
            })
            .collect();
        measure("announce", &mut a, total, |mut a| async move {
            a.calls.announce(&mut a.connection, &all).await;
        })
        .await;
        let mut entries = Vec::new();
        let taken = &mut entries;
        measure("take 500", &mut a, total, |mut a| async move {
            for _ in 0..ROUNDS {
                taken.extend(a.take(BATCH).await);
            }
        })
        .await;
        assert_eq!(entries.len(), total);
        let items: Vec<_> =
            entries.iter().enumerate().map(|(i, e)| a.item(*e, &format!("stream-of-tenant-{i:08}"))).collect();
        let mut owned = Vec::new();
        let grants = &mut owned;
        let asked = &items;
        measure("acquire 500 new", &mut a, total, |mut a| async move {
            for batch in asked.chunks(BATCH) {
                let new: Vec<_> = batch.iter().map(|item| AcquireItem { fresh: true, ..item.clone() }).collect();
                for (item, answer) in batch.iter().zip(a.acquire_items(&new).await) {
                    let Acquired::Granted(grant) = answer else { panic!("{answer:?}") };
                    let (stream, attempt) = (item.stream.clone(), item.attempt);
                    grants.push(RenewItem { entry: item.entry, stream, attempt, token: grant.token });
                }
            }
        })
        .await;
        for size in [500, 100] {
            let batches: Vec<_> =
                owned.chunks(size).map(|c| Call::Renew(RenewCall { items: c.into(), recreate: None })).collect();
            let calls = &batches;
            measure(&format!("renew {size}"), &mut a, total, |mut a| async move {
                for call in calls {
                    assert_eq!(a.call(call.clone()).await.unwrap(), Answer::Renewed(Renewed::default()));
                }
            })
            .await;
        }
        let ids = &entries;
        measure("look 500", &mut a, total, |mut a| async move {
            for ids in ids.chunks(BATCH) {
                a.call(Call::Look(ids.to_vec())).await.unwrap();
            }
        })
        .await;
        measure("reap, nothing idle", &mut a, 100, |mut a| async move {
            for _ in 0..100 {
                a.call(Call::Reap { after: None, count: 1_000, room: 9 }).await.unwrap();
            }
        })
        .await;
        let half = owned.split_off(total / 2);
        let releases: Vec<_> = owned
            .chunks(BATCH)
            .map(|c| {
                let item = |i: &RenewItem| ReleaseItem {
                    entry: i.entry,
                    stream: i.stream.clone(),
                    attempt: i.attempt,
                    failure: None,
                };
                Call::Release(c.iter().map(item).collect())
            })
            .collect();
        measure("release 500", &mut a, total / 2, |mut a| async move {
            for call in &releases {
                a.call(call.clone()).await.unwrap();
            }
        })
        .await;
        let again = &items[..total / 2];
        measure("acquire 500 released", &mut a, total / 2, |mut a| async move {
            for batch in again.chunks(BATCH) {
                a.acquire_items(batch).await;
            }
        })
        .await;
        let dones: Vec<_> = half
            .chunks(BATCH)
            .map(|c| {
                let item = |i: &RenewItem| DoneItem {
                    entry: i.entry,
                    stream: i.stream.clone(),
                    attempt: i.attempt,
                    identity: here.clone(),
                };
                Call::Done(c.iter().map(item).collect())
            })
            .collect();
        measure("done 500", &mut a, total / 2, |mut a| async move {
            for call in &dones {
                a.call(call.clone()).await.unwrap();
            }
        })
        .await;
        measure("epoch", &mut a, 100, |mut a| async move {
            for nonce in 0..100 {
                let call = EpochCall {
                    settle: None,
                    nonce,
                    lived: true,
                    fresh: false,
                    waited: Duration::from_secs(3_600),
                    longest_ttl: Duration::ZERO,
                };
                a.call(Call::Epoch(call)).await.unwrap();
            }
        })
        .await;
    });
}

/// What the crowd adds to the calls that ask who shares: where nobody has counted the consumers of the group, and where
/// somebody has.
#[test]
#[ignore = "a measurement"]
fn crowd() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis, "redis-worker-0123456789-abcdefgh").await;
        a.settle().await;
        let mut crowd = 1;
        a.given("a").await;
        for size in [1, 10, 100, 300, 1_000] {
            for number in crowd..size {
                a.raw(&format!("XGROUP CREATECONSUMER svc-input svc-group redis-worker-{number:04}")).await;
            }
            crowd = size;
            for counted in [false, true] {
                a.raw("HDEL svc-epoch live").await;
                if counted {
                    let now = r"redis.call('TIME')[1]..'000'";
                    let count = format!(r"return\x20redis.call('HSET',KEYS[1],'live','{size}\x20'..{now})");
                    a.raw(&format!("EVAL {count} 1 svc-epoch")).await;
                }
                let share = Call::Take { count: 1, share: Some(1_000) };
                for (what, call) in [("look", Call::Look(Vec::new())), ("take a share", share)] {
                    let what = format!("{what}, {size} consumers{}", if counted { ", counted" } else { "" });
                    measure(&what, &mut a, 200, |mut a| async move {
                        for _ in 0..200 {
                            a.call(call.clone()).await.unwrap();
                        }
                    })
                    .await;
                }
            }
        }
    });
}
