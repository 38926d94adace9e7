//! Settings of reading and committing, and the relations between them.

use std::time::Duration;

use super::fetch;
use crate::config::{ConfigError, Value};

/// What can be set. Start from [`Settings::default`], change what you need, and have it checked by [`Config::new`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How many entries of one stream are fetched at once, at most.
    pub batch: usize,
    /// How many entries of one stream lie with the application at most, delivered and not yet taken in, unless its reader
    /// asks for another number.
    pub prefetch: usize,
    /// How many entries lie there at most, of all streams together; and one more for each stream that would have none.
    pub prefetch_total: usize,
    /// How long a wait for new entries lasts at most.
    pub block: Duration,
    /// How many streams' commits go into one call.
    pub commit_batch: usize,
    /// The first pause between two tries, of a lost connection or a refused call; doubles with each.
    pub retry_backoff: Duration,
    /// The longest pause between two tries.
    pub retry_backoff_limit: Duration,
    /// How long one call may take before its connection is given up. A wait may take `block` besides.
    pub call_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            batch: 500,
            prefetch: 1_000,
            prefetch_total: 100_000,
            block: Duration::from_secs(5),
            commit_batch: 500,
            retry_backoff: Duration::from_millis(20),
            retry_backoff_limit: Duration::from_secs(1),
            call_timeout: Duration::from_secs(1),
        }
    }
}

/// Settings whose relations hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config(Settings);

impl std::ops::Deref for Config {
    type Target = Settings;
    fn deref(&self) -> &Settings {
        &self.0
    }
}

impl Config {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn new(s: Settings) -> Result<Config, ConfigError> {
        use Value::{Count, Span};
        let ms = Duration::from_millis(1);
        let minute = Duration::from_secs(60);
        #[rustfmt::skip]
        let rules: [(bool, &'static str, Value, &'static str, &'static str, Value, &'static str); 10] = [
            ((1..=5_000).contains(&s.batch), "batch", Count(s.batch), "must be between 1 and the most entries of one fetch", "the most", Count(5_000), "set it to 500"),
            (s.prefetch >= 1, "prefetch", Count(s.prefetch), "must be at least one entry", "the least", Count(1), "raise prefetch"),
            (s.prefetch <= s.prefetch_total, "prefetch", Count(s.prefetch), "must not exceed prefetch_total", "prefetch_total", Count(s.prefetch_total), "lower prefetch or raise prefetch_total"),
            (s.prefetch_total <= 100_000_000, "prefetch_total", Count(s.prefetch_total), "must not exceed the most", "the most", Count(100_000_000), "lower prefetch_total"),
            (s.block >= ms, "block", Span(s.block), "must not be shorter than the shortest wait (0 would not wait at all)", "the shortest wait", Span(ms), "raise block"),
            (s.block <= minute, "block", Span(s.block), "must not be longer than the longest wait", "the longest wait", Span(minute), "lower block"),
            ((1..=1_000).contains(&s.commit_batch), "commit_batch", Count(s.commit_batch), "must be between 1 and the most streams of one script call", "the most", Count(1_000), "set it to 500"),
            (s.retry_backoff <= s.retry_backoff_limit, "retry_backoff", Span(s.retry_backoff), "must not exceed retry_backoff_limit", "retry_backoff_limit", Span(s.retry_backoff_limit), "raise retry_backoff_limit"),
            (s.retry_backoff >= ms, "retry_backoff", Span(s.retry_backoff), "must not be shorter than the shortest pause", "the shortest pause", Span(ms), "raise retry_backoff"),
            (s.call_timeout >= 10 * ms, "call_timeout", Span(s.call_timeout), "must not be shorter than the shortest timeout", "the shortest timeout", Span(10 * ms), "raise call_timeout"),
        ];
        for (holds, field, value, rule, other, limit, advice) in rules {
            if !holds {
                return Err(ConfigError { field, value, rule, other, limit, advice });
            }
        }
        let most = fetch::ENTRIES;
        assert!(s.batch <= most, "a batch of {} goes into one call, {most} may", s.batch);
        assert!(s.prefetch_total >= 1, "there is room for an entry at least");
        assert!(!s.block.is_zero(), "a wait ends, whether anything comes or not");
        Ok(Config(s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_is_checked() {
        assert!(Config::new(Settings::default()).is_ok());
        type Change = fn(&mut Settings);
        let cases: &[(&str, Change)] = &[
            ("batch", |s| s.batch = 0),
            ("batch", |s| s.batch = 5_001),
            ("prefetch", |s| s.prefetch = 0),
            ("prefetch", |s| s.prefetch = 100_001),
            ("prefetch_total", |s| s.prefetch_total = usize::MAX),
            ("block", |s| s.block = Duration::ZERO),
            ("block", |s| s.block = Duration::from_secs(61)),
            ("commit_batch", |s| s.commit_batch = 0),
            ("commit_batch", |s| s.commit_batch = 1_001),
            ("retry_backoff", |s| s.retry_backoff = Duration::from_secs(2)),
            ("retry_backoff", |s| s.retry_backoff = Duration::ZERO),
            ("call_timeout", |s| s.call_timeout = Duration::ZERO),
        ];
        for (field, change) in cases {
            let mut settings = Settings::default();
            change(&mut settings);
            assert_eq!(Config::new(settings).unwrap_err().field, *field);
        }
        let error = Config::new(Settings { prefetch: 200_000, ..Settings::default() }).unwrap_err();
        insta::assert_snapshot!(error, @"prefetch is 200000, but must not exceed prefetch_total (prefetch_total is 100000): lower prefetch or raise prefetch_total");
    }
}
