//! A fake Redis that executes [`Call`]s: what the Lua scripts of `io/` do, as plain Rust on plain data. It has its own
//! clock, keeps keys whose time is up until somebody touches them, as Redis does, and remembers what it granted so
//! that the judges know the truth.

mod acquire;
mod epoch;
mod finish;
mod look;
mod renew;

use std::collections::{BTreeMap, BTreeSet};

use streamkeeper_core::{
    config::Config,
    id::EntryId,
    streams::{
        Answer, Call,
        call::{Delivery, Failure, Fields, HEIRS},
    },
    trouble::Trouble,
};

/// Who asks, and with which settings: what a call's arguments say besides the call itself.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) consumer: String,
    /// Not shared with a namesake.
    pub(crate) process: String,
    pub(crate) config: Config,
}

impl Caller {
    fn ttl(&self) -> u64 {
        micros(self.config.lease_ttl)
    }
}

/// The server: its clock, its identity, and its data.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redis {
    /// Its wall clock, in microseconds. Leases and idle times are measured by it.
    pub(crate) clock: u64,
    /// When it was started, by that clock.
    pub(crate) started: u64,
    pub(crate) identity: String,
    /// When FLUSHALL came last. See `is_being_born`.
    pub(crate) flushed: u64,
    pub(crate) data: Data,
    pub(crate) out_of_memory: bool,
    /// What it published since somebody looked.
    pub(crate) published: Vec<Published>,
    /// Every grant, in order.
    pub(crate) granted: Vec<Granted>,
    /// Every entry that was finished for ever since data was last lost, and with which lease value.
    pub(crate) finished: Vec<(EntryId, String)>,
    /// Every release and what it released.
    pub(crate) released: Vec<GivenBack>,
}

/// Something that subscribers hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// A lease key has expired: it is told when the key is deleted, not when its time is up.
    Expired(String, EntryId),
    Doorbell(String),
}

/// A grant, as it happened.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    pub(crate) stream: String,
    pub(crate) entry: EntryId,
    pub(crate) token: u64,
    pub(crate) value: String,
    pub(crate) at: u64,
    /// How long nobody had touched the entry, if its last owner has not given it back.
    pub(crate) idle: Option<u64>,
}

/// A release, as it happened.
#[derive(Clone, Debug)]
pub(crate) struct GivenBack {
    pub(crate) entry: EntryId,
    pub(crate) value: String,
    /// What it was said to be given back for.
    pub(crate) failure: Option<Failure>,
    /// Nobody is to be granted it before, as far as that could be written down.
    pub(crate) not_before: u64,
}

/// Everything that a restart may lose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    pub(crate) lbs: BTreeMap<EntryId, Fields>,
    pub(crate) last_id: EntryId,
    pub(crate) group: Option<Group>,
    pub(crate) leases: BTreeMap<(String, EntryId), Key>,
    pub(crate) fences: BTreeMap<String, Record>,
    pub(crate) token: u64,
    pub(crate) epoch: Epoch,
    /// Who looks for orphans, for how long, and its room.
    pub(crate) reaper: Option<(String, u64, usize)>,
    pub(crate) dead: Vec<(EntryId, &'static str)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) last_delivered: EntryId,
    pub(crate) pending: BTreeMap<EntryId, Pending>,
    /// When each was last heard of.
    pub(crate) consumers: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) consumer: String,
    /// Idle since: may lie before the clock began, hence signed.
    pub(crate) since: i64,
    pub(crate) deliveries: u64,
}

/// What stands under a lease's name.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    Lease {
        value: String,
        expires: u64,
    },
    /// A value of a wrong type.
    Wrong,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) token: u64,
    pub(crate) entry: EntryId,
    pub(crate) ttl: u64,
    pub(crate) gained: u64,
    pub(crate) released: bool,
    pub(crate) takeovers: u32,
    pub(crate) failures: u32,
    pub(crate) not_before: u64,
    pub(crate) value: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Epoch {
    pub(crate) id: Option<String>,
    pub(crate) ttl: u64,
    pub(crate) lived: u64,
}

/// What GET answers for a lease's key.
enum Holder {
    Nobody,
    Somebody(String, u64),
    Broken,
}

pub(crate) fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).expect("a span of the test")
}

fn wrong_type() -> Box<str> {
    "WRONGTYPE Operation against a key holding the wrong kind of value".into()
}

impl Redis {
    /// Executes a call, all of it in one instant. A read that finds nothing answers with nothing: waiting is the
    /// world's business.
    pub(crate) fn execute(&mut self, call: &Call, who: &Caller) -> Result<Answer, Trouble> {
        match call {
            Call::Prepare => self.prepare(),
            Call::Epoch(call) => self.epoch(call, who),
            Call::Ping => Ok(Answer::Pong),
            Call::Read { count, .. } => self.read(*count, who).map(Answer::Read),
            Call::Take { count, share } => self.take(*count, share.is_some(), who),
            Call::Look(entries) => self.look(entries, who),
            Call::Mine { after, count } => self.mine(*after, *count, who),
            Call::Acquire(call) => self.acquire(call, who),
            Call::Renew(call) => Ok(self.renew(call, who)),
            Call::Done(items) => self.done(items, who),
            Call::Release(items) => Ok(self.release(items, who)),
            Call::Hint(leases) => {
                for (stream, entry) in leases {
                    self.holder(stream.as_str(), *entry);
                }
                let ids: Vec<String> = leases.iter().map(|(_, entry)| entry.to_string()).collect();
                self.published.push(Published::Doorbell(ids.join(" ")));
                Ok(Answer::Hinted)
            }
            Call::Ring { entries, heirs } => {
                let heirs = heirs.map(|heirs| format!("{HEIRS}{heirs}"));
                let words: Vec<String> = heirs.into_iter().chain(entries.iter().map(EntryId::to_string)).collect();
                self.published.push(Published::Doorbell(words.join(" ")));
                Ok(Answer::Rung)
            }
            Call::Reap { after, count, room } => self.reap(*after, *count, *room, who),
            Call::Bury { entry, .. } => self.bury(*entry).map(Answer::Buried),
            Call::Forget { entries, idle } => self.forget(entries, micros(*idle)),
            Call::Clean => Ok(Answer::Cleaned(Vec::new())),
        }
    }

    /// Somebody announces a stream, or something that is no announcement.
    pub(crate) fn announce(&mut self, fields: Fields) -> EntryId {
        let ms = self.clock / 1_000;
        let last = self.data.last_id;
        let id = if ms > last.ms { EntryId { ms, seq: 0 } } else { EntryId { ms: last.ms, seq: last.seq + 1 } };
        self.data.last_id = id;
        self.data.lbs.insert(id, fields);
        id
    }

    /// Deletes every key whose time is up, as the active expiry does now and then; subscribers hear of it.
    pub(crate) fn expire_actively(&mut self) {
        let clock = self.clock;
        let up: Vec<(String, EntryId)> = self
            .data
            .leases
            .iter()
            .filter(|(_, key)| matches!(key, Key::Lease { expires, .. } if *expires <= clock))
            .map(|(name, _)| name.clone())
            .collect();
        for (stream, entry) in up {
            self.holder(&stream, entry);
        }
    }

    /// Who holds a lease. Touching a lapsed one deletes it, and Redis says so.
    fn holder(&mut self, stream: &str, entry: EntryId) -> Holder {
        let name = (stream.to_owned(), entry);
        match self.data.leases.get(&name) {
            None => Holder::Nobody,
            Some(Key::Wrong) => Holder::Broken,
            Some(Key::Lease { expires, .. }) if *expires <= self.clock => {
                self.data.leases.remove(&name);
                self.published.push(Published::Expired(name.0, entry));
                Holder::Nobody
            }
            Some(Key::Lease { value, expires }) => Holder::Somebody(value.clone(), expires - self.clock),
        }
    }

    fn set_lease(&mut self, stream: &str, entry: EntryId, value: &str, ttl: u64) {
        let key = Key::Lease { value: value.to_owned(), expires: self.clock + ttl };
        self.data.leases.insert((stream.to_owned(), entry), key);
    }

    /// PEXPIRE.
    fn expire_in(&mut self, stream: &str, entry: EntryId, ttl: u64) {
        if let Some(Key::Lease { expires, .. }) = self.data.leases.get_mut(&(stream.to_owned(), entry)) {
            *expires = self.clock + ttl;
        }
    }

    /// XCLAIM … JUSTID of one entry that is pending. One that was trimmed away is dropped instead, as Redis does.
    fn xclaim(&mut self, entry: EntryId, consumer: &str, idle: u64) -> bool {
        let clock = self.clock;
        let there = self.data.lbs.contains_key(&entry);
        let Some(group) = &mut self.data.group else { return false };
        if !there {
            group.pending.remove(&entry);
            return false;
        }
        let Some(pending) = group.pending.get_mut(&entry) else { return false };
        consumer.clone_into(&mut pending.consumer);
        pending.since = signed(clock) - signed(idle);
        group.consumers.insert(consumer.to_owned(), clock);
        true
    }

    fn group(&mut self) -> Result<&mut Group, Trouble> {
        self.data.group.as_mut().ok_or_else(|| Trouble::from_reply("NOGROUP", "No such key or consumer group"))
    }

    fn pending(&mut self, entry: EntryId) -> Result<Option<Pending>, Trouble> {
        Ok(self.group()?.pending.get(&entry).cloned())
    }

    fn idle(&self, pending: &Pending) -> u64 {
        u64::try_from(signed(self.clock) - pending.since).unwrap_or(0)
    }

    fn delivery(&self, entry: EntryId) -> Delivery {
        Delivery { entry, fields: self.data.lbs.get(&entry).cloned() }
    }

    /// From the LBS to S-dead.
    fn set_aside(&mut self, entry: EntryId, reason: &'static str) -> Result<(), Box<str>> {
        if self.out_of_memory {
            return Err("OOM command not allowed".into());
        }
        self.data.dead.push((entry, reason));
        if let Some(group) = &mut self.data.group {
            group.pending.remove(&entry);
        }
        self.data.lbs.remove(&entry);
        Ok(())
    }

    /// The highest token that was ever granted for a stream, whatever the data says.
    pub(crate) fn highest_token(&self, stream: &str) -> u64 {
        self.granted.iter().filter(|grant| grant.stream == stream).map(|grant| grant.token).max().unwrap_or(0)
    }

    /// The token that was granted with this lease value for this entry.
    pub(crate) fn token_of(&self, entry: EntryId, value: &str) -> u64 {
        let found = self.granted.iter().rev().find(|grant| grant.entry == entry && grant.value == value);
        found.map_or(0, |grant| grant.token)
    }

    /// Every name under which anything is kept for a stream: the LBS is the truth of what is announced.
    pub(crate) fn announced(&self) -> BTreeSet<EntryId> {
        self.data.lbs.keys().copied().collect()
    }
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).expect("a time of the test")
}
