//! What a plan means where it says nothing, and which settings go together.

use std::time::Duration;

use streamkeeper_core::config::{ClaimMode, Config, ConfigError, Settings};

use crate::facts::millis;

use super::{App, ConsumerPlan, End, Persistence, Plan, RedisPlan, Servers};

impl Default for Plan {
    /// Sixty seconds of a fast network and a default Redis, with nobody on it.
    fn default() -> Plan {
        Plan {
            seed: 0,
            latency_us: (200, 1_000),
            redis: RedisPlan::default(),
            servers: Servers::default(),
            consumers: Vec::new(),
            actions: Vec::new(),
            heal_at: Duration::from_secs(38),
            calm: Duration::from_secs(22),
            finish: true,
        }
    }
}

impl Default for RedisPlan {
    /// As Redis comes: `hz 10`, notifications off; but with a log.
    fn default() -> RedisPlan {
        RedisPlan {
            persistence: Persistence::Aof,
            hz: 10,
            notify: String::new(),
            config_allowed: true,
            replica_lag_ms: 0,
            other_keys: 0,
            uptime_s: 3_600,
        }
    }
}

impl Default for ConsumerPlan {
    /// One of ours with the library's own defaults.
    fn default() -> ConsumerPlan {
        let settings = Settings::default();
        ConsumerPlan {
            name: "a".to_owned(),
            go: false,
            joins: true,
            ttl_ms: millis(settings.lease_ttl),
            heartbeat_ms: millis(settings.heartbeat),
            reap_ms: millis(settings.reap_interval),
            claim_delay_ms: millis(settings.claim_delay),
            heirs: settings.heirs,
            capacity: settings.capacity,
            manual: settings.claim == ClaimMode::Manual,
            max_takeovers: settings.max_takeovers,
            max_failures: settings.max_failures,
            output_buffer: 1_000,
            drift_ppm: 0,
            app: App::default(),
            worker: None,
        }
    }
}

impl Default for App {
    /// Owns what it is given, and never ends anything.
    fn default() -> App {
        App { runs: false, work_ms: None, ends: [1, 0, 0, 0, 0], reads_every_ms: 0, never_reads: false, reading: None }
    }
}

impl ConsumerPlan {
    /// The settings of its client.
    pub fn settings(&self) -> Settings {
        Settings {
            lease_ttl: Duration::from_millis(self.ttl_ms),
            heartbeat: Duration::from_millis(self.heartbeat_ms),
            reap_interval: Duration::from_millis(self.reap_ms),
            claim_delay: Duration::from_millis(self.claim_delay_ms),
            heirs: self.heirs,
            capacity: self.capacity,
            claim: if self.manual { ClaimMode::Manual } else { ClaimMode::Auto },
            max_takeovers: self.max_takeovers,
            max_failures: self.max_failures,
            ..Settings::default()
        }
    }

    /// Whether its settings go together.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn check(&self) -> Result<(), ConfigError> {
        match &self.worker {
            Some(worker) => worker.check(),
            None => Config::new(self.settings()).map(drop),
        }
    }
}

impl End {
    /// In the order of [`App::ends`].
    pub const ALL: [End; 5] = [End::Done, End::Release, End::Fail, End::Panic, End::Hang];

    /// As plans name it.
    pub fn name(self) -> &'static str {
        match self {
            End::Done => "done",
            End::Release => "release",
            End::Fail => "fail",
            End::Panic => "panic",
            End::Hang => "hang",
        }
    }
}
