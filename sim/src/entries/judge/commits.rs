//! `commits-monotonic`: positions only grow while Redis keeps its data, only the owner writes them, and what was answered
//! with "done" stands there.

use super::{Court, Promise, Truth};
use crate::{
    entries::facts::Said,
    facts::{Fact, What},
};

/// Its truth is the common one.
pub(super) struct Commits;

impl Promise for Commits {
    fn name(&self) -> &'static str {
        "commits-monotonic"
    }

    fn hear(&mut self, fact: &Fact, truth: &Truth, court: &mut Court<'_>) {
        let What::Entry(Said::Stored { by: Some(who), stream, position, .. }) = &fact.what else { return };
        let Some(data) = truth.data(stream) else { return };
        if let Some((stored, _)) = data.position
            && *position < stored
        {
            court.harm(format!("{who} has committed {position} of {stream} after {stored}"));
        }
        let owner = data.owner.as_ref().and_then(|id| truth.names.get(id));
        if let Some(owner) = owner
            && owner.consumer != who.consumer
        {
            court.harm(format!("{who} has committed {position} of {stream}, which {owner} owns"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "commits-monotonic";

    #[test]
    fn positions_only_grow() {
        let before = [started(0), started(1), granted(0, 1), stored(0, 2)];
        good(P, &[&before[..], &[stored(0, 2), stored(0, 3)]].concat());
        bad(P, &[&before[..], &[stored(0, 1)]].concat());
        good(P, &[&before[..], &[redis_up("latest"), stands("up", &[], Some(1)), stored(0, 1)]].concat());
        bad(P, &[&before[..], &[redis_up("nothing"), stands("up", &[], Some(2)), stored(0, 1)]].concat());
    }

    #[test]
    fn only_the_owner_commits() {
        let before = [started(0), started(1), granted(0, 1), stored(0, 2), granted(1, 2)];
        good(P, &[&before[..], &[stored(1, 3)]].concat());
        bad(P, &[&before[..], &[stored(0, 3)]].concat());
    }
}
