//! Whole plans as text.

use std::{fmt, str::FromStr, time::Duration};

use super::{
    Unreadable, action,
    consumer::consumer,
    span::{RANGE, SPAN, parse_ms, parse_span, parse_us, print_ms, print_span, print_us, range},
    words::{Words, choice, quote},
    worker::worker,
};
use crate::plan::{Persistence, Plan, RedisPlan, Servers, Timed};

const LINE: &str = "a setting (seed, latency, heal-at, calm, finish, redis, topology), a consumer, a worker, or an action with its time in front";
const REDIS_SETTINGS: &str = "persistence=, hz=, notify=, config=, replica-lag=, other-keys= or uptime=";
const PERSISTENCE: &str = "`none`, `rdb:` and its interval, `aof` or `aof-always`";

impl FromStr for Plan {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Plan, Unreadable> {
        let mut plan = Plan::default();
        let mut actions = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let mut words = Words::new(index + 1, line);
            let Some(first) = words.maybe()? else { continue };
            if let Some(at) = parse_span(&first) {
                actions.push((at, first, words));
                continue;
            }
            setting(&mut plan, &first, &mut words)?;
            words.end()?;
        }
        // Last, since an action may stand above the consumer that it names.
        let names: Vec<String> = plan.consumers.iter().map(|consumer| consumer.name.clone()).collect();
        for (at, first, mut words) in actions {
            let action = action::parse(&mut words, &names)?;
            if action.consumer().is_some_and(|consumer| consumer >= names.len()) {
                return Err(words.wrong(&format!("{first} {action}"), "a consumer that the plan has"));
            }
            words.end()?;
            plan.actions.push(Timed { at, action });
        }
        plan.actions.sort_by_key(|timed| timed.at);
        Ok(plan)
    }
}

fn setting(plan: &mut Plan, first: &str, words: &mut Words) -> Result<(), Unreadable> {
    match first {
        "seed" => plan.seed = words.number("a number")?,
        "latency" => plan.latency_us = words.read(RANGE, |word| range(word, parse_us))?,
        "heal-at" => plan.heal_at = words.read(SPAN, parse_span)?,
        "calm" => plan.calm = words.read(SPAN, parse_span)?,
        "finish" => plan.finish = words.read("`yes` or `no`", |word| choice(word, "yes", "no"))?,
        "redis" => redis(&mut plan.redis, words)?,
        "topology" => plan.servers = servers(words)?,
        "consumer" => plan.consumers.push(consumer(words)?),
        "worker" => plan.consumers.push(worker(words)?),
        other => return Err(words.wrong(other, LINE)),
    }
    Ok(())
}

fn redis(redis: &mut RedisPlan, words: &mut Words) -> Result<(), Unreadable> {
    while let Some(word) = words.maybe()? {
        let (key, value) = word.split_once('=').ok_or_else(|| words.wrong(&word, REDIS_SETTINGS))?;
        let wrong = |expected: &str| words.wrong(&word, expected);
        match key {
            "persistence" => redis.persistence = persistence(value).ok_or_else(|| wrong(PERSISTENCE))?,
            "hz" => {
                let hz = value.parse().ok().filter(|hz| (1..=500).contains(hz));
                redis.hz = hz.ok_or_else(|| wrong("hz= and a number from 1 to 500"))?;
            }
            "notify" => redis.notify = value.to_owned(),
            "config" => {
                let allowed = choice(value, "allowed", "forbidden");
                redis.config_allowed = allowed.ok_or_else(|| wrong("config=allowed or config=forbidden"))?;
            }
            "replica-lag" => redis.replica_lag_ms = parse_ms(value).ok_or_else(|| wrong(SPAN))?,
            "other-keys" => redis.other_keys = value.parse().map_err(|_| wrong("other-keys= and a number"))?,
            "uptime" => {
                let up = parse_span(value).filter(|up| up.subsec_nanos() == 0);
                redis.uptime_s = up.ok_or_else(|| wrong("uptime= and whole seconds"))?.as_secs();
            }
            _ => return Err(wrong(REDIS_SETTINGS)),
        }
    }
    Ok(())
}

fn servers(words: &mut Words) -> Result<Servers, Unreadable> {
    let topology = words.read("one, sentinel or cluster", |word| word.parse().ok())?;
    let wait_ms = match words.maybe()? {
        None => None,
        Some(word) => {
            let ms = word.strip_prefix("wait=").and_then(parse_ms);
            Some(ms.ok_or_else(|| words.wrong(&word, "wait= and a length of time, or the end of the line"))?)
        }
    };
    Ok(Servers { topology, wait_ms })
}

fn persistence(text: &str) -> Option<Persistence> {
    match text {
        "none" => Some(Persistence::None),
        "aof" => Some(Persistence::Aof),
        "aof-always" => Some(Persistence::AofAlways),
        _ => {
            let every_ms = parse_ms(text.strip_prefix("rdb:")?).filter(|ms| *ms > 0)?;
            Some(Persistence::Rdb { every_ms })
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.latency_us;
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "latency {}..{}", print_us(least), print_us(most))?;
        writeln!(f, "heal-at {}", print_span(self.heal_at))?;
        writeln!(f, "calm {}", print_span(self.calm))?;
        writeln!(f, "finish {}", if self.finish { "yes" } else { "no" })?;
        writeln!(f, "redis {}", self.redis)?;
        if !self.servers.is_usual() {
            writeln!(f, "topology {}", self.servers)?;
        }
        for consumer in &self.consumers {
            let kind = if consumer.worker.is_some() { "worker" } else { "consumer" };
            writeln!(f, "{kind} {consumer}")?;
        }
        for timed in &self.actions {
            writeln!(f, "{:<9} {}", print_span(timed.at), timed.action)?;
        }
        Ok(())
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.topology)?;
        self.wait_ms.map_or(Ok(()), |ms| write!(f, " wait={}", print_ms(ms)))
    }
}

impl fmt::Display for RedisPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let persistence = match self.persistence {
            Persistence::None => "none".to_owned(),
            Persistence::Rdb { every_ms } => format!("rdb:{}", print_ms(every_ms)),
            Persistence::Aof => "aof".to_owned(),
            Persistence::AofAlways => "aof-always".to_owned(),
        };
        let notify = quote(&format!("notify={}", self.notify));
        let config = if self.config_allowed { "allowed" } else { "forbidden" };
        write!(f, "persistence={persistence} hz={} {notify} config={config}", self.hz)?;
        write!(f, " replica-lag={} other-keys={}", print_ms(self.replica_lag_ms), self.other_keys)?;
        write!(f, " uptime={}", print_span(Duration::from_secs(self.uptime_s)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{Action, Profile};

    #[test]
    fn the_example_of_the_module_is_read() {
        let text: String = include_str!("mod.rs")
            .lines()
            .skip_while(|line| *line != "//! ```text")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| format!("{}\n", line.trim_start_matches("//! ")))
            .collect();
        let plan: Plan = text.parse().unwrap();
        insta::assert_snapshot!(plan, @r#"
        seed 17
        latency 200us..1ms
        heal-at 38s
        calm 22s
        finish yes
        redis persistence=aof hz=10 notify=KEx config=allowed replica-lag=20ms other-keys=0 uptime=3600s
        consumer a ttl=3s heartbeat=1s reap=200ms claim-delay=150ms capacity=100 claim=auto max-takeovers=10 max-failures=10 buffer=1000 drift=0ppm app=reads work=100ms..2s ends=done:5,release:1 reads-every=0s
        consumer b go ttl=3s heartbeat=1s reap=200ms claim-delay=150ms capacity=10000 claim=auto max-takeovers=10 max-failures=10 buffer=1000 drift=0ppm app=reads work=never ends=done:1 reads-every=0s
        0s        announce orders-1..40
        12.345s   pause c1 4s at answer
        20s       redis failover 900ms
        "#);
    }

    #[test]
    fn readers_and_what_they_read_are_read() {
        let text = "consumer r entries=10 takes=1ms..20ms commits=effects\nconsumer s commits=500ms prefetch=7 prefetch-total=20\n\
            1s append 20 simulated:data-1..3\n2s redis trim-data 1 5\n";
        let plan: Plan = text.parse().unwrap();
        let text = plan.to_string();
        assert!(text.contains(" entries=10 prefetch=200 takes=1ms..20ms commits=effects\n"), "{text}");
        assert!(text.contains(" entries=100 prefetch=7 prefetch-total=20 takes=1ms..10ms commits=500ms\n"), "{text}");
        assert!(text.ends_with("append 20 simulated:data-1..3\n2s        redis trim-data 1 5\n"), "{text}");
        assert_eq!(text.parse(), Ok(plan));
    }

    #[test]
    fn workers_and_what_is_sent_to_them_are_read() {
        let text = "worker w absent drift=-5ppm concurrency=2 idle=4s block=1s backoff=50ms..1s timeout=2s rate=5/1s deletes\n\
            1s send 4\n1s send 2 fails 3 taking 50ms delayed 2s once 7 keyed 1\n2s send 1 hangs\n2s send 1 crashes\n\
            3s lose-send after 2\n4s redis unpark 3\n5s redis delete-attempts\n6s crash w\n";
        let plan: Plan = text.parse().unwrap();
        insta::assert_snapshot!(plan, @r#"
        seed 0
        latency 200us..1ms
        heal-at 38s
        calm 22s
        finish yes
        redis persistence=aof hz=10 notify= config=allowed replica-lag=0s other-keys=0 uptime=3600s
        worker w absent drift=-5ppm concurrency=2 prefetch=16 batch=1000 block=1s idle=4s reclaim=1s due=250ms ack-delay=5ms sweep=60s attempts=5 crashes=3 backoff=50ms..1s factor=2 jitter=20 timeout=2s rate=5/1s deletes
        1s        send 4
        1s        send 2 fails 3 taking 50ms delayed 2s once 7 keyed 1
        2s        send 1 hangs
        2s        send 1 crashes
        3s        lose-send after 2
        4s        redis unpark 3
        5s        redis delete-attempts
        6s        crash c0
        "#);
        assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let cases = [
            "sead 5",
            "seed five",
            "latency 5ms..1ms",
            "redis hz=0",
            "redis persistence=rdb:0s",
            "redis uptime=1.5s",
            "consumer a\nconsumer b ttl=3s heartbeat=2s",
            "consumer a ends=dome:3",
            "consumer a drift=3%",
            "consumer a colour=red",
            "consumer a\n1s pause a 4sec",
            "consumer a\n1s pause a 4s at lunch",
            "consumer a\n1s pause b 4s",
            "consumer a\n1s pause c1 4s",
            "consumer a\n1s pause a 4s now",
            "1s explode",
            "1s redis explode",
            "1s redis refuse politely 5s",
            "1s redis clock 5",
            "1s announce orders",
            "1s announce orders-07",
            "1s announce orders-4..2",
            "1s",
            "worker w concurrency=none",
            "worker w rate=5",
            "worker w ttl=3s",
            "worker w idle=3s block=4s",
            "1s send many",
            "1s send 3 sings",
            "1s send 3 fails 2 fails 3",
            "topology ring",
            "topology cluster wait=soon",
            "1s redis cut c0 5s",
            "1s redis switch 5s after lunch",
        ];
        let said: Vec<String> = cases.iter().map(|text| text.parse::<Plan>().unwrap_err().to_string()).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        line 1: found `sead`, expected a setting (seed, latency, heal-at, calm, finish, redis, topology), a consumer, a worker, or an action with its time in front
        line 1: found `five`, expected a number
        line 1: found `5ms..1ms`, expected two lengths of time such as `100ms..2s`
        line 1: found `hz=0`, expected hz= and a number from 1 to 500
        line 1: found `persistence=rdb:0s`, expected `none`, `rdb:` and its interval, `aof` or `aof-always`
        line 1: found `uptime=1.5s`, expected uptime= and whole seconds
        line 2: found `b`, expected settings that go together: heartbeat is 2s, but must be at most a third of lease_ttl (a third of lease_ttl is 1s): lower heartbeat or raise lease_ttl
        line 1: found `ends=dome:3`, expected weights such as `ends=done:5,release:1` of done, release, fail, panic, hang
        line 1: found `drift=3%`, expected parts per million within the margin of a lease, such as `drift=-150ppm`: at most 52631, each way
        line 1: found `colour=red`, expected go, absent, ttl=, heartbeat=, reap=, claim-delay=, heirs=, capacity=, claim=, max-takeovers=, max-failures=, buffer=, drift=, app=, work=, ends=, reads-every=, never-reads, entries=, prefetch=, prefetch-total=, takes= or commits=
        line 2: found `4sec`, expected a length of time such as `4s`, `1.5s` or `250ms`
        line 2: found `lunch`, expected `answer`, `handler` or `call`
        line 2: found `b`, expected a consumer: its name, or `c0`, `c1` …
        line 2: found `1s pause c1 4s`, expected a consumer that the plan has
        line 2: found `now`, expected the end of the line
        line 1: found `explode`, expected an action: announce, append, malformed, send, start, crash, drain, pause, suspend, partition, stall, reset, slow, lose-answer, lose-send, done, release, fail, redis or note
        line 1: found `explode`, expected what befalls Redis: crash, restart, failover, clock, stall, drop-messages, delay-messages, double-messages, clear-flags, refuse, disconnect, forget-scripts, destroy-group, delete-lbs, trim, trim-data, flush-all, evict, switch, cut, freeze, kill, detach, move-slot, stale, delete-consumer, redeliver, delete-attempts, delete-delayed, unpark or wrong-type
        line 1: found `politely`, expected loading, readonly, masterdown, oom, busy, misconf, noreplicas, maxclients, noperm, tryagain, clusterdown
        line 1: found `5`, expected a step such as `+5s` or `-250ms`
        line 1: found `orders`, expected streams such as `orders-7` or `orders-1..40`
        line 1: found `orders-07`, expected streams such as `orders-7` or `orders-1..40`
        line 1: found `orders-4..2`, expected streams such as `orders-7` or `orders-1..40`
        line 1: the line ends, expected an action: announce, append, malformed, send, start, crash, drain, pause, suspend, partition, stall, reset, slow, lose-answer, lose-send, done, release, fail, redis or note
        line 1: found `concurrency=none`, expected a number
        line 1: found `rate=5`, expected how many in what time, such as `10/1s`
        line 1: found `ttl=3s`, expected absent, drift=, concurrency=, prefetch=, batch=, block=, idle=, reclaim=, due=, ack-delay=, sweep=, attempts=, crashes=, backoff=, factor=, jitter=, timeout=, rate=, group-rate=, processed=, deletes, trims, buries or ordered
        line 1: found `w`, expected settings that go together: block is 4s, but must not exceed reclaim_idle (reclaim_idle is 3s): lower block
        line 1: found `many`, expected how many messages
        line 1: found `sings`, expected what the messages do (succeeds, fails, panics, crashes, hangs, rejects, drops, broken, dead-fails, dead-acks, dead-crashes), `taking`, `delayed`, `once`, `keyed`, or the end of the line
        line 1: found `fails`, expected what the messages do (succeeds, fails, panics, crashes, hangs, rejects, drops, broken, dead-fails, dead-acks, dead-crashes), `taking`, `delayed`, `once`, `keyed`, or the end of the line
        line 1: found `ring`, expected one, sentinel or cluster
        line 1: found `wait=soon`, expected wait= and a length of time, or the end of the line
        line 1: found `c0`, expected a server: `r0`, `r1` … or a sentinel `s0`, `s1`, `s2`
        line 1: found `lunch`, expected a length of time such as `4s`, `1.5s` or `250ms`
        "#);
    }

    #[test]
    fn several_servers_and_what_befalls_them_are_read() {
        let text = "topology sentinel wait=100ms\n1s redis switch 5s after 500ms spread 2s alive\n2s redis switch 3s\n\
            3s redis cut s0 5s out\n4s redis freeze r1 2s\n5s redis kill s2 1s\n6s redis detach 3s\n";
        let plan: Plan = text.parse().unwrap();
        let written = plan.to_string();
        for line in text.lines() {
            assert!(written.contains(line.split_once(' ').unwrap().1), "{line}: {written}");
        }
        assert_eq!(written.parse::<Plan>().unwrap(), plan);
        let cluster = "topology cluster\n1s redis move-slot 0s\n2s redis stale r2 4s\n";
        let plan: Plan = cluster.parse().unwrap();
        assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
        assert!(!Plan::default().to_string().contains("topology"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_drawn_plan_is_read_as_it_is_written(seed: u64, profile in 0..11usize) {
            let all: Vec<Profile> = Profile::all().collect();
            let plan = Plan::draw(seed, all[profile]);
            let text = plan.to_string();
            prop_assert_eq!(&text.parse::<Plan>().unwrap(), &plan, "{}", text);
            for timed in plan.actions {
                prop_assert_eq!(timed.action.to_string().parse::<Action>().unwrap(), timed.action);
            }
        }

        #[test]
        fn any_text_is_a_plan_or_an_error(seed in 0..50u64, cuts in prop::collection::vec((0..4_000usize, "\\PC{0,3}"), 0..8)) {
            let profile = if seed % 2 == 0 { Profile::Storm } else { Profile::MessagesStorm };
            let mut text = Plan::draw(seed, profile).to_string();
            for (at, put) in cuts {
                let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                let end = (at + put.len()..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
                text.replace_range(at..end, &put);
            }
            if let Ok(plan) = text.parse::<Plan>() {
                prop_assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
            }
        }
    }
}
