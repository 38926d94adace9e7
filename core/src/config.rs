//! Settings, and the relations between them that the promises rest on.

use std::time::Duration;

use thiserror::Error;

/// What can be set. Start from [`Settings::default`], change what you need, and have it checked by
/// [`Config::new`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long a lease lives without a heartbeat. Not below 2 s, the heartbeat of the Go library's peers: they claim
    /// only what has been idle for that long.
    pub lease_ttl: Duration,
    /// How often leases are renewed. At most a third of `lease_ttl`, so that one lost answer costs no lease.
    pub heartbeat: Duration,
    /// How often one consumer of the fleet looks for orphans.
    pub reap_interval: Duration,
    /// How many streams this consumer owns at most.
    pub capacity: usize,
    /// Who claims an orphan: the machine by itself, or the application.
    pub claim: ClaimMode,
    /// The longest that a consumer with much to do leaves an orphan to others.
    pub claim_delay: Duration,
    /// How many consumers, about, look at an orphan and ask for it in a crowd: a fleet of more than twice as many. In a
    /// smaller one all do.
    pub heirs: u32,
    /// How many ownerships of a stream in a row may end in a crash before it is set aside. 0: no limit.
    pub max_takeovers: u32,
    /// How many times in a row a stream's handler may fail before it is set aside. 0: no limit.
    pub max_failures: u32,
    /// The pause before a stream whose handler failed is handed out again; doubles with each failure.
    pub failure_backoff: Duration,
    /// The longest such pause.
    pub failure_backoff_limit: Duration,
    /// How often a lost connection is tried again in a row before the machine gives up.
    pub retry: Retry,
    /// The first pause between two such tries; doubles with each.
    pub retry_backoff: Duration,
    /// The longest pause between two tries.
    pub retry_backoff_limit: Duration,
    /// How many announcements are acquired in one call.
    pub acquire_batch: usize,
    /// How many leases are renewed in one call.
    pub renew_batch: usize,
    /// How long one call may take before its connection is given up. Less than `lease_ttl` minus margin and heartbeat.
    pub call_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            lease_ttl: Duration::from_secs(3),
            heartbeat: Duration::from_secs(1),
            reap_interval: Duration::from_millis(200),
            capacity: 10_000,
            claim: ClaimMode::Auto,
            claim_delay: Duration::from_millis(150),
            heirs: 8,
            max_takeovers: 10,
            max_failures: 10,
            failure_backoff: Duration::from_secs(1),
            failure_backoff_limit: Duration::from_secs(60),
            retry: Retry::Unlimited,
            retry_backoff: Duration::from_millis(20),
            retry_backoff_limit: Duration::from_secs(1),
            acquire_batch: 500,
            renew_batch: 500,
            call_timeout: Duration::from_secs(1),
        }
    }
}

/// Who claims an orphan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimMode {
    /// The machine does, with a short delay that grows with its load.
    #[default]
    Auto,
    /// The application is told of it and claims it, as with the Go library.
    Manual,
}

/// How often a lost connection is tried again in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Retry {
    /// For as long as it takes.
    #[default]
    Unlimited,
    /// Not at all: the first failure ends the client.
    None,
    /// That many times.
    Times(u32),
}

impl Retry {
    /// Whether a further try is allowed after `failed` failures in a row.
    pub fn allows(self, failed: u32) -> bool {
        match self {
            Retry::Unlimited => true,
            Retry::None => false,
            Retry::Times(times) => failed <= times,
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

/// The heartbeat of the Go library's peers: no lease may live shorter (REDIS.md, row 74).
pub const GO_HEARTBEAT: Duration = Duration::from_secs(2);

/// The longest lease: a lost owner is missed for that long.
pub const LONGEST_TTL: Duration = Duration::from_secs(3600);

/// Settings that do not go together: names both and their values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[error("{field} is {value:?}, but {rule} ({other} is {limit:?}): {advice}")]
pub struct ConfigError {
    /// The setting that breaks a rule.
    pub field: &'static str,
    /// Its value, in words.
    pub value: Value,
    /// The rule.
    pub rule: &'static str,
    /// What it is compared with.
    pub other: &'static str,
    /// The value of that.
    pub limit: Value,
    /// What to do.
    pub advice: &'static str,
}

/// A value in a [`ConfigError`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// A span.
    Span(Duration),
    /// A number.
    Count(usize),
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Span(span) => write!(f, "{span:?}"),
            Value::Count(count) => write!(f, "{count}"),
        }
    }
}

impl Config {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn new(s: Settings) -> Result<Config, ConfigError> {
        use Value::Span;
        let config = Config::outside(s)?;
        let s = &config.0;
        let spare = s.lease_ttl.saturating_sub(margin(s.lease_ttl)).saturating_sub(s.heartbeat);
        #[rustfmt::skip]
        check([
            (s.call_timeout < spare, "call_timeout", Span(s.call_timeout), "must be shorter than what remains of a lease after one heartbeat and the margin", "that remainder", Span(spare), "lower call_timeout or heartbeat"),
        ])?;
        let longest = config.heartbeat + config.call_timeout;
        assert!(
            longest < config.trust(),
            "a lease outlives a heartbeat whose call takes as long as it may: {longest:?}"
        );
        Ok(config)
    }

    /// The same for those who own nothing: no lease bounds how long a call of theirs may take.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn outside(s: Settings) -> Result<Config, ConfigError> {
        use Value::{Count, Span};
        let third = s.lease_ttl / 3;
        let ms = Duration::from_millis(1);
        #[rustfmt::skip]
        check([
            (s.lease_ttl >= GO_HEARTBEAT, "lease_ttl", Span(s.lease_ttl), "must not be shorter than the heartbeat of Go peers", "that heartbeat", Span(GO_HEARTBEAT), "raise lease_ttl"),
            (s.lease_ttl <= LONGEST_TTL, "lease_ttl", Span(s.lease_ttl), "must not be longer than the longest lease", "the longest lease", Span(LONGEST_TTL), "lower lease_ttl"),
            (s.heartbeat <= third, "heartbeat", Span(s.heartbeat), "must be at most a third of lease_ttl", "a third of lease_ttl", Span(third), "lower heartbeat or raise lease_ttl"),
            (s.heartbeat >= 10 * ms, "heartbeat", Span(s.heartbeat), "must not be shorter than the shortest heartbeat", "the shortest heartbeat", Span(10 * ms), "raise heartbeat"),
            (margin(s.lease_ttl) < s.heartbeat, "heartbeat", Span(s.heartbeat), "must be longer than the margin, 10 % of lease_ttl and 10 ms", "the margin", Span(margin(s.lease_ttl)), "raise heartbeat or lower lease_ttl"),
            (s.reap_interval < s.lease_ttl, "reap_interval", Span(s.reap_interval), "must be shorter than lease_ttl", "lease_ttl", Span(s.lease_ttl), "lower reap_interval"),
            (s.reap_interval >= 10 * ms, "reap_interval", Span(s.reap_interval), "must not be shorter than the shortest interval", "the shortest interval", Span(10 * ms), "raise reap_interval"),
            (s.claim_delay < s.lease_ttl, "claim_delay", Span(s.claim_delay), "must be shorter than lease_ttl", "lease_ttl", Span(s.lease_ttl), "lower claim_delay"),
            (s.heirs >= 1, "heirs", Count(s.heirs as usize), "must be at least one consumer", "the fewest heirs", Count(1), "raise heirs"),
            (s.capacity >= 1, "capacity", Count(s.capacity), "must be at least one stream", "the least capacity", Count(1), "raise capacity"),
            (s.capacity <= 10_000_000, "capacity", Count(s.capacity), "must not exceed the greatest capacity", "the greatest capacity", Count(10_000_000), "run more consumers"),
            (s.failure_backoff <= s.failure_backoff_limit, "failure_backoff", Span(s.failure_backoff), "must not exceed failure_backoff_limit", "failure_backoff_limit", Span(s.failure_backoff_limit), "raise failure_backoff_limit"),
            (s.retry_backoff <= s.retry_backoff_limit, "retry_backoff", Span(s.retry_backoff), "must not exceed retry_backoff_limit", "retry_backoff_limit", Span(s.retry_backoff_limit), "raise retry_backoff_limit"),
            (s.retry_backoff >= ms, "retry_backoff", Span(s.retry_backoff), "must not be shorter than the shortest pause", "the shortest pause", Span(ms), "raise retry_backoff"),
            ((1..=660).contains(&s.acquire_batch), "acquire_batch", Count(s.acquire_batch), "must be between 1 and what every server takes in one script call", "the most", Count(660), "set it to 500"),
            ((1..=990).contains(&s.renew_batch), "renew_batch", Count(s.renew_batch), "must be between 1 and what every server takes in one script call", "the most", Count(990), "set it to 500"),
            (s.call_timeout >= 10 * ms, "call_timeout", Span(s.call_timeout), "must not be shorter than the shortest timeout", "the shortest timeout", Span(10 * ms), "raise call_timeout"),
        ])?;
        let config = Config(s);
        config.check();
        Ok(config)
    }

    /// What follows from the relations that hold, and the machine rests on.
    fn check(&self) {
        let (ttl, heartbeat, margin, trust) = (self.lease_ttl, self.heartbeat, self.margin(), self.trust());
        assert!(margin > ttl / 10, "clocks may differ by a tenth of {ttl:?}, and the margin is {margin:?}");
        assert!(trust > heartbeat * 2, "one lost answer costs no lease: {trust:?} are two heartbeats of {heartbeat:?}");
        assert!(self.live_within() < ttl, "who is not live has lost its leases at most {ttl:?} later");
        assert!(self.block() <= heartbeat, "a reader answers once a heartbeat, not after {:?}", self.block());
        assert!(self.settled_life() > trust, "a life that counts as a success outlives its first lease");
        assert!(self.small_fleet() >= self.heirs, "a fleet in which all are heirs is no crowd");
        assert!(!self.is_crowd(1), "one consumer is no crowd");
        assert!(self.claim_delay < ttl && self.reap_interval < ttl, "an orphan is found and claimed within a ttl");
    }

    /// How much earlier than Redis an owner stops trusting its lease: 10 % of its ttl and 10 ms, for clocks that do
    /// not run at the same rate and answers that take time.
    pub fn margin(&self) -> Duration {
        margin(self.lease_ttl)
    }

    /// How long a lease is trusted from the instant at which its acquisition or renewal was issued.
    pub fn trust(&self) -> Duration {
        self.lease_ttl - self.margin()
    }

    /// How long a reader waits for an announcement: well under the ttl, so that a silent connection is noticed.
    pub fn block(&self) -> Duration {
        (self.heartbeat / 2).max(Duration::from_millis(10))
    }

    /// A consumer that has not been heard of for longer is not counted as one that takes its share.
    pub fn live_within(&self) -> Duration {
        self.heartbeat + self.heartbeat / 2
    }

    /// Whether so many consumers are a crowd: too many for all of them to look at each orphan.
    pub fn is_crowd(&self, consumers: u32) -> bool {
        consumers > self.small_fleet()
    }

    /// So many consumers at most are no crowd.
    pub fn small_fleet(&self) -> u32 {
        self.heirs.saturating_mul(2)
    }

    /// The life after which an ownership counts as a success, whatever ends it: 20 ttl.
    pub fn settled_life(&self) -> Duration {
        self.lease_ttl * 20
    }
}

/// Whether it holds; the setting, its value and the relation; what it is compared with, and that one's value; what to do.
type Rule = (bool, &'static str, Value, &'static str, &'static str, Value, &'static str);

fn check<const N: usize>(rules: [Rule; N]) -> Result<(), ConfigError> {
    for (holds, field, value, rule, other, limit, advice) in rules {
        if !holds {
            return Err(ConfigError { field, value, rule, other, limit, advice });
        }
    }
    Ok(())
}

fn margin(lease_ttl: Duration) -> Duration {
    lease_ttl / 10 + Duration::from_millis(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold() {
        let config = Config::new(Settings::default()).unwrap();
        assert_eq!(config.margin(), Duration::from_millis(310));
        assert_eq!(config.trust(), Duration::from_millis(2_690));
        assert_eq!(config.live_within(), Duration::from_millis(1_500));
    }

    #[test]
    fn a_lease_bounds_the_calls_of_its_owner_only() {
        let patient = Settings { call_timeout: Duration::from_secs(60), ..Settings::default() };
        assert_eq!(Config::outside(patient.clone()).unwrap().call_timeout, Duration::from_secs(60));
        assert_eq!(Config::new(patient.clone()).unwrap_err().field, "call_timeout");
        let wrong = Settings { capacity: 0, ..patient };
        assert_eq!(Config::outside(wrong).unwrap_err().field, "capacity");
    }

    #[test]
    fn every_relation_is_checked() {
        let ms = Duration::from_millis;
        type Change = fn(&mut Settings);
        let cases: &[(&str, Change)] = &[
            ("lease_ttl", |s| s.lease_ttl = Duration::from_millis(1_999)),
            ("lease_ttl", |s| s.lease_ttl = Duration::from_secs(3_601)),
            ("heartbeat", |s| s.heartbeat = Duration::from_millis(1_001)),
            ("heartbeat", |s| s.heartbeat = Duration::from_millis(310)),
            ("heartbeat", |s| s.heartbeat = Duration::ZERO),
            ("reap_interval", |s| s.reap_interval = Duration::from_secs(3)),
            ("reap_interval", |s| s.reap_interval = Duration::ZERO),
            ("claim_delay", |s| s.claim_delay = Duration::from_secs(3)),
            ("heirs", |s| s.heirs = 0),
            ("capacity", |s| s.capacity = 0),
            ("capacity", |s| s.capacity = usize::MAX),
            ("failure_backoff", |s| s.failure_backoff = Duration::from_secs(61)),
            ("retry_backoff", |s| s.retry_backoff = Duration::from_secs(2)),
            ("retry_backoff", |s| s.retry_backoff = Duration::ZERO),
            ("acquire_batch", |s| s.acquire_batch = 0),
            ("acquire_batch", |s| s.acquire_batch = 661),
            ("renew_batch", |s| s.renew_batch = 991),
            ("call_timeout", |s| s.call_timeout = Duration::from_millis(1_690)),
            ("call_timeout", |s| s.call_timeout = Duration::ZERO),
        ];
        for (field, change) in cases {
            let mut settings = Settings::default();
            change(&mut settings);
            let error = Config::new(settings).unwrap_err();
            assert_eq!(error.field, *field);
        }
        let error = Config::new(Settings { heartbeat: ms(1_500), ..Settings::default() }).unwrap_err();
        insta::assert_snapshot!(error, @"heartbeat is 1.5s, but must be at most a third of lease_ttl (a third of lease_ttl is 1s): lower heartbeat or raise lease_ttl");
    }

    #[test]
    fn retries_are_counted() {
        assert!(Retry::Unlimited.allows(u32::MAX));
        assert!(!Retry::None.allows(1));
        assert!(Retry::Times(2).allows(2) && !Retry::Times(2).allows(3));
    }
}
