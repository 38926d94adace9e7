//! `effects-once`: the effect of an entry that is written with its commit stands there exactly once if the entry was
//! committed, and not at all otherwise: whatever crashed, was repeated or forgotten.

use std::ops::RangeInclusive;

use super::{Court, Promise, Truth, truth::Data};
use crate::{
    entries::facts::{Id, Said},
    facts::{Fact, What},
};

/// Its truth is the common one.
pub(super) struct Effects;

impl Promise for Effects {
    fn name(&self) -> &'static str {
        "effects-once"
    }

    fn hear(&mut self, fact: &Fact, truth: &Truth, court: &mut Court<'_>) {
        let What::Entry(said) = &fact.what else { return };
        match said {
            // Announced again after its end, a stream is a new one.
            Said::Effect { stream, .. } | Said::Stored { stream, .. }
                if truth.data(stream).is_some_and(|data| data.finished) => {}
            Said::Effect { by, stream, id } => {
                let data = truth.data(stream);
                if data.and_then(|data| data.effects.get(id)).is_some_and(|times| *times > 0) {
                    let who = by.map_or_else(|| "a hand".to_owned(), |who| who.to_string());
                    court.harm(format!("{who} has written the effect of {id} of {stream} again"));
                }
            }
            // The effects of a commit follow its position: at the next one, and at the end, they stand there.
            Said::Stored { stream, .. } => {
                if let Some(data) = truth.data(stream) {
                    balance(stream, data, court);
                }
            }
            Said::Stands(stock) if stock.why == "end" => {
                for (stream, data) in truth.streams.iter().filter(|(_, data)| !data.finished) {
                    balance(stream, data, court);
                    let stands = stock.effects.iter().find(|(name, _)| name == stream);
                    let stands = stands.map_or(0, |(_, effects)| effects.iter().map(|(_, times)| times).sum());
                    if data.effects.values().sum::<u64>() != stands {
                        court.harm(format!("{stands} effects of {stream} stand there, and others were written"));
                    }
                }
            }
            _ => {}
        }
    }
}

/// What was committed has its effect; what was not has none. Where no effects are written, there is nothing to balance.
fn balance(stream: &str, data: &Data, court: &mut Court<'_>) {
    let (Some((position, _)), false) = (data.position, data.effects.is_empty()) else { return };
    let committed: RangeInclusive<Id> = Id::default()..=position;
    for (id, _) in data.entries.range(committed.clone()) {
        if !data.effects.contains_key(id) {
            court.harm(format!("{position} of {stream} was committed, and the effect of {id} is missing"));
        }
    }
    if let Some(id) = data.effects.keys().find(|id| !committed.contains(id)) {
        court.harm(format!("the effect of {id} of {stream} was written, and only {position} was committed"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "effects-once";

    #[test]
    fn effects_stand_there_once() {
        let before = [granted(0, 1), appended(1), appended(2), stored(0, 1), effect(0, 1)];
        good(P, &[&before[..], &[stored(0, 2), effect(0, 2), end_stands(&[1, 2], 2, &[1, 2])]].concat());
        bad(P, &[&before[..], &[effect(1, 1)]].concat());
        bad(P, &[&before[..], &[stored(0, 2), end_stands(&[1, 2], 2, &[1])]].concat());
        bad(P, &[&before[..], &[effect(0, 2), end_stands(&[1, 2], 1, &[1, 2])]].concat());
        bad(P, &[&before[..], &[end_stands(&[1, 2], 1, &[])]].concat());
    }

    #[test]
    fn what_is_forgotten_is_forgotten_together() {
        let before = [granted(0, 1), appended(1), stored(0, 1), effect(0, 1), redis_up("latest")];
        good(P, &[&before[..], &[stands("up", &[1], None), stored(0, 1), effect(0, 1)]].concat());
    }
}
