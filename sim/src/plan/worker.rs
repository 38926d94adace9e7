//! A worker: what makes a consumer of a plan one of messages. And what a message that is sent makes its worker do.

use std::time::Duration;

use streamkeeper_core::{
    config::ConfigError,
    messages::config::{Backoff, Config, DeadFailure, Processed, Rate, Settings},
};

use crate::facts::millis;

/// The settings of a worker, in the names of the library.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerPlan {
    /// `concurrency`.
    pub concurrency: usize,
    /// `prefetch`.
    pub prefetch: usize,
    /// `batch`.
    pub batch: usize,
    /// `block`.
    pub block_ms: u64,
    /// `reclaim_idle`.
    pub idle_ms: u64,
    /// `reclaim_interval`.
    pub reclaim_ms: u64,
    /// `due_interval`.
    pub due_ms: u64,
    /// `ack_delay`.
    pub ack_delay_ms: u64,
    /// `sweep_interval`.
    pub sweep_ms: u64,
    /// `max_attempts`.
    pub max_attempts: u32,
    /// `max_crashes`.
    pub max_crashes: u32,
    /// `backoff.base` and `backoff.limit`.
    pub backoff_ms: (u64, u64),
    /// `backoff.factor`.
    pub factor: u32,
    /// `backoff.jitter_percent`.
    pub jitter_percent: u32,
    /// `timeout`.
    pub timeout_ms: Option<u64>,
    /// `rate`: so many in so many milliseconds.
    pub rate: Option<(u32, u64)>,
    /// `group_rate`: so many in so many milliseconds.
    pub group_rate: Option<(u32, u64)>,
    /// `processed`, by the message's own id: its age.
    pub processed_ms: Option<u64>,
    /// `delete_after_success`.
    pub deletes: bool,
    /// `trim`.
    pub trims: bool,
    /// A message whose `process_dead` fails is buried all the same.
    pub buries: bool,
    /// Messages are serialised by their key.
    pub ordered: bool,
}

/// What is sent at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Sending {
    /// How many messages; with an idempotency key: how many times the same one.
    pub count: u64,
    /// What they make their worker do.
    pub does: Does,
    /// How long each of their runs takes.
    pub takes_ms: u64,
    /// They are delivered so much later.
    pub delay_ms: u64,
    /// Their idempotency key.
    pub once: Option<u64>,
    /// The key by which they are serialised, where that is asked for.
    pub key: Option<u64>,
}

/// What a message makes its worker do. `times` counts over all processes; 0 is always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Its run succeeds.
    Succeeds,
    /// Its run fails so many times, then it succeeds.
    Fails(u32),
    /// Its run panics so many times, then it succeeds.
    Panics(u32),
    /// Its run kills the process so many times, then it succeeds.
    Crashes(u32),
    /// Its run never ends.
    Hangs,
    /// Its run says that it is never to be run again.
    Rejects,
    /// Its run says that it is of no interest.
    Drops,
    /// It cannot be decoded.
    Broken,
    /// Its runs fail, and then what is called for the dead fails so many times.
    DeadFails(u32),
    /// Its runs fail, and what is called for the dead takes care of it.
    DeadAcks,
    /// Its runs fail, and what is called for the dead kills the process so many times.
    DeadCrashes(u32),
}

impl Default for WorkerPlan {
    /// The library's own defaults.
    fn default() -> WorkerPlan {
        let settings = Settings::default();
        WorkerPlan {
            concurrency: settings.concurrency,
            prefetch: settings.prefetch,
            batch: settings.batch,
            block_ms: millis(settings.block),
            idle_ms: millis(settings.reclaim_idle),
            reclaim_ms: millis(settings.reclaim_interval),
            due_ms: millis(settings.due_interval),
            ack_delay_ms: millis(settings.ack_delay),
            sweep_ms: millis(settings.sweep_interval),
            max_attempts: settings.max_attempts,
            max_crashes: settings.max_crashes,
            backoff_ms: (millis(settings.backoff.base), millis(settings.backoff.limit)),
            factor: settings.backoff.factor,
            jitter_percent: settings.backoff.jitter_percent,
            timeout_ms: None,
            rate: None,
            group_rate: None,
            processed_ms: None,
            deletes: settings.delete_after_success,
            trims: settings.trim,
            buries: settings.dead_failure == DeadFailure::Bury,
            ordered: false,
        }
    }
}

impl Default for Sending {
    /// One message that succeeds at once.
    fn default() -> Sending {
        Sending { count: 1, does: Does::Succeeds, takes_ms: 0, delay_ms: 0, once: None, key: None }
    }
}

/// The field by which messages of the simulation are serialised.
pub const ORDERED_BY: &str = "key";

impl WorkerPlan {
    /// The settings of its consumer. A call may take a second, or the quarter of `reclaim_idle` if that is less.
    pub fn settings(&self) -> Settings {
        let ms = Duration::from_millis;
        let rate = |(count, per_ms): (u32, u64)| Rate { count, per: ms(per_ms) };
        let idle = ms(self.idle_ms);
        let usual = Settings::default();
        Settings {
            concurrency: self.concurrency,
            prefetch: self.prefetch,
            batch: self.batch,
            block: ms(self.block_ms),
            reclaim_idle: idle,
            reclaim_interval: ms(self.reclaim_ms),
            due_interval: ms(self.due_ms),
            ack_delay: ms(self.ack_delay_ms),
            sweep_interval: ms(self.sweep_ms),
            max_attempts: self.max_attempts,
            max_crashes: self.max_crashes,
            backoff: Backoff {
                base: ms(self.backoff_ms.0),
                factor: self.factor,
                limit: ms(self.backoff_ms.1),
                jitter_percent: self.jitter_percent,
            },
            timeout: self.timeout_ms.map(ms),
            rate: self.rate.map(rate),
            group_rate: self.group_rate.map(rate),
            processed: self.processed_ms.map(|age_ms| Processed { age: ms(age_ms), by: None }),
            delete_after_success: self.deletes,
            trim: self.trims,
            dead_failure: if self.buries { DeadFailure::Bury } else { DeadFailure::Keep },
            ordered_by: self.ordered.then(|| ORDERED_BY.into()),
            call_timeout: usual.call_timeout.min(idle / 4),
            ..usual
        }
    }

    /// The usual settings, with this `reclaim_idle` and what must follow it.
    pub fn usual(idle_ms: u64) -> WorkerPlan {
        let usual = WorkerPlan::default();
        let (block_ms, reclaim_ms) = (usual.block_ms.min(idle_ms), usual.reclaim_ms.min(idle_ms / 3));
        WorkerPlan { idle_ms, block_ms, reclaim_ms, ..usual }
    }

    /// Whether its settings go together.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn check(&self) -> Result<(), ConfigError> {
        Config::new(self.settings()).map(drop)
    }
}

impl Does {
    /// As plans name it, without the number of times.
    pub fn name(self) -> &'static str {
        match self {
            Does::Succeeds => "succeeds",
            Does::Fails(_) => "fails",
            Does::Panics(_) => "panics",
            Does::Crashes(_) => "crashes",
            Does::Hangs => "hangs",
            Does::Rejects => "rejects",
            Does::Drops => "drops",
            Does::Broken => "broken",
            Does::DeadFails(_) => "dead-fails",
            Does::DeadAcks => "dead-acks",
            Does::DeadCrashes(_) => "dead-crashes",
        }
    }

    /// How many times, if that can be said.
    pub fn times(self) -> Option<u32> {
        match self {
            Does::Fails(times)
            | Does::Panics(times)
            | Does::Crashes(times)
            | Does::DeadFails(times)
            | Does::DeadCrashes(times) => Some(times),
            _ => None,
        }
    }

    /// From its name and its number of times.
    pub fn from_name(name: &str, times: u32) -> Option<Does> {
        Some(match name {
            "succeeds" => Does::Succeeds,
            "fails" => Does::Fails(times),
            "panics" => Does::Panics(times),
            "crashes" => Does::Crashes(times),
            "hangs" => Does::Hangs,
            "rejects" => Does::Rejects,
            "drops" => Does::Drops,
            "broken" => Does::Broken,
            "dead-fails" => Does::DeadFails(times),
            "dead-acks" => Does::DeadAcks,
            "dead-crashes" => Does::DeadCrashes(times),
            _ => return None,
        })
    }
}
