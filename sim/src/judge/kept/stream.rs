//! One data stream, as `kept` sees it: when its time began, and for how long it is left alone on purpose.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use streamkeeper::Time;

use crate::facts::Who;

/// A handler's failure pauses its stream: the first and the longest pause, give or take a quarter.
const FAILURE_PAUSE_MS: (u64, u64) = (1_250, 75_000);
/// A stream whose owners crash is left alone: at first, and at the longest.
const SUSPICION_MS: (u64, u64) = (1_000, 60_000);

/// A data stream, under one or several announcements.
pub(super) struct Stream {
    pub(super) entries: BTreeSet<Arc<str>>,
    /// Its last heartbeat, or whatever else its time begins with.
    pub(super) beat: Time,
    /// Whoever has owned it last.
    pub(super) owner: Option<Owner>,
    /// The latest one that was granted, whatever has become of it since.
    pub(super) token: u64,
    /// Go peers that believe to own it: they take its lease again whenever it has lapsed, whoever has owned it meanwhile.
    believers: BTreeSet<Who>,
    /// The latest owner has given it back.
    pub(super) given_back: bool,
    failures: u32,
    crashes: u32,
    /// The most failures, and the most crashes, that may ever have been counted.
    worst: (u32, u32),
    /// When it was granted, given back or finished last.
    changed: Time,
    /// Redis may have forgotten its latest change: what it counts then is not known, but no more than the worst.
    forgotten: bool,
    /// Redis has a record of it, which names an owner that did not give it back.
    unreleased: bool,
    /// The group was set back to before it: it is handed out anew, if not now then later, whoever owns it meanwhile.
    set_back: bool,
    /// It is left alone on purpose from then until then.
    pub(super) paused: Option<(Time, Time)>,
    pub(super) reported: bool,
}

/// One ownership.
pub(super) struct Owner {
    /// The lease's.
    pub(super) value: Arc<str>,
    token: u64,
    pub(super) since: Time,
    /// What its application asked for.
    pub(super) asked: Option<&'static str>,
    /// Its application has heard of the end.
    pub(super) heard: bool,
}

impl Stream {
    pub(super) fn new(beat: Time) -> Stream {
        Stream {
            entries: BTreeSet::new(),
            beat,
            owner: None,
            token: 0,
            believers: BTreeSet::new(),
            given_back: false,
            failures: 0,
            crashes: 0,
            worst: (0, 0),
            changed: beat,
            forgotten: false,
            unreleased: false,
            set_back: false,
            paused: None,
            reported: false,
        }
    }

    /// Whoever owned it last is a Go peer.
    pub(super) fn is_go(&self) -> bool {
        self.owner.is_some() && !self.is_ours()
    }

    /// Whoever owned it last is one of ours.
    pub(super) fn is_ours(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.value.contains('#'))
    }

    /// Nobody believes to own it who may take its lease unheard.
    pub(super) fn is_disbelieved(&self) -> bool {
        self.believers.is_empty()
    }

    /// A Go peer believes to own it.
    pub(super) fn believed(&mut self, who: Who) {
        self.believers.insert(who);
    }

    /// A Go peer believes so no more: its lease may stand for a ttl.
    pub(super) fn disbelieved(&mut self, at: Time, who: Who) {
        if self.believers.remove(&who) {
            self.beat = self.beat.max(at);
        }
    }

    /// It may be there, and nobody is known to own it.
    pub(super) fn waits(&self, now: Time, ttl: Duration) -> bool {
        let there = !self.entries.is_empty() || self.forgotten;
        there && (self.owner.is_none() || self.beat + ttl < now)
    }

    /// The latest owner, if this is its token.
    pub(super) fn owner_with(&mut self, token: u64) -> Option<&mut Owner> {
        self.owner.as_mut().filter(|owner| owner.token == token)
    }

    /// It is owned. An ownership that has ended without being given back was a crash, unless it has lived for long.
    pub(super) fn granted(&mut self, at: Time, value: &Arc<str>, token: u64, long: Duration) {
        match &self.owner {
            // The answer was lost, and is given again. (Granted anew after it has lapsed, the same attempt has a new token.)
            Some(owner) if owner.token == token => {}
            Some(owner) if !self.forgotten => {
                let harmless = self.given_back || self.beat.since(owner.since) >= long;
                self.crashes = if harmless { 0 } else { self.crashes + 1 };
            }
            _ => {}
        }
        // If Redis forgets how this ownership ends, it was a crash.
        self.worst.1 = self.worst.1.max(self.crashes + 1);
        self.token = token;
        self.owner = Some(Owner { value: value.clone(), token, since: at, asked: None, heard: false });
        (self.given_back, self.reported, self.beat, self.paused) = (false, false, at, None);
        (self.changed, self.forgotten, self.unreleased) = (at, false, true);
    }

    /// It is given back: if its handler failed, it has a pause.
    pub(super) fn given_back(&mut self, at: Time, value: &Arc<str>) {
        let failed = match &self.owner {
            // What was given back unasked, and before its application heard of an end, may have failed.
            Some(owner) if owner.value == *value => {
                owner.asked == Some("fail") || (owner.asked.is_none() && !owner.heard)
            }
            // Its announcement was in doubt, or a primary that was none any more granted it: nobody knows what its
            // application asked for.
            _ => true,
        };
        (self.beat, self.given_back, self.crashes) = (at, true, 0);
        (self.changed, self.unreleased) = (at, false);
        if failed {
            let (first, longest) = FAILURE_PAUSE_MS;
            self.paused = Some((at, at + Duration::from_millis((first << self.failures.min(6)).min(longest))));
            self.failures += 1;
            self.worst.0 = self.worst.0.max(self.failures);
        }
    }

    /// One of its announcements is over. Another one had to wait for it.
    pub(super) fn over(&mut self, at: Time, entry: &Arc<str>) {
        self.entries.remove(entry);
        (self.beat, self.failures, self.crashes) = (at, 0, 0);
        (self.changed, self.forgotten, self.unreleased) = (at, false, false);
        self.set_back &= !self.entries.is_empty();
        // Whoever owns the stream by another announcement, a Go peer, is not known.
        self.owner = None;
    }

    /// An announcement of it may be gone.
    pub(super) fn doubt(&mut self, entry: &Arc<str>) {
        self.entries.remove(entry);
        self.owner = None;
        self.remember();
    }

    /// Redis may have forgotten what has happened since then: an end may count as a crash, failures may be back.
    pub(super) fn forget(&mut self, since: Time) {
        if self.changed >= since {
            self.unreleased = true;
            self.remember();
        }
    }

    fn remember(&mut self) {
        self.forgotten = true;
        (self.failures, self.crashes) = self.worst;
    }

    /// The group is set back.
    pub(super) fn again(&mut self) {
        self.set_back = true;
    }

    /// It may be handed out just now: then it looks as fresh as if its owner had just been heard of.
    pub(super) fn is_anew(&self) -> bool {
        self.set_back && self.unreleased
    }

    /// How long the next owner leaves it alone, behind the ttl, if at so many crashes in a row it is set aside: from half
    /// of them on it is a suspect. At the limit it is left alone for longest, where nothing else works either.
    pub(super) fn suspicion(&self, limit: Option<u32>, ttl: Duration) -> Duration {
        let (first, longest) = SUSPICION_MS;
        let crashes = self.crashes + u32::from(!self.forgotten);
        match limit {
            Some(limit) if crashes >= limit => Duration::from_millis(longest) + ttl,
            Some(limit) if crashes >= limit.div_ceil(2) => {
                let doublings = (crashes - limit.div_ceil(2)).min(6);
                Duration::from_millis((first << doublings).min(longest)) + ttl
            }
            _ => Duration::ZERO,
        }
    }
}
