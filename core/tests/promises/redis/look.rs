//! Taking, looking and reaping (DESIGN 5.1, 5.4), as the scripts of the same names have it.

use std::{ops::Bound, time::Duration};

use streamkeeper_core::{
    id::EntryId,
    streams::{
        Answer,
        call::{Delivery, Fleet, Idle},
    },
    trouble::Trouble,
};

use super::{Caller, Pending, Redis, micros, signed};

fn behind(entry: Option<EntryId>) -> (Bound<EntryId>, Bound<EntryId>) {
    (entry.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

impl Redis {
    /// Whether a read would find something.
    pub(crate) fn has_new(&self) -> bool {
        let Some(group) = &self.data.group else { return true };
        self.data.lbs.keys().next_back().is_some_and(|last| *last > group.last_delivered)
    }

    pub(super) fn read(&mut self, count: usize, who: &Caller) -> Result<Vec<Delivery>, Trouble> {
        let clock = self.clock;
        let from = self.group()?.last_delivered;
        let new: Vec<EntryId> = self.data.lbs.range(behind(Some(from))).take(count).map(|(entry, _)| *entry).collect();
        let group = self.group()?;
        group.consumers.insert(who.consumer.clone(), clock);
        for &entry in &new {
            group.last_delivered = entry;
            let pending = Pending { consumer: who.consumer.clone(), since: signed(clock), deliveries: 1 };
            group.pending.insert(entry, pending);
        }
        Ok(new.into_iter().map(|entry| self.delivery(entry)).collect())
    }

    /// How many live consumers there are besides this one, and how many of them have a smaller name.
    pub(super) fn others(&mut self, who: &Caller) -> Result<(u32, u32), Trouble> {
        let (clock, within) = (self.clock, micros(who.config.live_within()));
        let group = self.group()?;
        let live = group
            .consumers
            .iter()
            .filter(|(name, seen)| **name != who.consumer && clock.saturating_sub(**seen) <= within);
        let names: Vec<&String> = live.map(|(name, _)| name).collect();
        let smaller = names.iter().filter(|name| **name < &who.consumer).count();
        Ok((u32::try_from(names.len()).unwrap_or(u32::MAX), u32::try_from(smaller).unwrap_or(u32::MAX)))
    }

    pub(super) fn take(&mut self, count: usize, share: bool, who: &Caller) -> Result<Answer, Trouble> {
        let mut most = count;
        if share {
            let live = self.others(who)?.0 as usize + 1;
            let own = self.group()?.pending.values().filter(|pending| pending.consumer == who.consumer).count();
            let fair = self.data.lbs.len().div_ceil(live);
            most = count.min(fair.saturating_sub(own));
        }
        let deliveries = if most > 0 { self.read(most, who)? } else { Vec::new() };
        self.group()?;
        let more = most == 0 && self.has_new();
        Ok(Answer::Taken { deliveries, more })
    }

    pub(super) fn look(&mut self, entries: &[EntryId], who: &Caller) -> Result<Answer, Trouble> {
        let (live, rank) = self.others(who)?;
        let fleet = Fleet { announced: self.data.lbs.len() as u64, consumers: live + 1, rank };
        let mut deliveries = Vec::new();
        for &entry in entries {
            if let Some(pending) = self.pending(entry)? {
                deliveries.push((self.delivery(entry), Duration::from_micros(self.idle(&pending))));
            }
        }
        Ok(Answer::Looked { fleet, deliveries })
    }

    pub(super) fn mine(&mut self, after: Option<EntryId>, count: usize, who: &Caller) -> Result<Answer, Trouble> {
        let pending = self.group()?.pending.range(behind(after)).filter(|(_, p)| p.consumer == who.consumer);
        Ok(Answer::Mine(pending.take(count).map(|(entry, _)| *entry).collect()))
    }

    pub(super) fn reap(
        &mut self,
        after: Option<EntryId>,
        count: usize,
        room: usize,
        who: &Caller,
    ) -> Result<Answer, Trouble> {
        let (clock, ttl, interval) = (self.clock, who.ttl(), micros(who.config.reap_interval));
        let hold = (ttl / 2).min(1_000_000).max(interval * 3);
        match &self.data.reaper {
            Some((name, until, its)) if *until > clock && *name != who.process && room <= 2 * its => {
                return Ok(Answer::ReaperIs(Duration::from_micros(until - clock)));
            }
            _ => self.data.reaper = Some((who.process.clone(), clock + hold, room)),
        }
        let announced = self.data.lbs.len() as u64;
        let group = self.group()?;
        let idle = |pending: &Pending| u64::try_from(signed(clock) - pending.since).unwrap_or(0);
        let found = group.pending.range(behind(after)).filter(|(_, pending)| idle(pending) >= ttl).take(count);
        let idle =
            found.map(|(entry, pending)| Idle { entry: *entry, idle: Duration::from_micros(idle(pending)) }).collect();
        Ok(Answer::Reaped { idle, announced })
    }

    pub(super) fn bury(&mut self, entry: EntryId) -> Result<bool, Trouble> {
        if self.pending(entry)?.is_none() {
            return Ok(false);
        }
        self.set_aside(entry, "malformed").map_err(|error| Trouble::from_reply("OOM", &error))?;
        Ok(true)
    }

    pub(super) fn forget(&mut self, entries: &[EntryId], idle: u64) -> Result<Answer, Trouble> {
        let mut forgotten = Vec::new();
        for &entry in entries {
            let Some(pending) = self.pending(entry)? else { continue };
            if self.idle(&pending) >= idle && !self.data.lbs.contains_key(&entry) {
                self.group()?.pending.remove(&entry);
                forgotten.push(entry);
            }
        }
        Ok(Answer::Forgotten(forgotten))
    }
}
