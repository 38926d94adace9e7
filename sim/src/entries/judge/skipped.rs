//! `none-skipped`: an entry that stands in a stream is read before those behind it; one that was trimmed away unread is told
//! of as a gap.

use std::ops::Bound::Excluded;

use super::{Court, Promise, Truth};
use crate::{
    entries::facts::{Id, Said},
    facts::{Fact, What},
};

/// Its truth is the common one.
pub(super) struct Skipped;

impl Promise for Skipped {
    fn name(&self) -> &'static str {
        "none-skipped"
    }

    fn hear(&mut self, fact: &Fact, truth: &Truth, court: &mut Court<'_>) {
        let What::Entry(said) = &fact.what else { return };
        let (who, owned, ids): (_, _, &[_]) = match said {
            Said::Yielded { who, owned, ids } => (who, owned, ids),
            Said::Told { who, owned, what: "undecodable", id: Some(id) } => (who, owned, std::slice::from_ref(id)),
            _ => return,
        };
        let (Some(data), Some(reading)) = (truth.data(&owned.stream), truth.reading(*who, owned)) else { return };
        let (mut last, mut gap) = (reading.last, reading.gap);
        for id in ids {
            if last < *id {
                if let Some((missed, _)) = data.entries.range((Excluded(last), Excluded(*id))).next() {
                    court.harm(format!("{who} was given {id} of {} behind {last}, and {missed} never", owned.stream));
                }
                let removed = data.removed.range((Excluded(last), Excluded(*id))).next();
                // What was removed before anything was ever read was not to be read.
                let anew = last == Id::default();
                if let (Some(missed), false, false) = (removed, gap, anew) {
                    let stream = &owned.stream;
                    court.harm(format!("{who} was not told that {missed} of {stream} was removed before {id}"));
                }
            }
            (last, gap) = (*id, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "none-skipped";

    #[test]
    fn nothing_that_stands_there_is_skipped() {
        let before = [granted(0, 1), opened(0, 1, 0), appended(1), appended(2), appended(3)];
        good(P, &[&before[..], &[yielded(0, 1, &[1, 2]), yielded(0, 1, &[3])]].concat());
        bad(P, &[&before[..], &[yielded(0, 1, &[2])]].concat());
        bad(P, &[&before[..], &[yielded(0, 1, &[1]), yielded(0, 1, &[3])]].concat());
        bad(P, &[&before[..], &[yielded(0, 1, &[1, 3])]].concat());
        good(P, &[&before[..], &[yielded(0, 1, &[1]), told(0, 1, "undecodable", 2), yielded(0, 1, &[3])]].concat());
    }

    #[test]
    fn what_was_trimmed_unread_is_told() {
        let before = [granted(0, 1), opened(0, 1, 0), appended(1), appended(2), appended(3), yielded(0, 1, &[1])];
        bad(P, &[&before[..], &[trimmed(Some(3)), yielded(0, 1, &[3])]].concat());
        good(P, &[&before[..], &[trimmed(Some(3)), told(0, 1, "gap", 1), yielded(0, 1, &[3])]].concat());
        good(P, &[&before[..], &[trimmed(Some(2)), yielded(0, 1, &[2])]].concat());
        good(P, &[granted(0, 1), appended(1), appended(2), trimmed(Some(2)), opened(0, 1, 0), yielded(0, 1, &[2])]);
        good(P, &[&before[..], &[yielded(0, 1, &[2]), trimmed(Some(3)), yielded(0, 1, &[3])]].concat());
    }

    #[test]
    fn what_was_trimmed_and_forgotten_never_came() {
        let before = [granted(0, 1), opened(0, 1, 0), appended(1), yielded(0, 1, &[1]), appended(2), appended(3)];
        let trimmed = [&before[..], &[trimmed(Some(3)), redis_up("latest")]].concat();
        good(P, &[&trimmed[..], &[stands("up", &[1], None), appended(4), yielded(0, 1, &[4])]].concat());
        bad(P, &[&trimmed[..], &[stands("up", &[3], None), yielded(0, 1, &[3])]].concat());
    }
}
