//! Prepare, and where the fleet stands with this server (DESIGN 5.8), as `epoch.lua` has it.

use std::time::Duration;

use streamkeeper_core::{
    id::{EntryId, Identity},
    streams::{
        Answer,
        call::{EpochAnswer, EpochCall, Server},
    },
    trouble::Trouble,
};

use super::{Caller, Group, Redis};

impl Redis {
    /// The identity that the fleet has settled on.
    pub(crate) fn settled_on(&self) -> Option<String> {
        self.data.epoch.id.clone().filter(|id| !id.starts_with("wait:"))
    }

    pub(super) fn prepare(&mut self) -> Result<Answer, Trouble> {
        self.data.group.get_or_insert_with(Group::default);
        Ok(Answer::Prepared(Server {
            identity: Identity::new(&self.identity),
            version: "7.0.15".into(),
            skipped: 0,
            expiry_notifications: true,
            warnings: Vec::new(),
        }))
    }

    pub(super) fn epoch(&mut self, call: &EpochCall, who: &Caller) -> Result<Answer, Trouble> {
        let here = self.identity.clone();
        let consumers = self.others(who).map_or(0, |(live, _)| live + 1);
        let known = who.ttl().max(u64::try_from(call.longest_ttl.as_micros()).unwrap_or(u64::MAX));
        if !self.out_of_memory {
            self.data.epoch.ttl = self.data.epoch.ttl.max(known);
            if call.lived {
                self.data.epoch.lived = self.clock;
            }
        }
        let longest = self.data.epoch.ttl.max(known);
        let current = self.data.epoch.id.clone();
        let settled = self.settled_on().is_some_and(|id| id == here || here.is_empty());
        let answer = |wait: Option<String>| {
            Ok(Answer::Epoch(EpochAnswer {
                identity: Identity::new(&here),
                wait: wait.map(|wait| wait.as_str().into()),
                longest_ttl: Duration::from_micros(longest),
                consumers,
            }))
        };
        if settled {
            return answer(None);
        }
        let name = if here.is_empty() { "unknown".to_owned() } else { here.clone() };
        let write = match current {
            Some(wait) if wait.starts_with("wait:") => match &call.settle {
                Some((seen, on))
                    if **seen == *wait && on.as_str() == here && call.waited >= Duration::from_micros(longest) =>
                {
                    name
                }
                _ => return answer(Some(wait)),
            },
            None if call.fresh && self.is_being_born(longest) => name,
            _ => format!("wait:{}", call.nonce),
        };
        if self.out_of_memory {
            return Err(Trouble::from_reply("OOM", "command not allowed when used memory > 'maxmemory'."));
        }
        self.data.epoch.id = Some(write.clone());
        answer(write.starts_with("wait:").then_some(write))
    }

    /// Nothing was ever announced here, and the server has been up for longer than any lease lives.
    fn is_being_born(&self, longest: u64) -> bool {
        // The one hole that is known: a consumer that starts within a ttl of a FLUSHALL takes the service for one that
        // has never been, and does not wait, while an owner from before may still trust its lease.
        if self.flushed + longest > self.clock {
            return false;
        }
        self.data.token == 0
            && self.clock.saturating_sub(self.started) > longest + 2_000_000
            && self.data.last_id == EntryId::default()
    }
}
