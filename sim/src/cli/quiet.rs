//! A panic inside a run is a finding, and no noise: it is caught, with its place, and reported with the seed.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
};

use streamkeeper_sim::{
    plan::Plan,
    world::{Net, Outcome},
};

use super::Run;

thread_local! {
    /// What panicked last in the run of this thread; `None` outside of runs.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics inside runs are not printed.
pub(crate) fn install() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let inside = PANIC.with_borrow_mut(|panic| panic.as_mut().map(|panic| *panic = describe(info)).is_some());
        if !inside {
            usual(info);
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let text = info
        .payload()
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| info.payload().downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words");
    match info.location() {
        Some(place) => format!("{text} ({}:{})", place.file(), place.line()),
        None => text.to_owned(),
    }
}

/// Runs a plan; a panic of the run itself is one of its outcome's.
pub(crate) fn run(run: Run, plan: &Plan, net: Net) -> Outcome {
    PANIC.set(Some(String::new()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(plan, net)));
    let panicked = PANIC.take().unwrap_or_default();
    outcome.unwrap_or_else(|payload| {
        // Without the hook, as in tests, the payload alone speaks.
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        Outcome {
            facts: Vec::new(),
            end: streamkeeper::Time::ZERO,
            violations: Vec::new(),
            panics: vec![if panicked.is_empty() { text } else { panicked }],
            sometimes: std::collections::BTreeMap::new(),
        }
    })
}
