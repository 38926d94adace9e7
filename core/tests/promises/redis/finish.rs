//! Done and release (DESIGN 5.6), as `done.lua` and `release.lua` have them.

use streamkeeper_core::{
    streams::{
        Answer,
        call::{DoneItem, Finished, ReleaseItem, Released},
    },
    trouble::Trouble,
};

use super::{Caller, GivenBack, Holder, Record, Redis, micros, wrong_type};

const HOUR: u64 = 3_600_000_000;

impl Redis {
    pub(super) fn done(&mut self, items: &[DoneItem], who: &Caller) -> Result<Answer, Trouble> {
        items.iter().map(|item| self.finish_one(item, who)).collect::<Result<_, _>>().map(Answer::Done)
    }

    fn finish_one(&mut self, item: &DoneItem, who: &Caller) -> Result<Finished, Trouble> {
        let (stream, entry) = (item.stream.as_str(), item.entry);
        let value = format!("{}#{}", who.consumer, item.attempt);
        let holder = match self.holder(stream, entry) {
            Holder::Broken => return Ok(Finished::Broken(wrong_type())),
            Holder::Nobody => None,
            Holder::Somebody(holder, _) => Some(holder),
        };
        if holder.as_ref() == Some(&value) {
            return Ok(self.finish(item, value));
        }
        let Some(pending) = self.pending(entry)? else {
            let there = self.data.lbs.contains_key(&entry);
            return Ok(if there { Finished::Fenced } else { Finished::Gone });
        };
        let last = |r: &Record| r.value == value && r.entry == entry && !r.released;
        let here = if self.identity.is_empty() { self.settled_on().unwrap_or_default() } else { self.identity.clone() };
        let granted_here = !item.identity.as_str().is_empty() && item.identity.as_str() == here;
        if holder.is_none()
            && self.data.fences.get(stream).is_some_and(last)
            && pending.consumer == who.consumer
            && granted_here
        {
            return Ok(self.finish(item, value));
        }
        Ok(Finished::Fenced)
    }

    fn finish(&mut self, item: &DoneItem, value: String) -> Finished {
        let (stream, entry) = (item.stream.as_str(), item.entry);
        let acked = self.data.group.as_mut().and_then(|group| group.pending.remove(&entry)).is_some();
        let deleted = self.data.lbs.remove(&entry).is_some();
        self.data.leases.remove(&(stream.to_owned(), entry));
        if self.data.fences.get(stream).is_some_and(|record| record.entry == entry) {
            self.data.fences.remove(stream);
        }
        if !acked && !deleted {
            return Finished::Gone;
        }
        self.finished.push((entry, value));
        Finished::Done
    }

    pub(super) fn release(&mut self, items: &[ReleaseItem], who: &Caller) -> Answer {
        Answer::Released(items.iter().map(|item| self.release_one(item, who)).collect())
    }

    fn release_one(&mut self, item: &ReleaseItem, who: &Caller) -> Released {
        let (stream, entry) = (item.stream.as_str(), item.entry);
        let value = format!("{}#{}", who.consumer, item.attempt);
        let holder = match self.holder(stream, entry) {
            Holder::Broken => return Released::Broken(wrong_type()),
            Holder::Nobody => None,
            Holder::Somebody(holder, _) => Some(holder),
        };
        let held = holder.as_ref() == Some(&value);
        let record = self.data.fences.get(stream).cloned();
        let last = record.as_ref().is_some_and(|record| record.entry == entry && record.value == value);
        let aside = item.failure.as_ref().is_some_and(|failure| failure.set_aside);
        if !held && (holder.is_some() || !last) {
            // The answer that said so may have been lost.
            let done = aside && !self.data.lbs.contains_key(&entry) && self.data.dead.contains(&(entry, "failed"));
            return if done { Released::SetAside } else { Released::Fenced };
        }
        if last && record.as_ref().is_some_and(|record| record.released) {
            return Released::Released;
        }
        let name = (stream.to_owned(), entry);
        if !self.data.lbs.contains_key(&entry) {
            if held {
                self.data.leases.remove(&name);
            }
            if last {
                self.data.fences.remove(stream);
            }
            return Released::Released;
        }
        let mine = self.pending(entry).ok().flatten().map(|pending| pending.consumer == who.consumer);
        if aside && (mine == Some(true) || held && mine.is_some()) {
            if let Err(error) = self.set_aside(entry, "failed") {
                return Released::Broken(error);
            }
            if held {
                self.data.leases.remove(&name);
            }
            if last {
                self.data.fences.remove(stream);
            }
            self.note_release(item, value);
            return Released::SetAside;
        }
        if mine == Some(true) || held {
            self.xclaim(entry, &who.consumer, HOUR);
        }
        self.write_release(item, &value, record);
        if held {
            self.expire_in(stream, entry, 1_000);
        }
        self.note_release(item, value);
        Released::Released
    }

    fn note_release(&mut self, item: &ReleaseItem, value: String) {
        let record = self.data.fences.get(item.stream.as_str()).filter(|record| record.value == value);
        let not_before = record.map_or(0, |record| record.not_before);
        self.released.push(GivenBack { entry: item.entry, value, failure: item.failure.clone(), not_before });
    }

    fn write_release(&mut self, item: &ReleaseItem, value: &str, record: Option<Record>) {
        let record = record.or_else(|| {
            item.failure.as_ref().map(|_| Record {
                token: 0,
                entry: item.entry,
                ttl: 0,
                gained: self.clock,
                released: false,
                takeovers: 0,
                failures: 0,
                not_before: 0,
                value: value.to_owned(),
            })
        });
        let Some(mut record) = record.filter(|r| r.value == value && r.entry == item.entry) else { return };
        record.released = true;
        record.takeovers = 0;
        record.not_before = 0;
        if let Some(failure) = &item.failure {
            record.failures = failure.failures;
            record.not_before = self.clock + micros(failure.pause);
        }
        if !self.out_of_memory {
            self.data.fences.insert(item.stream.to_string(), record);
        }
    }
}
