//! What is known of every consumer process of a service: what it said, when it was stopped and how it ended. Tests
//! wait on it, and [`judge`](crate::judge) holds the promises against it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::{Event, Kind};

/// All lives of one service's consumers.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The lease time they ran with.
    pub ttl: Duration,
    /// Their heartbeat interval.
    pub heartbeat: Duration,
    /// One entry a process, in the order of their starts.
    pub lives: Vec<Life>,
}

/// One process, from its start to its end.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// Its name, unique only if the test wants it so.
    pub name: String,
    /// What it said, in order.
    pub events: Vec<Event>,
    /// When it was stopped (SIGSTOP) and went on.
    pub pauses: Vec<Pause>,
    /// How it ended, if it has.
    pub end: Option<End>,
}

/// A span in which a process did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When it was stopped, in microseconds of Unix time.
    pub from_us: u64,
    /// When it went on, if it has.
    pub to_us: Option<u64>,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When, in microseconds of Unix time.
    pub at_us: u64,
    /// Whether it was killed, so that it could not say a last word.
    pub killed: bool,
}

/// One ownership: from a consumer's `added` to its final event.
#[derive(Debug, Clone, PartialEq)]
pub struct Ownership {
    /// Which life, as an index into [`Ledger::lives`].
    pub life: usize,
    /// The data stream.
    pub stream: String,
    /// The announcement.
    pub entry: String,
    /// The partition of the announcement; 0 in a service without any.
    pub partition: u32,
    /// The fencing token.
    pub token: u64,
    /// When it began, in microseconds of Unix time.
    pub from_us: u64,
    /// How it ended, if the consumer said so.
    pub last: Option<Event>,
}

impl Life {
    /// Whether the process is there and runs.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        self.end.is_none() && self.pauses.last().is_none_or(|pause| pause.to_us.is_some())
    }

    /// Its events of this kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.kind == kind)
    }

    /// Its ownerships, each ended by the first final event of the same stream.
    fn ownerships(&self, life: usize) -> Vec<Ownership> {
        let mut all: Vec<Ownership> = Vec::new();
        let mut open: BTreeMap<&str, usize> = BTreeMap::new();
        for event in &self.events {
            let Some(stream) = event.stream.as_deref() else { continue };
            if event.kind == Kind::Added {
                open.insert(stream, all.len());
                all.push(Ownership {
                    life,
                    stream: stream.to_owned(),
                    entry: event.entry.clone().unwrap_or_default(),
                    partition: event.partition.unwrap_or_default(),
                    token: event.token.unwrap_or_default(),
                    from_us: event.at_us,
                    last: None,
                });
            } else if event.kind.is_final()
                && let Some(index) = open.remove(stream)
            {
                all[index].last = Some(event.clone());
            }
        }
        all
    }
}

impl Ledger {
    /// Every ownership there was, by stream, each stream's in the order of their beginnings.
    #[must_use]
    pub fn ownerships(&self) -> BTreeMap<String, Vec<Ownership>> {
        let mut streams: BTreeMap<String, Vec<Ownership>> = BTreeMap::new();
        for (index, life) in self.lives.iter().enumerate() {
            for ownership in life.ownerships(index) {
                streams.entry(ownership.stream.clone()).or_default().push(ownership);
            }
        }
        for list in streams.values_mut() {
            list.sort_by_key(|ownership| (ownership.from_us, ownership.token));
        }
        streams
    }

    /// Who owns what now: by stream, the lives that run, said `added` and no final event since.
    #[must_use]
    pub fn owners(&self) -> BTreeMap<String, BTreeSet<usize>> {
        let mut owners: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (index, life) in self.lives.iter().enumerate().filter(|(_, life)| life.is_awake()) {
            for ownership in life.ownerships(index).into_iter().filter(|ownership| ownership.last.is_none()) {
                owners.entry(ownership.stream).or_default().insert(index);
            }
        }
        owners
    }

    /// The streams of which one announcement at least is done or set aside.
    #[must_use]
    pub fn settled(&self) -> BTreeSet<&str> {
        self.events()
            .filter(|(_, event)| matches!(event.kind, Kind::Done | Kind::Rejected))
            .filter_map(|(_, event)| event.stream.as_deref())
            .collect()
    }

    /// All events of all lives, with the index of the life.
    pub fn events(&self) -> impl Iterator<Item = (usize, &Event)> {
        self.lives.iter().enumerate().flat_map(|(index, life)| life.events.iter().map(move |event| (index, event)))
    }

    /// How many events of this kind there are about this stream.
    #[must_use]
    pub fn count(&self, kind: Kind, stream: &str) -> usize {
        self.events().filter(|(_, event)| event.is(kind, stream)).count()
    }

    /// The last words of every life: for a person who looks for what went wrong.
    #[must_use]
    pub fn story(&self, lines: usize) -> String {
        let mut text = String::new();
        for life in &self.lives {
            let skipped = life.events.len().saturating_sub(lines);
            text.push_str(&format!(
                "-- {} ({:?}, pauses {:?}, {skipped} earlier events)\n",
                life.name, life.end, life.pauses
            ));
            for event in &life.events[skipped..] {
                text.push_str(&format!(
                    "   {} {:?} {} {} {} {} {:?}\n",
                    event.at_us,
                    event.kind,
                    event.stream.as_deref().unwrap_or("-"),
                    event.entry.as_deref().unwrap_or("-"),
                    event.token.unwrap_or_default(),
                    event.reason(),
                    event.rest
                ));
            }
        }
        text
    }
}
