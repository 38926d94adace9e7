//! How far a stream was read, and what the next look at it says: entries that were trimmed before they were read, and
//! streams that began anew.

use std::collections::VecDeque;

use super::{
    Delivery,
    call::{About, Entry},
};
use crate::id::EntryId;

/// How far a stream was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    after: EntryId,
    /// How many entries had ever been added up to there, where that is known.
    read: Option<u64>,
    /// `after` was only chosen: what was removed before the first look was never to be read.
    fresh: bool,
    /// The stream was there, and is gone.
    gone: bool,
    /// It was said that the stream ends with this id, before what was read.
    rewound: Option<EntryId>,
    /// The greatest last id seen, and how far it was said that entries are missing: all there is to go by where the
    /// server does not count (before Redis 7).
    last_seen: EntryId,
    missed: EntryId,
}

/// What a look at the stream brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// Before the entries.
    pub(super) told: Option<Delivery>,
    /// How many entries had been added up to each of the new ones, where that is known.
    pub(super) counts: Vec<(EntryId, u64)>,
    /// There is nothing more for now.
    pub(super) at_tail: bool,
}

impl Progress {
    /// From the beginning, from the end, from a time on: nothing was read before.
    pub(super) fn begun_behind(after: EntryId) -> Progress {
        Progress {
            after,
            read: None,
            fresh: true,
            gone: false,
            rewound: None,
            last_seen: EntryId::default(),
            missed: EntryId::default(),
        }
    }

    /// Behind what was read before, by whomever. A bare `0-0` is the beginning.
    pub(super) fn resumed(after: EntryId, read: Option<u64>) -> Progress {
        let fresh = after == EntryId::default() && read.is_none();
        Progress { read, fresh, ..Progress::begun_behind(after) }
    }

    pub(super) fn after(&self) -> EntryId {
        self.after
    }

    /// What stands behind `after`, `count` entries of it at most, and the stream at that moment.
    pub(super) fn take_in(&mut self, entries: &[Entry], about: &About, count: usize) -> News {
        let from = self.after;
        assert!(entries.first().is_none_or(|first| first.id > from), "what was read up to {from} comes again");
        let told = self.judge(about);
        let len = entries.len() as u64;
        let at_tail = entries.len() < count || entries.last().is_none_or(|last| last.id >= about.last);
        let before = match about.added {
            Some(added) if in_front(about, self.after) => Some(added.saturating_sub(about.length)),
            Some(added) if at_tail && self.read.is_none() => Some(added.saturating_sub(len)),
            _ => self.read,
        };
        let numbered = entries.iter().zip(1_u64..).filter_map(|(entry, n)| Some((entry.id, before?.saturating_add(n))));
        let mut counts: Vec<(EntryId, u64)> = numbered.collect();
        self.read = before.map(|before| before.saturating_add(len));
        if let (true, Some(added)) = (at_tail, about.added) {
            // Entries that were deleted from the middle, unread, are done with from here on.
            self.read = Some(added);
            counts.iter_mut().next_back().into_iter().for_each(|(_, count)| *count = added);
        }
        if let Some(last) = entries.last() {
            self.after = last.id;
            self.rewound = None;
            self.fresh = false;
        }
        if self.fresh {
            self.read = None;
        }
        self.last_seen = self.last_seen.max(about.last);
        assert!(self.after >= from, "reading goes back from {from} to {}", self.after);
        assert!(!self.gone, "a stream that was just looked at is there");
        assert!(entries.is_empty() || !self.fresh, "what was read from is not new any more");
        News { told, counts, at_tail }
    }

    /// There is no such stream.
    pub(super) fn take_in_missing(&mut self) {
        if self.after == EntryId::default() {
            // Whatever is added from now on is for us.
            (self.read, self.fresh) = (Some(0), false);
        }
        self.gone = !self.fresh && self.after > EntryId::default();
    }

    fn judge(&mut self, about: &About) -> Option<Delivery> {
        let gone = std::mem::take(&mut self.gone);
        let after = self.after;
        if self.fresh {
            self.fresh = about.last < after;
            return None;
        }
        if about.last < after {
            self.read = about.added;
            let said = self.rewound.replace(about.last) == Some(about.last);
            return (!said).then_some(Delivery::Rewound { after, last: about.last });
        }
        if gone || about.added.is_some_and(|added| self.read.is_some_and(|read| added < read)) {
            self.read = None;
            return Some(Delivery::Rewound { after, last: about.last });
        }
        if !in_front(about, after) {
            return None;
        }
        let removed = about.added.map(|added| added.saturating_sub(about.length));
        let missing = match (removed, self.read) {
            (Some(removed), Some(read)) if removed > read => Some(removed - read),
            (Some(removed), None) if removed > 0 => None,
            (None, _) if self.missed_what_was_seen(about) => None,
            _ => return None,
        };
        assert!(about.first.is_none_or(|next| next > after), "a gap behind {after} ends before it");
        self.missed = about.last;
        Some(Delivery::Gap { after, next: about.first, missing })
    }

    /// What must hold between any two looks.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        assert!(!self.fresh || self.read.is_none(), "who has read nothing has counted nothing: {self:?}");
        assert!(!self.fresh || !self.gone, "who has read nothing misses nothing: {self:?}");
        assert!(!self.gone || self.after > EntryId::default(), "what is gone was read from: {self:?}");
        assert!(self.rewound.is_none_or(|last| last < self.after), "a stream ends before what was read: {self:?}");
        assert!(self.missed <= self.last_seen, "what is missing was seen: {self:?}");
    }

    /// The last entry that was seen is gone, and was not read.
    fn missed_what_was_seen(&self, about: &About) -> bool {
        self.last_seen > self.after.max(self.missed) && about.first.is_none_or(|first| first > self.last_seen)
    }
}

/// Whether what there is begins behind this position.
fn in_front(about: &About, after: EntryId) -> bool {
    about.first.map_or(about.last > after, |first| first > after)
}

/// How many entries had been added up to those that were delivered and not committed yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Counts(VecDeque<(EntryId, u64)>);

impl Counts {
    /// Of so many at most; of older ones it is not known.
    const MOST: usize = 10_000;

    /// They were delivered, for the first time or again.
    pub(super) fn note(&mut self, counts: Vec<(EntryId, u64)>) {
        debug_assert!(counts.is_sorted_by(|(a, _), (b, _)| a < b), "entries are delivered in order");
        if let Some((first, _)) = counts.first() {
            self.0.truncate(self.0.partition_point(|(other, _)| other < first));
        }
        self.0.extend(counts);
        let excess = self.0.len().saturating_sub(Counts::MOST);
        self.0.drain(..excess);
        assert!(self.0.len() <= Counts::MOST, "{} counts are remembered", self.0.len());
        debug_assert!(self.0.iter().is_sorted_by(|(a, _), (b, _)| a < b), "counts are found by their order");
    }

    /// Up to this entry. Nothing had been added up to `0-0`.
    pub(super) fn up_to(&self, id: EntryId) -> Option<u64> {
        if id == EntryId::default() {
            return Some(0);
        }
        let at = self.0.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.0[at].1)
    }

    /// It is committed.
    pub(super) fn forget_up_to(&mut self, id: EntryId) {
        let done = self.0.partition_point(|(other, _)| *other <= id);
        self.0.drain(..done);
        assert!(self.0.front().is_none_or(|(first, _)| *first > id), "what is committed is not counted any more");
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    /// A stream of which `added` were added, numbered from 1 on, and those before `first` removed.
    fn about(first: u64, added: u64) -> About {
        let first = (first <= added).then(|| id(first));
        let length = first.map_or(0, |first| added + 1 - first.ms);
        About { length, added: Some(added), first, last: id(added) }
    }

    /// What is seen of it, `count` at most.
    fn look(progress: &mut Progress, first: u64, added: u64, count: usize) -> News {
        let from = first.max(progress.after().ms + 1);
        let entries: Vec<Entry> =
            (from..=added).take(count).map(|ms| Entry { id: id(ms), fields: Vec::new() }).collect();
        progress.take_in(&entries, &about(first, added), count)
    }

    #[test]
    fn what_is_missing() {
        let (gap, rewound) = (
            |after, next: Option<u64>, missing| Some(Delivery::Gap { after: id(after), next: next.map(id), missing }),
            |after, last| Some(Delivery::Rewound { after: id(after), last: id(last) }),
        );
        // Position and how many were read; what there is now; what is said, and how many are read then.
        for (at, (position, read), (first, added), told, then) in [
            ("nothing new", (4, Some(4)), (1, 4), None, Some(4)),
            ("news", (4, Some(4)), (1, 6), None, Some(6)),
            ("trimmed behind us", (4, Some(4)), (5, 6), None, Some(6)),
            ("trimmed further", (4, Some(4)), (6, 6), gap(4, Some(6), Some(1)), Some(6)),
            ("nothing left, all read", (4, Some(4)), (5, 4), None, Some(4)),
            ("nothing left, not all read", (4, Some(4)), (9, 8), gap(4, None, Some(4)), Some(8)),
            ("unknown, not trimmed", (4, None), (1, 6), None, Some(6)),
            ("unknown, trimmed up to there", (4, None), (4, 6), None, Some(6)),
            ("unknown, nothing left, all read", (4, None), (5, 4), None, Some(4)),
            ("unknown, trimmed further", (4, None), (6, 6), gap(4, Some(6), None), Some(6)),
            ("rewound", (4, Some(4)), (1, 2), rewound(4, 2), Some(2)),
            ("fewer than were read", (4, Some(9)), (1, 6), rewound(4, 6), Some(6)),
        ] {
            let mut progress = Progress::resumed(id(position), read);
            let news = look(&mut progress, first, added, 100);
            assert_eq!((news.told, progress.read, news.at_tail), (told, then, true), "{at}");
            assert_eq!(look(&mut progress, first, added, 100).told, None, "{at}: said twice");
        }
    }

    #[test]
    fn a_start_is_no_gap() {
        let gap = |after, next, missing| {
            Some(Delivery::Gap { after: id(after), next: Some(id(next)), missing: Some(missing) })
        };
        for (start, first) in [(0, 5), (7, 9)] {
            let mut progress = Progress::begun_behind(id(start));
            assert_eq!(look(&mut progress, first, 10, 1).told, None, "from {start}");
            assert!(look(&mut progress, 11, 10, 2).told.is_some(), "from {start}: but from then on");
        }
        let mut progress = Progress::begun_behind(id(7));
        assert_eq!(look(&mut progress, 1, 7, 9).told, None, "from its end");
        assert_eq!(look(&mut progress, 9, 9, 9).told, gap(7, 9, 1), "what comes from then on is for it");
        let mut progress = Progress::begun_behind(id(20));
        for added in [3, 8] {
            assert_eq!(look(&mut progress, added, added, 9).told, None, "its time has not come");
        }
    }

    #[test]
    fn what_is_not_there_was_deleted_or_never_was() {
        let mut progress = Progress::begun_behind(id(0));
        progress.take_in_missing();
        assert!(matches!(look(&mut progress, 3, 4, 9).told, Some(Delivery::Gap { missing: Some(2), .. })));
        progress.take_in_missing();
        assert!(matches!(look(&mut progress, 1, 9, 9).told, Some(Delivery::Rewound { .. })), "it was there");
        assert_eq!(look(&mut progress, 1, 10, 9).told, None);
    }

    #[test]
    fn deleted_from_the_middle() {
        let mut progress = Progress::resumed(id(2), Some(2));
        let entries: Vec<Entry> = [3, 6].map(|ms| Entry { id: id(ms), fields: Vec::new() }).into();
        let about = About { length: 4, added: Some(6), first: Some(id(1)), last: id(6) };
        let news = progress.take_in(&entries, &about, 9);
        assert_eq!((news.told, news.counts), (None, vec![(id(3), 3), (id(6), 6)]));
        assert_eq!(look(&mut progress, 7, 6, 9).told, None, "all of it was read or deleted");
    }

    #[test]
    fn the_last_one_was_deleted() {
        let entries = [Entry { id: id(3), fields: Vec::new() }];
        let about = About { length: 3, added: Some(4), first: Some(id(1)), last: id(4) };
        let news = Progress::resumed(id(2), Some(2)).take_in(&entries, &about, 9);
        assert_eq!((news.told, news.counts, news.at_tail), (None, vec![(id(3), 4)], true), "nothing is behind it");
    }

    #[test]
    fn each_is_counted_as_far_as_that_is_known() {
        for (at, read, first, count, counts) in [
            ("all is read", None, 1, 9, vec![(5, 5), (6, 6)]),
            ("nobody knows what was deleted of the rest", None, 1, 1, vec![]),
            ("goes on", Some(4), 1, 1, vec![(5, 5)]),
            ("trimmed up to where it was read", Some(4), 4, 1, vec![(5, 5)]),
            ("trimmed further", Some(2), 5, 1, vec![(5, 5)]),
        ] {
            let counts: Vec<(EntryId, u64)> = counts.into_iter().map(|(ms, count)| (id(ms), count)).collect();
            let news = look(&mut Progress::resumed(id(4), read), first, 6, count);
            assert_eq!(news.counts, counts, "{at}");
        }
    }

    #[test]
    fn nothing_was_removed() {
        let about = About { length: 1, added: Some(1), first: Some(id(9)), last: id(9) };
        let entries = [Entry { id: id(9), fields: Vec::new() }];
        let news = Progress::resumed(id(4), None).take_in(&entries, &about, 9);
        assert_eq!(news.told, None, "a hand wrote a position where nothing ever was");
    }

    #[test]
    fn what_was_seen_to_be_the_last_is_still_there() {
        let uncounted = |first| About { added: None, ..about(first, 8) };
        let entries = |from| (from..=8).take(2).map(|ms| Entry { id: id(ms), fields: Vec::new() }).collect::<Vec<_>>();
        let mut progress = Progress::resumed(id(4), None);
        assert_eq!(progress.take_in(&entries(5), &uncounted(1), 2).told, None);
        assert_eq!(progress.take_in(&entries(8), &uncounted(8), 2).told, None, "7-0 may have been deleted before");
    }

    /// A hand may have written any number of entries that were read, and a server may count as it likes.
    #[test]
    fn what_cannot_be_counted_any_more() {
        let entries = [Entry { id: id(3), fields: Vec::new() }, Entry { id: id(4), fields: Vec::new() }];
        for added in [None, Some(u64::MAX)] {
            let about = About { length: 0, added, first: Some(id(3)), last: id(5) };
            let news = Progress::resumed(id(2), Some(u64::MAX)).take_in(&entries, &about, 2);
            assert_eq!(news.counts, [(id(3), u64::MAX), (id(4), u64::MAX)], "{added:?}");
        }
    }

    #[test]
    fn so_many_are_remembered() {
        let mut counts = Counts::default();
        counts.note((1..=10_002).map(|n| (id(n), n)).collect());
        let up_to = |counts: &Counts, n| counts.up_to(id(n));
        assert_eq!([0, 2, 3, 10_002].map(|n| up_to(&counts, n)), [Some(0), None, Some(3), Some(10_002)]);
        counts.note(vec![(id(10_001), 7)]);
        assert_eq!([10_000, 10_001, 10_002].map(|n| up_to(&counts, n)), [Some(10_000), Some(7), None], "again");
        counts.forget_up_to(id(10_000));
        assert_eq!([10_000, 10_001].map(|n| up_to(&counts, n)), [None, Some(7)]);
    }
}
