//! Every combination of settings: each is refused with a reason, or the machine lives with it.

use std::time::Duration;

use arbitrary::Arbitrary;
use streamkeeper_core::{
    config::{ClaimMode, Config, Retry, Settings},
    entries, messages,
};

use crate::machine::{Life, live_with};

/// Settings of the three machines, and a life.
#[derive(Arbitrary, Debug)]
pub struct Knobs {
    streams: Streams,
    messages: Messages,
    entries: Entries,
    life: Life,
}

/// A length of time of any scale.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Span {
    /// As it is by default.
    Usual,
    Zero,
    Nanos(u16),
    Millis(u16),
    Seconds(u32),
    Any(u64, u32),
    Longest,
}

impl Span {
    fn or(self, usual: Duration) -> Duration {
        match self {
            Span::Usual => usual,
            Span::Zero => Duration::ZERO,
            Span::Nanos(n) => Duration::from_nanos(u64::from(n)),
            Span::Millis(n) => Duration::from_millis(u64::from(n)),
            Span::Seconds(n) => Duration::from_secs(u64::from(n)),
            Span::Any(seconds, nanos) => Duration::new(seconds, nanos % 1_000_000_000),
            Span::Longest => Duration::MAX,
        }
    }
}

/// A number of any size; `None`: as it is by default.
type Count = Option<usize>;

#[derive(Arbitrary, Debug)]
struct Streams {
    spans: [Span; 9],
    counts: [Count; 3],
    limits: [Option<u32>; 3],
    manual: bool,
    retry: Retries,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Retries {
    Unlimited,
    None,
    Times(u32),
}

impl Retries {
    fn setting(self) -> Retry {
        match self {
            Retries::Unlimited => Retry::Unlimited,
            Retries::None => Retry::None,
            Retries::Times(times) => Retry::Times(times),
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Messages {
    spans: [Span; 14],
    counts: [Count; 4],
    limits: [Option<u32>; 4],
    rates: [Option<(u32, Span)>; 2],
    timeout: Option<Span>,
    processed: Option<Span>,
    retry: Retries,
}

#[derive(Arbitrary, Debug)]
struct Entries {
    spans: [Span; 4],
    counts: [Count; 4],
}

impl Streams {
    fn settings(&self) -> Settings {
        let usual = Settings::default();
        let [ttl, heartbeat, reap, claim, fail, fail_limit, retry, retry_limit, call] = self.spans;
        Settings {
            lease_ttl: ttl.or(usual.lease_ttl),
            heartbeat: heartbeat.or(usual.heartbeat),
            reap_interval: reap.or(usual.reap_interval),
            capacity: self.counts[0].unwrap_or(usual.capacity),
            claim: if self.manual { ClaimMode::Manual } else { ClaimMode::Auto },
            claim_delay: claim.or(usual.claim_delay),
            heirs: self.limits[2].unwrap_or(usual.heirs),
            max_takeovers: self.limits[0].unwrap_or(usual.max_takeovers),
            max_failures: self.limits[1].unwrap_or(usual.max_failures),
            failure_backoff: fail.or(usual.failure_backoff),
            failure_backoff_limit: fail_limit.or(usual.failure_backoff_limit),
            retry: self.retry.setting(),
            retry_backoff: retry.or(usual.retry_backoff),
            retry_backoff_limit: retry_limit.or(usual.retry_backoff_limit),
            acquire_batch: self.counts[1].unwrap_or(usual.acquire_batch),
            renew_batch: self.counts[2].unwrap_or(usual.renew_batch),
            call_timeout: call.or(usual.call_timeout),
        }
    }
}

impl Messages {
    fn settings(&self) -> messages::Settings {
        let usual = messages::Settings::default();
        let [block, idle, reclaim, due, ack, base, limit, stale, sweep, retry, retry_limit, call, ..] = self.spans;
        let rate = |rate: Option<(u32, Span)>| {
            rate.map(|(count, per)| messages::config::Rate { count, per: per.or(Duration::from_secs(1)) })
        };
        messages::Settings {
            concurrency: self.counts[0].unwrap_or(usual.concurrency),
            prefetch: self.counts[1].unwrap_or(usual.prefetch),
            batch: self.counts[2].unwrap_or(usual.batch),
            block: block.or(usual.block),
            max_attempts: self.limits[0].unwrap_or(usual.max_attempts),
            max_crashes: self.limits[1].unwrap_or(usual.max_crashes),
            backoff: messages::config::Backoff {
                base: base.or(usual.backoff.base),
                factor: self.limits[2].unwrap_or(usual.backoff.factor),
                limit: limit.or(usual.backoff.limit),
                jitter_percent: self.limits[3].unwrap_or(usual.backoff.jitter_percent),
            },
            timeout: self.timeout.map(|span| span.or(Duration::from_secs(1))),
            reclaim_idle: idle.or(usual.reclaim_idle),
            reclaim_interval: reclaim.or(usual.reclaim_interval),
            reclaim_count: self.counts[3].unwrap_or(usual.reclaim_count),
            due_interval: due.or(usual.due_interval),
            ack_delay: ack.or(usual.ack_delay),
            rate: rate(self.rates[0]),
            group_rate: rate(self.rates[1]),
            processed: self
                .processed
                .map(|age| messages::config::Processed { age: age.or(Duration::from_secs(60)), by: None }),
            stale_consumer: stale.or(usual.stale_consumer),
            sweep_interval: sweep.or(usual.sweep_interval),
            retry: self.retry.setting(),
            retry_backoff: retry.or(usual.retry_backoff),
            retry_backoff_limit: retry_limit.or(usual.retry_backoff_limit),
            call_timeout: call.or(usual.call_timeout),
            ..usual
        }
    }
}

impl Entries {
    fn settings(&self) -> entries::Settings {
        let usual = entries::Settings::default();
        let [block, retry, retry_limit, call] = self.spans;
        entries::Settings {
            batch: self.counts[0].unwrap_or(usual.batch),
            prefetch: self.counts[1].unwrap_or(usual.prefetch),
            prefetch_total: self.counts[2].unwrap_or(usual.prefetch_total),
            block: block.or(usual.block),
            commit_batch: self.counts[3].unwrap_or(usual.commit_batch),
            retry_backoff: retry.or(usual.retry_backoff),
            retry_backoff_limit: retry_limit.or(usual.retry_backoff_limit),
            call_timeout: call.or(usual.call_timeout),
        }
    }
}

/// Checks the settings, and lives with those that are accepted.
pub fn try_them(knobs: &Knobs) {
    match Config::new(knobs.streams.settings()) {
        Ok(config) => {
            assert!(config.trust() > config.heartbeat, "a heartbeat comes before the lease is not trusted any more");
            assert!(config.block() < config.lease_ttl);
            live_with(&knobs.life, config);
        }
        Err(refused) => assert!(refused.to_string().contains(refused.field), "{refused}"),
    }
    match messages::Config::new(knobs.messages.settings()) {
        Ok(config) => {
            assert!(config.refresh_interval() < config.reclaim_idle);
            drop(messages::Machine::new(config, 1));
        }
        Err(refused) => assert!(refused.to_string().contains(refused.field), "{refused}"),
    }
    match entries::Config::new(knobs.entries.settings()) {
        Ok(config) => drop(entries::Machine::new(config, 1)),
        Err(refused) => assert!(refused.to_string().contains(refused.field), "{refused}"),
    }
}
