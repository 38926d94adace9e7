//! `finished`: an announcement finished with the answer "ok" is never handed out again; one whose answer was lost is
//! finished or handed out, never both. Crashes and retries change nothing about it; loss of Redis's data does.

use std::{collections::BTreeSet, sync::Arc};

use streamkeeper::Time;

use super::{Judge, Kind, Violation, conditions};
use crate::facts::{Fact, Forgot, What};

/// What was finished.
#[derive(Default)]
pub(super) struct Finished {
    /// On the server as it is now.
    finished: BTreeSet<Arc<str>>,
    /// On any server, and what was set aside.
    ever: BTreeSet<Arc<str>>,
    /// Announcements have gone in another way than by being finished: what is gone may be said to be done.
    tampered: bool,
}

impl Judge for Finished {
    fn hear(&mut self, fact: &Fact, verdicts: &mut Vec<Violation>) {
        let mut broken = |how| verdicts.push(Violation { promise: "finished", kind: Kind::Safety, at: fact.at, how });
        match &fact.what {
            What::Finished { entry, .. } => {
                self.finished.insert(entry.clone());
                self.ever.insert(entry.clone());
            }
            What::SetAside { entry, .. } => drop(self.ever.insert(entry.clone())),
            What::Granted { value, owned } if self.finished.contains(&owned.entry) => {
                broken(format!("{} ({}) was finished, and is handed out to {value}", owned.stream, owned.entry));
            }
            What::Renewed { consumer, entries } => {
                for entry in entries.iter().filter(|entry| self.finished.contains(*entry)) {
                    broken(format!("{entry} was finished, and {consumer} still keeps it"));
                }
            }
            What::Ended { who, owned, how: "done" } if !self.tampered && !self.ever.contains(&owned.entry) => {
                broken(format!("{who} was told that {} ({}) is done, and it is not", owned.stream, owned.entry));
            }
            // A Go peer finishes in its own way.
            What::Started { go: true, .. } => self.tampered = true,
            What::RedisUp { forgot: Forgot::Latest | Forgot::All } => {
                self.finished.clear();
                self.tampered = true;
            }
            What::Struck { kind, .. } if conditions::takes_announcements(kind) => self.tampered = true,
            _ => {}
        }
    }

    fn end(&mut self, _at: Time, _verdicts: &mut Vec<Violation>) {}
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;

    const P: &str = "finished";

    #[test]
    fn what_is_finished_stays_so() {
        let plan = plan(2);
        let done = [granted("a#1", "s", 1, 5), finished("a#1", "s", 1), ended(0, "s", 1, 5, "done")];
        good(P, &plan, &done);
        good(P, &plan, &[done.to_vec(), vec![granted("b#1", "s", 2, 9)]].concat());
        bad(P, &plan, &[done.to_vec(), vec![granted("b#1", "s", 1, 9)]].concat());
        good(P, &plan, &[done.to_vec(), vec![redis_up("all"), granted("b#1", "s", 1, 9)]].concat());
        bad(P, &plan, &[done.to_vec(), vec![redis_up("nothing"), granted("b#1", "s", 1, 9)]].concat());
        bad(P, &plan, &[done.to_vec(), vec![renewed("a", &[1])]].concat());
        good(P, &plan, &[done.to_vec(), vec![renewed("a", &[2])]].concat());
    }

    #[test]
    fn what_is_said_to_be_done_is() {
        let plan = plan(2);
        bad(P, &plan, &[granted("a#1", "s", 1, 5), ended(0, "s", 1, 5, "done")]);
        good(P, &plan, &[granted("a#1", "s", 1, 5), ended(0, "s", 1, 5, "unknown")]);
        good(P, &plan, &[granted("a#1", "s", 1, 5), struck("redis trim", None, None), ended(0, "s", 1, 5, "done")]);
        good(P, &plan, &[granted("a#1", "s", 1, 5), redis_up("latest"), ended(0, "s", 1, 5, "done")]);
    }
}
