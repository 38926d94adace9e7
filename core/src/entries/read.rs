//! Who reads which stream, how much room each has, and who is to be read next.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Delivery, Machine, OwnedId,
    bound::Bound,
    call::{Record, Start},
    fetch::ENTRIES,
    line::{Line, Turn},
    progress::Progress,
    stream::Stream,
    wait,
};
use crate::{id::EntryId, time::Time};

/// A stream at its tail is looked at after so long, give or take a quarter, whatever a wait says: a hint may get lost, and
/// a stream that begins anew with smaller ids wakes nobody.
pub(super) const LOOK: Duration = Duration::from_secs(30);

/// All readers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) readers: usize,
    buffered: usize,
    pub(super) rounds: u64,
    /// Behind, with room.
    pub(super) ready: Line,
    /// Behind, with room; but too much lies with the application already.
    pub(super) starved: Line,
    /// At the tail, with room.
    pub(super) tail: BTreeSet<OwnedId>,
    /// When those are to be looked at.
    pub(super) looks: BTreeSet<(Time, OwnedId)>,
    pub(super) waiting: wait::State,
    /// How many entries one call brings.
    pub(super) bound: Bound<ENTRIES>,
}

/// Who reads a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reader {
    pub(super) start: Start,
    /// How far it has come; `None`: where it begins is not known yet.
    pub(super) progress: Option<Progress>,
    /// Counts up whenever reading begins anew: what was asked for before is not wanted any more.
    pub(super) round: u64,
    /// Where it began without a commit: what is before that is not for it, even if Redis forgets.
    pub(super) floor: EntryId,
    /// There is something to be fetched, perhaps.
    pub(super) behind: bool,
    /// It wants to be told if there is nothing: by the next look, or one that is under way if this is taken.
    pub(super) look: bool,
    /// It cannot be read, and is left alone until this instant.
    pub(super) broken: Option<Time>,
    /// How many entries it may still be given.
    pub(super) room: usize,
    /// How many it was given that the application has not taken in.
    pub(super) out: usize,
    pub(super) place: Place,
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// It has no room, cannot be read, or is being fetched.
    Nowhere,
    Ready(Turn),
    Starved(Turn),
    /// To be looked at then.
    Tail(Time),
}

impl State {
    pub(super) fn readers(&self) -> usize {
        self.readers
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffered
    }

    fn leave(&mut self, id: OwnedId, reader: &mut Reader) {
        match std::mem::replace(&mut reader.place, Place::Nowhere) {
            Place::Nowhere => {}
            Place::Ready(turn) => self.ready.leave(turn),
            Place::Starved(turn) => self.starved.leave(turn),
            Place::Tail(look_at) => {
                let (stood, looked_at) = (self.tail.remove(&id), self.looks.remove(&(look_at, id)));
                assert!(stood && looked_at, "{id:?} is at its tail, and nobody looks at it");
            }
        }
    }
}

impl Reader {
    pub(super) fn begin(&mut self, progress: Progress, floor: EntryId) {
        assert!(self.progress.is_none(), "reading begins once, or anew with another reader");
        assert!(floor <= progress.after(), "reading begins before what is for this reader: {floor}");
        (self.progress, self.floor, self.behind) = (Some(progress), floor, true);
    }

    /// It is given so many entries.
    pub(super) fn give(&mut self, count: usize) {
        assert!(count <= self.room, "{count} entries, room for {}", self.room);
        self.room -= count;
        self.out += count;
    }
}

impl Stream {
    pub(super) fn wants_entries(&self, now: Time) -> bool {
        let Some(reader) = &self.reader else { return false };
        let able = !self.fenced && !self.asides.are_too_many() && reader.broken.is_none_or(|until| until <= now);
        able && reader.progress.is_some() && reader.room > 0
    }
}

impl Machine {
    pub(super) fn start_reading(&mut self, id: OwnedId, start: Start, room: usize) {
        self.stop_reading(id);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        assert!(stream.reader.is_none(), "{id:?} is read by one at a time");
        self.reading.readers += 1;
        self.reading.rounds += 1;
        stream.reader = Some(Reader {
            start,
            progress: None,
            round: self.reading.rounds,
            floor: EntryId::default(),
            behind: true,
            look: false,
            broken: None,
            room,
            out: 0,
            place: Place::Nowhere,
        });
        self.begin(id, None);
    }

    pub(super) fn stop_reading(&mut self, id: OwnedId) {
        let Some(mut reader) = self.streams.get_mut(&id).and_then(|stream| stream.reader.take()) else { return };
        self.reading.leave(id, &mut reader);
        assert!(reader.place == Place::Nowhere, "{id:?} is read no more, and stands in line");
        assert!(self.reading.readers >= 1, "{id:?}: each reader is counted");
        assert!(self.reading.buffered >= reader.out, "{id:?}: what lies with a reader lies with all of them");
        self.reading.readers -= 1;
        self.reading.buffered -= reader.out;
    }

    pub(super) fn give_room(&mut self, id: OwnedId, count: usize) {
        let Some(reader) = self.streams.get_mut(&id).and_then(|stream| stream.reader.as_mut()) else { return };
        let taken = count.min(reader.out);
        reader.out -= taken;
        reader.room = reader.room.saturating_add(count);
        assert!(self.reading.buffered >= taken, "{id:?}: what lies with a reader lies with all of them");
        self.reading.buffered -= taken;
        self.place(id);
    }

    /// So many entries are on their way to the application.
    pub(super) fn count_out(&mut self, count: usize) {
        self.reading.buffered += count;
        let most = self.config.prefetch_total.saturating_add(self.reading.readers);
        assert!(self.reading.buffered <= most, "{} entries lie there, {most} may", self.reading.buffered);
    }

    /// Redis has forgotten commits: who reads goes back to what stands there. What it had before the first commit of all
    /// is not for it.
    pub(super) fn go_back(&mut self, id: OwnedId, record: &Record) {
        let mut position = record.position;
        if let Some(stream) = self.streams.get_mut(&id) {
            assert!(stream.commits.is_settled(), "{id:?} goes back under what is still to be committed");
            stream.counts.clear();
            if let Some(reader) = &mut stream.reader {
                position = position.max(reader.floor);
                self.reading.rounds += 1;
                reader.round = self.reading.rounds;
                reader.behind = true;
                let read = record.read.filter(|_| position == record.position);
                if reader.progress.is_some() {
                    reader.progress = Some(Progress::resumed(position, read));
                }
            }
        }
        self.deliver(id, Delivery::RolledBack(position));
        self.place(id);
    }

    /// Puts a reader where it belongs.
    pub(super) fn place(&mut self, id: OwnedId) {
        let running = self.is_running();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let wanted = running && stream.wants_entries(self.now);
        let Some(reader) = &mut stream.reader else { return };
        match (reader.place, wanted, reader.behind) {
            (Place::Ready(_), true, true) | (Place::Tail(_), true, false) | (Place::Nowhere, false, _) => return,
            _ => self.reading.leave(id, reader),
        }
        if wanted && reader.behind {
            reader.place = Place::Ready(self.reading.ready.join(id));
        } else if wanted {
            let look_at = self.now + LOOK - LOOK / 4 + self.dice.below(LOOK / 2);
            reader.place = Place::Tail(look_at);
            let new = (self.reading.tail.insert(id), self.reading.looks.insert((look_at, id)));
            assert!(new == (true, true), "{id:?} is at its tail once");
            self.reading.waiting.one_more();
        }
        assert!(
            wanted == (reader.place != Place::Nowhere),
            "{id:?} stands in line if it wants to be read, and only then"
        );
    }

    /// A stream has news, perhaps.
    pub(super) fn fall_behind(&mut self, id: OwnedId) {
        if let Some(reader) = self.streams.get_mut(&id).and_then(|stream| stream.reader.as_mut()) {
            reader.behind = true;
            self.place(id);
        }
        assert!(!self.reading.tail.contains(&id), "{id:?} is behind, and at its tail");
    }

    /// Whether it has is to be found out.
    pub(super) fn look(&mut self, id: OwnedId) {
        if let Some(reader) = self.streams.get_mut(&id).and_then(|stream| stream.reader.as_mut()) {
            reader.look = true;
        }
        self.fall_behind(id);
    }

    /// When the reader's connection has something to do.
    pub(super) fn read_due(&self) -> Option<Time> {
        if !self.is_running() || self.reading.waiting.is_busy() {
            return None;
        }
        if self.reading.readers == 0 {
            return None;
        }
        if let Some(at) = self.identify_due() {
            return Some(at);
        }
        [self.fetch_due(), self.wait_due()].into_iter().flatten().min()
    }

    pub(super) fn read(&mut self) {
        if self.read_due().is_none_or(|at| at > self.now) {
            return;
        }
        if self.identify_due().is_some() {
            return self.identify();
        }
        self.take_looks();
        // While there is much to fetch, those at their tail get a look between two fetches.
        let polls = self.has_something_to_fetch() && self.wait_due().is_some_and(|at| at <= self.now);
        if polls || !self.fetch() {
            self.wait();
        }
    }

    /// Those at their tail that nobody has looked at for long.
    fn take_looks(&mut self) {
        while let Some((at, id)) = self.reading.looks.first().copied()
            && at <= self.now
        {
            self.fall_behind(id);
            assert!(self.reading.looks.first() != Some(&(at, id)), "{id:?} would be looked at for ever");
        }
    }
}
