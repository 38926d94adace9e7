//! Renew (DESIGN 5.3), as `renew.lua` has it.

use streamkeeper_core::streams::{
    Answer,
    call::{RenewCall, RenewException, RenewItem, Renewed},
};

use super::{Caller, Holder, Pending, Record, Redis, signed, wrong_type};

impl Redis {
    pub(super) fn renew(&mut self, call: &RenewCall, who: &Caller) -> Answer {
        let waiting = call.recreate.is_some() && self.data.epoch.id.as_deref() == call.recreate.as_deref();
        let mut answer = Renewed::default();
        let mut kept = Vec::new();
        for (index, item) in call.items.iter().enumerate() {
            let value = format!("{}#{}", who.consumer, item.attempt);
            match self.holder(item.stream.as_str(), item.entry) {
                Holder::Broken => answer.exceptions.push((index, RenewException::Broken(wrong_type()))),
                Holder::Somebody(holder, _) if holder == value => {
                    self.expire_in(item.stream.as_str(), item.entry, who.ttl());
                    kept.push(index);
                }
                Holder::Somebody(holder, _) => {
                    answer.exceptions.push((index, RenewException::Lost(Some(holder.into()))));
                }
                Holder::Nobody => {
                    let what = if waiting { self.recreate(item, &value, who) } else { RenewException::Lost(None) };
                    if what == RenewException::Recreated {
                        kept.push(index);
                    }
                    answer.exceptions.push((index, what));
                }
            }
        }
        if !kept.is_empty() && self.data.group.is_none() {
            answer.group_lost = Some("NOGROUP No such key or consumer group".into());
            kept.clear();
        }
        for index in kept {
            let item = &call.items[index];
            if self.xclaim(item.entry, &who.consumer, 0) {
                continue;
            }
            let what = self.missing(item, who);
            answer.exceptions.retain(|(at, _)| *at != index);
            answer.exceptions.push((index, what));
        }
        answer.exceptions.sort_by_key(|(index, _)| *index);
        Answer::Renewed(answer)
    }

    /// Creates a lease again that the server forgot.
    fn recreate(&mut self, item: &RenewItem, value: &str, who: &Caller) -> RenewException {
        let (stream, token) = (item.stream.as_str(), item.token.0);
        let record = self.data.fences.get(stream).cloned();
        let later = |r: &Record| r.token >= token && (r.value != value || r.entry != item.entry || r.released);
        if record.as_ref().is_some_and(later) {
            return RenewException::Lost(None);
        }
        match self.pending(item.entry) {
            Ok(Some(pending)) if pending.consumer == who.consumer => {}
            _ => return RenewException::Lost(None),
        }
        if self.out_of_memory {
            return RenewException::Broken("OOM command not allowed".into());
        }
        let record = match record {
            Some(record) if record.token == token => record,
            before => Record {
                token,
                entry: item.entry,
                ttl: who.ttl(),
                gained: self.clock,
                released: false,
                takeovers: before.as_ref().map_or(0, |record| record.takeovers),
                failures: before.as_ref().map_or(0, |record| record.failures),
                not_before: 0,
                value: value.to_owned(),
            },
        };
        self.data.token = self.data.token.max(token);
        self.data.fences.insert(stream.to_owned(), record);
        self.set_lease(stream, item.entry, value, who.ttl());
        RenewException::Recreated
    }

    /// One that is not pending any more: taken back if it is still in the LBS.
    fn missing(&mut self, item: &RenewItem, who: &Caller) -> RenewException {
        let (entry, clock) = (item.entry, self.clock);
        if self.data.lbs.contains_key(&entry) {
            let pending = Pending { consumer: who.consumer.clone(), since: signed(clock), deliveries: 1 };
            if let Some(group) = &mut self.data.group {
                group.pending.insert(entry, pending);
            }
            return RenewException::TakenBack;
        }
        // Lease and record stay until the owner, who has ended, gives them back, or the lease lapses: this answer may
        // be lost, and another announcement of the stream must not be granted before.
        RenewException::Gone
    }
}
