//! What owning costs while nothing happens.

use std::time::Duration;

use redis::Connection;
use streamkeeper_tests::{event::Kind, server::Server};

use crate::measure::{Table, announce, consumer, cpu, resident, script_calls, server, server_cpu, wait};

const SPAN: Duration = Duration::from_secs(30);

/// Costs per lease and heartbeat (one a second), over 30 s.
pub(crate) fn steady() -> Table {
    let mut table = Table::new([
        "steady state, streams",
        "Redis µs per lease and heartbeat",
        "a Go peer's renewal costs Redis µs, same run",
        "client µs per lease and heartbeat",
        "client bytes per stream",
        "Redis bytes per stream",
        "script calls/s",
        "disowned",
    ]);
    for streams in [1_000, 10_000, 100_000] {
        let server = server();
        let (redis_idle, client_idle) = idle(&server);
        let go = go_renewal(&server);
        let owner = consumer(&server, "owner", &["--capacity", &(streams + 1).to_string()]);
        let (empty, empty_redis) = (resident(owner.pid()), memory(&server));
        announce(&server, "s", streams);
        wait(Duration::from_secs(120), || owner.count(Kind::Added) >= streams);
        std::thread::sleep(Duration::from_secs(3));
        let (client, redis, calls) = (cpu(owner.pid()), server_cpu(&server), script_calls(&server));
        std::thread::sleep(SPAN);
        let beats = streams as f64 * SPAN.as_secs_f64();
        let per_beat =
            |used: Duration, idle: Duration| format!("{:.2}", used.saturating_sub(idle).as_secs_f64() * 1e6 / beats);
        let calls_now = script_calls(&server);
        table.row([
            streams.to_string(),
            per_beat(server_cpu(&server) - redis, redis_idle),
            format!("{go:.2}"),
            per_beat(cpu(owner.pid()) - client, client_idle),
            ((resident(owner.pid()).saturating_sub(empty)) / streams as u64).to_string(),
            ((memory(&server).saturating_sub(empty_redis)) / streams as u64).to_string(),
            format!("{:.1}", (calls_now - calls) as f64 / SPAN.as_secs_f64()),
            owner.count(Kind::Disowned).to_string(),
        ]);
    }
    table
}

/// What one renewal by a Go peer costs Redis: its script, a round trip for each lease, as its library does it.
fn go_renewal(server: &Server) -> f64 {
    const TOUCH: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) \
        elseif redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return 1 else return 0 end";
    const RENEWALS: usize = 20_000;
    let mut connection: Connection = server.connect();
    let script = redis::Script::new(TOUCH);
    let before = server_cpu(server);
    for i in 0..RENEWALS {
        let key = format!("go-{}<MUTEX_KEY_SEP>1700000000000-0", i % 1_000);
        let renewed = script.key(key).arg("redis-consumer-go").arg(60_000).invoke::<i64>(&mut connection);
        renewed.expect("the Go peer's script");
    }
    (server_cpu(server) - before).as_secs_f64() * 1e6 / RENEWALS as f64
}

/// What a server and a consumer cost in that span without any stream.
fn idle(server: &Server) -> (Duration, Duration) {
    let idler = consumer(server, "idler", &[]);
    std::thread::sleep(Duration::from_secs(1));
    let (client, redis) = (cpu(idler.pid()), server_cpu(server));
    let part = SPAN / 3;
    std::thread::sleep(part);
    let cost = ((server_cpu(server) - redis) * 3, (cpu(idler.pid()) - client) * 3);
    idler.terminate();
    idler.wait_end();
    cost
}

fn memory(server: &Server) -> u64 {
    server.info("used_memory").and_then(|text| text.parse().ok()).unwrap_or(0)
}
