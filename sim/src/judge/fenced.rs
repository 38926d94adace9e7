//! `fenced`: tokens of one data stream only grow; a done or release with an old token changes nothing. Whatever happens
//! to clocks, while data lasts; and to data, while clocks last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper::Time;

use super::{
    Judge, Kind, Violation,
    conditions::{self, longest_ttl},
};
use crate::{
    facts::{Fact, Forgot, Owned, What},
    plan::Plan,
};

/// Every grant, in the order of the server.
#[derive(Default)]
pub(super) struct Fenced {
    ttl: Duration,
    highest: BTreeMap<Arc<str>, u64>,
    /// The token of each ownership: of an announcement, for a lease value.
    tokens: BTreeMap<(Arc<str>, Arc<str>), u64>,
    /// Who was granted each announcement last: the lease value.
    latest: BTreeMap<Arc<str>, Arc<str>>,
    ended: BTreeSet<u64>,
    data_lost: bool,
    clock_back: bool,
    /// Leases end early until then: the clock has stepped forward.
    early_until: Time,
    /// Streams that were granted while another owner's lease was still valid by its own clock.
    early: BTreeSet<Arc<str>>,
}

impl Fenced {
    pub(super) fn new(plan: &Plan) -> Fenced {
        Fenced { ttl: longest_ttl(plan), ..Fenced::default() }
    }

    /// A forward step of the clock ended a lease early, and a server that has forgotten who was granted the stream then
    /// knows its old owner only.
    fn forget_the_early(&mut self) {
        for stream in std::mem::take(&mut self.early) {
            self.highest.remove(&stream);
        }
    }

    /// The documented hole: data lost, and the clock behind. Then tokens begin anew.
    fn begin_anew(&mut self) {
        if self.data_lost && self.clock_back {
            self.highest.clear();
        }
    }

    /// Whether the owner with this value may change its stream: nobody has had it since.
    fn is_latest(&self, stream: &Arc<str>, entry: &Arc<str>, value: &Arc<str>) -> Result<Option<u64>, String> {
        let Some(token) = self.tokens.get(&(entry.clone(), value.clone())) else { return Ok(None) };
        match self.highest.get(stream) {
            Some(highest) if highest > token => Err(format!("its token is {token}, and {highest} was granted")),
            _ => Ok(Some(*token)),
        }
    }
}

impl Judge for Fenced {
    fn hear(&mut self, fact: &Fact, verdicts: &mut Vec<Violation>) {
        let mut broken =
            |how: String| verdicts.push(Violation { promise: "fenced", kind: Kind::Safety, at: fact.at, how });
        match &fact.what {
            // Go peers have no tokens.
            What::Granted { value, owned } if !value.contains('#') => {
                self.latest.remove(&owned.entry);
            }
            What::Granted { value, owned } => {
                self.latest.insert(owned.entry.clone(), value.clone());
                if fact.at < self.early_until {
                    self.early.insert(owned.stream.clone());
                }
                let before = self.tokens.insert((owned.entry.clone(), value.clone()), owned.token);
                if before == Some(owned.token) {
                    return; // its answer was lost, or it was created again
                }
                let highest = self.highest.entry(owned.stream.clone()).or_default();
                if owned.token <= *highest {
                    let (stream, token) = (&owned.stream, owned.token);
                    broken(format!("{value} is granted {stream} with token {token}, after {highest}"));
                }
                *highest = owned.token.max(*highest);
            }
            What::Renewed { consumer, entries } if !self.data_lost => {
                for entry in entries {
                    if let Some(latest) = self.latest.get(entry)
                        && latest.split('#').next() != Some(consumer)
                    {
                        broken(format!("{consumer} keeps {entry}, which was granted to {latest} since"));
                    }
                }
            }
            What::Finished { value, stream, entry } => match self.is_latest(stream, entry, value) {
                Ok(token) => self.ended.extend(token),
                Err(why) => broken(format!("{value} finishes {stream}: {why}")),
            },
            // A server that has forgotten the later owner cannot know better. Nobody can own the stream there before
            // the wait is over, and the later owner's lease is gone, too.
            What::GivenBack { value, stream, entry } if !self.data_lost => {
                if let Err(why) = self.is_latest(stream, entry, value) {
                    broken(format!("{value} gives {stream} back: {why}"));
                }
            }
            What::Ended { who, owned, how: "fenced" } if self.ended.contains(&owned.token) && !self.data_lost => {
                let Owned { stream, token, .. } = owned;
                broken(format!("{who} was fenced off {stream}, token {token}, and finished it all the same"));
            }
            What::RedisUp { forgot: Forgot::Latest | Forgot::All } => {
                self.data_lost = true;
                self.begin_anew();
                self.forget_the_early();
            }
            What::Struck { kind, action, .. } => {
                self.data_lost |= conditions::loses_data(kind);
                self.clock_back |= conditions::steps_clock(action).is_some_and(|by_ms| by_ms < 0);
                if conditions::steps_clock(action).is_some_and(|by_ms| by_ms > 0) {
                    self.early_until = fact.at + self.ttl;
                }
                if conditions::loses_data(kind) || conditions::steps_clock(action).is_some() {
                    self.begin_anew();
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, _at: Time, _verdicts: &mut Vec<Violation>) {}
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "fenced";

    #[test]
    fn tokens_grow() {
        let plan = plan(2);
        good(P, &plan, &[granted("a#1", "s", 1, 5), granted("b#1", "s", 1, 6), granted("a#1", "t", 2, 1)]);
        good(P, &plan, &[granted("a#1", "s", 1, 5), granted("a#1", "s", 1, 5)]);
        good(P, &plan, &[granted("a#1", "s", 1, 5), granted("go", "s", 1, 0), granted("b#1", "s", 1, 6)]);
        bad(P, &plan, &[granted("a#1", "s", 1, 5), granted("b#1", "s", 1, 5)]);
        bad(P, &plan, &[granted("a#1", "s", 1, 5), granted("a#2", "s", 1, 4)]);
        bad(P, &plan, &[granted("a#1", "s", 1, 5), granted("a#1", "s", 1, 6), granted("b#2", "s", 2, 3)]);
    }

    #[test]
    fn tokens_grow_whatever_is_lost_but_both_data_and_clock() {
        let plan = plan(2);
        let back = || struck_as("redis clock", "redis clock -5s");
        let (first, smaller) = (granted("a#1", "s", 1, 5), granted("b#1", "s", 1, 4));
        bad(P, &plan, &[first.clone(), redis_up("all"), smaller.clone()]);
        bad(P, &plan, &[first.clone(), back(), smaller.clone()]);
        good(P, &plan, &[first.clone(), back(), redis_up("all"), smaller.clone()]);
        good(P, &plan, &[first.clone(), redis_up("latest"), back(), smaller.clone()]);
        bad(P, &plan, &[back(), redis_up("all"), first, smaller]);
    }

    #[test]
    fn only_the_latest_owner_changes_anything() {
        let plan = plan(2);
        let two = vec![granted("a#1", "s", 1, 5), granted("b#1", "s", 1, 6)];
        good(P, &plan, &[two.clone(), vec![finished("b#1", "s", 1)]].concat());
        bad(P, &plan, &[two.clone(), vec![finished("a#1", "s", 1)]].concat());
        bad(P, &plan, &[two.clone(), vec![given_back("a#1", "s", 1)]].concat());
        bad(P, &plan, &[two.clone(), vec![redis_up("latest"), finished("a#1", "s", 1)]].concat());
        good(P, &plan, &[two.clone(), vec![redis_up("latest"), given_back("a#1", "s", 1)]].concat());
        bad(P, &plan, &[two.clone(), vec![renewed("a", &[1])]].concat());
        good(P, &plan, &[two.clone(), vec![renewed("b", &[1]), renewed("a", &[2])]].concat());
        let forward =
            vec![granted("a#1", "s", 1, 5), struck_as("redis clock", "redis clock +5s"), granted("b#1", "s", 1, 6)];
        good(P, &plan, &[forward.clone(), vec![redis_up("latest"), finished("a#1", "s", 1)]].concat());
        bad(P, &plan, &[forward, vec![finished("a#1", "s", 1)]].concat());
        let told = |how| vec![finished("b#1", "s", 1), ended(1, "s", 1, 6, how)];
        good(P, &plan, &[two.clone(), told("done")].concat());
        bad(P, &plan, &[two, told("fenced")].concat());
    }
}
