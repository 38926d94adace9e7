//! `commits-answered`: every commit of a process that lives is answered once, and what was answered with "done" stands there.

use std::collections::BTreeMap;

use streamkeeper::Time;

use super::{Court, Promise, Truth};
use crate::{
    entries::facts::{Id, Said},
    facts::{Fact, What, Who},
};

/// The commits that are under way.
#[derive(Default)]
pub(super) struct Answered {
    asked: BTreeMap<u64, (Who, Id, Time)>,
}

impl Promise for Answered {
    fn name(&self) -> &'static str {
        "commits-answered"
    }

    fn hear(&mut self, fact: &Fact, truth: &Truth, court: &mut Court<'_>) {
        match &fact.what {
            What::Crashed { who } => self.asked.retain(|_, (asker, ..)| asker != who),
            What::Entry(Said::Asked { who, commit, to, .. }) => {
                self.asked.insert(*commit, (*who, *to, fact.at));
            }
            What::Entry(Said::Answered { who, owned, commit, how }) => {
                let Some((_, to, asked)) = self.asked.remove(commit) else {
                    return court.harm(format!("{who}'s commit {commit} of {} was answered twice", owned.stream));
                };
                let Some(data) = truth.data(&owned.stream) else { return };
                let stored = data.position.map_or(Id::default(), |(position, _)| position);
                if *how == "done" && stored < to && data.altered < asked && !data.finished {
                    court.harm(format!("{who} was told that {to} of {} is committed, and {stored} is", owned.stream));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "commits-answered";

    #[test]
    fn done_means_done_and_is_said_once() {
        let before = [granted(0, 1), appended(1), asked(0, 7, 1)];
        good(P, &[&before[..], &[stored(0, 1), answered(0, 7, "done")]].concat());
        good(P, &[&before[..], &[answered(0, 7, "unknown")]].concat());
        bad(P, &[&before[..], &[answered(0, 7, "done")]].concat());
        bad(P, &[&before[..], &[stored(0, 1), answered(0, 7, "done"), answered(0, 7, "done")]].concat());
    }

    #[test]
    fn what_redis_forgets_meanwhile_is_nobodys_lie() {
        let before = [granted(0, 1), appended(1), asked(0, 7, 1), stored(0, 1), redis_up("all")];
        good(P, &[&before[..], &[stands("up", &[], None), answered(0, 7, "done")]].concat());
    }
}
