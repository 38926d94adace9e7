//! What happens in a world: who sends what, how its handler behaves, and what goes wrong. Made by proptest, which makes
//! a plan that shows a defect smaller until nothing can be left out.

use std::time::Duration;

use proptest::prelude::*;
use streamkeeper_core::{
    messages::{Settings, config::Backoff},
    time::Time,
};

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) concurrency: usize,
    pub(crate) prefetch: usize,
    pub(crate) batch: usize,
    pub(crate) max_attempts: u32,
    pub(crate) ordered: bool,
    pub(crate) processed: bool,
    pub(crate) timeout_ms: Option<u64>,
    /// When each is sent, and what becomes of it.
    pub(crate) messages: Vec<(u64, Handler)>,
    pub(crate) faults: Vec<(u64, Fault)>,
}

/// How a message's handler behaves.
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    pub(crate) key: u8,
    pub(crate) lasts_ms: u64,
    /// So many runs fail first.
    pub(crate) fails: u32,
    pub(crate) rejects: bool,
    /// It kills its process.
    pub(crate) crashes: bool,
    /// It can be cancelled.
    pub(crate) stops: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Break(usize),
    Crash(usize),
    Freeze(usize, u64),
    Cut(usize, u64),
    Outage(u64),
    Stop(usize, u64),
    Pause(usize, u64),
    Trim(usize),
    LoseGroup,
}

impl Fault {
    /// Whether a run that it meets may count as one that killed its process: nobody refreshes it.
    pub(crate) fn kills(&self) -> bool {
        matches!(self, Fault::Crash(_) | Fault::Freeze(..) | Fault::Cut(..) | Fault::Outage(_))
    }
}

impl Plan {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            concurrency: self.concurrency,
            prefetch: self.prefetch,
            batch: self.batch,
            max_attempts: self.max_attempts,
            reclaim_idle: Duration::from_secs(2),
            reclaim_interval: Duration::from_millis(500),
            block: Duration::from_millis(800),
            call_timeout: Duration::from_millis(400),
            backoff: Backoff {
                base: Duration::from_millis(100),
                factor: 2,
                limit: Duration::from_secs(2),
                jitter_percent: 20,
            },
            sweep_interval: Duration::from_secs(2),
            timeout: self.timeout_ms.map(Duration::from_millis),
            ordered_by: self.ordered.then(|| "key".into()),
            processed: self
                .processed
                .then(|| streamkeeper_core::messages::config::Processed { age: Duration::from_secs(60), by: None }),
            ..Settings::default()
        }
    }

    pub(crate) fn loses_group(&self) -> bool {
        self.faults.iter().any(|(_, fault)| matches!(fault, Fault::LoseGroup))
    }

    /// When nothing goes wrong any more.
    pub(crate) fn last_event(&self) -> Time {
        let span = |fault: &Fault| match fault {
            Fault::Freeze(_, ms) | Fault::Cut(_, ms) | Fault::Outage(ms) | Fault::Pause(_, ms) => *ms,
            Fault::Stop(_, ms) => ms + 1_000,
            _ => 0,
        };
        let faults = self.faults.iter().map(|(at, fault)| at + span(fault));
        let sent = self.messages.iter().filter(|(at, _)| *at <= 12_000).map(|(at, handler)| at + handler.lasts_ms);
        Time::from_millis(faults.chain(sent).max().unwrap_or(0))
    }
}

fn handler() -> impl Strategy<Value = Handler> {
    let lasts = prop_oneof![6 => 0..50_u64, 2 => 50..1_000_u64, 1 => 1_000..9_000_u64];
    let fails = prop_oneof![5 => Just(0), 2 => 1..3_u32, 1 => Just(99)];
    let (rejects, crashes) = (prop::bool::weighted(0.05), prop::bool::weighted(0.03));
    (0..4_u8, lasts, fails, rejects, crashes, prop::bool::weighted(0.9)).prop_map(
        |(key, lasts_ms, fails, rejects, crashes, stops)| Handler { key, lasts_ms, fails, rejects, crashes, stops },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => (0..3_usize).prop_map(Fault::Break),
        2 => (0..3_usize).prop_map(Fault::Crash),
        3 => (0..3_usize, 10..6_000_u64).prop_map(|(node, ms)| Fault::Freeze(node, ms)),
        4 => (0..3_usize, 10..3_000_u64).prop_map(|(node, ms)| Fault::Cut(node, ms)),
        2 => (10..5_000_u64).prop_map(Fault::Outage),
        2 => (0..3_usize, 0..3_000_u64).prop_map(|(node, ms)| Fault::Stop(node, ms)),
        1 => (0..3_usize, 10..4_000_u64).prop_map(|(node, ms)| Fault::Pause(node, ms)),
        1 => (0..20_usize).prop_map(Fault::Trim),
        1 => Just(Fault::LoseGroup),
    ]
}

prop_compose! {
    pub(crate) fn plans()(
        seed in any::<u64>(),
        nodes in 1..=3_usize,
        (concurrency, prefetch, batch) in (1..6_usize, 0..6_usize, prop_oneof![Just(1_usize), Just(3), Just(1_000)]),
        max_attempts in prop_oneof![3 => 1..5_u32, 1 => Just(8)],
        (ordered, processed) in (prop::bool::weighted(0.2), prop::bool::weighted(0.2)),
        timeout_ms in prop_oneof![3 => Just(None), 1 => (100..3_000_u64).prop_map(Some)],
        messages in prop::collection::vec((0..12_000_u64, handler()), 1..25),
        faults in prop::collection::vec((0..15_000_u64, fault()), 0..8),
    ) -> Plan {
        let mut messages = messages;
        // What is over its time, cannot be stopped and goes on until it is reclaimed is worth a crash: not a subject here.
        for (_, handler) in &mut messages {
            handler.stops |= timeout_ms.is_some_and(|timeout| handler.lasts_ms > timeout + 1_000);
        }
        // Where nothing succeeds, nothing is buried for its crashes: something always does.
        if messages.iter().any(|(_, handler)| handler.crashes) {
            let calm = Handler { key: 0, lasts_ms: 1, fails: 0, rejects: false, crashes: false, stops: true };
            messages.extend((0..120).map(|second| (second * 1_000, calm.clone())));
        }
        messages.sort_by_key(|(at, _)| *at);
        Plan { seed, nodes, concurrency, prefetch, batch, max_attempts, ordered, processed, timeout_ms, messages, faults }
    }
}
