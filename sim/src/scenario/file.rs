//! The shape of a scenario's file. What its words mean is the matter of [`read`](super::read).

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A text, and where it stands.
pub(super) type Text = Spanned<String>;

/// A number or a text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a number or a text is expected")]
pub(super) enum Value {
    Number(u64),
    Text(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// One sentence: what happens, and which question is answered.
    pub(super) about: String,
    /// How many seeds it is run with, unless another number is asked for.
    #[serde(default = "seeds")]
    pub(super) seeds: Spanned<u64>,
    /// How long a run lasts.
    pub(super) lasts: Text,
    /// After that, everything that is owned is finished, within so long.
    pub(super) finish_within: Option<Text>,
    /// So many streams are announced at the beginning: `orders-1`, `orders-2` …
    #[serde(default = "none")]
    pub(super) streams: Spanned<u64>,
    /// Names for lengths of time and words, used as `{name}` in actions and as `name` in lengths of time.
    #[serde(default)]
    pub(super) with: BTreeMap<String, Spanned<Value>>,
    /// Of every consumer, by the names of the builder's methods.
    #[serde(default)]
    pub(super) settings: Settings,
    #[serde(default)]
    pub(super) application: Application,
    pub(super) consumers: Vec<Group>,
    #[serde(default)]
    pub(super) redis: Redis,
    /// One way, at least and at most: `200us..1ms`.
    pub(super) latency: Option<Text>,
    #[serde(default)]
    pub(super) at: Vec<At>,
    #[serde(default)]
    pub(super) expect: Vec<Expect>,
}

fn seeds() -> Spanned<u64> {
    Spanned::new(0..0, 20)
}

fn none() -> Spanned<u64> {
    Spanned::new(0..0, 0)
}

/// The builder's settings. Where nothing is said, the builder's defaults; for the heartbeat, a third of the ttl.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    pub(super) lease_ttl: Option<Text>,
    pub(super) heartbeat: Option<Text>,
    pub(super) reap_interval: Option<Text>,
    pub(super) claim_delay: Option<Text>,
    pub(super) capacity: Option<Spanned<usize>>,
    pub(super) claim: Option<Text>,
    pub(super) max_takeovers: Option<Spanned<u32>>,
    pub(super) max_failures: Option<Spanned<u32>>,
    pub(super) output_buffer: Option<Spanned<usize>>,
}

impl Settings {
    /// The names of all.
    pub(super) const NAMES: [&str; 9] = [
        "lease_ttl",
        "heartbeat",
        "reap_interval",
        "claim_delay",
        "capacity",
        "claim",
        "max_takeovers",
        "max_failures",
        "output_buffer",
    ];

    /// These where they are given, otherwise the others.
    pub(super) fn or(&self, others: &Settings) -> Settings {
        let (mine, others) = (self.clone(), others.clone());
        Settings {
            lease_ttl: mine.lease_ttl.or(others.lease_ttl),
            heartbeat: mine.heartbeat.or(others.heartbeat),
            reap_interval: mine.reap_interval.or(others.reap_interval),
            claim_delay: mine.claim_delay.or(others.claim_delay),
            capacity: mine.capacity.or(others.capacity),
            claim: mine.claim.or(others.claim),
            max_takeovers: mine.max_takeovers.or(others.max_takeovers),
            max_failures: mine.max_failures.or(others.max_failures),
            output_buffer: mine.output_buffer.or(others.output_buffer),
        }
    }
}

/// What the consumers' application does with its streams.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Application {
    /// Through `Client::run` with a handler, instead of reading notifications.
    pub(super) handler: Option<bool>,
    /// How long it works on a stream: `2s`, `100ms..2s`; without it, for ever.
    pub(super) work: Option<Text>,
    /// How the work ends, by weight.
    pub(super) ends: Option<Ends>,
    /// How long it waits before it reads a notification.
    pub(super) reads_every: Option<Text>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ends {
    pub(super) done: u32,
    pub(super) release: u32,
    pub(super) fail: u32,
    pub(super) panic: u32,
    pub(super) hang: u32,
}

/// One consumer, or several of a kind: `worker-0`, `worker-1` …
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) name: Text,
    /// How many, 1000 in all groups at most; one is called by the name alone.
    pub(super) count: Option<Spanned<u64>>,
    /// Peers that speak the Go library's protocol.
    #[serde(default)]
    pub(super) go: bool,
    /// They take part only once they are started.
    #[serde(default)]
    pub(super) absent: bool,
    /// How much faster its clock runs than true time, in parts per million.
    #[serde(default)]
    pub(super) drift_ppm: i32,
    #[serde(default)]
    pub(super) settings: Settings,
    pub(super) application: Option<Application>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Redis {
    /// `one`, `sentinel` or `cluster`.
    pub(super) topology: Option<Text>,
    /// `none`, `rdb:30s`, `aof` or `aof-always`.
    pub(super) persistence: Option<Text>,
    pub(super) hz: Option<u32>,
    /// `notify-keyspace-events`.
    pub(super) notify: Option<String>,
    /// `allowed` or `forbidden`.
    pub(super) config: Option<Text>,
    pub(super) replica_lag: Option<Text>,
    /// Keys of others that expire, among which ours are found late.
    pub(super) other_keys: Option<usize>,
    pub(super) uptime: Option<Text>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    pub(super) time: Text,
    #[serde(rename = "do")]
    pub(super) action: Text,
}

/// One expectation: the first key says which.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// These streams have an owner …
    pub(super) owned: Option<Text>,
    /// … so long …
    pub(super) within: Option<Text>,
    /// … after this time.
    pub(super) after: Option<Text>,
    /// This figure is …
    pub(super) figure: Option<Text>,
    /// … at most this …
    pub(super) at_most: Option<Spanned<Value>>,
    /// … and at least this.
    pub(super) at_least: Option<Spanned<Value>>,
    /// These streams are finished at the end.
    pub(super) finished: Option<Text>,
    /// These streams are set aside at the end …
    pub(super) set_aside: Option<Text>,
    /// … for this reason.
    pub(super) reason: Option<Text>,
    /// This consumer …
    pub(super) consumer: Option<Text>,
    /// … owns so many streams at least …
    pub(super) owns_at_least: Option<Spanned<usize>>,
    /// … at this time.
    pub(super) at: Option<Text>,
}
