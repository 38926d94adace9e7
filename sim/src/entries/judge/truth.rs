//! Every data stream as the facts show it: its entries, how far it was committed, what was written for each entry, and who
//! reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streamkeeper::Time;

use crate::{
    entries::facts::{Id, Said, Stock},
    facts::{Fact, Forgot, Owned, What, Who},
};

/// A data stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    /// What stands in it, and since when.
    pub(super) entries: BTreeMap<Id, Time>,
    /// What stood in it, and was trimmed or deleted.
    pub(super) removed: BTreeSet<Id>,
    /// How far it was committed, and since when; `None`: nothing stands there.
    pub(super) position: Option<(Id, Time)>,
    /// The farthest that was ever committed, whatever Redis has forgotten since.
    pub(super) committed: Id,
    /// How often the effect of each entry was written.
    pub(super) effects: BTreeMap<Id, u64>,
    /// Whose lease was granted last: the consumer's id.
    pub(super) owner: Option<Arc<str>>,
    /// It is finished.
    pub(super) finished: bool,
    /// When Redis last forgot something of it, or a hand changed it.
    pub(super) altered: Time,
}

/// An ownership, read by its application.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) stream: Arc<str>,
    /// What was read last.
    pub(super) last: Id,
    /// Since when it is open.
    pub(super) opened: Time,
    /// When something was read last.
    pub(super) latest: Time,
    /// Said since the last entries: some were lost.
    pub(super) gap: bool,
}

/// All of it.
#[derive(Default)]
pub(super) struct Truth {
    pub(super) streams: BTreeMap<Arc<str>, Data>,
    /// By process and token.
    pub(super) readings: BTreeMap<(Who, u64), Reading>,
    /// Whose the consumers' ids in Redis are.
    pub(super) names: BTreeMap<Arc<str>, Who>,
    /// Since when each process that ever stood still goes on: possibly a time to come.
    awake: BTreeMap<Who, Time>,
    /// Redis came up and has forgotten so much: the next stock tells what is left.
    forgot: Option<Forgot>,
}

impl Truth {
    pub(super) fn data(&self, stream: &str) -> Option<&Data> {
        self.streams.get(stream)
    }

    pub(super) fn reading(&self, who: Who, owned: &Owned) -> Option<&Reading> {
        self.readings.get(&(who, owned.token))
    }

    /// Since when this process has not stood still.
    pub(super) fn awake(&self, who: Who) -> Time {
        self.awake.get(&who).copied().unwrap_or(Time::ZERO)
    }

    pub(super) fn hear(&mut self, fact: &Fact) {
        match &fact.what {
            What::Paused { who, ms } => drop(self.awake.insert(*who, fact.at + Duration::from_millis(*ms))),
            What::Resumed { who } => drop(self.awake.insert(*who, fact.at)),
            What::Started { who, id, .. } => drop(self.names.insert(id.clone(), *who)),
            What::Crashed { who } | What::Stopped { who } => self.readings.retain(|(reader, _), _| reader != who),
            What::Ended { who, owned, .. } => drop(self.readings.remove(&(*who, owned.token))),
            What::Granted { value, owned } => {
                let id = value.split_once('#').map_or(&**value, |(id, _)| id);
                self.of(&owned.stream).owner = Some(id.into());
            }
            What::RedisUp { forgot } => self.forgot = (*forgot != Forgot::Nothing).then_some(*forgot),
            What::Entry(said) => self.said(said, fact.at),
            _ => {}
        }
    }

    fn said(&mut self, said: &Said, at: Time) {
        match said {
            Said::Appended { stream, id } => drop(self.of(stream).entries.insert(*id, at)),
            Said::Removed { stream, before } => {
                let data = self.of(stream);
                let left = before.map(|before| data.entries.split_off(&before)).unwrap_or_default();
                let gone = std::mem::replace(&mut data.entries, left);
                data.removed.extend(gone.into_keys());
            }
            Said::Stored { stream, position, .. } => {
                let data = self.of(stream);
                (data.position, data.committed) = (Some((*position, at)), data.committed.max(*position));
            }
            Said::Dropped { stream } => {
                let data = self.of(stream);
                (data.position, data.committed, data.finished) = (None, Id::default(), true);
            }
            Said::Effect { stream, id, .. } => *self.of(stream).effects.entry(*id).or_default() += 1,
            Said::Opened { who, owned, position } => {
                let (stream, last) = (owned.stream.clone(), *position);
                let reading = Reading { stream, last, opened: at, latest: at, gap: false };
                self.readings.insert((*who, owned.token), reading);
            }
            Said::Yielded { who, owned, ids } => {
                if let (Some(reading), Some(last)) = (self.readings.get_mut(&(*who, owned.token)), ids.last()) {
                    (reading.last, reading.latest, reading.gap) = (*last, at, false);
                }
            }
            Said::Told { who, owned, what, id } => {
                let Some(reading) = self.readings.get_mut(&(*who, owned.token)) else { return };
                match (*what, id) {
                    ("gap" | "rewound", _) => reading.gap = true,
                    ("undecodable" | "rolled-back", Some(id)) => (reading.last, reading.latest) = (*id, at),
                    ("lost", _) => drop(self.readings.remove(&(*who, owned.token))),
                    _ => {}
                }
            }
            Said::Closed { who, owned } => drop(self.readings.remove(&(*who, owned.token))),
            Said::Stands(stock) => self.stands(stock, at),
            Said::Asked { .. } | Said::Answered { .. } => {}
        }
    }

    /// What Redis has forgotten never was; what a hand has changed is so.
    fn stands(&mut self, stock: &Stock, at: Time) {
        if stock.why == "end" || (stock.why == "up" && self.forgot.take().is_none()) {
            return;
        }
        for data in self.streams.values_mut() {
            (data.entries, data.position, data.effects, data.altered) = Default::default();
            data.altered = at;
        }
        for (stream, ids) in &stock.streams {
            self.of(stream).entries = ids.iter().map(|id| (*id, at)).collect();
        }
        // What was removed behind the last one that stands there now may never have come.
        for data in self.streams.values_mut() {
            let last = data.entries.keys().next_back().copied().unwrap_or_default();
            data.removed.retain(|id| *id < last && !data.entries.contains_key(id));
        }
        for (stream, position) in &stock.positions {
            self.of(stream).position = Some((*position, at));
        }
        for (stream, effects) in &stock.effects {
            self.of(stream).effects = effects.iter().copied().collect();
        }
    }

    fn of(&mut self, stream: &Arc<str>) -> &mut Data {
        self.streams.entry(stream.clone()).or_default()
    }
}
