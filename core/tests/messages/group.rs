//! A group in memory, as the scripts of `io/src/lua/messages/` keep it in Redis: the stream, the pending list, what is
//! delayed, the records. Small enough to be believed, and strict: every fence is checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use streamkeeper_core::{
    id::{EntryId, Identity},
    messages::{
        Answer, Call,
        call::{Delivery, Fenced, Fields, History, Hold, Mark, Reason, Reclaimed, Server, Swept},
    },
    time::Time,
    trouble::Trouble,
};

/// One process's name in the group; its messages are pending under it.
pub(crate) type Name = u32;
/// The name under which parked messages are pending.
pub(crate) const DELAYED: Name = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) owner: Name,
    pub(crate) deliveries: u64,
    /// When it was delivered or refreshed last.
    pub(crate) touched: Time,
}

/// A message's record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) failed: u32,
    counted: u64,
    pub(crate) crashed: u32,
    started: u64,
    /// Its payload went while this delivery was held.
    gone: Option<u64>,
    pub(crate) dying: Option<Reason>,
    pub(crate) buried_alive: bool,
    error: Box<str>,
}

impl Record {
    fn history(&self) -> History {
        History {
            failed: self.failed,
            crashed: self.crashed,
            dying: self.dying,
            buried_alive: self.buried_alive,
            first_ms: 0,
            last_ms: 0,
            error: self.error.clone(),
        }
    }

    fn count(&mut self, deliveries: u64, error: &Option<Box<str>>) {
        if let Some(error) = error
            && self.counted < deliveries
        {
            self.counted = deliveries;
            self.failed += 1;
            self.error = error.clone();
        }
    }
}

/// What the group did that the judges want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Acked(EntryId),
    Buried(EntryId, Reason),
    /// The reclaimer took it from this name.
    Reclaimed(EntryId, Name),
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) there: bool,
    /// Which server it is on.
    server: u32,
    pub(crate) stream: BTreeMap<EntryId, Fields>,
    /// The last id that was handed out.
    cursor: EntryId,
    pub(crate) pending: BTreeMap<EntryId, Pending>,
    pub(crate) delayed: BTreeMap<EntryId, Time>,
    pub(crate) records: BTreeMap<EntryId, Record>,
    pub(crate) dead: Vec<(EntryId, Reason)>,
    processed: BTreeSet<Box<[u8]>>,
    reclaimer: Option<(Name, Time)>,
    pub(crate) reclaim_idle: Duration,
    pub(crate) deeds: Vec<Deed>,
}

impl Group {
    pub(crate) fn new(reclaim_idle: Duration) -> Group {
        Group {
            there: true,
            server: 1,
            stream: BTreeMap::new(),
            cursor: EntryId::default(),
            pending: BTreeMap::new(),
            delayed: BTreeMap::new(),
            records: BTreeMap::new(),
            dead: Vec::new(),
            processed: BTreeSet::new(),
            reclaimer: None,
            reclaim_idle,
            deeds: Vec::new(),
        }
    }

    pub(crate) fn unread(&self) -> usize {
        self.stream.keys().filter(|entry| **entry > self.cursor).count()
    }

    /// A server that has forgotten the latest writes: it was not delivered yet.
    pub(crate) fn forget_delivery(&mut self, entry: EntryId) {
        self.pending.remove(&entry);
        self.cursor = self.cursor.min(EntryId { ms: entry.ms - 1, seq: u64::MAX });
    }

    /// Another server takes over.
    pub(crate) fn fail_over(&mut self) {
        self.server += 1;
    }

    /// Another server takes over that has never heard of it: its id may be given again.
    pub(crate) fn fail_over_without(&mut self, entry: EntryId) {
        self.fail_over();
        self.forget_delivery(entry);
        self.stream.remove(&entry);
        self.records.remove(&entry);
    }

    /// The group is deleted, as an operator or a lost server would.
    pub(crate) fn destroy(&mut self) {
        self.there = false;
        self.pending.clear();
    }

    pub(crate) fn execute(&mut self, me: Name, call: &Call, now: Time) -> Result<Answer, Trouble> {
        if !self.there && *call != Call::Prepare {
            return Err(Trouble::from_reply("NOGROUP", "No such consumer group"));
        }
        Ok(match call {
            Call::Prepare => self.prepare(now),
            Call::Read { count, .. } => Answer::Read(self.read(me, *count, now)),
            Call::Mine { after, count } => {
                let mine = self.pending.iter().filter(|(entry, p)| p.owner == me && Some(**entry) > *after);
                Answer::Mine(mine.take(*count).map(|(e, p)| Hold { entry: *e, deliveries: p.deliveries }).collect())
            }
            Call::Fetch(entries) => Answer::Fetched(entries.iter().filter_map(|e| self.fetch(me, *e, now)).collect()),
            Call::Due { count } => self.due(me, *count, now),
            Call::Mark(items) => {
                Answer::Marked(items.iter().map(|item| self.mark(me, item.hold, &item.mark)).collect())
            }
            Call::Check(items) => Answer::Checked(items.iter().map(|(_, key)| self.processed.contains(key)).collect()),
            Call::Permits { count } => Answer::Permits { granted: *count, wait: Duration::ZERO },
            Call::Ack(items) => {
                let mut acked = 0;
                for item in items {
                    if self.pending.remove(&item.entry).is_some() {
                        acked += 1;
                        self.deeds.push(Deed::Acked(item.entry));
                    }
                    self.records.remove(&item.entry);
                    self.delayed.remove(&item.entry);
                    self.processed.extend(item.processed.clone());
                }
                Answer::Acked(acked)
            }
            Call::Refresh(holds) => Answer::Refreshed(holds.iter().map(|hold| self.refresh(me, *hold, now)).collect()),
            Call::Park(items) => Answer::Parked(
                items.iter().map(|item| self.park(me, item.hold, item.delay, &item.failure, now)).collect(),
            ),
            Call::Bury(items) => Answer::Buried(
                items.iter().map(|item| self.bury(me, item.hold, item.reason, item.gone.is_some())).collect(),
            ),
            Call::Reclaim => self.reclaim(me, now),
            Call::Sweep { .. } => Answer::Swept(self.sweep(now)),
            Call::Leave => Answer::Left(self.pending.values().all(|pending| pending.owner != me)),
        })
    }

    fn prepare(&mut self, now: Time) -> Answer {
        let created = !self.there;
        if created {
            self.there = true;
            self.cursor = EntryId::default();
        }
        let (identity, version) = (Identity::new(&format!("run-{0}:repl-{0}", self.server)), "7.0.15".into());
        Answer::Prepared(Server { identity, version, now_ms: ms(now), created, warnings: Vec::new() })
    }

    pub(crate) fn read(&mut self, me: Name, count: usize, now: Time) -> Vec<(EntryId, Option<Fields>)> {
        let unread = self.stream.iter().filter(|(entry, _)| **entry > self.cursor).take(count);
        let messages: Vec<_> = unread.map(|(entry, fields)| (*entry, Some(fields.clone()))).collect();
        for (entry, _) in &messages {
            self.cursor = *entry;
            self.pending.insert(*entry, Pending { owner: me, deliveries: 1, touched: now });
        }
        messages
    }

    /// What a claim does to an entry whose payload is gone: it is not pending any more.
    fn is_there(&mut self, entry: EntryId) -> bool {
        let there = self.stream.contains_key(&entry);
        if !there {
            self.pending.remove(&entry);
        }
        there
    }

    fn fenced(&mut self, me: Name, hold: Hold) -> Fenced {
        match self.pending.get(&hold.entry).copied() {
            None => Fenced::Gone,
            Some(pending) if pending.owner != me || pending.deliveries != hold.deliveries => Fenced::Lost,
            Some(_) if !self.is_there(hold.entry) => {
                self.records.entry(hold.entry).or_default().gone = Some(hold.deliveries);
                Fenced::Gone
            }
            Some(_) => Fenced::Done,
        }
    }

    fn delivery(&self, entry: EntryId, deliveries: u64) -> Delivery {
        let history = self.records.get(&entry).map(Record::history);
        Delivery { hold: Hold { entry, deliveries }, fields: self.stream.get(&entry).cloned(), history }
    }

    fn fetch(&mut self, me: Name, entry: EntryId, now: Time) -> Option<Delivery> {
        let pending = self.pending.get_mut(&entry).filter(|pending| pending.owner == me)?;
        pending.touched = now;
        let deliveries = pending.deliveries;
        if !self.is_there(entry) {
            return Some(Delivery { fields: None, ..self.delivery(entry, deliveries) });
        }
        Some(self.delivery(entry, deliveries))
    }

    fn due(&mut self, me: Name, count: usize, now: Time) -> Answer {
        let mut due: Vec<(Time, EntryId)> =
            self.delayed.iter().filter(|(_, at)| **at <= now).map(|(entry, at)| (*at, *entry)).collect();
        due.sort_unstable();
        let mut deliveries = Vec::new();
        for (_, entry) in due.into_iter().take(count) {
            self.delayed.remove(&entry);
            let Some(pending) = self.pending.get_mut(&entry).filter(|pending| pending.owner == DELAYED) else {
                continue;
            };
            *pending = Pending { owner: me, deliveries: pending.deliveries + 1, touched: now };
            let deliveries_so_far = pending.deliveries;
            self.is_there(entry);
            deliveries.push(self.delivery(entry, deliveries_so_far));
        }
        let next = self.delayed.values().min().map(|at| at.since(now));
        Answer::Due { deliveries, next, now_ms: ms(now) }
    }

    fn mark(&mut self, me: Name, hold: Hold, mark: &Mark) -> Fenced {
        let fenced = self.fenced(me, hold);
        if fenced == Fenced::Done {
            let record = self.records.entry(hold.entry).or_default();
            match mark {
                Mark::Started => record.started = hold.deliveries,
                Mark::Dying { reason, error } => {
                    record.dying = Some(*reason);
                    record.count(hold.deliveries, error);
                }
            }
        }
        fenced
    }

    fn refresh(&mut self, me: Name, hold: Hold, now: Time) -> Fenced {
        let fenced = self.fenced(me, hold);
        if fenced == Fenced::Done
            && let Some(pending) = self.pending.get_mut(&hold.entry)
        {
            pending.touched = now;
        }
        fenced
    }

    fn park(&mut self, me: Name, hold: Hold, delay: Duration, failure: &Option<Box<str>>, now: Time) -> Fenced {
        if let Some(pending) = self.pending.get(&hold.entry)
            && (pending.owner, pending.deliveries) == (DELAYED, hold.deliveries)
            && (failure.is_none() || self.records.get(&hold.entry).is_some_and(|r| r.counted == hold.deliveries))
        {
            return Fenced::Done; // asked again
        }
        let fenced = self.fenced(me, hold);
        if fenced == Fenced::Done {
            self.put_aside(hold.entry, delay, now);
            if failure.is_some() {
                self.records.entry(hold.entry).or_default().count(hold.deliveries, failure);
            }
        }
        fenced
    }

    fn put_aside(&mut self, entry: EntryId, delay: Duration, now: Time) {
        if let Some(pending) = self.pending.get_mut(&entry) {
            (pending.owner, pending.touched) = (DELAYED, now);
        }
        self.delayed.insert(entry, now + delay);
    }

    fn bury(&mut self, me: Name, hold: Hold, reason: Reason, gone: bool) -> Fenced {
        let mut fenced = self.fenced(me, hold);
        if fenced == Fenced::Done && gone {
            return Fenced::Lost;
        }
        if fenced == Fenced::Gone
            && gone
            && let Some(record) = self.records.get_mut(&hold.entry)
            && record.gone.take() == Some(hold.deliveries)
        {
            fenced = Fenced::Done;
        }
        if fenced == Fenced::Done {
            self.dead.push((hold.entry, reason));
            self.deeds.push(Deed::Buried(hold.entry, reason));
            self.pending.remove(&hold.entry);
            self.records.remove(&hold.entry);
        }
        fenced
    }

    fn reclaim(&mut self, me: Name, now: Time) -> Answer {
        if let Some((name, until)) = self.reclaimer
            && name != me
            && until > now
        {
            return Answer::ReclaimerIs(until.since(now));
        }
        self.reclaimer = Some((me, now + Duration::from_secs(2)));
        let idle = |pending: &Pending| {
            pending.owner != DELAYED && pending.owner != me && now.since(pending.touched) >= self.reclaim_idle
        };
        let found: Vec<EntryId> = self.pending.iter().filter(|(_, p)| idle(p)).map(|(e, _)| *e).collect();
        let mut reclaimed = Reclaimed { now_ms: ms(now), moved: Vec::new(), more: found.len() > 100 };
        for entry in found.into_iter().take(100) {
            if !self.is_there(entry) {
                continue;
            }
            let Some(pending) = self.pending.get(&entry).copied() else { continue };
            let record = self.records.entry(entry).or_default();
            let marked = record.started == pending.deliveries;
            let mut delay = Duration::ZERO;
            if record.crashed == 0 {
                record.crashed = 1;
            } else if marked {
                record.crashed += 1;
                record.buried_alive |= record.dying.is_some();
                delay = Duration::from_secs(1 << (record.crashed - 2).min(5));
            }
            reclaimed.moved.push((entry, record.crashed));
            self.put_aside(entry, delay, now);
            self.deeds.push(Deed::Reclaimed(entry, pending.owner));
        }
        Answer::Reclaimed(reclaimed)
    }

    fn sweep(&mut self, now: Time) -> Swept {
        let stranded: Vec<EntryId> = self
            .pending
            .iter()
            .filter(|(e, p)| p.owner == DELAYED && !self.delayed.contains_key(e))
            .map(|(e, _)| *e)
            .collect();
        for entry in &stranded {
            self.delayed.insert(*entry, now);
        }
        Swept { stranded: stranded.len() as u64, ..Swept::default() }
    }
}

fn ms(now: Time) -> u64 {
    now.as_micros() / 1_000
}
