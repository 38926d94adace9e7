//! Runs with several servers, by hand: what is found, what is followed, and what is refused.

use std::ops::Range;

use super::{Net, Outcome, run};
use crate::{
    facts::{Fact, What},
    plan::Plan,
};

/// What all these plans begin with, where servers stand in this way.
fn on(topology: &str) -> String {
    format!(
        "heal-at 20s
         calm 20s
         redis replica-lag=300ms
         topology {topology}
         consumer a work=never ends=done
         consumer b work=never ends=done
        "
    )
}

/// Runs two consumers on these servers, and what happens there, on both networks; on each, nothing is broken.
#[track_caller]
fn both(topology: &str, happens: &str, holds: impl Fn(&Outcome)) {
    let plan: Plan = format!("{}{happens}", on(topology)).parse().unwrap();
    for net in [Net::Events, Net::Turmoil] {
        let outcome = run(&plan, net);
        assert!(outcome.violations.is_empty(), "{net}: {:#?}\n{}", outcome.violations, story(&outcome));
        assert!(outcome.panics.is_empty(), "{net}: {:#?}", outcome.panics);
        holds(&outcome);
    }
}

/// How many times leases were renewed between these instants, in seconds.
fn renewals(outcome: &Outcome, seconds: Range<f64>) -> usize {
    let kept = |what: &What| matches!(what, What::Renewed { entries, .. } if !entries.is_empty());
    let within = |fact: &&Fact| seconds.contains(&(fact.at.as_micros() as f64 / 1e6));
    outcome.facts.iter().filter(within).filter(|fact| kept(&fact.what)).count()
}

fn story(outcome: &Outcome) -> String {
    outcome.facts.iter().map(|fact| format!("{fact}\n")).collect()
}

#[test]
fn the_primary_is_found_and_followed() {
    let switch = "1s announce orders-1..8\n8s redis switch 3s after 500ms spread 1s\n";
    both("sentinel", switch, |outcome| {
        let owned = |what: &What| matches!(what, What::Granted { .. });
        let before = outcome.facts.iter().filter(|fact| fact.at.as_micros() < 8_000_000 && owned(&fact.what)).count();
        assert_eq!(before, 8, "{}", story(outcome));
        assert!(outcome.facts.iter().any(|fact| matches!(fact.what, What::RedisUp { .. })));
        assert!(renewals(outcome, 12.0..f64::MAX) > 4, "{}", story(outcome));
    });
}

#[test]
fn a_primary_that_goes_on_alone_is_left() {
    let switch = "1s announce orders-1..8\n8s redis switch 10s spread 2s alive\n";
    both("sentinel", switch, |outcome| {
        let renewed = renewals(outcome, 8.5..12.0);
        assert!(renewed > 2, "the new primary is renewed at long before the old one is told\n{}", story(outcome));
    });
}

#[test]
fn a_slot_that_moves_is_followed() {
    for how in ["move-slot 0s", "move-slot 2s", "switch 3s after 500ms spread 1s", "switch 2s spread 500ms alive"] {
        let moves = format!("1s announce orders-1..8\n8s redis {how}\n");
        both("cluster", &moves, |outcome| {
            assert!(renewals(outcome, 16.0..f64::MAX) > 4, "{how}: {}", story(outcome));
        });
    }
}

#[test]
fn a_half_moved_slot_is_waited_out() {
    let moves = "1s announce orders-1..8\n8s redis stale r1 6s\n8s redis move-slot 4s\n";
    both("cluster", moves, |outcome| {
        let said = |what: &str| outcome.sometimes[what];
        assert!(said("ask") + said("tryagain") > 0 && said("moved") > 0, "{:#?}", outcome.sometimes);
    });
}
