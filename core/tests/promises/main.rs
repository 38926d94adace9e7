//! The promises of DESIGN.md section 2, judged over random lives of a few consumers: machines, a fake Redis, and a
//! network between them that delays, loses and repeats.
//!
//! `PROPTEST_CASES=20000 cargo test -p streamkeeper-core --test promises --release` looks longer. A case that fails is
//! shrunk, told step by step, and kept in `proptest-regressions/`.

mod asked;
mod faults;
mod judges;
mod kept;
mod network;
mod node;
mod plan;
mod redis;
mod regressions;
mod world;

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
};

use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence},
};

use judges::{Broken, Verdict};
use plan::Plan;
use world::{Stats, World};

/// Plays a whole case.
fn play(plan: &Plan, traced: bool) -> (Result<Stats, Broken>, Vec<String>) {
    let mut world = World::new(&plan.setup, traced);
    // A panic of the machine is a broken promise like any other: its invariants are asserted within.
    let lived = panic::catch_unwind(AssertUnwindSafe(|| live(&mut world, plan)));
    let verdict = lived.unwrap_or_else(|why| judges::broken("bounded", format!("it panicked: {}", words(&*why))));
    let trace = world.trace.take().unwrap_or_default();
    (verdict.map(|()| world.stats), trace)
}

/// What a panic said.
fn words(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| why.downcast_ref::<String>().cloned()).unwrap_or_default()
}

fn live(world: &mut World, plan: &Plan) -> Verdict {
    for node in 0..plan.setup.nodes {
        world.boot(node)?;
    }
    for action in &plan.actions {
        world.act(action)?;
    }
    world.heal()?;
    world.judge_kept()
}

/// Plays a case; if a promise is broken, plays it once more and tells it.
fn judge(plan: &Plan) -> Result<Stats, String> {
    match play(plan, false).0 {
        Ok(stats) => Ok(stats),
        Err(Broken { promise, how }) => {
            let trace = play(plan, true).1;
            let last = trace.len().saturating_sub(400);
            Err(format!("`{promise}` is broken: {how}\n{}\n`{promise}` is broken: {how}", trace[last..].join("\n")))
        }
    }
}

/// A ttl and half a second, in milliseconds.
const IN_TIME: u64 = 3_500;
/// Nobody looks for orphans for so long as a reaper that has crashed holds its place: one second more.
const IN_TIME_WHEN_REAPERS_CRASH: u64 = 4_500;

fn config() -> Config {
    Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/promises/regressions.txt"))),
        max_shrink_iters: 20_000,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn promises_hold_in_every_life(plan in plan::plan(1..200)) {
        if let Err(story) = judge(&plan) {
            return Err(TestCaseError::fail(story));
        }
    }
    /// `kept`, to the letter: one consumer crashes.
    #[test]
    fn an_orphan_is_owned_again_in_time(plan in plan::crashes(1..2, false, IN_TIME)) {
        if let Err(story) = judge(&plan) {
            return Err(TestCaseError::fail(story));
        }
    }

    #[test]
    fn an_orphan_is_owned_again_when_reapers_crash(plan in plan::crashes(1..plan::NODES, true, IN_TIME_WHEN_REAPERS_CRASH)) {
        if let Err(story) = judge(&plan) {
            return Err(TestCaseError::fail(story));
        }
    }
}
