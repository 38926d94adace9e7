//! Acquire (DESIGN 5.2), as `acquire.lua` has it.

use std::{collections::BTreeMap, time::Duration};

use streamkeeper_core::{
    id::EntryId,
    streams::{
        Answer,
        call::{AcquireCall, AcquireItem, Acquired, Grant},
    },
    trouble::Trouble,
};

use super::{Caller, Granted, Holder, Key, Pending, Record, Redis, wrong_type};

/// What is to be done about one item, decided before anything is written.
enum Verdict {
    No(Acquired),
    /// The answer to it was lost: the same again.
    Repeat(Grant),
    Grant {
        record: Record,
        taken: bool,
        deliveries: u64,
        /// See [`Granted::idle`].
        idle: Option<u64>,
    },
    Aside(u32),
    /// Handed to the caller just now, and nobody has ever owned its stream: nothing is looked at.
    New(Record),
    /// Not pending: what is left of it is swept up.
    Gone {
        lease: bool,
        record: bool,
    },
}

/// How long a stream that kills its owners is left alone.
enum Suspect {
    Wait(u64),
    SetAside,
}

const DAY: u64 = 86_400_000_000;

fn span(micros: u64) -> Duration {
    Duration::from_micros(micros.max(1_000))
}

impl Redis {
    pub(super) fn acquire(&mut self, call: &AcquireCall, who: &Caller) -> Result<Answer, Trouble> {
        let caller = call.identity.as_str();
        match self.settled_on() {
            Some(settled)
                if (self.identity.is_empty() || settled == self.identity)
                    && (caller.is_empty() || caller == settled) => {}
            _ => return Ok(Answer::EpochDiffers),
        }
        if call.floor.0 > self.clock + DAY {
            return Err(Trouble::from_reply("ERR", "the floor is more than a day ahead"));
        }
        let mut given: BTreeMap<String, EntryId> = BTreeMap::new();
        let mut verdicts = Vec::new();
        for item in &call.items {
            let verdict = match self.judge_new(item, who, &given) {
                Some(verdict) => verdict,
                None => self.judge(item, who, &given)?,
            };
            if let Verdict::Grant { .. } | Verdict::New(_) = verdict {
                given.insert(item.stream.to_string(), item.entry);
            }
            verdicts.push(verdict);
        }
        if self.out_of_memory && !given.is_empty() {
            return Err(Trouble::from_reply("OOM", "command not allowed when used memory > 'maxmemory'."));
        }
        let mut token = (self.data.token + 1).max(self.clock).max(call.floor.0 + 1) - 1;
        let mut answers = Vec::new();
        for (item, verdict) in call.items.iter().zip(verdicts) {
            answers.push(self.carry_out(item, verdict, who, &mut token));
        }
        Ok(Answer::Acquired(answers))
    }

    fn judge_new(&mut self, item: &AcquireItem, who: &Caller, given: &BTreeMap<String, EntryId>) -> Option<Verdict> {
        let (stream, entry, ttl) = (item.stream.as_str(), item.entry, who.ttl());
        let nobody = matches!(self.holder(stream, entry), Holder::Nobody);
        if !item.fresh || !nobody || self.data.fences.contains_key(stream) || given.contains_key(stream) {
            return None;
        }
        let (gained, value) = (self.clock, value(who, item));
        let (token, takeovers, failures, not_before, released) = (0, 0, 0, 0, false);
        Some(Verdict::New(Record { token, entry, ttl, gained, released, takeovers, failures, not_before, value }))
    }

    fn judge(
        &mut self,
        item: &AcquireItem,
        who: &Caller,
        given: &BTreeMap<String, EntryId>,
    ) -> Result<Verdict, Trouble> {
        let (stream, entry, ttl) = (item.stream.as_str(), item.entry, who.ttl());
        let value = value(who, item);
        let record = self.data.fences.get(stream).cloned();
        let holder = match self.holder(stream, entry) {
            Holder::Broken => return Ok(Verdict::No(Acquired::Broken(wrong_type()))),
            Holder::Nobody => None,
            Holder::Somebody(value, left) => Some((value, left)),
        };
        let ours = holder.as_ref().is_some_and(|(held_by, _)| *held_by == value);
        let mine = record.as_ref().filter(|record| record.entry == entry);
        let Some(pending) = self.pending(entry)? else {
            return Ok(Verdict::Gone { lease: ours, record: mine.is_some() && (ours || holder.is_none()) });
        };
        let idle = self.idle(&pending);
        if let Some(record) = mine.filter(|record| ours && record.value == value && !record.released) {
            return Ok(Verdict::Repeat(repeated(record, &pending)));
        }
        if !self.data.lbs.contains_key(&entry) {
            return Ok(Verdict::No(Acquired::Trimmed));
        }
        let held = |left: u64| Ok(Verdict::No(Acquired::Held(span(left))));
        let busy = |left: u64| Ok(Verdict::No(Acquired::Busy(span(left))));
        if let Some(record) = record.as_ref().filter(|record| record.not_before > self.clock) {
            return held(record.not_before - self.clock);
        }
        if let Some(other) = given.get(stream) {
            return if *other == entry { held(ttl) } else { busy(ttl) };
        }
        if let Some(record) = record.as_ref().filter(|record| record.entry != entry) {
            let its = self.pending(record.entry)?.map(|pending| self.idle(&pending));
            if item.other != Some(record.entry) {
                return Ok(Verdict::No(Acquired::Other(record.entry)));
            }
            match self.holder(stream, record.entry) {
                Holder::Nobody => {
                    if let Some(idle) = its.filter(|idle| !record.released && *idle < record.ttl) {
                        return busy(record.ttl - idle);
                    }
                }
                Holder::Somebody(_, left) => return busy(left),
                Holder::Broken => return busy(ttl),
            }
        }
        if let Some((_, left)) = holder {
            return held(left);
        }
        if let Some(record) = mine.filter(|record| !record.released && idle < record.ttl) {
            return held(record.ttl - idle);
        }
        let takeovers = crashes(record.as_ref(), if mine.is_some() { idle } else { 0 }, self.clock);
        match self.suspect(record.as_ref(), mine.is_some(), idle, takeovers, who) {
            Suspect::SetAside => return Ok(Verdict::Aside(takeovers)),
            Suspect::Wait(0) => {}
            Suspect::Wait(left) => return held(left),
        }
        let failures = record.as_ref().map_or(0, |record| record.failures);
        let taken = mine.is_some() || pending.consumer != who.consumer;
        let (gained, not_before, released, token) = (self.clock, 0, false, 0);
        let idle = mine.is_none_or(|record| !record.released).then_some(idle);
        let record = Record { token, entry, ttl, gained, released, takeovers, failures, not_before, value };
        Ok(Verdict::Grant { record, taken, deliveries: pending.deliveries, idle })
    }

    fn suspect(&self, record: Option<&Record>, mine: bool, idle: u64, takeovers: u32, who: &Caller) -> Suspect {
        let most = who.config.max_takeovers;
        let half = most.div_ceil(2).max(1);
        let Some(record) = record.filter(|_| most > 0 && takeovers >= half) else { return Suspect::Wait(0) };
        let longest = self.data.epoch.ttl.max(who.ttl());
        let works = self.clock.saturating_sub(self.data.epoch.lived) < 2 * longest;
        if takeovers >= most && works {
            return Suspect::SetAside;
        }
        let limit = 60_000_000_u64;
        let wait = if takeovers < most { (1_000_000_u64 << (takeovers - half).min(20)).min(limit) } else { limit };
        let until = if mine { record.ttl + wait } else { record.gained + record.ttl + wait };
        Suspect::Wait(until.saturating_sub(if mine { idle } else { self.clock }))
    }

    fn carry_out(&mut self, item: &AcquireItem, verdict: Verdict, who: &Caller, token: &mut u64) -> Acquired {
        let (stream, entry) = (item.stream.as_str(), item.entry);
        match verdict {
            Verdict::No(answer) => answer,
            Verdict::Repeat(grant) => {
                self.expire_in(stream, entry, who.ttl());
                self.xclaim(entry, &who.consumer, 0);
                Acquired::Granted(grant)
            }
            Verdict::New(record) => {
                if !self.xclaim(entry, &who.consumer, 0) {
                    return Acquired::Gone;
                }
                let verdict = Verdict::Grant { record, taken: false, deliveries: 1, idle: None };
                self.carry_out(item, verdict, who, token)
            }
            Verdict::Grant { mut record, taken, deliveries, idle } => {
                *token += 1;
                record.token = *token;
                self.data.token = *token;
                self.set_lease(stream, entry, &record.value, who.ttl());
                self.xclaim(entry, &who.consumer, 0);
                let (stream, value) = (stream.to_owned(), record.value.clone());
                self.granted.push(Granted {
                    stream: stream.clone(),
                    entry,
                    token: *token,
                    value,
                    at: self.clock,
                    idle,
                });
                let grant = Grant { takeover: taken, ..repeat(&record, deliveries) };
                self.data.fences.insert(stream, record);
                Acquired::Granted(grant)
            }
            Verdict::Aside(takeovers) => match self.set_aside(entry, "crash-loop") {
                Err(error) => Acquired::Broken(error),
                Ok(()) => {
                    self.data.fences.remove(stream);
                    Acquired::SetAside(takeovers)
                }
            },
            Verdict::Gone { lease, record } => {
                let name = (stream.to_owned(), entry);
                if lease && matches!(self.data.leases.get(&name), Some(Key::Lease { .. })) {
                    self.data.leases.remove(&name);
                }
                if record && !self.data.lbs.contains_key(&entry) {
                    self.data.fences.remove(stream);
                }
                Acquired::Gone
            }
        }
    }
}

fn value(who: &Caller, item: &AcquireItem) -> String {
    format!("{}#{}", who.consumer, item.attempt)
}

fn repeat(record: &Record, deliveries: u64) -> Grant {
    Grant {
        token: streamkeeper_core::id::Token(record.token),
        takeover: record.takeovers + record.failures > 0 || deliveries > 1,
        takeovers: record.takeovers,
        failures: record.failures,
        deliveries,
    }
}

fn repeated(record: &Record, pending: &Pending) -> Grant {
    repeat(record, pending.deliveries)
}

/// How many ownerships in a row have ended in a crash, if the record's owner has crashed.
fn crashes(record: Option<&Record>, idle: u64, clock: u64) -> u32 {
    match record {
        Some(record) if !record.released => {
            let lived = clock.saturating_sub(idle).saturating_sub(record.gained) >= 20 * record.ttl;
            if lived { 0 } else { record.takeovers + 1 }
        }
        _ => 0,
    }
}
