//! What the servers were asked, by kind of call, period and second.

use std::{collections::BTreeMap, time::Duration};

use streamkeeper::Time;

/// How much of one kind of call there was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) items: u64,
    pub(crate) commands: u64,
    pub(crate) words: u64,
    pub(crate) micros: f64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.calls += other.calls;
        self.items += other.items;
        self.commands += other.commands;
        self.words += other.words;
        self.micros += other.micros;
    }
}

/// One server in one second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Second {
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// How long it worked, in microseconds: on what came in this second.
    pub(crate) micros: f64,
}

/// A part of the run.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: &'static str,
    pub(crate) from: Time,
    pub(crate) until: Time,
    /// Over all servers.
    pub(crate) kinds: BTreeMap<&'static str, Tally>,
    /// The longest that something waited for its server.
    pub(crate) longest_wait: Duration,
    /// Calls that were not answered in time.
    pub(crate) given_up: u64,
}

/// Everything that the servers were asked.
pub(crate) struct Traffic {
    /// By server, then by second.
    pub(crate) seconds: Vec<Vec<Second>>,
    pub(crate) spans: Vec<Span>,
}

impl Traffic {
    pub(crate) fn new(shards: usize) -> Traffic {
        Traffic { seconds: vec![Vec::new(); shards], spans: Vec::new() }
    }

    /// Another part of the run begins.
    pub(crate) fn begin(&mut self, name: &'static str, now: Time) {
        self.end(now);
        let (longest_wait, given_up) = (Duration::ZERO, 0);
        self.spans.push(Span { name, from: now, until: now, kinds: BTreeMap::new(), longest_wait, given_up });
    }

    pub(crate) fn end(&mut self, now: Time) {
        if let Some(span) = self.spans.last_mut() {
            span.until = now;
        }
    }

    /// A server did this now, for which it took so long.
    pub(crate) fn note(&mut self, shard: usize, kind: &'static str, tally: &Tally, waited: Duration, now: Time) {
        let at = usize::try_from(now.as_micros() / 1_000_000).unwrap_or_default();
        let seconds = &mut self.seconds[shard];
        if seconds.len() <= at {
            seconds.resize_with(at + 1, Second::default);
        }
        *seconds[at].calls.entry(kind).or_default() += tally.calls;
        seconds[at].micros += tally.micros;
        if let Some(span) = self.spans.last_mut() {
            span.kinds.entry(kind).or_default().add(tally);
            span.longest_wait = span.longest_wait.max(waited);
        }
    }

    pub(crate) fn gave_up(&mut self) {
        if let Some(span) = self.spans.last_mut() {
            span.given_up += 1;
        }
    }
}

impl Span {
    pub(crate) fn seconds(&self) -> f64 {
        self.until.since(self.from).as_secs_f64()
    }

    pub(crate) fn calls(&self, kind: &str) -> u64 {
        self.kinds.get(kind).map_or(0, |tally| tally.calls)
    }

    pub(crate) fn micros(&self) -> f64 {
        self.kinds.values().map(|tally| tally.micros).sum()
    }
}
