//! Fetching: what stands behind the positions of streams that are behind, a few entries of each in turn.

use super::{
    Delivery, MENDED, Machine, Output, OwnedId, Remark,
    asked::{Kind, Question},
    call::{About, Call, Entry, FetchItem, Fetched},
    read::Place,
};
use crate::{id::EntryId, time::Time};

/// How many streams one call looks at.
pub(super) const STREAMS: usize = 100;
/// How many entries one call brings, at most.
pub(super) const ENTRIES: usize = 5_000;

/// A stream that is being fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fetching {
    pub(super) id: OwnedId,
    pub(super) round: u64,
    pub(super) after: EntryId,
    pub(super) count: usize,
    /// Who reads wants to be told if there is nothing.
    look: bool,
}

impl Machine {
    /// How many more entries may lie with the application. Who has none is given one all the same: what others leave
    /// lying there is not to keep him from his own.
    fn free(&self) -> usize {
        self.config.prefetch_total.saturating_sub(self.buffered())
    }

    /// How many of them are for whoever comes first. The other half is shared out, so that nobody who takes his entries
    /// in waits for others who do not.
    fn free_for_all(&self) -> usize {
        self.config.prefetch_total.div_ceil(2).saturating_sub(self.buffered())
    }

    /// How many entries a stream may have lying there at any time.
    fn fair_share(&self) -> usize {
        (self.config.prefetch_total / 2 / self.reading.readers().max(1)).max(1)
    }

    pub(super) fn has_something_to_fetch(&self) -> bool {
        let starved = self.free_for_all() > 0 && !self.reading.starved.is_empty();
        starved || !self.reading.ready.is_empty()
    }

    pub(super) fn fetch_due(&self) -> Option<Time> {
        let from = self.open_from(Kind::Fetch)?;
        let look = self.reading.looks.first().map(|(at, _)| (*at).max(from));
        if self.has_something_to_fetch() { Some(from) } else { look }
    }

    /// `false`: there is nothing to fetch now.
    pub(super) fn fetch(&mut self) -> bool {
        if !self.has_something_to_fetch() || !self.may(Kind::Fetch) {
            return false;
        }
        let (about, items) = self.next_fetch();
        let some = !items.is_empty();
        if some {
            self.reading.waiting.begin_call();
            self.ask(Question::Fetch(about), Call::Fetch(items));
        }
        some
    }

    fn next_fetch(&mut self) -> (Vec<Fetching>, Vec<FetchItem>) {
        let fair = self.fair_share();
        let mut for_all = self.free_for_all();
        let mut free = self.free();
        let mut left = self.reading.bound.most();
        if for_all > 0 {
            self.feed_the_starved();
        }
        let share = (free.min(left) / self.reading.ready.len().clamp(1, STREAMS)).max(1);
        let (mut about, mut items) = (Vec::new(), Vec::new());
        while items.len() < STREAMS
            && left > 0
            && let Some(id) = self.reading.ready.next()
        {
            assert!(self.streams.contains_key(&id), "{id:?} stands in line to be read, and is not owned");
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            assert!(stream.wants_entries(self.now), "{id:?} stands in line to be read, and wants nothing");
            let Some(reader) = &mut stream.reader else { continue };
            assert!(
                matches!(reader.place, Place::Ready(_)),
                "{id:?} stands in line, and elsewhere: {:?}",
                reader.place
            );
            reader.place = Place::Nowhere;
            let Some(progress) = &reader.progress else { continue };
            let least = usize::from(reader.out == 0);
            let allowed = fair.saturating_sub(reader.out).max(for_all).min(free).max(least);
            let count = self.config.batch.min(reader.room).min(share).min(allowed).min(left);
            if count == 0 {
                reader.place = Place::Starved(self.reading.starved.join(id));
                continue;
            }
            for_all = for_all.saturating_sub(count);
            free = free.saturating_sub(count);
            left -= count;
            let look = std::mem::take(&mut reader.look);
            about.push(Fetching { id, round: reader.round, after: progress.after(), count, look });
            items.push(FetchItem { stream: stream.owned.stream.clone(), after: progress.after(), count });
        }
        assert!(items.len() <= STREAMS && left <= self.reading.bound.most(), "one call holds up nobody for long");
        (about, items)
    }

    /// There is room for those again that had to wait for it.
    fn feed_the_starved(&mut self) {
        for _ in 0..STREAMS {
            let Some(id) = self.reading.starved.next() else { break };
            if let Some(reader) = self.streams.get_mut(&id).and_then(|stream| stream.reader.as_mut()) {
                assert!(matches!(reader.place, Place::Starved(_)), "{id:?} waits for room, and does not know it");
                reader.place = Place::Ready(self.reading.ready.join(id));
            }
        }
    }

    pub(super) fn fetched(&mut self, about: Vec<Fetching>, answers: Vec<Fetched>) {
        assert_eq!(about.len(), answers.len(), "each stream has its answer");
        self.reading.waiting.end_call();
        self.reading.bound.raise();
        for (fetching, answer) in about.into_iter().zip(answers) {
            if self.is_wanted(&fetching) {
                match answer {
                    Fetched::Entries(entries, about) => self.take_in_entries(&fetching, entries, &about),
                    Fetched::Missing => self.take_in_missing(&fetching),
                    Fetched::Broken(error) => self.cannot_read(&fetching, error),
                }
            }
            self.place(fetching.id);
        }
    }

    pub(super) fn fetch_failed(&mut self, about: Vec<Fetching>, refused: bool) {
        self.reading.waiting.end_call();
        if !refused {
            self.reading.bound.lower(about.iter().map(|fetching| fetching.count).sum());
        }
        for fetching in about {
            if self.is_wanted(&fetching) {
                self.look_again_for(&fetching);
            }
            self.place(fetching.id);
        }
    }

    /// Whether who asked for it still reads, and from there.
    fn is_wanted(&self, fetching: &Fetching) -> bool {
        let reader = self.streams.get(&fetching.id).and_then(|stream| stream.reader.as_ref());
        assert!(reader.is_none_or(|reader| reader.round >= fetching.round), "{:?}: rounds count up", fetching.id);
        reader.is_some_and(|reader| reader.round == fetching.round)
    }

    fn take_in_entries(&mut self, fetching: &Fetching, entries: Vec<Entry>, about: &About) {
        let Some(stream) = self.streams.get_mut(&fetching.id) else { return };
        let Some(reader) = &mut stream.reader else { return };
        let Some(progress) = &mut reader.progress else { return };
        assert!(progress.after() == fetching.after, "{:?}: what comes follows what was read", fetching.id);
        let news = progress.take_in(&entries, about, fetching.count);
        reader.broken = None;
        let nothing = entries.is_empty() && news.told.is_none();
        // Something came instead.
        reader.look &= nothing;
        reader.behind = !news.at_tail || reader.look;
        reader.give(entries.len());
        stream.counts.note(news.counts);
        self.count_out(entries.len());
        if let Some(told) = news.told {
            self.deliver(fetching.id, told);
        }
        if !entries.is_empty() {
            self.deliver(fetching.id, Delivery::Entries(entries));
        }
        if nothing {
            self.say_nothing(fetching);
        }
    }

    fn take_in_missing(&mut self, fetching: &Fetching) {
        let Some(stream) = self.streams.get_mut(&fetching.id) else { return };
        let Some(reader) = &mut stream.reader else { return };
        reader.broken = None;
        reader.behind = reader.look;
        assert!(reader.progress.is_some(), "{:?}: who is fetched has begun", fetching.id);
        if let Some(progress) = &mut reader.progress {
            progress.take_in_missing();
        }
        self.say_nothing(fetching);
    }

    /// Whoever wanted to know is told, unless he has asked again since this look began.
    fn say_nothing(&mut self, fetching: &Fetching) {
        let reader = self.streams.get(&fetching.id).and_then(|stream| stream.reader.as_ref());
        assert!(reader.is_some(), "{:?}: there is somebody to be told", fetching.id);
        if fetching.look && reader.is_some_and(|reader| !reader.look) {
            self.outputs.push_back(Output::Nothing(fetching.id));
        }
    }

    /// This look has found out nothing.
    fn look_again_for(&mut self, fetching: &Fetching) {
        if let Some(reader) = self.streams.get_mut(&fetching.id).and_then(|stream| stream.reader.as_mut()) {
            reader.look |= fetching.look;
        }
    }

    /// Said once, and tried again until it is mended.
    fn cannot_read(&mut self, fetching: &Fetching, error: Box<str>) {
        let Some(stream) = self.streams.get_mut(&fetching.id) else { return };
        let name = stream.owned.stream.clone();
        let Some(reader) = &mut stream.reader else { return };
        let again = self.now + MENDED;
        assert!(reader.round == fetching.round, "{:?}: who began anew is told by his own look", fetching.id);
        reader.look |= fetching.look;
        let said = reader.broken.replace(again).is_some();
        reader.behind = true;
        self.again.insert((again, fetching.id));
        if !said {
            self.deliver(fetching.id, Delivery::Broken(error.clone()));
            self.remark(Remark::Broken(name, error));
        }
    }

    #[cfg(debug_assertions)]
    pub(super) fn is_being_fetched(&self, id: OwnedId) -> bool {
        self.calls.values().any(|asked| match &asked.question {
            Question::Fetch(about) => about.iter().any(|fetching| fetching.id == id),
            _ => false,
        })
    }
}

/// Whether this can be what stands there: in order, behind the position, and not more than was asked for.
pub(super) fn is_possible(fetching: &Fetching, fetched: &Fetched) -> bool {
    let Fetched::Entries(entries, _) = fetched else { return true };
    let ascending = entries.is_sorted_by(|a, b| a.id < b.id);
    entries.len() <= fetching.count && ascending && entries.first().is_none_or(|first| first.id > fetching.after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_there_is_in_order_behind_the_position_and_not_too_much() {
        let id = |ms| EntryId { ms, seq: 0 };
        let fetching = Fetching { id: OwnedId(1), round: 1, after: id(5), count: 2, look: false };
        for (ids, possible) in [
            (vec![], true),
            (vec![6, 9], true),
            (vec![6, 7, 8], false),
            (vec![7, 6], false),
            (vec![6, 6], false),
            (vec![5, 6], false),
        ] {
            let entries = ids.iter().map(|ms| Entry { id: id(*ms), fields: Vec::new() }).collect();
            let fetched = Fetched::Entries(entries, About::default());
            assert_eq!(is_possible(&fetching, &fetched), possible, "{ids:?}");
        }
    }
}
