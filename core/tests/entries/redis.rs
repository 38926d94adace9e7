//! A strict model of what `io/src/lua/entries/` and the server do: streams, leases, records, and a ledger for the
//! application's own writes.

use std::collections::{BTreeMap, BTreeSet};

use streamkeeper_core::{
    entries::{
        Answer, Call,
        call::{
            About, Aside, AsideItem, CommitItem, Committed, Entry, FetchItem, Fetched, Key, OpenItem, Opened, Record,
            Server, Write,
        },
    },
    id::{Attempt, EntryId, StreamName},
    trouble::{Trouble, TroubleKind},
};

pub(crate) const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// A server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redis {
    pub(crate) streams: BTreeMap<StreamName, Data>,
    pub(crate) leases: BTreeMap<(StreamName, EntryId), Attempt>,
    pub(crate) records: BTreeMap<StreamName, Record>,
    pub(crate) dead: BTreeSet<(StreamName, EntryId)>,
    /// What INCRBY has made of keys.
    pub(crate) ledger: BTreeMap<Key, i64>,
    /// Records that cannot be read, and whether the dead entries can be written.
    pub(crate) odd_records: BTreeSet<StreamName>,
    pub(crate) odd_dead: bool,
    /// Before Redis 7.
    pub(crate) does_not_count: bool,
    /// CLIENT is refused.
    pub(crate) no_client: bool,
}

/// What a stream's key holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    pub(crate) entries: BTreeSet<EntryId>,
    pub(crate) added: u64,
    pub(crate) last: EntryId,
    pub(crate) wrong_type: bool,
}

impl Redis {
    pub(crate) fn add(&mut self, stream: &StreamName, id: EntryId) {
        let data = self.streams.entry(stream.clone()).or_default();
        assert!(id > data.last, "{id} is not behind {}", data.last);
        data.entries.insert(id);
        (data.added, data.last) = (data.added + 1, id);
    }

    /// Removes what is before an id.
    pub(crate) fn trim(&mut self, stream: &StreamName, first: EntryId) {
        if let Some(data) = self.streams.get_mut(stream) {
            data.entries.retain(|id| *id >= first);
        }
    }

    /// Executes a call. [`Call::Wait`] is answered as if it did not block.
    pub(crate) fn execute(&mut self, call: &Call) -> Result<Answer, Trouble> {
        Ok(match call {
            Call::Prepare => {
                Answer::Prepared(Server { version: "redis 7.0.15".into(), counts_added: !self.does_not_count })
            }
            Call::Identify => Answer::Identified((!self.no_client).then_some(17)),
            Call::Open(items) => Answer::Opened(items.iter().map(|item| self.open(item)).collect()),
            Call::Fetch(items) => Answer::Fetched(items.iter().map(|item| self.fetch(item)).collect()),
            Call::Wait { streams, .. } => Answer::Waited(self.news(streams)?),
            Call::Wake { .. } => Answer::Woken((!self.no_client).then_some(true)),
            Call::Commit(items) => Answer::Committed(items.iter().map(|item| self.commit(item)).collect()),
            Call::SetAside(items) => Answer::SetAside(items.iter().map(|item| self.set_aside(item)).collect()),
        })
    }

    fn open(&self, item: &OpenItem) -> Opened {
        if self.odd_records.contains(&item.stream) {
            return Opened::Broken("the record `x` is none".into());
        }
        let data = self.streams.get(&item.stream);
        if item.last && data.is_some_and(|data| data.wrong_type) {
            return Opened::Broken(WRONG_TYPE.into());
        }
        let last = item.last.then(|| data.map_or(EntryId::default(), |data| data.last));
        Opened::Known { record: self.records.get(&item.stream).cloned(), last }
    }

    fn fetch(&self, item: &FetchItem) -> Fetched {
        let Some(data) = self.streams.get(&item.stream) else { return Fetched::Missing };
        if data.wrong_type {
            return Fetched::Broken(WRONG_TYPE.into());
        }
        let behind = data.entries.iter().filter(|id| **id > item.after).take(item.count);
        let about = About {
            length: data.entries.len() as u64,
            added: (!self.does_not_count).then_some(data.added),
            first: data.entries.first().copied(),
            last: data.last,
        };
        Fetched::Entries(behind.map(|id| entry(*id)).collect(), about)
    }

    /// Which of the streams have something behind their position.
    pub(crate) fn news(&self, streams: &[(StreamName, EntryId)]) -> Result<Vec<usize>, Trouble> {
        let mut news = Vec::new();
        for (index, (stream, after)) in streams.iter().enumerate() {
            let Some(data) = self.streams.get(stream) else { continue };
            if data.wrong_type {
                return Err(Trouble { kind: TroubleKind::WrongType, message: WRONG_TYPE.into() });
            }
            if data.entries.last().is_some_and(|last| last > after) {
                news.push(index);
            }
        }
        Ok(news)
    }

    fn commit(&mut self, item: &CommitItem) -> Committed {
        if self.odd_records.contains(&item.stream) {
            return Committed::Broken("the record `x` is none".into());
        }
        let record = self.records.get(&item.stream);
        if item.to.mark != item.from.1 && record.and_then(|record| record.mark) == item.to.mark {
            return Committed::Done;
        }
        match self.leases.get(&(item.stream.clone(), item.entry)) {
            None => return Committed::Absent,
            Some(attempt) if *attempt != item.attempt => return Committed::Fenced,
            Some(_) => {}
        }
        let stored = record.map(|record| (record.position, record.mark));
        let stands = record == Some(&item.to) || item.from.0 != item.to.position;
        if stored == Some((item.to.position, item.to.mark)) && stands {
            return Committed::Done;
        }
        if stored.unwrap_or_default() != item.from {
            return Committed::Conflict(record.cloned().unwrap_or_default());
        }
        for (index, write) in item.writes.iter().enumerate() {
            if let Write::IncrBy(key, _) = write
                && key.starts_with(b"bad")
            {
                return Committed::Rejected(index, WRONG_TYPE.into());
            }
        }
        for write in item.writes.iter() {
            let Write::IncrBy(key, by) = write else { panic!("the model knows IncrBy only") };
            *self.ledger.entry(key.clone()).or_default() += by;
        }
        self.records.insert(item.stream.clone(), item.to.clone());
        Committed::Done
    }

    fn set_aside(&mut self, item: &AsideItem) -> Aside {
        if self.leases.get(&(item.stream.clone(), item.entry)) != Some(&item.attempt) {
            return Aside::Fenced;
        }
        if self.odd_dead {
            return Aside::Broken(WRONG_TYPE.into());
        }
        self.dead.insert((item.stream.clone(), item.id));
        Aside::Done
    }
}

/// Every entry says its own id.
pub(crate) fn entry(id: EntryId) -> Entry {
    Entry { id, fields: vec![(b"body".to_vec(), id.to_string().into_bytes())] }
}
