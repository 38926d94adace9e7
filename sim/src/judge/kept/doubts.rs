//! Announcements that may be gone, ends that may be forgotten: what strikes Redis makes doubtful, a heartbeat shows.

use std::{sync::Arc, time::Duration};

use streamkeeper::Time;

use super::{ANSWER, Kept, stream::Stream};
use crate::{facts::Who, judge::conditions};

impl Kept {
    /// Announcements since then may be gone: nothing is asked of them before they are granted again.
    pub(super) fn doubt(&mut self, since: Time) {
        let young: Vec<Arc<str>> = self
            .announced
            .iter()
            .filter(|(_, announced)| **announced >= since)
            .map(|(entry, _)| entry.clone())
            .collect();
        young.iter().for_each(|entry| self.doubt_entry(entry));
    }

    /// Where the lease of an announcement outlives it, its owner gives it back without a look at it.
    pub(super) fn tear(&mut self) {
        if std::mem::take(&mut self.torn) {
            self.gone.append(&mut self.doubtful);
        }
    }

    /// This announcement may be gone.
    pub(super) fn doubt_entry(&mut self, entry: &Arc<str>) {
        self.disown(entry);
        self.announced.remove(entry);
        let Some(name) = self.by_entry.remove(entry) else { return };
        if let Some(stream) = self.streams.get_mut(&name) {
            stream.doubt(entry);
        }
        self.doubtful.insert(entry.clone(), name);
    }

    /// What was over since then may not be.
    pub(super) fn doubt_ends(&mut self, since: Time) {
        let young = self.ended.iter().filter(|(_, (at, _))| *at >= since);
        self.doubtful.extend(young.map(|(entry, (_, name))| (entry.clone(), name.clone())));
    }

    /// A Go peer is no more: neither does it believe anything.
    pub(super) fn disbelieve(&mut self, at: Time, who: Who) {
        for entry in self.finishing.remove(&who).unwrap_or_default() {
            self.doubt_entry(&entry);
            self.doubtful.remove(&entry);
            self.unfenced.insert(entry);
        }
        self.streams.values_mut().for_each(|stream| stream.disbelieved(at, who));
    }

    /// Whoever owns it says so.
    pub(super) fn is_there(&mut self, at: Time, entry: &Arc<str>) {
        if let Some(stream) = self.doubtful.remove(entry) {
            self.announced(at, &stream, entry);
        }
    }

    pub(super) fn struck(&mut self, at: Time, kind: &str) {
        // From then on nothing more is written down, whatever strikes it before it is up again.
        if matches!(kind, "redis crash" | "redis failover" | "redis restart" | "redis switch" | "redis kill") {
            self.down.get_or_insert(at);
        }
        self.moving |= kind == "redis move-slot";
        self.torn |= self.moving && kind == "redis crash";
        if matches!(kind, "redis destroy-group" | "redis redeliver") {
            self.streams.values_mut().for_each(Stream::again);
        }
        // Without its place in the pending list, an announcement is handed to nobody, unless its owner lives.
        // A Go peer makes the group anew where it ends: what was announced before is skipped.
        let skipped = self.with_go && kind == "redis destroy-group";
        if conditions::takes_announcements(kind) || kind == "redis delete-consumer" || skipped {
            self.doubt(Time::ZERO);
            self.swept = Some(at);
            if conditions::takes_announcements(kind) {
                // With the group gone, too, a lease is renewed though its announcement is not there any more.
                self.gone.append(&mut self.doubtful);
            }
        }
    }

    /// Whether an announcement that its producer has just heard of may be gone already.
    pub(super) fn is_swept(&self, at: Time, entry: &Arc<str>) -> bool {
        let within = |since: Option<Time>, span: Duration| since.is_some_and(|since| at.since(since) < span);
        self.over.contains(entry) || within(self.swept, ANSWER) || within(self.forgot, self.trips)
    }
}
