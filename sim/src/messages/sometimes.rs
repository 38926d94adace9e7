//! What must happen sometimes to messages: each fault really strikes, each way of recovery is really gone.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::{How, Said, Stage},
    judge::ledger::{Ledger, State},
};
use crate::{
    facts::{Fact, Forgot, What, Who},
    plan::Action,
    redis::reply::Reply,
};

/// What plans do, by kind; and what messages do.
const STRUCK: [&str; 61] = [
    "send",
    "send broken",
    "send crashes",
    "send dead-acks",
    "send dead-crashes",
    "send dead-fails",
    "send delayed",
    "send drops",
    "send fails",
    "send hangs",
    "send keyed",
    "send once",
    "send panics",
    "send rejects",
    "send succeeds",
    "lose-send",
    "start",
    "crash",
    "drain",
    "pause",
    "pause at answer",
    "pause at call",
    "pause at handler",
    "suspend",
    "partition",
    "stall",
    "reset",
    "slow",
    "lose-answer",
    "redis crash",
    "redis restart",
    "redis failover",
    "redis clock",
    "redis stall",
    "redis disconnect",
    "redis forget-scripts",
    "redis destroy-group",
    "redis delete-lbs",
    "redis trim",
    "redis flush-all",
    "redis evict",
    "redis delete-consumer",
    "redis redeliver",
    "redis delete-attempts",
    "redis delete-delayed",
    "redis unpark",
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
    "redis up, nothing forgotten",
    "redis up, the latest forgotten",
    "redis up, all forgotten",
];

/// What the scripts answer, and which answers are lost.
const ANSWERED: [&str; 32] = [
    "answer lost: messages/ack",
    "answer lost: messages/bury",
    "answer lost: messages/due",
    "answer lost: messages/fetch",
    "answer lost: messages/mark",
    "answer lost: messages/park",
    "answer lost: messages/reclaim",
    "answer lost: messages/refresh",
    "answer lost: messages/schedule",
    "answer lost: messages/send",
    "bury done",
    "bury gone",
    "bury lost",
    "due taken",
    "fetch taken in",
    "mark done",
    "mark lost",
    "park done",
    "park gone",
    "park lost",
    "permits granted",
    "permits refused",
    "reclaim is",
    "reclaim moved",
    "records forgotten",
    "refresh done",
    "refresh gone",
    "refresh lost",
    "script sent in full",
    "stranded found",
    "trim trimmed",
    "left",
];

/// What workers live to see.
const LIVED: [&str; 31] = [
    "run done",
    "run failed",
    "run panicked",
    "run rejected",
    "run dropped",
    "run cancelled",
    "run told that its message is lost",
    "what cannot be decoded was run",
    "what is called for the dead was run",
    "buried failed",
    "buried crashed",
    "buried broken",
    "buried rejected",
    "the dead were called in vain",
    "an application took care of the dead",
    "a message killed its process",
    "a message killed two processes",
    "buried without last rites, having killed there",
    "given back unstarted",
    "given back at a shutdown",
    "reclaimed from the crashed",
    "reclaimed from the living",
    "retried elsewhere",
    "a late success",
    "a delayed message came",
    "sent again under its key",
    "unanswered send",
    "the group was created again",
    "deleted after success",
    "the reclaimer was replaced",
    "stopped",
];

/// What must happen sometimes: all names.
pub fn names() -> impl Iterator<Item = &'static str> {
    STRUCK.into_iter().chain(ANSWERED).chain(LIVED)
}

/// What a script of messages said, in words: by the name of its file.
pub(crate) fn words(script: &str, reply: &Reply, lost: bool) -> Vec<String> {
    let mut words = Vec::new();
    let answered = !matches!(reply, Reply::Error(_));
    if lost && answered {
        words.push(format!("answer lost: {script}"));
    }
    let name = script.trim_start_matches("messages/");
    let Reply::Array(items) = reply else {
        let some = matches!(reply, Reply::Int(1..));
        let word = match name {
            "trim" => "trim trimmed",
            "leave" => "left",
            _ => return words,
        };
        words.extend(some.then(|| word.to_owned()));
        return words;
    };
    let number = |at: usize| matches!(items.get(at), Some(Reply::Int(1..)));
    match name {
        "park" | "bury" | "mark" | "refresh" => words.extend(items.iter().filter_map(|item| {
            let text = said(item)?;
            Some(format!("{name} {}", text.split(' ').next().unwrap_or_default()))
        })),
        "due" if items.len() > 3 => words.push("due taken".to_owned()),
        "fetch" if !items.is_empty() => words.push("fetch taken in".to_owned()),
        "reclaim" if items.len() > 2 => words.push("reclaim moved".to_owned()),
        "reclaim" if items.len() == 1 => words.push("reclaim is".to_owned()),
        "records" if number(1) => words.push("records forgotten".to_owned()),
        "stranded" if number(1) => words.push("stranded found".to_owned()),
        "rate" => words.push(if number(0) { "permits granted" } else { "permits refused" }.to_owned()),
        _ => {}
    }
    words
}

fn said(reply: &Reply) -> Option<&str> {
    match reply {
        Reply::Bulk(bytes) | Reply::Status(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// How often each of them happened, in these facts and by these words.
pub(crate) fn count(facts: &[Fact], words: &BTreeMap<String, u64>) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&'static str, u64> = names().map(|name| (name, 0)).collect();
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
        for name in history.hear(fact) {
            add(&name, 1);
        }
        history.ledger.hear(fact);
    }
    counts
}

/// What is known so far.
#[derive(Default)]
struct History {
    ledger: Ledger,
    dead: BTreeSet<Who>,
    draining: BTreeSet<Who>,
    reclaimer: Option<Who>,
    groups: u32,
    planned: BTreeSet<u64>,
    sent: BTreeSet<u64>,
    reclaimed_from: BTreeMap<String, Who>,
}

impl History {
    fn hear(&mut self, fact: &Fact) -> Vec<String> {
        let one = |name: &str| vec![name.to_owned()];
        match &fact.what {
            What::Struck { action, kind, .. } => struck(action, kind),
            What::RedisUp { forgot: Forgot::Nothing } => one("redis up, nothing forgotten"),
            What::RedisUp { forgot: Forgot::Latest } => one("redis up, the latest forgotten"),
            What::RedisUp { forgot: Forgot::All } => one("redis up, all forgotten"),
            What::Stopped { .. } => one("stopped"),
            What::Crashed { who } => {
                self.dead.insert(*who);
                Vec::new()
            }
            What::Draining { who } => {
                self.draining.insert(*who);
                Vec::new()
            }
            What::Message(said) => self.said(said),
            _ => Vec::new(),
        }
    }

    fn said(&mut self, said: &Said) -> Vec<String> {
        let one = |name: &str| vec![name.to_owned()];
        match said {
            Said::Sent { number, once, .. } => {
                let again = !self.sent.insert(*number);
                if *once && again { one("sent again under its key") } else { Vec::new() }
            }
            Said::SendUnknown { .. } => one("unanswered send"),
            Said::Began { entry, stage, who, .. } => {
                let mut seen = match stage {
                    Stage::Process => Vec::new(),
                    Stage::Broken => one("what cannot be decoded was run"),
                    Stage::Dead => one("what is called for the dead was run"),
                };
                let elsewhere = self.reclaimed_from.remove(&**entry).is_some_and(|other| other != *who);
                seen.extend(elsewhere.then(|| "retried elsewhere".to_owned()));
                seen
            }
            Said::Ended { who, entry, how, run } => {
                let stage = self.ledger.runs.get(run).map(|run| run.stage);
                let mut seen = vec![format!("run {}", how.name())];
                let message = self.ledger.messages.get(entry);
                let stale = message
                    .is_some_and(|message| message.state != State::Acked && self.ledger.holder(message) != Some(*who));
                seen.extend((stale && *how == How::Done).then(|| "a late success".to_owned()));
                let dead = stage == Some(Stage::Dead);
                seen.extend((dead && how.failed()).then(|| "the dead were called in vain".to_owned()));
                seen.extend((dead && *how == How::Done).then(|| "an application took care of the dead".to_owned()));
                seen
            }
            Said::Lost { .. } => one("run told that its message is lost"),
            Said::Buried { entry, reason, .. } => {
                let alive = self.ledger.messages.get(entry).is_some_and(|message| message.record.buried_alive);
                let alive = alive.then(|| "buried without last rites, having killed there".to_owned());
                vec![format!("buried {reason}")].into_iter().chain(alive).collect()
            }
            Said::Claimed { by, to, entries, script, .. } => {
                entries.iter().flat_map(|entry| self.claimed(*by, to, entry, *script)).collect()
            }
            Said::Recorded { entry, record, .. } => {
                let before = self.ledger.messages.get(entry).map_or(0, |message| message.record.crashed);
                match record.crashed {
                    crashed if crashed <= before => Vec::new(),
                    1 => one("a message killed its process"),
                    _ => one("a message killed two processes"),
                }
            }
            Said::Scheduled { id, .. } => {
                self.planned.extend(super::judge::number_of(id));
                Vec::new()
            }
            Said::Entered { number: Some(number), .. } if self.planned.remove(number) => one("a delayed message came"),
            Said::Grouped { .. } => {
                self.groups += 1;
                if self.groups > 1 { one("the group was created again") } else { Vec::new() }
            }
            Said::Removed { by: Some(_), .. } => one("deleted after success"),
            Said::Reclaims { by } => {
                let replaced = self.reclaimer.is_some() && self.reclaimer != *by;
                self.reclaimer = *by;
                if replaced { one("the reclaimer was replaced") } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }

    fn claimed(&mut self, by: Option<Who>, to: &str, entry: &str, script: Option<&str>) -> Vec<String> {
        let Some(message) = self.ledger.messages.get(entry) else { return Vec::new() };
        let holder = self.ledger.holder(message);
        if to != super::judge::PARKED || holder.is_none() {
            return Vec::new();
        }
        let name = match (script, holder, by) {
            (Some("messages/reclaim"), Some(holder), _) => {
                self.reclaimed_from.insert(entry.to_owned(), holder);
                if self.dead.contains(&holder) { "reclaimed from the crashed" } else { "reclaimed from the living" }
            }
            (_, _, Some(by)) if message.ended.is_none() || message.ended == Some(How::Cancelled) => {
                if self.draining.contains(&by) { "given back at a shutdown" } else { "given back unstarted" }
            }
            _ => return Vec::new(),
        };
        vec![name.to_owned()]
    }
}

/// What a plan does, and what messages do.
fn struck(action: &str, kind: &'static str) -> Vec<String> {
    let mut seen = vec![kind.to_owned()];
    if kind == "pause" {
        let points = ["answer", "handler", "call"].map(|point| format!("at {point}"));
        let at = points.into_iter().find(|at| action.ends_with(at.as_str()));
        seen.extend(at.map(|at| format!("pause {at}")));
    }
    if let Ok(Action::Send(sending)) = action.parse() {
        seen.push(format!("send {}", sending.does.name()));
        seen.extend((sending.delay_ms > 0).then(|| "send delayed".to_owned()));
        seen.extend(sending.once.map(|_| "send once".to_owned()));
        seen.extend(sending.key.map(|_| "send keyed".to_owned()));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, Profile};

    #[test]
    fn every_kind_that_is_drawn_has_a_name() {
        let known: BTreeSet<&str> = names().collect();
        assert_eq!(known.len(), STRUCK.len() + ANSWERED.len() + LIVED.len(), "no name twice");
        for seed in 0..200 {
            for timed in Plan::draw(seed, Profile::MessagesStorm).actions {
                for name in struck(&timed.action.to_string(), timed.action.kind()) {
                    assert!(known.contains(&*name), "{name}");
                }
            }
        }
    }

    #[test]
    fn scripts_are_understood() {
        let list = |words: &[&'static str]| Reply::Array(words.iter().map(|word| Reply::bulk(*word)).collect());
        assert_eq!(
            words("messages/park", &list(&["done", "lost", "broken why"]), false),
            ["park done", "park lost", "park broken"]
        );
        assert_eq!(words("messages/bury", &list(&["gone"]), true), ["answer lost: messages/bury", "bury gone"]);
        assert_eq!(words("messages/trim", &Reply::Int(3), false), ["trim trimmed"]);
        assert_eq!(words("messages/trim", &Reply::Int(0), false), [""; 0]);
        assert_eq!(words("messages/park", &Reply::error("OOM"), true), [""; 0]);
        assert_eq!(words("messages/reclaim", &list(&["is 700"]), false), ["reclaim is"]);
        assert_eq!(
            words("messages/stranded", &Reply::Array(vec![Reply::Int(-1), Reply::Int(2)]), false),
            ["stranded found"]
        );
    }

    #[test]
    fn what_happened_is_counted() {
        let struck = |action: &str, kind| What::Struck { action: action.to_owned(), kind, consumer: None, ms: None };
        let facts = [struck("send 3 fails 2 delayed 1s", "send"), What::Message(Said::SendUnknown { number: 1 })];
        let facts = facts.map(|what| Fact { at: streamkeeper::Time::ZERO, what });
        let counts = count(
            &facts,
            &[("park lost", 3), ("no such word", 1)].map(|(word, times)| (word.to_owned(), times)).into(),
        );
        let happened: Vec<_> =
            counts.iter().filter(|(_, count)| **count > 0).map(|(name, count)| (*name, *count)).collect();
        let expected = [("park lost", 3), ("send", 1), ("send delayed", 1), ("send fails", 1), ("unanswered send", 1)];
        assert_eq!(happened, expected);
        assert_eq!(counts.len(), names().count(), "what has not happened is there, too");
    }
}
