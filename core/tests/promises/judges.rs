//! The judges: one promise of DESIGN.md section 2 each. They see everything, the truth on the server included.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use streamkeeper_core::{
    id::{EntryId, Token},
    streams::Notification,
};

use super::redis::{GivenBack, Redis};

/// A promise that was broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) promise: &'static str,
    pub(crate) how: String,
}

pub(crate) type Verdict = Result<(), Broken>;

pub(crate) fn broken(promise: &'static str, how: impl fmt::Display) -> Verdict {
    Err(Broken { promise, how: how.to_string() })
}

/// What one consumer's application has been told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Streams that were added and have not ended.
    pub(crate) open: BTreeMap<String, (EntryId, Token)>,
    over: bool,
}

impl Told {
    /// `in-order`: Added, then exactly one of Done, Released, Disowned; nothing after the end.
    pub(crate) fn hear(&mut self, notification: &Notification) -> Verdict {
        if self.over {
            return broken("in-order", format!("after the end: {notification:?}"));
        }
        match notification {
            Notification::Added(added) => {
                let now = (added.entry, added.token);
                if let Some(before) = self.open.insert(added.stream.to_string(), now) {
                    return broken("in-order", format!("{} added twice: {before:?}, {now:?}", added.stream));
                }
            }
            Notification::Done { entry, stream, token }
            | Notification::Released { entry, stream, token }
            | Notification::Disowned { entry, stream, token, .. } => {
                let before = self.open.remove(stream.as_str());
                if before != Some((*entry, *token)) {
                    return broken("in-order", format!("{notification:?} ends what was {before:?}"));
                }
            }
            Notification::Stopped(_) | Notification::Terminated(_) => {
                self.over = true;
                if !self.open.is_empty() {
                    return broken("in-order", format!("{notification:?} while {:?} are open", self.open));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What was true on the server at one time or another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    grants_seen: usize,
    finished_seen: usize,
    released_seen: usize,
    highest: BTreeMap<String, u64>,
    finished: BTreeSet<EntryId>,
    /// Until when nobody is to be granted what was given back.
    resting: BTreeMap<EntryId, u64>,
    rolled_back: bool,
}

impl Truth {
    /// The server lost data: what was finished may come back. Tokens must not.
    pub(crate) fn data_lost(&mut self) {
        self.finished.clear();
        self.resting.clear();
        self.rolled_back = true;
    }

    /// `fenced` and `finished`, after every call that the server executed.
    pub(crate) fn look(&mut self, redis: &Redis) -> Verdict {
        for (entry, value) in &redis.finished[self.finished_seen..] {
            self.may_write(redis, "done", *entry, value)?;
            self.finished.insert(*entry);
        }
        // After a rollback a lapsed ownership may be marked as released on a server that has forgotten the later one:
        // nobody can own the stream there before the wait is over, and the later owner's lease is gone anyway.
        let forgotten = if self.rolled_back { redis.released.len() } else { self.released_seen };
        for GivenBack { entry, value, .. } in &redis.released[forgotten..] {
            self.may_write(redis, "release", *entry, value)?;
        }
        for given_back in &redis.released[self.released_seen..] {
            self.resting.insert(given_back.entry, given_back.not_before);
        }
        for grant in &redis.granted[self.grants_seen..] {
            let before = self.highest.insert(grant.stream.clone(), grant.token);
            if before.is_some_and(|before| before >= grant.token) {
                return broken("fenced", format!("token {} of {} after {before:?}", grant.token, grant.stream));
            }
            if self.resting.get(&grant.entry).is_some_and(|until| *until > grant.at) {
                return broken("kept", format!("{} is still to rest: {grant:?}", grant.entry));
            }
            if self.finished.contains(&grant.entry) {
                return broken("finished", format!("{} was granted again: {grant:?}", grant.entry));
            }
        }
        self.grants_seen = redis.granted.len();
        self.finished_seen = redis.finished.len();
        self.released_seen = redis.released.len();
        Ok(())
    }

    /// Whoever changes something has the highest token of its stream.
    fn may_write(&self, redis: &Redis, what: &str, entry: EntryId, value: &str) -> Verdict {
        let token = redis.token_of(entry, value);
        let stream = redis.granted.iter().find(|grant| grant.entry == entry).map(|grant| grant.stream.clone());
        let highest = stream.map_or(0, |stream| redis.highest_token(&stream));
        if token < highest {
            return broken("fenced", format!("{what} of {entry} with token {token}, and {highest} was granted"));
        }
        Ok(())
    }

    /// `finished`: what the application is told is done stays done.
    pub(crate) fn told_done(&mut self, redis: &Redis, entry: EntryId, data_was_lost: bool) -> Verdict {
        if redis.data.lbs.contains_key(&entry) && !data_was_lost {
            return broken("finished", format!("{entry} is said to be done, and is still announced"));
        }
        if !redis.data.lbs.contains_key(&entry) {
            self.finished.insert(entry);
        }
        Ok(())
    }
}
