//! Made-up histories, good and bad.

mod announcements;
mod go;
mod server;
mod takeovers;

use super::super::histories::*;
use crate::facts::{Fact, What};

const P: &str = "kept";

/// Two consumers; the first owns a stream, and sends its last heartbeat after 10 s.
fn one_owner() -> Vec<Fact> {
    let mut facts = vec![timed(0, started(0)), timed(0, started(1)), timed(10, ready(0)), timed(10, ready(1))];
    facts.push(timed(15, announced("s", 1)));
    facts.push(timed(20, granted("c0#1", "s", 1, 5)));
    facts.extend((1..=10).map(|s| timed(s * 1_000, renewed("c0", &[1]))));
    facts
}

/// What follows, and somebody who looks at these times.
fn then(more: &[(u64, What)]) -> Vec<Fact> {
    let mut facts = one_owner();
    facts.extend(more.iter().map(|(ms, what)| timed(*ms, what.clone())));
    facts
}
