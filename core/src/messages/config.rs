//! Settings of a consumer of messages, and the relations between them that the promises rest on. Which setting of
//! goxstreams and redstream each one is: `docs/messages.md`.

use std::time::Duration;

use crate::config::{ConfigError, Retry, Value};

/// What can be set. Start from [`Settings::default`], change what you need, and have it checked by [`Config::new`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How many runs there are at once.
    pub concurrency: usize,
    /// How many more messages are fetched in advance.
    pub prefetch: usize,
    /// How many messages one read or call is about, at most.
    pub batch: usize,
    /// How long a read waits for new messages.
    pub block: Duration,
    /// Redis forgets a message as it hands it out: at most one run, no retry, no dead letters.
    pub no_ack: bool,
    /// How many failed runs a message has before it is dead. 0: no limit.
    pub max_attempts: u32,
    /// How often a message may crash its process before it is dead: 3 or more. 0: no limit.
    pub max_crashes: u32,
    /// The pause after a failed run.
    pub backoff: Backoff,
    /// How long a run may take before it is cancelled and counts as failed. `None`: for ever.
    pub timeout: Option<Duration>,
    /// How long a message is left alone by the one who holds it before it is taken from them.
    pub reclaim_idle: Duration,
    /// How often one consumer of the group looks for such messages: at most a third of `reclaim_idle`. Who was not in
    /// touch with Redis for half of it reclaims nothing.
    pub reclaim_interval: Duration,
    /// How many of them it moves in one call.
    pub reclaim_count: usize,
    /// How often who has room asks for what is due, at least.
    pub due_interval: Duration,
    /// How long an acknowledgement waits for others, at most.
    pub ack_delay: Duration,
    /// Messages are deleted once they are acknowledged, for as long as this is the only group on the stream.
    pub delete_after_success: bool,
    /// The stream is trimmed up to what every group on it is done with.
    pub trim: bool,
    /// What happens to a message whose `process_dead` fails.
    pub dead_failure: DeadFailure,
    /// How many dead letters are kept, about; the oldest go first. `None`: all.
    pub dead_limit: Option<u64>,
    /// The field by which messages are serialised within this consumer: one run at a time for each value. As many as
    /// `batch` may wait for others of their value without taking up room.
    pub ordered_by: Option<Box<str>>,
    /// How many runs this consumer starts.
    pub rate: Option<Rate>,
    /// How many runs the whole group starts; every consumer must be given the same.
    pub group_rate: Option<Rate>,
    /// Messages that were processed are remembered, and not run again.
    pub processed: Option<Processed>,
    /// A consumer of the group that has nothing pending and was not heard of for so long is deleted from it.
    pub stale_consumer: Duration,
    /// How often one consumer of the group clears away what nobody needs.
    pub sweep_interval: Duration,
    /// Where a group begins that is created by this consumer.
    pub begin: Begin,
    /// How often a lost connection is tried again in a row before the machine gives up.
    pub retry: Retry,
    /// The first pause between two such tries; doubles with each.
    pub retry_backoff: Duration,
    /// The longest pause between two tries.
    pub retry_backoff_limit: Duration,
    /// How long one call may take before its connection is given up.
    pub call_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            concurrency: 16,
            prefetch: 16,
            batch: 1_000,
            block: Duration::from_secs(2),
            no_ack: false,
            max_attempts: 5,
            max_crashes: 3,
            backoff: Backoff::default(),
            timeout: None,
            reclaim_idle: Duration::from_secs(30),
            reclaim_interval: Duration::from_secs(1),
            reclaim_count: 1_000,
            due_interval: Duration::from_millis(250),
            ack_delay: Duration::from_millis(5),
            delete_after_success: false,
            trim: false,
            dead_failure: DeadFailure::Keep,
            dead_limit: None,
            ordered_by: None,
            rate: None,
            group_rate: None,
            processed: None,
            stale_consumer: Duration::from_secs(3_600),
            sweep_interval: Duration::from_secs(60),
            begin: Begin::Oldest,
            retry: Retry::Unlimited,
            retry_backoff: Duration::from_millis(20),
            retry_backoff_limit: Duration::from_secs(1),
            call_timeout: Duration::from_secs(1),
        }
    }
}

/// The pause after a failed run: `base` × `factor`^(failures − 1), at most `limit`, give or take `jitter` percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// After the first failure.
    pub base: Duration,
    /// How much longer each next one is.
    pub factor: u32,
    /// The longest.
    pub limit: Duration,
    /// How far it is spread, in percent.
    pub jitter_percent: u32,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { base: Duration::from_secs(1), factor: 2, limit: Duration::from_secs(300), jitter_percent: 20 }
    }
}

/// What happens to a message whose `process_dead` fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadFailure {
    /// It is called again, after the backoff's pause, until it succeeds.
    #[default]
    Keep,
    /// The message is buried all the same.
    Bury,
}

/// So many in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many; also how many at once after a quiet time.
    pub count: u32,
    /// In what time.
    pub per: Duration,
}

/// How processed messages are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Processed {
    /// For how long.
    pub age: Duration,
    /// By which field; `None`: by the message's own id. A message without the field is not remembered.
    pub by: Option<Box<str>>,
}

/// Where a group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Begin {
    /// At the oldest message that the stream holds.
    #[default]
    Oldest,
    /// Behind the newest: what was sent before is not for this group.
    Newest,
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

/// The shortest time after which a message may be taken from its holder: refreshes need room.
pub const SHORTEST_RECLAIM_IDLE: Duration = Duration::from_secs(1);

/// All that were in flight crash once and, since they come again together, may crash twice. Only from then on they run
/// one at a time: a third crash is a message's own.
pub const FEWEST_CRASHES: u32 = 3;

impl Config {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn new(s: Settings) -> Result<Config, ConfigError> {
        use Value::{Count, Span};
        let ms = Duration::from_millis(1);
        let day = Duration::from_secs(86_400);
        let rates = [("rate", s.rate), ("group_rate", s.group_rate)];
        let count = |n: u32| Count(n as usize);
        #[rustfmt::skip]
        let rules: [(bool, &'static str, Value, &'static str, &'static str, Value, &'static str); 22] = [
            (s.concurrency >= 1, "concurrency", Count(s.concurrency), "must be at least one run", "the least", Count(1), "raise concurrency"),
            (s.concurrency <= 100_000, "concurrency", Count(s.concurrency), "must not exceed the most", "the most", Count(100_000), "run more consumers"),
            (s.prefetch <= 100_000, "prefetch", Count(s.prefetch), "must not exceed the most", "the most", Count(100_000), "lower prefetch"),
            ((1..=5_000).contains(&s.batch), "batch", Count(s.batch), "must be between 1 and the most messages that a script can hand on in one call", "the most", Count(5_000), "set it to 1000"),
            (s.block >= ms, "block", Span(s.block), "must not be shorter than the shortest wait (0 would block for ever)", "the shortest wait", Span(ms), "raise block"),
            (s.block <= s.reclaim_idle, "block", Span(s.block), "must not exceed reclaim_idle", "reclaim_idle", Span(s.reclaim_idle), "lower block"),
            (s.reclaim_idle >= SHORTEST_RECLAIM_IDLE, "reclaim_idle", Span(s.reclaim_idle), "must not be shorter than the shortest", "the shortest", Span(SHORTEST_RECLAIM_IDLE), "raise reclaim_idle"),
            (s.reclaim_idle <= day, "reclaim_idle", Span(s.reclaim_idle), "must not be longer than a day", "a day", Span(day), "lower reclaim_idle: a long handler does not need it, its message is refreshed"),
            (s.reclaim_interval >= 10 * ms, "reclaim_interval", Span(s.reclaim_interval), "must not be shorter than the shortest interval", "the shortest interval", Span(10 * ms), "raise reclaim_interval"),
            (s.reclaim_interval <= s.reclaim_idle / 3, "reclaim_interval", Span(s.reclaim_interval), "must be at most a third of reclaim_idle", "a third of reclaim_idle", Span(s.reclaim_idle / 3), "lower reclaim_interval or raise reclaim_idle"),
            ((1..=1_000).contains(&s.reclaim_count), "reclaim_count", Count(s.reclaim_count), "must be between 1 and the most messages of one call", "the most", Count(1_000), "set it to 1000"),
            (s.due_interval >= 10 * ms, "due_interval", Span(s.due_interval), "must not be shorter than the shortest interval", "the shortest interval", Span(10 * ms), "raise due_interval"),
            (s.ack_delay <= s.reclaim_idle / 8, "ack_delay", Span(s.ack_delay), "must not exceed an eighth of reclaim_idle", "that eighth", Span(s.reclaim_idle / 8), "lower ack_delay"),
            (s.call_timeout >= 10 * ms, "call_timeout", Span(s.call_timeout), "must not be shorter than the shortest timeout", "the shortest timeout", Span(10 * ms), "raise call_timeout"),
            (s.call_timeout <= s.reclaim_idle / 4, "call_timeout", Span(s.call_timeout), "must not exceed a quarter of reclaim_idle, after which a message is refreshed", "that quarter", Span(s.reclaim_idle / 4), "lower call_timeout or raise reclaim_idle"),
            (s.backoff.base <= s.backoff.limit, "backoff.base", Span(s.backoff.base), "must not exceed backoff.limit", "backoff.limit", Span(s.backoff.limit), "raise backoff.limit"),
            (s.backoff.factor >= 1, "backoff.factor", count(s.backoff.factor), "must be at least 1", "the least", Count(1), "raise backoff.factor"),
            (s.backoff.jitter_percent <= 100, "backoff.jitter_percent", count(s.backoff.jitter_percent), "must not exceed 100", "the most", Count(100), "lower backoff.jitter_percent"),
            (s.max_crashes == 0 || s.max_crashes >= FEWEST_CRASHES, "max_crashes", count(s.max_crashes), "must not be fewer than the fewest that tell a message from its neighbours", "the fewest", count(FEWEST_CRASHES), "raise max_crashes, or set 0 for no limit"),
            (s.retry_backoff <= s.retry_backoff_limit, "retry_backoff", Span(s.retry_backoff), "must not exceed retry_backoff_limit", "retry_backoff_limit", Span(s.retry_backoff_limit), "raise retry_backoff_limit"),
            (s.retry_backoff >= ms, "retry_backoff", Span(s.retry_backoff), "must not be shorter than the shortest pause", "the shortest pause", Span(ms), "raise retry_backoff"),
            (s.timeout.is_none_or(|t| t >= ms), "timeout", Span(s.timeout.unwrap_or_default()), "must not be shorter than the shortest timeout", "the shortest timeout", Span(ms), "raise timeout, or set none"),
        ];
        for (holds, field, value, rule, other, limit, advice) in rules {
            if !holds {
                return Err(ConfigError { field, value, rule, other, limit, advice });
            }
        }
        for (field, rate) in rates {
            if let Some(rate) = rate
                && (rate.count == 0 || rate.per < ms)
            {
                let (value, limit) = if rate.count == 0 { (count(0), Count(1)) } else { (Span(rate.per), Span(ms)) };
                let rule = "must allow at least one run in at least a millisecond";
                let advice = "raise it, or set none";
                return Err(ConfigError { field, value, rule, other: "the least", limit, advice });
            }
        }
        let config = Config(s);
        config.check();
        Ok(config)
    }

    /// What follows from the relations, and what the promises rest on.
    fn check(&self) {
        let idle = self.reclaim_idle;
        let between = idle / 2 + self.call_timeout;
        assert!(self.trust() > between, "what is refreshed in time is trusted all the while");
        assert!(self.trust() < idle, "nothing starts that others may have taken");
        assert!(self.unstarted() < self.trust(), "what was not started is given back while it is ours");
        assert!(self.refresh_interval() * 2 <= idle, "a refresh may fail once, and nobody takes the message");
        assert!(self.ack_delay < self.refresh_interval(), "an acknowledgement waits for less than a refresh");
        assert!(self.reclaim_hold() > self.refresh_interval(), "the living can refresh before anything is reclaimed");
        assert!(self.reclaim_interval <= self.trust() / 2, "a reclaimer is in touch often enough to be trusted");
        assert!(self.hangs_after() > idle, "a run that is refreshed does not hang yet");
        assert!(!self.block.is_zero(), "a read ends, whether anything comes or not");
        assert!(self.batch >= 1 && self.concurrency >= 1, "there is always room for one message at least");
    }

    /// How often held messages are looked through for those that need a refresh: a quarter of `reclaim_idle`.
    pub fn refresh_interval(&self) -> Duration {
        self.reclaim_idle / 4
    }

    /// No run starts later than this after its message was last confirmed to be held: `reclaim_idle` without a margin
    /// of 10 % and 10 ms, for clocks that do not run at the same rate.
    pub fn trust(&self) -> Duration {
        self.reclaim_idle - self.reclaim_idle / 10 - Duration::from_millis(10)
    }

    /// A message that was not started for so long is given back rather than refreshed.
    pub fn unstarted(&self) -> Duration {
        self.reclaim_idle / 3
    }

    /// After becoming the reclaimer, a reconnect, another server or a step of its clock, nothing is reclaimed for so
    /// long: an outage is not mass death.
    pub fn reclaim_hold(&self) -> Duration {
        self.refresh_interval() + Duration::from_secs(1)
    }

    /// A run that lasts longer may hang.
    pub fn hangs_after(&self) -> Duration {
        self.reclaim_idle * 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold() {
        let config = Config::new(Settings::default()).unwrap();
        assert_eq!(config.trust(), Duration::from_millis(26_990));
        assert!(config.reclaim_hold() < config.reclaim_idle);
    }

    #[test]
    fn every_relation_is_checked() {
        type Change = fn(&mut Settings);
        let cases: &[(&str, Change)] = &[
            ("concurrency", |s| s.concurrency = 0),
            ("concurrency", |s| s.concurrency = 100_001),
            ("prefetch", |s| s.prefetch = usize::MAX),
            ("batch", |s| s.batch = 0),
            ("batch", |s| s.batch = 5_001),
            ("block", |s| s.block = Duration::ZERO),
            ("block", |s| s.block = Duration::from_secs(31)),
            ("reclaim_idle", |s| (s.reclaim_idle, s.block) = (Duration::from_millis(999), Duration::from_millis(1))),
            ("reclaim_idle", |s| s.reclaim_idle = Duration::from_secs(86_401)),
            ("reclaim_interval", |s| s.reclaim_interval = Duration::ZERO),
            ("reclaim_interval", |s| s.reclaim_interval = Duration::from_millis(10_001)),
            ("reclaim_count", |s| s.reclaim_count = 0),
            ("reclaim_count", |s| s.reclaim_count = 1_001),
            ("due_interval", |s| s.due_interval = Duration::ZERO),
            ("ack_delay", |s| s.ack_delay = Duration::from_secs(4)),
            ("call_timeout", |s| s.call_timeout = Duration::ZERO),
            ("call_timeout", |s| s.call_timeout = Duration::from_secs(8)),
            ("backoff.base", |s| s.backoff.base = Duration::from_secs(301)),
            ("backoff.factor", |s| s.backoff.factor = 0),
            ("backoff.jitter_percent", |s| s.backoff.jitter_percent = 101),
            ("max_crashes", |s| s.max_crashes = 1),
            ("max_crashes", |s| s.max_crashes = 2),
            ("retry_backoff", |s| s.retry_backoff = Duration::from_secs(2)),
            ("retry_backoff", |s| s.retry_backoff = Duration::ZERO),
            ("timeout", |s| s.timeout = Some(Duration::ZERO)),
            ("rate", |s| s.rate = Some(Rate { count: 0, per: Duration::from_secs(1) })),
            ("group_rate", |s| s.group_rate = Some(Rate { count: 1, per: Duration::ZERO })),
        ];
        for (field, change) in cases {
            let mut settings = Settings::default();
            change(&mut settings);
            let error = Config::new(settings).unwrap_err();
            assert_eq!(error.field, *field);
        }
    }

    #[test]
    fn a_reclaimer_is_in_touch_often_enough_to_be_trusted() {
        let second = Duration::from_secs(1);
        let short = Settings { reclaim_idle: 2 * second, call_timeout: second / 2, ..Settings::default() };
        let error = Config::new(short.clone()).unwrap_err().to_string();
        assert!(error.starts_with("reclaim_interval is 1s, but must be at most a third of reclaim_idle"), "{error}");
        assert!(error.contains("(a third of reclaim_idle is 666.666666ms)"), "{error}");
        Config::new(Settings { reclaim_interval: 2 * second / 3, ..short }).unwrap();
    }
}
