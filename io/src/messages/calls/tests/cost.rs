//! What the calls cost in Redis. `cargo test --release -p streamkeeper --lib messages::calls::tests::cost -- --ignored --nocapture`

use super::*;
use crate::messages::calls::{ToSchedule, ToSend};
use streamkeeper_core::messages::config::Processed;

const BATCH: usize = 500;
const TOTAL: usize = 20_000;

/// CPU time of Redis's one thread in µs.
async fn spent(peer: &mut Peer) -> f64 {
    let stats = peer.text("INFO cpu").await;
    let seconds = |name: &str| -> f64 {
        stats.lines().find_map(|l| l.strip_prefix(name)).and_then(|s| s.trim().parse().ok()).unwrap_or(0.0)
    };
    1e6 * (seconds("used_cpu_user_main_thread:") + seconds("used_cpu_sys_main_thread:"))
}

/// Measures some work on `items` messages, in Redis's time for one GET in a script, too: how fast it is just now.
async fn measure(what: &str, peer: &mut Peer, items: usize, work: impl AsyncFnOnce(&mut Peer)) {
    let idle = spent(peer).await;
    let mut calibrate = redis::cmd("EVAL");
    calibrate.arg("for i = 1, 20000 do redis.call('GET', 'x') end").arg(0);
    script::send(&mut peer.connection, &calibrate).await.unwrap();
    let get = (spent(peer).await - idle) / 20_000.0;
    let before = spent(peer).await;
    let start = std::time::Instant::now();
    work(peer).await;
    let wall = start.elapsed();
    let each = (spent(peer).await - before) / items as f64;
    println!(
        "{what:36} redis {each:.2} µs ({:.0} GET of {get:.2} µs), wall {:.2} µs each",
        each / get,
        wall.as_micros() as f64 / items as f64
    );
}

async fn all(peer: &mut Peer, calls: Vec<Call>) {
    for call in calls {
        peer.call(call).await.unwrap();
    }
}

fn in_batches<T>(items: &[T], call: impl Fn(&[T]) -> Call) -> Vec<Call> {
    items.chunks(BATCH).map(call).collect()
}

/// As many messages, read.
async fn held(peer: &mut Peer) -> Vec<Hold> {
    let item = ToSend { fields: body(&"x".repeat(200)).to_vec(), once: None };
    peer.calls.send_all(&mut peer.connection, &vec![item; TOTAL]).await;
    let mut holds = Vec::new();
    while holds.len() < TOTAL {
        holds.extend(peer.read(BATCH).await);
    }
    holds
}

/// Takes everything that is due.
async fn take_all(peer: &mut Peer) -> Vec<Hold> {
    let mut holds = Vec::new();
    while holds.len() < TOTAL {
        holds.extend(peer.due(BATCH).await.0.into_iter().map(|d| d.hold));
    }
    holds
}

fn acks(holds: &[Hold], recorded: bool, processed: bool) -> Vec<Call> {
    let ack = |hold: &Hold| AckItem {
        entry: hold.entry,
        recorded,
        processed: processed.then(|| hold.entry.to_string().into_bytes().into()),
    };
    in_batches(holds, |holds| Call::Ack(holds.iter().map(ack).collect()))
}

#[test]
#[ignore = "a measurement"]
fn cost() {
    on_redis(&[], |redis| async move {
        let processed = Some(Processed { age: Duration::from_secs(60), by: None });
        let mut a = Peer::with(&redis, "worker-0123456789", Settings { processed, ..settings() }, false).await;
        a.call(Call::Prepare).await.unwrap();
        let item = ToSend { fields: body(&"x".repeat(200)).to_vec(), once: None };
        let items = vec![item; TOTAL];
        measure("send, pipelined", &mut a, TOTAL, async |a| {
            a.calls.send_all(&mut a.connection, &items).await;
        })
        .await;
        let once: Vec<_> = (0..TOTAL)
            .map(|i| ToSend { once: Some((i.to_string().into(), Duration::from_secs(60))), ..items[0].clone() })
            .collect();
        measure("send once, pipelined", &mut a, TOTAL, async |a| {
            a.calls.send_all(&mut a.connection, &once).await;
        })
        .await;
        let later = |i: usize| ToSchedule {
            id: i.to_string().into(),
            delay: Duration::ZERO,
            window: Duration::from_secs(60),
            fields: items[0].fields.clone(),
        };
        let scheduled: Vec<_> = (0..TOTAL).map(later).collect();
        measure("schedule, pipelined", &mut a, TOTAL, async |a| {
            a.calls.schedule(&mut a.connection, &scheduled).await;
        })
        .await;
        measure("scheduled into the stream", &mut a, TOTAL, async |a| while a.due(0).await.1.is_some() {}).await;
        let mut holds = Vec::new();
        measure("read", &mut a, 3 * TOTAL, async |a| {
            while holds.len() < 3 * TOTAL {
                holds.extend(a.read(BATCH).await);
            }
        })
        .await;
        let calls = acks(&holds[..TOTAL], false, false);
        measure("ack, plain", &mut a, TOTAL, async |a| all(a, calls).await).await;
        let calls = acks(&holds[TOTAL..2 * TOTAL], true, false);
        measure("ack, recorded", &mut a, TOTAL, async |a| all(a, calls).await).await;
        let calls = acks(&holds[2 * TOTAL..], false, true);
        measure("ack, remembered as processed", &mut a, TOTAL, async |a| all(a, calls).await).await;

        let delete = Settings { delete_after_success: true, ..settings() };
        let (calls, holds) = (calls_of(&mut a, delete), held(&mut a).await);
        let acks_of = acks(&holds, false, false);
        measure("ack, deleted", &mut a, TOTAL, async |a| {
            for call in acks_of {
                calls.execute(&mut a.connection, &call).await.unwrap();
            }
        })
        .await;

        let holds = held(&mut a).await;
        let calls = in_batches(&holds, |holds| Call::Refresh(holds.to_vec()));
        measure("refresh", &mut a, TOTAL, async |a| all(a, calls).await).await;
        let calls = in_batches(&holds, |holds| Call::Fetch(holds.iter().map(|h| h.entry).collect()));
        measure("fetch", &mut a, TOTAL, async |a| all(a, calls).await).await;
        let mark = |hold: &Hold| MarkItem { hold: *hold, mark: Mark::Started };
        let calls = in_batches(&holds, |holds| Call::Mark(holds.iter().map(mark).collect()));
        measure("mark started", &mut a, TOTAL, async |a| all(a, calls).await).await;
        let park = |hold: &Hold, failure: Option<&str>| ParkItem {
            hold: *hold,
            delay: Duration::ZERO,
            failure: failure.map(Into::into),
        };
        let calls =
            in_batches(&holds, |holds| Call::Park(holds.iter().map(|h| park(h, Some("no such order"))).collect()));
        measure("park, failed", &mut a, TOTAL, async |a| all(a, calls).await).await;
        let mut holds = Vec::new();
        measure("due, with a record", &mut a, TOTAL, async |a| holds = take_all(a).await).await;
        let calls = in_batches(&holds, |holds| Call::Park(holds.iter().map(|h| park(h, None)).collect()));
        measure("park, given back", &mut a, TOTAL, async |a| all(a, calls).await).await;
        measure("due, nothing (100 parked later)", &mut a, 200, async |a| {
            a.raw("RENAME m:g:delayed elsewhere").await;
            a.raw("ZADD m:g:delayed 9999999999999 1-1").await;
            for _ in 0..200 {
                a.due(BATCH).await;
            }
            a.raw("RENAME elsewhere m:g:delayed").await;
        })
        .await;
        let mut b = Peer::with(&redis, "reclaimer", settings(), false).await;
        measure("reclaim, 20,000 parked, nothing idle", &mut b, 100, async |b| {
            for _ in 0..100 {
                b.call(Call::Reclaim).await.unwrap();
            }
        })
        .await;
        let holds = take_all(&mut a).await;
        measure("reclaim, 20,000 live", &mut b, 100, async |b| {
            for _ in 0..100 {
                b.call(Call::Reclaim).await.unwrap();
            }
        })
        .await;
        let mut idle = redis::cmd("XCLAIM");
        idle.arg("m").arg("g").arg(a.me()).arg(0);
        for hold in &holds {
            idle.arg(hold.entry.to_string());
        }
        idle.arg("IDLE").arg(60_000).arg("JUSTID");
        script::send(&mut a.connection, &idle).await.unwrap();
        measure("reclaim, all idle", &mut b, TOTAL, async |b| {
            while matches!(b.call(Call::Reclaim).await.unwrap(), Answer::Reclaimed(r) if r.more) {}
        })
        .await;
        let holds = take_all(&mut a).await;
        let bury =
            |hold: &Hold| BuryItem { hold: *hold, reason: Reason::Failed, error: "no such order".into(), gone: None };
        let calls = in_batches(&holds, |holds| Call::Bury(holds.iter().map(bury).collect()));
        measure("bury", &mut a, TOTAL, async |a| all(a, calls).await).await;
        measure("permits", &mut a, 1_000, async |a| {
            let rate = streamkeeper_core::messages::config::Rate { count: 1_000_000, per: Duration::from_secs(1) };
            let limited = calls_of(a, Settings { group_rate: Some(rate), ..settings() });
            for _ in 0..1_000 {
                limited.execute(&mut a.connection, &Call::Permits { count: 1 }).await.unwrap();
            }
        })
        .await;
        measure("trim", &mut a, TOTAL, async |a| while a.calls.trim(&mut a.connection, 0).await.unwrap() > 0 {}).await;
    });
}

fn calls_of(peer: &mut Peer, settings: Settings) -> Calls {
    let config = Config::new(settings).unwrap();
    Calls::new(peer.calls.0.keys.clone(), peer.calls.0.consumer.clone(), config)
}
