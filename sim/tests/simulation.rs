//! A user's own handlers under simulated failover: what the library is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use streamkeeper::{Lease, Settings};
use streamkeeper_sim::{
    facts::What,
    plan::Profile,
    simulation::{Report, Simulation},
    world::Net,
};

/// A bank, as far as these tests go: who was charged, how often; it may be given a key, and then charges once for it.
#[derive(Clone, Default)]
struct Bank(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    charges: BTreeMap<String, u32>,
    keys: BTreeSet<String>,
}

impl Bank {
    fn charge(&self, customer: &str) {
        *self.0.lock().unwrap().charges.entry(customer.to_owned()).or_default() += 1;
    }

    fn charge_once(&self, customer: &str, key: &str) {
        if self.0.lock().unwrap().keys.insert(key.to_owned()) {
            self.charge(customer);
        }
    }

    fn charged_twice(&self) -> usize {
        self.0.lock().unwrap().charges.values().filter(|times| **times > 1).count()
    }

    fn charged(&self) -> usize {
        self.0.lock().unwrap().charges.len()
    }
}

/// Three consumers, twelve streams, and one consumer dies while it works.
fn one_crash<H, F>(seed: u64, handler: H) -> Report
where
    H: Fn(Lease) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), io::Error>> + Send + 'static,
{
    Simulation::new(seed)
        .consumers(3)
        .streams("orders-", 12)
        .at(Duration::from_millis(3_500), "crash c0")
        .lasting(Duration::from_secs(5), Duration::from_secs(15))
        .handler(move |lease, _site| handler(lease))
        .run()
}

#[test]
fn a_handler_that_is_not_idempotent_is_found() {
    let bank = Bank::default();
    let shop = bank.clone();
    let report = one_crash(1, move |lease| {
        let bank = shop.clone();
        async move {
            bank.charge(lease.stream().as_str());
            // What else is to be done for this order. Here the first owner crashes.
            tokio::time::sleep(Duration::from_secs(4)).await;
            Ok(())
        }
    });
    report.assert_promises().assert_finished();
    assert_eq!(bank.charged(), 12);
    assert!(bank.charged_twice() > 0, "the crash lies between the charge and the end:\n{}", report.trace());
    assert!(report.metrics().takeovers >= bank.charged_twice());
}

#[test]
fn an_idempotent_handler_passes_under_every_seed() {
    for seed in 0..10 {
        let bank = Bank::default();
        let shop = bank.clone();
        let report = one_crash(seed, move |lease| {
            let bank = shop.clone();
            async move {
                bank.charge_once(lease.stream().as_str(), &lease.entry().to_string());
                tokio::time::sleep(Duration::from_secs(4)).await;
                Ok(())
            }
        });
        report.assert_promises().assert_finished();
        assert_eq!((bank.charged(), bank.charged_twice()), (12, 0), "seed {seed}");
    }
}

#[test]
fn a_crash_costs_a_lease_and_not_much_more() {
    let settings = Settings { lease_ttl: Duration::from_secs(5), ..Settings::default() };
    let report = Simulation::new(3)
        .consumers(2)
        .settings(&settings)
        .streams("orders-", 4)
        .at(Duration::from_secs(8), "crash c1")
        .lasting(Duration::from_secs(20), Duration::from_secs(10))
        .run();
    report.assert_promises().assert_owned_again_within(settings.lease_ttl + Duration::from_millis(500));
    let longest = report.metrics().unplanned().max().expect("c1 owned some of them");
    assert!(longest > settings.lease_ttl - settings.heartbeat, "{longest:?}");
}

#[test]
fn what_a_handler_sees_of_its_failures_and_panics() {
    let report = Simulation::new(4)
        .consumers(1)
        .streams("orders-", 2)
        .lasting(Duration::from_secs(10), Duration::from_secs(10))
        .handler(|lease, site| async move {
            site.note(format_args!("{} for the {}. time", lease.stream(), lease.failures() + 1));
            if lease.stream().as_str() == "orders-1" && lease.failures() == 0 {
                return Err(io::Error::other("the first time it fails"));
            }
            assert!(lease.stream().as_str() != "orders-2" || lease.failures() > 0, "the first time it panics");
            Ok(())
        })
        .run();
    assert!(report.unfinished().is_empty());
    let notes: Vec<&str> = report
        .outcome
        .facts
        .iter()
        .filter_map(|fact| match &fact.what {
            What::Note { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    for expected in ["c0: orders-1 for the 1. time", "c0: orders-1 for the 2. time", "c0: orders-2 for the 2. time"] {
        assert!(notes.contains(&expected), "{notes:?}");
    }
    assert_eq!(report.outcome.panics.len(), 1, "{:?}", report.outcome.panics);
    assert!(report.outcome.panics[0].contains("the first time it panics"));
}

#[test]
fn the_same_seed_is_the_same_run_on_each_network() {
    for net in [Net::Events, Net::Turmoil] {
        let run = |seed| {
            Simulation::drawn(seed, Profile::Swarm)
                .lasting(Duration::from_secs(15), Duration::from_secs(10))
                .on(net)
                .run()
        };
        let first = run(7);
        assert_eq!(first.trace(), run(7).trace());
        assert_ne!(first.trace(), run(8).trace());
        assert!(first.outcome.simulated_s() >= 25.0);
    }
}

#[test]
#[should_panic(expected = "the step `crush c0`")]
fn what_is_no_step_is_said() {
    Simulation::new(1).consumers(1).at(Duration::from_secs(1), "crush c0").run();
}
