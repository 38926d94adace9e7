//! One consumer in the world: its machine, its clock, its connections, and what is under way.

use std::collections::{BTreeMap, VecDeque};

use streamkeeper_core::{
    config::{ClaimMode, Config, Settings},
    id::{CallId, ConsumerId},
    keys::Keys,
    streams::{Event, Link, Machine},
    time::Time,
};

use super::{
    asked::Asked,
    judges::Told,
    plan::{Fate, Kind, Setup},
    redis::Caller,
};

/// A consumer, running or not.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) who: Caller,
    id: ConsumerId,
    rate: u64,
    /// Where its clock begins: no two clocks agree.
    origin: u64,
    pub(crate) machine: Option<Machine>,
    /// Counts its starts: what concerns an earlier one is dropped.
    pub(crate) incarnation: u32,
    pub(crate) links: [Wire; 3],
    /// Calls that the shell waits for, and the connection that each went over.
    pub(crate) waiting: BTreeMap<CallId, (Link, u32)>,
    /// Its application has told it to take nothing more.
    pub(crate) draining: bool,
    /// Its application has told it to stop.
    pub(crate) stopping: bool,
    pub(crate) paused_until: u64,
    pub(crate) inbox: VecDeque<Event>,
    pub(crate) partitioned_until: u64,
    /// Which wake-up is the current one.
    pub(crate) wake: u64,
    /// The instant at which it was last woken by itself, and how often in a row without time passing.
    pub(crate) spins: (u64, u32),
    pub(crate) fates: VecDeque<(Kind, Fate)>,
    pub(crate) told: Told,
    pub(crate) asked: Asked,
    /// Orphans that the application was told of (manual mode).
    pub(crate) offered: Vec<streamkeeper_core::id::EntryId>,
}

/// One connection of the shell's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wire {
    pub(crate) up: bool,
    pub(crate) generation: u32,
}

impl Node {
    pub(crate) fn new(index: usize, setup: &Setup) -> Node {
        let namesake = setup.namesake && index == setup.nodes - 1;
        let name = if namesake { 0 } else { index };
        let id = ConsumerId::named(&format!("node-{name}")).expect("a good name");
        let settings = Settings {
            capacity: if setup.small && index == 1 { 2 } else { 100 },
            claim: if setup.manual && index == 1 { ClaimMode::Manual } else { ClaimMode::Auto },
            // With one heir, three consumers are a crowd already.
            heirs: if setup.seed.is_multiple_of(2) { 1 } else { 8 },
            max_takeovers: if setup.in_time.is_some() { 0 } else { 4 },
            max_failures: 4,
            failure_backoff: std::time::Duration::from_millis(300),
            failure_backoff_limit: std::time::Duration::from_secs(2),
            ..Settings::default()
        };
        let config = Config::new(settings).expect("good settings");
        let who = Caller { consumer: id.to_string(), process: format!("process-{index}"), config };
        Node {
            who,
            id,
            rate: setup.rates[index],
            origin: 1_000_000 * (index as u64 + 1),
            machine: None,
            incarnation: 0,
            links: [Wire::default(); 3],
            waiting: BTreeMap::new(),
            draining: false,
            stopping: false,
            paused_until: 0,
            inbox: VecDeque::new(),
            partitioned_until: 0,
            wake: 0,
            spins: (0, 0),
            fates: VecDeque::new(),
            told: Told::default(),
            asked: Asked::default(),
            offered: Vec::new(),
        }
    }

    pub(crate) fn boot(&mut self, keys: &Keys, seed: u64) {
        self.incarnation += 1;
        self.machine = Some(Machine::new(keys.clone(), self.id.clone(), self.who.config.clone(), seed));
        self.who.process = format!("{}-{}", self.who.consumer, seed);
        self.clear();
        self.told = Told::default();
        self.asked = Asked::default();
    }

    /// The process is gone, with everything that it knew.
    pub(crate) fn crash(&mut self) {
        self.machine = None;
        self.incarnation += 1;
        self.clear();
    }

    fn clear(&mut self) {
        self.links = [Wire::default(); 3];
        self.waiting.clear();
        self.inbox.clear();
        self.paused_until = 0;
        self.draining = false;
        self.stopping = false;
        self.offered.clear();
    }

    /// Whether it takes part in the end: everybody who claims by itself and has room.
    pub(crate) fn takes_all(&self) -> bool {
        self.who.config.capacity >= 100 && self.who.config.claim == ClaimMode::Auto
    }

    /// Its clock at the true time `now`.
    pub(crate) fn clock(&self, now: u64) -> Time {
        Time::from_micros(self.origin + now * self.rate / 100)
    }

    /// The first true time at which its clock shows `at` or later.
    pub(crate) fn when(&self, at: Time, now: u64) -> u64 {
        let ahead = at.as_micros().saturating_sub(self.clock(now).as_micros());
        if ahead == 0 {
            return now;
        }
        let mut when = now + ahead * 100 / self.rate;
        while self.clock(when) < at {
            when += 1 + (at.as_micros() - self.clock(when).as_micros()) / 2;
        }
        when
    }
}
