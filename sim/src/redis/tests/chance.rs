//! Whatever is sent and whatever befalls it: no panic, one answer to each request, and no waking in circles.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use super::*;
use crate::plan::Refusal;

const WORDS: [&str; 60] = [
    "",
    "0",
    "1",
    "-1",
    "99999999999999999999",
    "k",
    "s",
    "g",
    "c",
    "l",
    "*",
    ">",
    "$",
    "-",
    "+",
    "1-1",
    "0-0",
    "x y",
    "BLOCK",
    "COUNT",
    "STREAMS",
    "GROUP",
    "MKSTREAM",
    "PX",
    "NX",
    "XX",
    "EX",
    "GET",
    "TYPE",
    "ID",
    "on",
    "~*",
    "+@all",
    "&*",
    ">p",
    "default",
    "u",
    "AUTH",
    "SETNAME",
    "return KEYS",
    "return redis.call(unpack(ARGV))",
    "normal",
    "ERROR",
    "notify-keyspace-events",
    "KEA",
    "maxmemory",
    "hz",
    "server",
    "no",
    "one",
    "127.0.0.1",
    "SYNC",
    "\u{e4}\u{0}",
    "JUSTID",
    "MAXLEN",
    "~",
    "FORCE",
    "IDLE",
    "LIMIT",
    "KEEPTTL",
];

const FAULTS: [RedisFault; 16] = [
    RedisFault::Crash { ms: 150 },
    RedisFault::Restart { ms: 0 },
    RedisFault::Failover { ms: 70 },
    RedisFault::ClockStep { by_ms: 5_000 },
    RedisFault::ClockStep { by_ms: -5_000 },
    RedisFault::Stall { ms: 120 },
    RedisFault::DropMessages { ms: 90 },
    RedisFault::DelayMessages { by_ms: 40, ms: 90 },
    RedisFault::DoubleMessages { ms: 90 },
    RedisFault::Refuse { with: Refusal::ReadOnly, ms: 130 },
    RedisFault::Refuse { with: Refusal::Loading, ms: 130 },
    RedisFault::Disconnect,
    RedisFault::FlushAll,
    RedisFault::DeleteLbs,
    RedisFault::Evict { nth: 3 },
    RedisFault::WrongType { nth: 1, ms: 60 },
];

fn request(rng: &mut SmallRng, names: &[String]) -> Vec<u8> {
    let name = names.choose(rng).map_or("PING", String::as_str);
    let mut args: Vec<&str> = name.split('|').collect();
    for _ in 0..rng.random_range(0..7) {
        args.extend(WORDS.choose(rng));
    }
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    out
}

#[test]
fn it_comes_to_rest() {
    let names: Vec<String> =
        super::super::commands::names().filter(|name| *name != "shutdown").map(str::to_owned).collect();
    for seed in 0..60 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut talk = Talk::with(|plan| {
            (plan.persistence, plan.replica_lag_ms) = (Persistence::Aof, 50);
            plan.notify = "KEA".to_owned();
        });
        talk.redis.observe();
        let mut conns: Vec<ConnId> = (0..4).map(|_| talk.connect()).collect();
        for _ in 0..300 {
            let place = rng.random_range(0..conns.len());
            talk.redis.receive(conns[place], &request(&mut rng, &names), talk.now);
            talk.collect();
            if rng.random_ratio(1, 20) {
                talk.inject(FAULTS[rng.random_range(0..FAULTS.len())].clone());
            }
            if rng.random_ratio(1, 4) {
                talk.wait(rng.random_range(0..120));
            }
            // Who was cut off, or can say nothing any more, is replaced by somebody new.
            if rng.random_ratio(1, 10) {
                talk.redis.hang_up(conns[place], talk.now);
                conns[place] = talk.connect();
            }
        }
        talk.wait(60_000);
        let last = talk.connect();
        let answer = talk.ask(last, "HELLO");
        assert!(answer.starts_with("*14|") || answer.starts_with("-NOAUTH"), "seed {seed}: {answer}");
    }
}

#[test]
fn the_same_requests_are_answered_the_same() {
    let names: Vec<String> = super::super::commands::names().map(str::to_owned).collect();
    let run = || {
        let mut rng = SmallRng::seed_from_u64(5);
        let mut talk = Talk::new();
        let a = talk.connect();
        for _ in 0..500 {
            talk.redis.receive(a, &request(&mut rng, &names), talk.now);
            talk.collect();
            talk.wait(7);
        }
        talk.heard
    };
    assert_eq!(run(), run());
}
