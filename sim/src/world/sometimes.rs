//! What must happen sometimes: each fault really strikes, each way of recovery is really gone. A simulation in which one
//! of these never happens, over many seeds, proves nothing about it.

use std::collections::{BTreeMap, BTreeSet};

use super::stories::{STORIES, Stories};
use crate::{
    facts::{Fact, Forgot, What},
    plan::Topology,
};

/// What plans do, by kind.
const STRUCK: [&str; 51] = [
    "announce",
    "malformed",
    "start",
    "crash",
    "drain",
    "pause",
    "suspend",
    "partition",
    "stall",
    "reset",
    "slow",
    "lose-answer",
    "done",
    "release",
    "fail",
    "redis crash",
    "redis restart",
    "redis failover",
    "redis clock",
    "redis stall",
    "redis drop-messages",
    "redis delay-messages",
    "redis double-messages",
    "redis clear-flags",
    "redis disconnect",
    "redis forget-scripts",
    "redis destroy-group",
    "redis delete-lbs",
    "redis trim",
    "redis flush-all",
    "redis evict",
    "redis delete-consumer",
    "redis redeliver",
    "redis wrong-type",
    "redis refuse loading",
    "redis refuse readonly",
    "redis refuse masterdown",
    "redis refuse oom",
    "redis refuse busy",
    "redis refuse misconf",
    "redis refuse noreplicas",
    "redis refuse maxclients",
    "redis refuse noperm",
    "redis refuse tryagain",
    "redis refuse clusterdown",
    "pause at answer",
    "pause at handler",
    "pause at call",
    "redis up, nothing forgotten",
    "redis up, the latest forgotten",
    "redis up, all forgotten",
];

/// What applications hear, and what the scripts answer.
const RECOVERED: [&str; 44] = [
    "acquire granted",
    "acquire gone",
    "acquire held",
    "acquire busy",
    "acquire other",
    "acquire aside",
    "acquire trimmed",
    "acquire broken",
    "acquire epoch",
    "announced twice",
    "bury buried",
    "done done",
    "done gone",
    "done fenced",
    "ended done",
    "ended released",
    "ended expired",
    "ended taken",
    "ended paused",
    "ended unreachable",
    "ended gone",
    "ended vanished",
    "ended fenced",
    "ended unknown",
    "epoch settled",
    "epoch waits",
    "forget acknowledged",
    "granted again",
    "reap found",
    "rejected crash-loop",
    "rejected failed",
    "rejected malformed",
    "release released",
    "release aside",
    "release fenced",
    "renew lost",
    "renew back",
    "renew gone",
    "renew recreated",
    "renew broken",
    "script sent in full",
    "stopped",
    "takeover",
    "unanswered announcement",
];

/// What must happen where there are sentinels: what befalls servers, and what comes of it.
const OF_SENTINELS: [&str; 21] = [
    "redis switch",
    "redis switch alive",
    "redis cut",
    "redis freeze",
    "redis kill",
    "redis detach",
    "redis crash",
    "redis refuse loading",
    "redis refuse readonly",
    "redis refuse masterdown",
    "redis refuse noreplicas",
    "redis up, nothing forgotten",
    "redis up, the latest forgotten",
    "a former primary was left",
    "a replica told its role",
    "a replica was waited for",
    "a replica was waited for in vain",
    "takeover",
    "epoch waits",
    "epoch settled",
    "ended done",
];

/// What must happen in a cluster.
const OF_CLUSTERS: [&str; 19] = [
    "redis switch",
    "redis switch alive",
    "redis move-slot",
    "redis stale",
    "redis cut",
    "redis freeze",
    "redis kill",
    "redis detach",
    "redis refuse tryagain",
    "redis refuse clusterdown",
    "redis up, nothing forgotten",
    "redis up, the latest forgotten",
    "moved",
    "ask",
    "tryagain",
    "a replica told its role",
    "takeover",
    "epoch settled",
    "ended done",
];

/// How often what must happen among several servers has happened.
pub(crate) fn of_servers(
    topology: Topology,
    facts: &[Fact],
    words: &BTreeMap<String, u64>,
) -> BTreeMap<&'static str, u64> {
    let names: &[&'static str] = match topology {
        Topology::One => &[],
        Topology::Sentinel => &OF_SENTINELS,
        Topology::Cluster => &OF_CLUSTERS,
    };
    let mut counts: BTreeMap<&'static str, u64> = names.iter().map(|name| (*name, 0)).collect();
    tally(&mut counts, facts, words);
    counts
}

/// What must happen sometimes: all names.
pub fn names() -> impl Iterator<Item = &'static str> {
    STRUCK.into_iter().chain(RECOVERED).chain(STORIES)
}

/// How often each of them happened, in these facts, by these words of the scripts, and in these stories of them.
pub(crate) fn count(facts: &[Fact], words: &BTreeMap<String, u64>, stories: Stories) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&'static str, u64> = names().map(|name| (name, 0)).collect();
    tally(&mut counts, facts, words);
    counts.extend(stories.end(facts));
    counts
}

/// Counts what has a name.
fn tally(counts: &mut BTreeMap<&'static str, u64>, facts: &[Fact], words: &BTreeMap<String, u64>) {
    let mut add = |name: &str, times| {
        if let Some(count) = counts.get_mut(name) {
            *count += times;
        }
    };
    for (word, times) in words {
        add(word, *times);
    }
    let mut history = History::default();
    for fact in facts {
        for name in history.hear(&fact.what) {
            add(&name, 1);
        }
    }
}

/// What is known so far, for what is only remarkable the second time.
#[derive(Default)]
struct History {
    granted: BTreeSet<(String, u64)>,
    announced: BTreeSet<String>,
}

impl History {
    fn hear(&mut self, what: &What) -> Vec<String> {
        let one = |name: &str| vec![name.to_owned()];
        match what {
            What::Struck { action, kind, .. } => {
                let points = ["answer", "handler", "call"].map(|point| format!("at {point}"));
                let at = points.into_iter().find(|at| *kind == "pause" && action.ends_with(at.as_str()));
                one(kind).into_iter().chain(at.map(|at| format!("pause {at}"))).collect()
            }
            What::RedisUp { forgot: Forgot::Nothing } => one("redis up, nothing forgotten"),
            What::RedisUp { forgot: Forgot::Latest } => one("redis up, the latest forgotten"),
            What::RedisUp { forgot: Forgot::All } => one("redis up, all forgotten"),
            What::Ended { how, .. } => vec![format!("ended {how}")],
            What::Rejected { why, .. } => vec![format!("rejected {why}")],
            What::Added { takeover: true, .. } => one("takeover"),
            What::AnnounceUnknown { .. } => one("unanswered announcement"),
            What::Stopped { .. } => one("stopped"),
            What::Announced { stream, .. } => {
                let again = !self.announced.insert(stream.to_string());
                if again { one("announced twice") } else { Vec::new() }
            }
            What::Granted { value, owned } => {
                let again = !self.granted.insert((value.to_string(), owned.token));
                if again { one("granted again") } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use streamkeeper::Time;

    use super::*;
    use crate::{
        facts::Owned,
        plan::{Plan, Profile},
    };

    #[test]
    fn every_kind_that_is_drawn_has_a_name() {
        let known: BTreeSet<&str> = names().collect();
        assert_eq!(known.len(), STRUCK.len() + RECOVERED.len() + STORIES.len(), "no name twice");
        for seed in 0..500 {
            for timed in Plan::draw(seed, Profile::Storm).actions {
                assert!(known.contains(timed.action.kind()), "{}", timed.action);
            }
        }
    }

    #[test]
    fn what_happened_is_counted() {
        let owned = Owned { stream: "s".into(), entry: "1-0".into(), token: 5 };
        let granted = What::Granted { value: "a#1".into(), owned };
        let struck = |action: &str, kind| What::Struck { action: action.to_owned(), kind, consumer: Some(0), ms: None };
        let facts =
            [granted.clone(), granted, struck("pause c0 for 3s at handler", "pause"), struck("crash c0", "crash")];
        let facts = facts.map(|what| Fact { at: Time::ZERO, what });
        let counts = count(
            &facts,
            &[("renew lost", 3), ("no such word", 1)].map(|(word, times)| (word.to_owned(), times)).into(),
            Stories::default(),
        );
        let happened: Vec<_> =
            counts.iter().filter(|(_, count)| **count > 0).map(|(name, count)| (*name, *count)).collect();
        assert_eq!(
            happened,
            [("crash", 1), ("granted again", 1), ("pause", 1), ("pause at handler", 1), ("renew lost", 3)]
        );
        assert_eq!(counts.len(), names().count(), "what has not happened is there, too");
    }
}
