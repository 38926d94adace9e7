//! What an application has asked its consumer for, and whether it gets that and nothing else: only what was to end is
//! ended, a stream that is to rest is given back for so long and without blame, and who drains takes nothing more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use streamkeeper_core::{
    id::EntryId,
    streams::{Answer, Call, End, Event, Notification, call::Failure},
};

use super::{
    judges::{Verdict, broken},
    redis::Redis,
};

/// What one application has asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// What is to end, as was asked for first.
    ends: BTreeMap<EntryId, Wanted>,
    /// How many failures in a row stood in the record when each was added.
    failures: BTreeMap<EntryId, u32>,
    draining: bool,
    /// What Redis has handed to it, and it has not asked for yet.
    handed: BTreeSet<EntryId>,
}

/// How an ownership is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Done,
    Released,
    Rested(Duration),
}

impl Asked {
    /// The consumer is asked for something.
    pub(crate) fn hear(&mut self, event: &Event) {
        let (entry, wanted) = match event {
            Event::Done(entry) => (entry, Wanted::Done),
            Event::Release(entry, _) => (entry, Wanted::Released),
            Event::Rest(entry, pause) => (entry, Wanted::Rested(*pause)),
            Event::Drain => return self.draining = true,
            Event::Shutdown(end, _) => return self.stop(*end),
            Event::Answered(_, Ok(Answer::Read(handed) | Answer::Taken { deliveries: handed, .. })) => {
                return self.handed.extend(handed.iter().map(|delivery| delivery.entry));
            }
            _ => return,
        };
        if self.failures.contains_key(entry) {
            self.ends.entry(*entry).or_insert(wanted);
        }
    }

    /// Everything is to end so; what is ended by itself meanwhile ends as it was asked to.
    fn stop(&mut self, end: End) {
        self.draining = true;
        for entry in self.failures.keys() {
            self.ends.entry(*entry).or_insert(match end {
                End::Done => Wanted::Done,
                End::Release => Wanted::Released,
            });
        }
    }

    /// `kept`: what a draining consumer took would be kept from those who work on it.
    /// `fenced`: only what was just handed over is asked for as new, and once. Nothing else is looked at for that.
    pub(crate) fn judge_call(&mut self, call: &Call) -> Verdict {
        if let Call::Acquire(acquire) = call {
            for item in &acquire.items {
                let handed = self.handed.remove(&item.entry);
                if item.fresh && !handed {
                    return broken("fenced", format!("asked for as new: {item:?}"));
                }
            }
        }
        match call {
            Call::Read { .. } | Call::Take { .. } | Call::Acquire(_) if self.draining => {
                broken("kept", format!("who drains asks for more: {call:?}"))
            }
            _ => Ok(()),
        }
    }

    /// `in-order`: every end was asked for, and is the one that was asked for.
    pub(crate) fn judge(&mut self, told: &Notification, redis: &Redis) -> Verdict {
        match told {
            Notification::Added(_) | Notification::Expired { .. } if self.draining => {
                broken("kept", format!("who drains is handed more: {told:?}"))
            }
            Notification::Added(added) => {
                self.failures.insert(added.entry, added.failures);
                Ok(())
            }
            Notification::Disowned { entry, .. } => {
                self.forget(*entry);
                Ok(())
            }
            Notification::Done { entry, .. } => match self.forget(*entry).0 {
                Some(Wanted::Done) => Ok(()),
                asked => broken("in-order", format!("{told:?}, and {asked:?} was asked for")),
            },
            Notification::Released { entry, token, .. } => match self.forget(*entry) {
                (Some(Wanted::Released), _) => Ok(()),
                (Some(Wanted::Rested(pause)), failures) => {
                    let given_back = redis.released.iter().rev().find(|given_back| {
                        given_back.entry == *entry && redis.token_of(*entry, &given_back.value) == token.0
                    });
                    // One that was trimmed away has nothing left to rest.
                    let Some(given_back) = given_back else { return Ok(()) };
                    let rest = Failure { error: "".into(), failures, pause, set_aside: false };
                    if given_back.failure.as_ref() == Some(&rest) {
                        return Ok(());
                    }
                    broken("in-order", format!("{rest:?} was asked for: {given_back:?}"))
                }
                (asked, _) => broken("in-order", format!("{told:?}, and {asked:?} was asked for")),
            },
            _ => Ok(()),
        }
    }

    fn forget(&mut self, entry: EntryId) -> (Option<Wanted>, u32) {
        (self.ends.remove(&entry), self.failures.remove(&entry).unwrap_or(0))
    }
}
