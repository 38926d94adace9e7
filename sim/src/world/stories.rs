//! Stories: what must happen sometimes and takes more than one fact to be seen. Told from the facts of a run and from what
//! the scripts were asked, in order of time; for whoever asks whether a way of recovery was really gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use streamkeeper::Time;

use super::deeds::{self, Deed};
use crate::{
    facts::{Fact, Owned, What, Who},
    plan::{Action, Way},
    redis::reply::Reply,
};

/// All stories.
pub(crate) const STORIES: [&str; 30] = [
    "answer lost: acquire",
    "answer lost: done",
    "answer lost: release",
    "answer lost: renew",
    "claimed by hand",
    "clock stepped back",
    "clock stepped forward",
    "consumers cleared away",
    "crashed before it heard of its grant",
    "grant given back unheard",
    "group found gone",
    "handed over at a shutdown",
    "orphan found by the reaper",
    "orphan found without the reaper",
    "own stream taken back after a restart",
    "partition in",
    "partition out",
    "raced for a stream",
    "renewed in vain",
    "renewed while out of memory",
    "settled after a wait",
    "stall in",
    "stall out",
    "suspect taken after its delay",
    "takeover by a Go peer",
    "takeover from a Go peer",
    "takeover from the crashed",
    "takeover from the cut off",
    "takeover from the paused",
    "takeover without messages",
];

/// Two consumers that ask for the same stream within this time have raced.
const RACE: Duration = Duration::from_millis(100);

/// What became of one announcement.
#[derive(Default)]
struct Entry {
    /// The lease value that was granted it last, and when.
    granted: Option<(Arc<str>, Time)>,
    /// That value, until the application has heard of it.
    unheard: Option<Arc<str>>,
    /// The process that has heard last that it owns it.
    owner: Option<Who>,
    /// Its last heartbeat that arrived.
    renewed: Option<Time>,
    /// The reaper was told of it, since it was granted.
    reaped: bool,
    /// Given back by a consumer that was told to stop.
    handed_over: bool,
}

/// A listener to one run.
#[derive(Default)]
pub(crate) struct Stories {
    counts: BTreeMap<&'static str, u64>,
    deeds: Vec<(Time, Deed)>,
    entries: BTreeMap<Arc<str>, Entry>,
    /// The latest process of each id; and whether it is a Go peer, claims by itself, and its ttl.
    processes: BTreeMap<Arc<str>, Who>,
    kinds: BTreeMap<Who, Kind>,
    /// What lasts now, by kind and whom it befell.
    lasting: BTreeSet<(&'static str, Option<usize>)>,
    gone: BTreeSet<Who>,
    draining: BTreeSet<Who>,
}

#[derive(Clone, Copy)]
struct Kind {
    go: bool,
    automatic: bool,
    ttl_ms: u64,
}

impl Stories {
    /// A script ran.
    pub(crate) fn executed(&mut self, at: Time, script: &str, command: &[Bytes], reply: &Reply, lost: bool) {
        self.deeds.extend(deeds::of(script, command, reply, lost).into_iter().map(|deed| (at, deed)));
    }

    /// How often each story happened in a run with these facts: all of them, with 0 if it did not.
    pub(crate) fn end(mut self, facts: &[Fact]) -> BTreeMap<&'static str, u64> {
        self.counts = STORIES.iter().map(|name| (*name, 0)).collect();
        let mut deeds = std::mem::take(&mut self.deeds).into_iter().peekable();
        for fact in facts {
            while let Some((at, deed)) = deeds.next_if(|(at, _)| *at < fact.at) {
                self.deed(at, deed);
            }
            self.fact(fact.at, &fact.what);
        }
        deeds.for_each(|(at, deed)| self.deed(at, deed));
        self.counts
    }

    fn tell(&mut self, story: &'static str) {
        *self.counts.entry(story).or_default() += 1;
    }

    fn deed(&mut self, at: Time, deed: Deed) {
        match deed {
            Deed::Granted { suspect: true, .. } => self.tell("suspect taken after its delay"),
            Deed::Granted { .. } => {}
            Deed::Held { consumer, entry } => {
                let granted = self.entries.get(&entry).and_then(|entry| entry.granted.as_ref());
                if granted.is_some_and(|(other, when)| *consumer != *consumer_of(other) && at.since(*when) <= RACE) {
                    self.tell("raced for a stream");
                }
            }
            Deed::Reaped { entries } => {
                for entry in entries {
                    self.entries.entry(entry).or_default().reaped = true;
                }
            }
            Deed::Cleaned => self.tell("consumers cleared away"),
            Deed::Groupless => self.tell("group found gone"),
            Deed::Settled => self.tell("settled after a wait"),
            Deed::Unanswered { script } => {
                let story = format!("answer lost: {script}");
                STORIES.into_iter().filter(|name| **name == story).for_each(|name| self.tell(name));
            }
        }
    }

    fn fact(&mut self, at: Time, what: &What) {
        match what {
            What::Started { who, id, ttl_ms, automatic, go, .. } => {
                self.processes.insert(id.clone(), *who);
                self.kinds.insert(*who, Kind { go: *go, automatic: *automatic, ttl_ms: *ttl_ms });
            }
            What::Draining { who } => drop(self.draining.insert(*who)),
            What::Crashed { who } => self.crashed(*who),
            What::Added { who, owned, takeover } => self.added(*who, owned, *takeover),
            What::Ended { who, owned, how } => self.ended(at, *who, owned, how),
            What::Granted { value, owned } => self.granted(at, value, owned),
            What::Renewed { entries, .. } => self.renewed(at, entries),
            What::GivenBack { value, entry, .. } => self.given_back(value, entry),
            What::Struck { action, kind, consumer, ms } => self.struck(action, kind, *consumer, *ms),
            What::Over { kind, consumer } => drop(self.lasting.remove(&(*kind, *consumer))),
            What::Paused { who, .. } => drop(self.lasting.insert(("pause", Some(who.consumer)))),
            What::Resumed { who } => drop(self.lasting.remove(&("pause", Some(who.consumer)))),
            What::Healed => self.lasting.clear(),
            _ => {}
        }
    }

    fn struck(&mut self, action: &str, kind: &'static str, consumer: Option<usize>, ms: Option<u64>) {
        if ms.is_some() {
            self.lasting.insert((kind, consumer));
        }
        let story = match action.parse() {
            Ok(Action::Partition { way: Way::Out, .. }) => "partition out",
            Ok(Action::Partition { way: Way::In, .. }) => "partition in",
            Ok(Action::Stall { way: Way::Out, .. }) => "stall out",
            Ok(Action::Stall { way: Way::In, .. }) => "stall in",
            Ok(Action::Redis(crate::plan::RedisFault::ClockStep { by_ms: ..0 })) => "clock stepped back",
            Ok(Action::Redis(crate::plan::RedisFault::ClockStep { .. })) => "clock stepped forward",
            _ => return,
        };
        self.tell(story);
    }

    fn granted(&mut self, at: Time, value: &Arc<str>, owned: &Owned) {
        let consumer = consumer_of(value);
        let entry = self.entries.entry(owned.entry.clone()).or_default();
        let before = entry.granted.replace((value.clone(), at)).map(|(before, _)| before);
        if before.as_ref() == Some(value) {
            return; // once more, since the answer was lost
        }
        entry.unheard = Some(value.clone());
        entry.renewed = None;
        let (reaped, handed_over) = (std::mem::take(&mut entry.reaped), std::mem::take(&mut entry.handed_over));
        let Some(before) = before else { return };
        if handed_over && consumer_of(&before) != consumer {
            self.tell("handed over at a shutdown");
        } else {
            self.tell(if reaped { "orphan found by the reaper" } else { "orphan found without the reaper" });
        }
    }

    fn renewed(&mut self, at: Time, entries: &[Arc<str>]) {
        if self.lasting.iter().any(|(kind, _)| *kind == "redis refuse oom") {
            self.tell("renewed while out of memory");
        }
        for entry in entries {
            self.entries.entry(entry.clone()).or_default().renewed = Some(at);
        }
    }

    fn given_back(&mut self, value: &Arc<str>, entry: &Arc<str>) {
        let draining = self.processes.get(consumer_of(value)).is_some_and(|who| self.draining.contains(who));
        let known = self.entries.entry(entry.clone()).or_default();
        known.handed_over |= draining;
        if known.unheard.as_ref() == Some(value) {
            known.unheard = None;
            self.tell("grant given back unheard");
        }
    }

    fn crashed(&mut self, who: Who) {
        self.gone.insert(who);
        let processes = &self.processes;
        let unheard = self
            .entries
            .values_mut()
            .filter_map(|entry| entry.unheard.take_if(|value| processes.get(consumer_of(value)) == Some(&who)));
        for _ in 0..unheard.count() {
            self.tell("crashed before it heard of its grant");
        }
    }

    fn added(&mut self, who: Who, owned: &Owned, takeover: bool) {
        let entry = self.entries.entry(owned.entry.clone()).or_default();
        entry.unheard = None;
        let before = entry.owner.replace(who);
        let Some(kind) = self.kinds.get(&who).copied() else { return };
        if !takeover {
            return;
        }
        if !kind.automatic && !kind.go {
            self.tell("claimed by hand");
        }
        if self.lasting.contains(&("redis drop-messages", None)) {
            self.tell("takeover without messages");
        }
        let Some(before) = before.filter(|before| *before != who) else { return };
        if before.consumer == who.consumer {
            self.tell("own stream taken back after a restart");
        }
        let befallen = |kind| self.lasting.contains(&(kind, Some(before.consumer)));
        let (crashed, paused) = (self.gone.contains(&before), befallen("pause") || befallen("suspend"));
        let cut_off = befallen("partition");
        let from_go = self.kinds.get(&before).is_some_and(|kind| kind.go);
        for (story, told) in [
            ("takeover from the crashed", crashed),
            ("takeover from the paused", !crashed && paused),
            ("takeover from the cut off", !crashed && cut_off),
            ("takeover from a Go peer", from_go && !kind.go),
            ("takeover by a Go peer", kind.go && !from_go),
        ] {
            if told {
                self.tell(story);
            }
        }
    }

    /// An owner whose heartbeat Redis has heard, but which has not heard Redis, loses what it could have kept.
    fn ended(&mut self, at: Time, who: Who, owned: &Owned, how: &str) {
        let silent = matches!(how, "expired" | "unreachable" | "paused");
        let renewed = self.entries.get(&owned.entry).and_then(|entry| entry.renewed);
        let ttl = self.kinds.get(&who).map_or(0, |kind| kind.ttl_ms);
        if silent && renewed.is_some_and(|renewed| at.since(renewed) < Duration::from_millis(ttl * 8 / 10)) {
            self.tell("renewed in vain");
        }
    }
}

/// The id in a lease's value.
fn consumer_of(value: &str) -> &str {
    value.rsplit_once('#').map_or(value, |(consumer, _)| consumer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Who = Who { consumer: 0, life: 0 };
    const B: Who = Who { consumer: 1, life: 0 };
    const AGAIN: Who = Who { consumer: 0, life: 1 };

    fn started(who: Who, id: &str) -> What {
        What::Started { who, id: id.into(), ttl_ms: 3_000, capacity: 9, automatic: true, go: id == "go" }
    }

    fn owned(token: u64) -> Owned {
        Owned { stream: "s".into(), entry: "1-0".into(), token }
    }

    fn granted(id: &str, token: u64) -> What {
        What::Granted { value: format!("{id}#{token}").into(), owned: owned(token) }
    }

    fn given_back(id: &str, token: u64) -> What {
        What::GivenBack { value: format!("{id}#{token}").into(), stream: "s".into(), entry: "1-0".into() }
    }

    fn added(who: Who, token: u64) -> What {
        What::Added { who, owned: owned(token), takeover: token > 1 }
    }

    fn struck(action: &str) -> What {
        let parsed: Action = action.parse().unwrap();
        What::Struck { action: action.to_owned(), kind: parsed.kind(), consumer: parsed.consumer(), ms: parsed.ms() }
    }

    fn renewed(id: &str) -> What {
        What::Renewed { consumer: id.into(), entries: vec!["1-0".into()] }
    }

    /// The stories of a history in which something happens every 10 ms, in the presence of `a` and `b`.
    fn told(history: &[What], deeds: &[(u64, Deed)]) -> Vec<&'static str> {
        let mut ms = 0;
        let mut facts = Vec::new();
        for what in [started(A, "a"), started(B, "b")].iter().chain(history) {
            ms += 10;
            facts.push(Fact { at: Time::from_millis(ms), what: what.clone() });
        }
        let stories = Stories {
            deeds: deeds.iter().map(|(ms, deed)| (Time::from_millis(*ms), deed.clone())).collect(),
            ..Stories::default()
        };
        let counts = stories.end(&facts);
        assert_eq!(counts.len(), STORIES.len(), "every story has a name");
        counts.into_iter().filter(|(_, times)| *times > 0).map(|(name, _)| name).collect()
    }

    #[test]
    fn how_a_stream_changes_hands_is_told() {
        let first = [granted("a", 1), added(A, 1)];
        let takeover = [granted("b", 2), added(B, 2)];
        let between = |middle: &[What]| told(&[&first, middle, &takeover].concat(), &[]);
        let alone = "orphan found without the reaper";
        assert_eq!(between(&[What::Crashed { who: A }]), [alone, "takeover from the crashed"]);
        assert_eq!(between(&[What::Paused { who: A, ms: 9_000 }]), [alone, "takeover from the paused"]);
        assert_eq!(between(&[What::Paused { who: A, ms: 90 }, What::Resumed { who: A }]), [alone]);
        assert_eq!(between(&[struck("partition c0 9s")]), [alone, "takeover from the cut off"]);
        assert_eq!(between(&[struck("redis drop-messages 9s")]), [alone, "takeover without messages"]);
        assert_eq!(between(&[struck("redis drop-messages 9s"), What::Healed]), [alone]);
        assert_eq!(between(&[What::Draining { who: A }, given_back("a", 1)]), ["handed over at a shutdown"]);
        assert_eq!(between(&[given_back("a", 1)]), [alone]);
        assert_eq!(between(&[started(B, "go")]), [alone, "takeover by a Go peer"]);
        let reaped = (45, Deed::Reaped { entries: vec!["1-0".into()] });
        assert_eq!(told(&[&first[..], &takeover].concat(), &[reaped]), ["orphan found by the reaper"]);
        let again = [What::Crashed { who: A }, started(AGAIN, "a"), granted("a", 2), added(AGAIN, 2)];
        let back = "own stream taken back after a restart";
        assert_eq!(told(&[&first[..], &again].concat(), &[]), [alone, back, "takeover from the crashed"]);
    }

    #[test]
    fn answers_that_are_lost_or_late_are_told() {
        let lost = |script: &str| told(&[], &[(60, Deed::Unanswered { script: script.to_owned() })]);
        assert_eq!(lost("renew"), ["answer lost: renew"]);
        assert_eq!(lost("reap"), [""; 0]);
        assert_eq!(told(&[granted("a", 1), given_back("a", 1)], &[]), ["grant given back unheard"]);
        assert_eq!(told(&[granted("a", 1), What::Crashed { who: A }], &[]), ["crashed before it heard of its grant"]);
        let ended = |how| What::Ended { who: A, owned: owned(1), how };
        let history = |how| [granted("a", 1), added(A, 1), renewed("a"), ended(how)];
        assert_eq!(told(&history("expired"), &[]), ["renewed in vain"]);
        assert_eq!(told(&history("done"), &[]), [""; 0]);
        assert_eq!(told(&[struck("redis refuse oom 3s"), renewed("a")], &[]), ["renewed while out of memory"]);
    }

    #[test]
    fn deeds_and_directions_are_told() {
        let held = |consumer: &str| Deed::Held { consumer: consumer.into(), entry: "1-0".into() };
        assert_eq!(told(&[granted("a", 1)], &[(60, held("b"))]), ["raced for a stream"]);
        assert_eq!(told(&[granted("a", 1)], &[(60, held("a"))]), [""; 0]);
        assert_eq!(told(&[granted("a", 1)], &[(900, held("b"))]), [""; 0]);
        let deeds = [
            (1, Deed::Granted { entry: "1-0".into(), suspect: true }),
            (2, Deed::Cleaned),
            (3, Deed::Groupless),
            (4, Deed::Settled),
        ];
        let stories =
            ["consumers cleared away", "group found gone", "settled after a wait", "suspect taken after its delay"];
        assert_eq!(told(&[], &deeds), stories);
        let ways = ["partition c0 4s in", "stall c0 4s out", "redis clock -4s", "partition c0 4s"];
        assert_eq!(told(&ways.map(struck), &[]), ["clock stepped back", "partition in", "stall out"]);
    }
}
