//! What an application does with a stream that it owns: takes entries in, works on them, commits; and what it may be told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use streamkeeper_core::{
    entries::{
        CommitEnd, Delivery, Event, OwnedId, Ticket,
        call::{Record, Start, Write},
        event::Commit,
    },
    id::{Attempt, EntryId},
};

use super::{
    redis::entry,
    world::{Thing, World},
};

/// How many commits of a position alone are under way at once.
const AT_ONCE: usize = 3;

/// One ownership of a stream.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) stream: usize,
    pub(crate) attempt: Attempt,
    pub(crate) buffer: VecDeque<Item>,
    /// The last entry that was delivered, or where reading began.
    pub(crate) cursor: EntryId,
    pub(crate) opened: bool,
    /// Nothing was delivered of it, and nothing committed: where the beginning is says the first entry.
    fresh: bool,
    /// It was said since the last entry that something is missing.
    said: bool,
    rollbacks: u32,
    /// How often it has begun to read.
    readings: u32,
    tickets: BTreeMap<Ticket, Wish>,
    working: bool,
    /// A write was refused: the same again, without it.
    again: Option<Vec<EntryId>>,
}

/// What lies with the application.
#[derive(Debug)]
pub(crate) enum Item {
    Entry(EntryId),
    RolledBack,
}

/// A commit that is not answered.
#[derive(Debug)]
struct Wish {
    to: EntryId,
    entries: Vec<EntryId>,
    /// How often the server had forgotten something.
    forgotten: u32,
    /// Which reading it belongs to.
    readings: u32,
}

/// An entry that cannot be decoded.
pub(crate) fn is_odd(id: EntryId) -> bool {
    id.ms.is_multiple_of(11)
}

impl App {
    pub(crate) fn new(stream: usize, attempt: Attempt) -> App {
        App {
            stream,
            attempt,
            buffer: VecDeque::new(),
            cursor: EntryId::default(),
            opened: false,
            fresh: true,
            said: false,
            rollbacks: 0,
            readings: 0,
            tickets: BTreeMap::new(),
            working: false,
            again: None,
        }
    }

    fn entries(&self) -> usize {
        self.buffer.iter().filter(|item| matches!(item, Item::Entry(_))).count()
    }
}

impl World {
    /// The application reads, from the beginning if nothing was committed.
    pub(crate) fn read(&mut self, node: usize, id: OwnedId) {
        let room = self.plan.prefetch;
        if let Some(app) = self.nodes[node].apps.get_mut(&id) {
            // What it has of the old reader is dropped.
            let rollbacks = app.buffer.iter().filter(|item| matches!(item, Item::RolledBack)).count();
            app.rollbacks += rollbacks as u32;
            app.buffer.clear();
            app.readings += 1;
            (app.opened, app.again) = (false, None);
        }
        self.tell(node, Event::Read { id, start: Start::Beginning, room });
    }

    pub(crate) fn delivered(&mut self, node: usize, id: OwnedId, delivery: Delivery) {
        let exact = !self.plan.forgets() && !self.plan.deletes();
        let Some(app) = self.nodes[node].apps.get_mut(&id) else { panic!("{id:?} is lost, and told {delivery:?}") };
        let stream = app.stream;
        match delivery {
            Delivery::Opened(record) => {
                app.opened = true;
                app.fresh = record.is_none();
                app.cursor = record.map_or(EntryId::default(), |record| record.position);
                assert_eq!(app.entries(), 0, "{id:?} is opened while it reads");
            }
            Delivery::Entries(entries) => {
                assert!(app.opened && !entries.is_empty(), "{id:?} is delivered {entries:?}");
                for entry in entries {
                    self.judge_order(node, id, entry.id);
                    let app = self.nodes[node].apps.get_mut(&id).expect("it is there");
                    app.buffer.push_back(Item::Entry(entry.id));
                    (app.cursor, app.said, app.fresh) = (entry.id, false, false);
                }
                let most = self.plan.prefetch;
                let app = &self.nodes[node].apps[&id];
                assert!(app.entries() <= most, "{} entries, room for {most}", app.entries());
            }
            Delivery::Gap { after, next, missing } => {
                assert_eq!(after, app.cursor, "a gap that begins elsewhere");
                app.said = true;
                let until = next.unwrap_or(EntryId { ms: u64::MAX, seq: 0 });
                let gone = self.gone(stream, after, until);
                assert!(!exact || gone > 0, "a gap behind {after} where nothing is missing");
                if let Some(missing) = missing.filter(|_| exact && next.is_some()) {
                    assert_eq!(missing, gone, "behind {after}, before {until}");
                }
            }
            Delivery::Rewound { .. } => {
                assert!(!exact, "rewound, and nothing was forgotten");
                app.said = true;
            }
            Delivery::RolledBack(position) => {
                assert!(self.plan.may_roll_back(), "rolled back, and nothing was forgotten");
                app.buffer.push_back(Item::RolledBack);
                app.cursor = position;
            }
            Delivery::Broken(_) => assert!(self.plan.breaks(), "broken, and nothing was spoilt"),
        }
        self.works_soon(node, id);
    }

    /// Whatever is skipped is gone, and that was said.
    fn judge_order(&self, node: usize, id: OwnedId, entry: EntryId) {
        let app = &self.nodes[node].apps[&id];
        assert!(entry > app.cursor, "{entry} comes after {}", app.cursor);
        let data = self.redis.streams.get(&self.names[app.stream]);
        let skipped: Vec<EntryId> = self.added[app.stream]
            .range((std::ops::Bound::Excluded(app.cursor), std::ops::Bound::Excluded(entry)))
            .copied()
            .collect();
        for skipped in &skipped {
            let there = data.is_some_and(|data| data.entries.contains(skipped));
            assert!(!there, "{skipped} is skipped, {entry} comes after {}", app.cursor);
        }
        let counts = !self.plan.forgets() && !self.plan.deletes() && !self.plan.does_not_count;
        let silent = app.said || app.fresh || !counts;
        assert!(skipped.is_empty() || silent, "{skipped:?} are gone, and nothing was said");
    }

    /// How many entries between two are gone.
    fn gone(&self, stream: usize, after: EntryId, until: EntryId) -> u64 {
        let data = self.redis.streams.get(&self.names[stream]);
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Excluded(until));
        let gone = self.added[stream].range(range).filter(|id| data.is_none_or(|data| !data.entries.contains(id)));
        gone.count() as u64
    }

    pub(crate) fn works_soon(&mut self, node: usize, id: OwnedId) {
        let Some(app) = self.nodes[node].apps.get_mut(&id) else { return };
        if !app.working {
            app.working = true;
            let pause = std::time::Duration::from_millis(self.plan.work_ms) + self.latency();
            self.later(pause, Thing::Works(node, id));
        }
    }

    /// The application works on what it has, and commits it.
    pub(crate) fn works(&mut self, node: usize, id: OwnedId) {
        let (bite, forgotten) = (self.plan.bite, self.forgotten);
        let Some(app) = self.nodes[node].apps.get_mut(&id) else { return };
        app.working = false;
        let effects = self.plan.effects[app.stream];
        if app.tickets.len() >= if effects { 1 } else { AT_ONCE } || !app.opened {
            return; // it goes on when one is answered
        }
        let mut entries = Vec::new();
        let repeated = app.again.take();
        while repeated.is_none() && entries.len() < bite {
            match app.buffer.front() {
                Some(Item::Entry(entry)) => entries.push(*entry),
                Some(Item::RolledBack) if entries.is_empty() => {
                    app.rollbacks += 1;
                    app.again = None;
                }
                Some(Item::RolledBack) | None => break,
            }
            app.buffer.pop_front();
        }
        let (taken, is_repeated) = (entries.len(), repeated.is_some());
        let entries = repeated.unwrap_or(entries);
        let Some(to) = entries.last().copied() else { return };
        let name = self.names[app.stream].clone();
        let rollbacks = app.rollbacks;
        let mut writes: Vec<Write> = Vec::new();
        if effects {
            let key = |entry: &EntryId| format!("{name}:{entry}").into_bytes().into_boxed_slice();
            writes =
                entries.iter().filter(|entry| !is_odd(**entry)).map(|entry| Write::IncrBy(key(entry), 1)).collect();
            if self.roll(8) == 0 && !is_repeated {
                writes.push(Write::IncrBy(b"bad".as_slice().into(), 1));
            }
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let odd: Vec<EntryId> = entries.iter().copied().filter(|entry| is_odd(*entry)).collect();
        let app = self.nodes[node].apps.get_mut(&id).expect("it is there");
        app.tickets.insert(ticket, Wish { to, entries, forgotten, readings: app.readings });
        if taken > 0 {
            self.tell(node, Event::Room(id, taken));
        }
        for odd in odd {
            self.tell(node, Event::Undecodable { id, entry: entry(odd), error: "no".into() });
        }
        let writes: Arc<[Write]> = writes.into();
        self.tell(node, Event::Commit(Commit { id, ticket, rollbacks, to: Some(to), writes }));
        self.works_soon(node, id);
    }

    pub(crate) fn ticket_answered(&mut self, node: usize, ticket: Ticket, end: CommitEnd) {
        assert!(self.answered.insert(ticket), "{ticket:?} is answered twice");
        let found = self.nodes[node].apps.iter_mut().find_map(|(id, app)| Some((*id, app.tickets.remove(&ticket)?)));
        let Some((id, wish)) = found else {
            // Its ownership ended just now.
            let over = matches!(end, CommitEnd::Lost | CommitEnd::Unknown);
            assert!(over, "{ticket:?} of an ownership that has ended: {end:?}");
            return;
        };
        let app = &self.nodes[node].apps[&id];
        let (stream, attempt) = (app.stream, app.attempt);
        let stored = self.redis.records.get(&self.names[stream]).cloned();
        let over = self.owners[stream].is_none_or(|(_, _, owner)| owner != attempt);
        match end {
            CommitEnd::Unknown if over => {}
            CommitEnd::Done => {
                let stands = stored.is_some_and(|stored: Record| stored.position >= wish.to);
                assert!(stands || self.forgotten > wish.forgotten, "{ticket:?} is done, and does not stand there");
            }
            CommitEnd::Fenced => {
                assert!(over || self.plan.forgets(), "{ticket:?} is fenced, and its lease stands");
            }
            CommitEnd::Rejected(..) => {
                let app = self.nodes[node].apps.get_mut(&id).expect("it is there");
                app.again = Some(wish.entries).filter(|_| app.readings == wish.readings);
            }
            CommitEnd::Broken(_) | CommitEnd::Unknown if !self.nodes[node].stopping => {
                assert!(self.plan.breaks(), "broken, and nothing was spoilt");
                let app = self.nodes[node].apps.get_mut(&id).expect("it is there");
                if app.readings == wish.readings {
                    app.again.get_or_insert_default().extend(wish.entries);
                }
            }
            CommitEnd::RolledBack(_) => assert!(self.plan.may_roll_back(), "rolled back, and nothing was forgotten"),
            CommitEnd::Behind(_) => assert!(self.plan.forgets() || !self.plan.effects[stream], "{ticket:?} is behind"),
            CommitEnd::Broken(_) | CommitEnd::Lost | CommitEnd::Unknown => {
                assert!(self.nodes[node].stopping, "{ticket:?} ends so: {end:?}");
            }
        }
        self.works_soon(node, id);
    }
}
