//! `entries-in-order`: an owner reads a stream from where it was committed, each entry once and in order, unless it is told
//! that it was taken back.

use super::{Court, Promise, Truth};
use crate::{
    entries::facts::{Id, Said},
    facts::{Fact, What},
};

/// Its truth is the common one.
pub(super) struct Order;

impl Promise for Order {
    fn name(&self) -> &'static str {
        "entries-in-order"
    }

    fn hear(&mut self, fact: &Fact, truth: &Truth, court: &mut Court<'_>) {
        let What::Entry(said) = &fact.what else { return };
        match said {
            Said::Opened { who, owned, position } => {
                let Some(data) = truth.data(&owned.stream) else { return };
                let stored = data.position.map_or(Id::default(), |(position, _)| position);
                // Written by a hand, or forgotten, between the question and its answer.
                let altered = data.altered > fact.at || fact.at.since(data.altered) < super::LOOK * 50;
                if *position != stored && !altered && !data.finished {
                    court.harm(format!("{who} reads {} from {position} on, and {stored} was committed", owned.stream));
                }
            }
            Said::Yielded { who, owned, ids } => {
                let Some(reading) = truth.reading(*who, owned) else {
                    return court.harm(format!("{who} was given entries of {}, which it does not read", owned.stream));
                };
                let mut last = reading.last;
                for id in ids {
                    if *id <= last {
                        court.harm(format!("{who} was given {id} of {} behind {last}", owned.stream));
                    }
                    last = *id;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "entries-in-order";

    #[test]
    fn an_owner_reads_from_where_it_was_committed() {
        let before = [granted(0, 1), opened(0, 1, 0), appended(1), appended(2), yielded(0, 1, &[1, 2]), stored(0, 1)];
        good(P, &[&before[..], &[crashed(0), granted(1, 2), opened(1, 2, 1), yielded(1, 2, &[2])]].concat());
        bad(P, &[&before[..], &[crashed(0), granted(1, 2), opened(1, 2, 2)]].concat());
        bad(P, &[&before[..], &[crashed(0), granted(1, 2), opened(1, 2, 0)]].concat());
    }

    #[test]
    fn what_redis_has_forgotten_may_come_again() {
        let before = [granted(0, 1), opened(0, 1, 0), appended(1), yielded(0, 1, &[1]), stored(0, 1)];
        let forgot = [redis_up("latest"), stands("up", &[1], None)];
        good(P, &[&before[..], &forgot[..], &[granted(1, 2), opened(1, 2, 0), yielded(1, 2, &[1])]].concat());
    }

    #[test]
    fn entries_come_in_order_and_once() {
        let before = [granted(0, 1), opened(0, 1, 0), appended(1), appended(2), yielded(0, 1, &[1])];
        good(P, &[&before[..], &[yielded(0, 1, &[2])]].concat());
        bad(P, &[&before[..], &[yielded(0, 1, &[1])]].concat());
        bad(P, &[granted(0, 1), opened(0, 1, 0), appended(1), appended(2), yielded(0, 1, &[2, 1])]);
        good(P, &[&before[..], &[told(0, 1, "rolled-back", 0), yielded(0, 1, &[1])]].concat());
        bad(P, &[granted(0, 1), appended(1), yielded(0, 1, &[1])]);
    }

    #[test]
    fn who_has_lost_a_stream_is_given_nothing_more() {
        let before = [granted(0, 1), opened(0, 1, 0), appended(1), ended(0, 1, "expired")];
        bad(P, &[&before[..], &[yielded(0, 1, &[1])]].concat());
    }
}
