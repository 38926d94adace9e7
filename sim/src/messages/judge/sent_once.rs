//! `sent-once`: what is sent again under its idempotency key, within its window, is the same message.

use std::collections::BTreeSet;

use streamkeeper::Time;

use super::{Court, Promise, View};
use crate::{
    facts::{Fact, What},
    messages::{facts::Said, is_once},
};

/// Messages with a key that stand in the stream.
#[derive(Default)]
pub(super) struct SentOnce {
    entered: BTreeSet<u64>,
    altered: Time,
}

impl Promise for SentOnce {
    fn name(&self) -> &'static str {
        "sent-once"
    }

    fn hear(&mut self, fact: &Fact, view: &View, court: &mut Court<'_>) {
        if self.altered != view.ledger.altered {
            self.altered = view.ledger.altered;
            self.entered.clear();
        }
        if let What::Message(Said::Entered { entry, number: Some(number) }) = &fact.what
            && is_once(*number)
            && !self.entered.insert(*number)
        {
            court.harm(format!("message {number} comes into the stream once more, as {entry}, and has a key"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use crate::messages::once;

    const P: &str = "sent-once";

    #[test]
    fn what_has_a_key_comes_once() {
        good(P, &[entered_as(1, 5), entered_as(2, 5), entered_as(3, once(5))]);
        bad(P, &[entered_as(3, once(5)), entered_as(4, once(5))]);
        good(P, &[entered_as(3, once(5)), stands("hand", &[3], &[], None), entered_as(4, once(5))]);
    }
}
