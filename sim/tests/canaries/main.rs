//! The test of the tester: each promise, and each safeguard that it rests on, is broken on purpose, and the judges must
//! see it.
//!
//! A canary is a file in `sim/canaries/`: what is broken, which promises are expected to fail, and the changes to the
//! sources of `core/`, `io/src/` and its scripts, as text. All canaries go into one copy of the sources, each asleep
//! behind its name, so that it is compiled once; then the copy runs the simulation once per canary, with that one awake.
//! Nothing of it is in what ships.
//!
//! ```text
//! cargo test -p streamkeeper-sim --test canaries                       # do the changes still fit the sources?
//! cargo test -p streamkeeper-sim --test canaries -- --ignored          # is each canary found? (minutes)
//! CANARIES="no-reaper token-reset" cargo test … -- --ignored --nocapture   # only these
//! ```

mod canary;
mod copy;
mod hunt;

use std::collections::BTreeSet;

use streamkeeper_sim::{entries, judge::PROMISES, messages, plan::Plan};

use canary::{Canary, Half};

#[test]
fn every_change_fits_the_sources() {
    let canaries = Canary::all();
    assert!(canaries.len() >= 20, "{}", canaries.len());
    if let Err(error) = copy::sources(&canaries) {
        panic!("{error}");
    }
}

#[test]
fn every_promise_has_a_canary() {
    let canaries = Canary::all();
    let of = |half: Half| -> BTreeSet<&str> {
        let of_it = canaries.iter().filter(|canary| canary.profile == half);
        of_it.flat_map(|canary| canary.promises.iter().map(String::as_str)).collect()
    };
    assert_eq!(of(Half::Swarm), BTreeSet::from(PROMISES));
    assert_eq!(of(Half::Messages), BTreeSet::from(messages::judge::PROMISES));
    assert_eq!(of(Half::Entries), BTreeSet::from(entries::judge::PROMISES));
}

#[test]
fn every_plan_can_be_read() {
    for canary in Canary::all() {
        if let Some(Err(error)) = canary.plan.as_deref().map(str::parse::<Plan>) {
            panic!("{}: {error}", canary.name);
        }
    }
}

#[test]
#[ignore = "takes minutes: run by .ci/run"]
fn every_canary_is_found_and_nothing_else() {
    let chosen = std::env::var("CANARIES").unwrap_or_default();
    let chosen: BTreeSet<&str> = chosen.split_whitespace().collect();
    let canaries = Canary::all();
    let tree = copy::sources(&canaries).unwrap_or_else(|error| panic!("{error}"));
    let hunter = hunt::Hunter::build(&tree).unwrap_or_else(|error| panic!("{error}"));
    let wanted: Vec<&Canary> =
        canaries.iter().filter(|canary| chosen.is_empty() || chosen.contains(&*canary.name)).collect();
    assert!(!wanted.is_empty(), "no such canary: {chosen:?}");
    let failures = hunter.hunt(&wanted);
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
