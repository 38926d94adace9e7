//! What the calls cost in Redis. `cargo test --release -p streamkeeper --lib entries::calls::tests::cost -- --ignored --nocapture`

use super::*;

/// CPU time of Redis's one thread in µs.
async fn spent(peer: &mut Peer) -> f64 {
    let stats = peer.text("INFO cpu").await;
    let seconds = |name: &str| -> f64 {
        stats.lines().find_map(|l| l.strip_prefix(name)).and_then(|s| s.trim().parse().ok()).unwrap_or(0.0)
    };
    1e6 * (seconds("used_cpu_user_main_thread:") + seconds("used_cpu_sys_main_thread:"))
}

/// Measures some work on `items` entries or streams, in Redis's time for one GET in a script, too: how fast it is just
/// now.
async fn measure(what: &str, peer: &mut Peer, items: usize, work: impl AsyncFnOnce(&mut Peer)) {
    let idle = spent(peer).await;
    let mut calibrate = redis::cmd("EVAL");
    calibrate.arg("for i = 1, 20000 do redis.call('GET', 'x') end").arg(0);
    script::send(&mut peer.connection, &calibrate).await.unwrap();
    let before = spent(peer).await;
    let get = (before - idle) / 20_000.0;
    let start = std::time::Instant::now();
    work(peer).await;
    let wall = start.elapsed().as_secs_f64() * 1e6;
    let (redis, wall) = ((spent(peer).await - before) / items as f64, wall / items as f64);
    println!("{what:44} redis {redis:.2} µs ({:.1} GET of {get:.2} µs), wall {wall:.2} µs each", redis / get);
}

/// So many streams with so many entries each, of so many bytes.
async fn fill(peer: &mut Peer, streams: usize, entries: usize, bytes: usize) -> Vec<(StreamName, EntryId)> {
    peer.line("FLUSHALL").await;
    let body = "x".repeat(bytes);
    for i in 0..streams {
        let mut pipe = redis::pipe();
        for _ in 0..entries {
            pipe.cmd("XADD").arg(format!("stream-{i}")).arg("*").arg("body").arg(&body);
        }
        peer.connection.send_packed_commands(&pipe, 0, pipe.len()).await.unwrap();
    }
    (0..streams).map(|i| (stream(&format!("stream-{i}")), id("0-0"))).collect()
}

const ROUNDS: usize = 20;

#[test]
#[ignore = "a measurement"]
fn cost() {
    on_redis(&[], |redis| async move {
        let mut a = Peer::new(&redis).await;
        for (streams, entries) in [(100, 50), (1, 1_000), (100, 1)] {
            let all = fill(&mut a, streams, entries, 200).await;
            let n = ROUNDS * streams * entries;
            measure(&format!("raw XREAD, {streams} streams × {entries}"), &mut a, n, async |a| {
                let mut cmd = redis::cmd("XREAD");
                cmd.arg("COUNT").arg(entries).arg("STREAMS");
                for (name, _) in &all {
                    cmd.arg(name.as_str());
                }
                for _ in &all {
                    cmd.arg("0-0");
                }
                for _ in 0..ROUNDS {
                    script::send(&mut a.connection, &cmd).await.unwrap();
                }
            })
            .await;
            let item = |(stream, after): &(StreamName, EntryId)| FetchItem {
                stream: stream.clone(),
                after: *after,
                count: entries,
            };
            let call = Call::Fetch(all.iter().map(item).collect());
            measure(&format!("fetch, {streams} streams × {entries}"), &mut a, n, async |a| {
                for _ in 0..ROUNDS {
                    a.call(call.clone()).await.unwrap();
                }
            })
            .await;
        }
        for streams in [1, 100, 10_000] {
            a.line("FLUSHALL").await;
            let all: std::sync::Arc<[_]> = (0..streams).map(|i| (stream(&format!("stream-{i}")), id("1-0"))).collect();
            measure(&format!("wait over {streams} idle streams, in vain"), &mut a, ROUNDS * streams, async |a| {
                for _ in 0..ROUNDS {
                    let call = Call::Wait { streams: all.clone(), block: Duration::ZERO };
                    assert_eq!(a.call(call).await.unwrap(), Answer::Waited(vec![]));
                }
            })
            .await;
        }
        let names: Vec<_> = (0..500).map(|i| format!("stream-{i}")).collect();
        a.line("FLUSHALL").await;
        for name in &names {
            a.own(name).await;
        }
        measure("commit, a position", &mut a, ROUNDS * 500, async |a| {
            for i in 0..ROUNDS {
                let (from, to) = (format!("{i}-0"), format!("{}-0", i + 1));
                let items = names.iter().map(|name| position(name, &from, &to)).collect();
                assert!(a.commit_all(items).await.iter().all(|answer| *answer == Committed::Done));
            }
        })
        .await;
        measure("commit, with an INCRBY and an HSET", &mut a, ROUNDS * 500, async |a| {
            for i in 0..ROUNDS {
                let item = |(at, name): (usize, &String)| CommitItem {
                    from: (id("20-0"), mark(i as u64).filter(|_| i > 0)),
                    to: record("20-0", None, mark(i as u64 + 1)),
                    writes: [
                        Write::IncrBy(key(&format!("n{at}")), 1),
                        Write::HSet(key(&format!("h{at}")), fields(&[("f", "v")])),
                    ]
                    .into(),
                    ..position(name, "0-0", "1-0")
                };
                let items = names.iter().enumerate().map(item).collect();
                let answers = a.commit_all(items).await;
                assert!(answers.iter().all(|answer| *answer == Committed::Done), "{:?}", answers[0]);
            }
        })
        .await;
        measure("set aside", &mut a, 500, async |a| {
            let item = |name: &String| AsideItem {
                entry: ENTRY,
                stream: stream(name),
                attempt: ATTEMPT,
                id: id("1-1"),
                fields: vec![(bytes("body"), vec![b'x'; 200])],
                error: "no JSON".into(),
            };
            a.set_aside(names.iter().map(item).collect()).await.unwrap();
        })
        .await;
    });
}
