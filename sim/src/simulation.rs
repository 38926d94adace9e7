//! Your own handler under simulated failover, in a plain `#[test]`: real clients of a simulated fleet run it, on a
//! simulated network, against a simulated Redis, in simulated time; a minute takes milliseconds.
//!
//! ```
//! use std::{sync::{Arc, Mutex}, time::Duration};
//! use streamkeeper_sim::simulation::Simulation;
//!
//! let sent = Arc::new(Mutex::new(Vec::new())); // a mail server, as far as this test goes
//! let mails = sent.clone();
//! let report = Simulation::new(1)
//!     .consumers(3)
//!     .streams("orders-", 6)
//!     .at(Duration::from_secs(2), "crash c0")
//!     .at(Duration::from_secs(3), "pause c1 10s at handler")
//!     .handler(move |lease, _site| {
//!         let mails = mails.clone();
//!         async move {
//!             tokio::time::sleep(Duration::from_secs(1)).await; // simulated time
//!             mails.lock().unwrap().push(lease.stream().to_string());
//!             Ok::<(), std::io::Error>(())
//!         }
//!     })
//!     .run();
//! report.assert_promises().assert_finished();
//! println!("without an owner: {:?}", report.metrics().without_owner());
//! assert!(sent.lock().unwrap().len() >= 6);
//! ```
//!
//! A handler may use everything that is simulated, too: tokio's timers, the [`Site`], the [`Lease`], and whatever lies
//! in memory. What it must not use, since it would make each run another one: sockets, files, threads, the wall clock,
//! randomness without a fixed seed.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
    future::Future,
    sync::Arc,
    time::Duration,
};

use streamkeeper::{ClaimMode, Lease, Settings};

use crate::{
    facts::{What, millis},
    metrics::Metrics,
    plan::{Action, ConsumerPlan, Plan, Profile, RedisPlan, Timed},
    timeline::Timeline,
    world::{self, Fleet, Net, Outcome},
};

pub use crate::world::Site;

/// A fleet, what befalls it, and the handler that it runs. Nothing happens before [`run`](Simulation::run); it can be
/// run again, and then does the same again.
#[derive(Clone)]
#[must_use = "a simulation does nothing until it is run"]
pub struct Simulation {
    plan: Plan,
    net: Net,
    fleet: Fleet,
    steps: Vec<(Duration, Step)>,
}

/// Something that happens in a simulation: an [`Action`], or the text of one, such as `pause c1 4s`.
#[derive(Clone, Debug, PartialEq)]
pub struct Step(Written);

#[derive(Clone, Debug, PartialEq)]
enum Written {
    Action(Action),
    Text(String),
}

impl From<Action> for Step {
    fn from(action: Action) -> Step {
        Step(Written::Action(action))
    }
}

impl From<&str> for Step {
    fn from(text: &str) -> Step {
        Step(Written::Text(text.to_owned()))
    }
}

impl From<String> for Step {
    fn from(text: String) -> Step {
        Step(Written::Text(text))
    }
}

impl Simulation {
    /// A simulation in which nothing happens yet, on a fast network with a default Redis. Another seed is another
    /// order of events.
    pub fn new(seed: u64) -> Simulation {
        let plan = Plan { seed, finish: false, ..Plan::default() };
        Simulation { plan, net: Net::Events, fleet: Fleet::default(), steps: Vec::new() }
    }

    /// A fleet, streams and faults as drawn from the seed: run your handler in a hundred of these.
    pub fn drawn(seed: u64, profile: Profile) -> Simulation {
        Simulation { plan: Plan { finish: false, ..Plan::draw(seed, profile) }, ..Simulation::new(seed) }
    }

    /// So many consumers take part, named `a`, `b`, `c` …; in actions also `c0`, `c1`, `c2` …
    pub fn consumers(mut self, count: usize) -> Simulation {
        self.plan.consumers =
            (0..count).map(|index| ConsumerPlan { name: name(index), ..ConsumerPlan::default() }).collect();
        self
    }

    /// These are the settings of all consumers there are so far.
    pub fn settings(self, settings: &Settings) -> Simulation {
        (0..self.plan.consumers.len()).fold(self, |this, consumer| this.settings_of(consumer, settings))
    }

    /// These are the settings of one consumer.
    pub fn settings_of(mut self, consumer: usize, settings: &Settings) -> Simulation {
        if let Some(plan) = self.plan.consumers.get_mut(consumer) {
            plan.ttl_ms = millis(settings.lease_ttl);
            plan.heartbeat_ms = millis(settings.heartbeat);
            plan.reap_ms = millis(settings.reap_interval);
            plan.claim_delay_ms = millis(settings.claim_delay);
            plan.heirs = settings.heirs;
            plan.capacity = settings.capacity;
            plan.manual = settings.claim == ClaimMode::Manual;
            (plan.max_takeovers, plan.max_failures) = (settings.max_takeovers, settings.max_failures);
            self.fleet.settings.insert(consumer, settings.clone());
        }
        self
    }

    /// These streams are announced at the beginning: the prefix, and the numbers from 1 on.
    pub fn streams(self, prefix: impl Into<String>, count: u64) -> Simulation {
        self.at(Duration::from_millis(100), Action::Announce { prefix: prefix.into(), from: 1, count })
    }

    /// This happens at that time: an [`Action`], or its text as in plans, such as `crash c0` or `redis failover 900ms`.
    pub fn at(mut self, time: Duration, step: impl Into<Step>) -> Simulation {
        self.steps.push((time, step.into()));
        self
    }

    /// Redis is set up like this.
    pub fn redis(mut self, redis: RedisPlan) -> Simulation {
        self.plan.redis = redis;
        self
    }

    /// How long bytes take from one host to another, at least and at most.
    pub fn latency(mut self, least: Duration, most: Duration) -> Simulation {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.plan.latency_us = (micros(least), micros(most.max(least)));
        self
    }

    /// On which network: our own, unless said.
    pub fn on(mut self, net: Net) -> Simulation {
        self.net = net;
        self
    }

    /// For how long faults strike, and how long everything is left in peace after that. 38 s and 22 s, unless said.
    pub fn lasting(mut self, faults: Duration, calm: Duration) -> Simulation {
        (self.plan.heal_at, self.plan.calm) = (faults, calm);
        self
    }

    /// What the consumers do with each stream that they own, as with
    /// [`Client::run`](streamkeeper::Client::run): `Ok` finishes the stream, an error gives it back. Without one, they
    /// own streams and never end.
    pub fn handler<H, F, E>(mut self, handler: H) -> Simulation
    where
        H: Fn(Lease, Site) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.fleet.handler = Some(Arc::new(move |lease, site| {
            let working = handler(lease, site);
            Box::pin(async move { working.await.map_err(|error| error.to_string()) })
        }));
        self
    }

    /// Runs it.
    ///
    /// # Panics
    /// A [`Step`]'s text is no action, or a consumer's settings do not go together.
    pub fn run(&self) -> Report {
        let plan = self.written();
        let outcome = world::run_fleet(&plan, self.net, &self.fleet);
        Report { plan, outcome }
    }

    /// The plan that is run, with everything that was said.
    fn written(&self) -> Plan {
        let mut plan = self.plan.clone();
        let names: Vec<String> = plan.consumers.iter().map(|consumer| consumer.name.clone()).collect();
        for consumer in &plan.consumers {
            if let Err(error) = consumer.check() {
                panic!("the settings of consumer {}: {error}", consumer.name);
            }
        }
        for (at, Step(step)) in &self.steps {
            let action = match step {
                Written::Action(action) => action.clone(),
                Written::Text(text) => {
                    Action::parse(text, &names).unwrap_or_else(|error| panic!("the step `{text}`: {error}"))
                }
            };
            plan.actions.push(Timed { at: *at, action });
        }
        plan.actions.sort_by_key(|timed| timed.at);
        plan
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("plan", &self.plan)
            .field("net", &self.net)
            .field("steps", &self.steps)
            .finish()
    }
}

/// What came of a simulation.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was run. Its text, kept in a file, is run again by `streamkeeper-sim replay`; but without your handler.
    pub plan: Plan,
    /// What happened, and what was broken.
    pub outcome: Outcome,
}

impl Report {
    /// Who owned what, and when.
    pub fn timeline(&self) -> Timeline {
        Timeline::of(&self.outcome.facts, self.outcome.end)
    }

    /// The figures: how long streams were without an owner, how many changed theirs.
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.outcome.facts, self.outcome.end)
    }

    /// The streams that were announced, and those of them that are not finished for ever.
    pub fn unfinished(&self) -> BTreeSet<Arc<str>> {
        let mut open = BTreeSet::new();
        for fact in &self.outcome.facts {
            match &fact.what {
                What::Announced { stream, entry } => drop(open.insert((stream.clone(), entry.clone()))),
                What::Finished { stream, entry, .. } => drop(open.remove(&(stream.clone(), entry.clone()))),
                _ => {}
            }
        }
        open.into_iter().map(|(stream, _)| stream).collect()
    }

    /// What happened, one line each.
    pub fn trace(&self) -> String {
        self.outcome.facts.iter().map(|fact| format!("{fact}\n")).collect()
    }

    /// Everything that Streamkeeper promises was kept, and no handler panicked.
    ///
    /// # Panics
    /// Otherwise, with what was broken.
    pub fn assert_promises(&self) -> &Report {
        let broken = self.outcome.violations.iter().map(ToString::to_string);
        let panics = self.outcome.panics.iter().map(|panic| format!("a panic: {panic}"));
        let all: Vec<String> = broken.chain(panics).collect();
        assert!(all.is_empty(), "seed {}:\n{}", self.plan.seed, all.join("\n"));
        self
    }

    /// Every stream that was announced is finished for ever.
    ///
    /// # Panics
    /// Otherwise, with those that are not.
    pub fn assert_finished(&self) -> &Report {
        let unfinished = self.unfinished();
        assert!(unfinished.is_empty(), "seed {}: not finished: {unfinished:?}", self.plan.seed);
        self
    }

    /// No stream was without an owner for longer than this, after something that nobody wished.
    ///
    /// # Panics
    /// Otherwise, with how long it was.
    pub fn assert_owned_again_within(&self, longest: Duration) -> &Report {
        let worst = self.metrics().unplanned().max().unwrap_or_default();
        assert!(worst <= longest, "seed {}: a stream was without an owner for {worst:?}", self.plan.seed);
        self
    }
}

/// `a` to `z`, then `a1` …
fn name(index: usize) -> String {
    let letter = char::from(b'a' + (index % 26) as u8);
    if index < 26 { letter.to_string() } else { format!("{letter}{}", index / 26) }
}
