//! What must happen sometimes to entries: what befalls those who read and commit really does, and each way of recovery is
//! really gone. What befalls ownership itself is counted where only that is simulated.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Said;
use crate::{
    facts::{Fact, Forgot, What, Who},
    redis::reply::Reply,
};

/// What plans do.
const STRUCK: [&str; 12] = [
    "append",
    "crash",
    "drain",
    "lose-answer",
    "partition",
    "pause",
    "redis crash",
    "redis failover",
    "redis flush-all",
    "redis refuse oom",
    "redis trim-data",
    "reset",
];

/// What the scripts answer, and which answers are lost.
const ANSWERED: [&str; 8] = [
    "answer lost: entries/commit",
    "answer lost: entries/set_aside",
    "commit absent",
    "commit conflict",
    "commit done",
    "commit fenced",
    "set_aside done",
    "set_aside fenced",
];

/// What applications live to see. Who is fenced is mostly told that it has lost the stream: its clock says so before Redis.
const LIVED: [&str; 17] = [
    "a batch was read",
    "a gap was told",
    "a position was forgotten",
    "a stream was read on right behind a commit",
    "a stream was read on that was never committed",
    "an effect was written",
    "an entry came again to its next owner",
    "an entry could not be decoded",
    "commit answered behind",
    "commit answered done",
    "commit answered lost",
    "commit answered rolled-back",
    "commit answered unknown",
    "everything was forgotten",
    "handed over while draining",
    "read by two processes one after the other",
    "rolled back",
];

/// What must happen sometimes: all names.
pub fn names() -> impl Iterator<Item = &'static str> {
    STRUCK.into_iter().chain(ANSWERED).chain(LIVED)
}

/// What a script of entries said, in words: by the name of its file.
pub(crate) fn words(script: &str, reply: &Reply, lost: bool) -> Vec<String> {
    let Reply::Array(items) = reply else { return Vec::new() };
    let name = script.trim_start_matches("entries/");
    let word = |item: &Reply| match item {
        Reply::Bulk(bytes) | Reply::Status(bytes) => {
            let text = std::str::from_utf8(bytes).ok()?;
            Some(format!("{name} {}", text.split(' ').next().unwrap_or_default()))
        }
        _ => None,
    };
    lost.then(|| format!("answer lost: {script}")).into_iter().chain(items.iter().filter_map(word)).collect()
}

/// How often each of them happened, in these facts and by these words.
pub(crate) fn count(facts: &[Fact], words: &BTreeMap<String, u64>) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&'static str, u64> = names().map(|name| (name, 0)).collect();
    let mut history = History::default();
    let happened = facts.iter().flat_map(|fact| history.hear(&fact.what)).map(|name| (name, 1));
    let spoken = words.iter().map(|(word, times)| (word.clone(), *times));
    for (name, times) in spoken.chain(happened.collect::<Vec<_>>()) {
        if let Some(count) = counts.get_mut(&*name) {
            *count += times;
        }
    }
    counts
}

/// What is known so far.
#[derive(Default)]
struct History {
    /// Who has read each stream last, and what of it was read.
    readers: BTreeMap<String, Who>,
    read: BTreeSet<(String, super::facts::Id)>,
    committed: BTreeSet<String>,
    draining: BTreeSet<Who>,
}

impl History {
    fn hear(&mut self, what: &What) -> Vec<String> {
        let one = |name: &str| vec![name.to_owned()];
        match what {
            What::Struck { kind, .. } => one(kind),
            What::RedisUp { forgot: Forgot::Latest } => one("a position was forgotten"),
            What::RedisUp { forgot: Forgot::All } => one("everything was forgotten"),
            What::Draining { who } => {
                self.draining.insert(*who);
                Vec::new()
            }
            What::Ended { who, how: "released", .. } if self.draining.contains(who) => {
                one("handed over while draining")
            }
            What::Entry(said) => self.said(said),
            _ => Vec::new(),
        }
    }

    fn said(&mut self, said: &Said) -> Vec<String> {
        let one = |name: &str| vec![name.to_owned()];
        match said {
            Said::Stored { stream, .. } => {
                self.committed.insert(stream.to_string());
                Vec::new()
            }
            Said::Effect { .. } => one("an effect was written"),
            Said::Opened { who, owned, position } => {
                let before = self.readers.insert(owned.stream.to_string(), *who);
                let taken_over = before.is_some_and(|before| before != *who);
                let mut seen = Vec::new();
                if taken_over {
                    seen.extend(one("read by two processes one after the other"));
                }
                if taken_over && self.committed.contains(&*owned.stream) && *position > Default::default() {
                    seen.extend(one("a stream was read on right behind a commit"));
                }
                if taken_over && !self.committed.contains(&*owned.stream) {
                    seen.extend(one("a stream was read on that was never committed"));
                }
                seen
            }
            Said::Yielded { owned, ids, .. } => {
                let stream = owned.stream.to_string();
                let again = ids.iter().filter(|id| !self.read.insert((stream.clone(), **id))).count() > 0;
                let mut seen = one("a batch was read");
                if again {
                    seen.extend(one("an entry came again to its next owner"));
                }
                seen
            }
            Said::Told { what: "gap", .. } => one("a gap was told"),
            Said::Told { what: "rolled-back", .. } => one("rolled back"),
            Said::Told { what: "undecodable", .. } => one("an entry could not be decoded"),
            Said::Answered { how, .. } => vec![format!("commit answered {how}")],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_twice() {
        let known: BTreeSet<&str> = names().collect();
        assert_eq!(known.len(), STRUCK.len() + ANSWERED.len() + LIVED.len());
    }

    #[test]
    fn scripts_are_understood() {
        let list = |words: &[&'static str]| Reply::Array(words.iter().map(|word| Reply::bulk(*word)).collect());
        assert_eq!(
            words("entries/commit", &list(&["done", "conflict 7-1 - -"]), true),
            ["answer lost: entries/commit", "commit done", "commit conflict"]
        );
        assert_eq!(words("entries/commit", &Reply::error("OOM"), true), [""; 0]);
    }
}
