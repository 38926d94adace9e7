//! The end of every case: everything is healed, and `kept` is judged.

use std::collections::BTreeMap;

use super::{
    faults::stream_of,
    judges::{Verdict, broken},
    plan::Told,
    world::World,
};

/// Longer than anything that is still due once everything is healed: a connection that is tried again (1.25 s), a
/// call that is given up (1.5 s), the wait for the longest ttl, a ttl and half a second.
const PATIENCE: u64 = 12_000_000;
/// How long a stream is left alone under whose lease's name something else stood.
const AFTER_BROKEN: u64 = 10_000_000;
/// A heartbeat, and calls that are still on their way.
const AFTERMATH: u64 = 5_000_000;
/// The calm in which nothing may be lost any more.
const CALM: u64 = 4_000_000;

impl World {
    /// Everything works again, for good. If there is to be a survivor, all others crash.
    pub(crate) fn heal(&mut self) -> Verdict {
        self.note(|| "*** heal".to_owned());
        self.redis.out_of_memory = false;
        self.mend();
        self.server.frozen_until = self.now;
        self.server.notifications = Some(Told::Well);
        let survivor = self.setup.survivor.filter(|node| *node < self.nodes.len() && self.nodes[*node].takes_all());
        for node in 0..self.nodes.len() {
            self.nodes[node].fates.clear();
            self.nodes[node].partitioned_until = 0;
            if survivor.is_some_and(|survivor| survivor != node) {
                self.nodes[node].crash();
                continue;
            }
            if self.nodes[node].paused_until > self.now {
                self.nodes[node].paused_until = self.now;
                self.resume(node)?;
            }
            // Who drains stays so, and keeps what it has; but somebody has to take the rest.
            let alone = node == 0 || survivor.is_some();
            if self.nodes[node].stopping || self.nodes[node].draining && alone {
                self.nodes[node].crash();
            }
            self.boot(node)?;
            self.deliver(node, streamkeeper_core::streams::Event::Backlogged(false))?;
        }
        Ok(())
    }

    /// How long after healing it may take until every stream is owned.
    fn longest_wait(&self) -> u64 {
        let mut longest = 0;
        for record in self.redis.data.fences.values() {
            longest = longest.max(record.not_before.saturating_sub(self.redis.clock));
            if record.takeovers >= 1 {
                // A suspect is left alone for up to a minute, behind its ttl.
                longest = longest.max(64_000_000);
            }
        }
        for key in self.redis.data.leases.values() {
            if let super::redis::Key::Lease { expires, .. } = key {
                longest = longest.max(expires.saturating_sub(self.redis.clock));
            }
        }
        longest + PATIENCE + AFTER_BROKEN
    }

    /// `kept`: every announced, unfinished stream is owned exactly once, and stays so.
    pub(crate) fn judge_kept(&mut self) -> Verdict {
        let until = self.now + self.longest_wait();
        // What went wrong just before comes to light now.
        self.run(AFTERMATH)?;
        while self.unkept().is_some() && self.now < until {
            self.run(50_000)?;
        }
        if let Some(how) = self.unkept() {
            return broken("kept", how);
        }
        self.calm = true;
        self.run(CALM)?;
        self.unkept().map_or(Ok(()), |how| broken("kept", how))
    }

    /// `kept`, to the letter, where nothing but crashes and pauses happens: nobody was without an owner for longer than a ttl and half a second.
    pub(crate) fn judge_takeovers(&self) -> Verdict {
        match self.redis.granted.last() {
            Some(grant) if grant.idle > self.setup.in_time.map(|ms| ms * 1_000).or(Some(u64::MAX)) => {
                broken("kept", format!("it took too long: {grant:?}"))
            }
            _ => Ok(()),
        }
    }

    /// A stream that is not owned exactly once.
    fn unkept(&self) -> Option<String> {
        let mut owners: BTreeMap<String, usize> = BTreeMap::new();
        for fields in self.redis.data.lbs.values() {
            match stream_of(fields) {
                Some(stream) => drop(owners.insert(stream.to_string(), 0)),
                None => return Some("a malformed announcement was not set aside".to_owned()),
            }
        }
        for node in &self.nodes {
            let Some(machine) = &node.machine else { continue };
            for (stream, (entry, _)) in &node.told.open {
                if machine.owns(*entry, node.clock(self.now)) {
                    *owners.entry(stream.clone()).or_default() += 1;
                }
            }
        }
        let (stream, count) = owners.into_iter().find(|(_, count)| *count != 1)?;
        Some(format!("{stream} has {count} owners"))
    }
}
