//! Opening a stream: what was committed of it, and where the reading begins.

use std::collections::BTreeSet;

use super::{
    Delivery, MENDED, Machine, OwnedId, Remark,
    asked::{Kind, Question},
    call::{Call, OpenItem, Opened, Record, Start},
    event::CommitEnd,
    progress::Progress,
};
use crate::{id::EntryId, time::Time};

/// How many streams are opened with one call.
const BATCH: usize = 500;

/// What is to be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) due: BTreeSet<OwnedId>,
    pub(super) asked: bool,
}

/// How far the opening of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Opening {
    Due,
    Asked,
    /// It could not be told; it is tried again at this instant.
    Broken(Time),
    Done,
}

impl Machine {
    pub(super) fn open_due(&self) -> Option<Time> {
        let wanted = !self.opening.asked && !self.opening.due.is_empty();
        if wanted { self.open_from(Kind::Open) } else { None }
    }

    pub(super) fn open_streams(&mut self) {
        if self.open_due().is_none_or(|at| at > self.now) {
            return;
        }
        assert!(!self.opening.asked, "one call opens at a time");
        let (mut about, mut items) = (Vec::new(), Vec::new());
        while items.len() < BATCH
            && let Some(id) = self.opening.due.pop_first()
        {
            assert!(self.streams.contains_key(&id), "{id:?} is to be opened, and is not owned");
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            assert!(stream.opening == Opening::Due, "{id:?} is to be opened, and is {:?}", stream.opening);
            stream.opening = Opening::Asked;
            let last = stream.reader.as_ref().is_some_and(|reader| reader.start == Start::End);
            about.push((id, last));
            items.push(OpenItem { stream: stream.owned.stream.clone(), last });
        }
        if !items.is_empty() {
            self.opening.asked = true;
            self.ask(Question::Open(about), Call::Open(items));
        }
    }

    pub(super) fn opened(&mut self, about: Vec<(OwnedId, bool)>, answers: Vec<Opened>) {
        assert!(self.opening.asked, "what is answered was under way");
        assert_eq!(about.len(), answers.len(), "each stream has its answer");
        self.opening.asked = false;
        for ((id, _), answer) in about.into_iter().zip(answers) {
            match answer {
                Opened::Known { record, last } => self.known(id, record, last),
                Opened::Broken(error) => self.cannot_open(id, error),
            }
        }
    }

    fn known(&mut self, id: OwnedId, record: Option<Record>, last: Option<EntryId>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        assert!(stream.opening == Opening::Asked, "{id:?} was not asked for, but {:?}", stream.opening);
        stream.opening = Opening::Done;
        stream.cannot_open = false;
        let first = !stream.known;
        if first {
            assert!(stream.commits.sent.is_none(), "{id:?}: a commit was sent before it was known from where");
            stream.known = true;
            let ours =
                record.as_ref().and_then(|record| record.mark).filter(|mark| mark.attempt == stream.owned.attempt);
            stream.commits.count_on(ours.map_or(0, |mark| mark.number));
            stream.record = record;
        }
        let begun = self.begin(id, last);
        if first && !begun {
            self.say_opened(id);
        }
        self.commit_soon(id);
    }

    pub(super) fn say_opened(&mut self, id: OwnedId) {
        if let Some(stream) = self.streams.get(&id) {
            assert!(stream.known, "{id:?}: what stands there is told before it is known");
            self.deliver(id, Delivery::Opened(stream.record.clone()));
        }
    }

    /// Who waits for a commit hears of it; who reads is told once.
    fn cannot_open(&mut self, id: OwnedId, error: Box<str>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        assert!(stream.opening == Opening::Asked, "{id:?} was not asked for, but {:?}", stream.opening);
        let again = self.now + MENDED;
        stream.opening = Opening::Broken(again);
        let said = std::mem::replace(&mut stream.cannot_open, true);
        let name = stream.owned.stream.clone();
        let end = CommitEnd::Broken(error.clone());
        let ends = if stream.known { Vec::new() } else { stream.commits.take_wishes(&end) };
        self.again.insert((again, id));
        self.answer_tickets(ends);
        if !said {
            self.deliver(id, Delivery::Broken(error.clone()));
            self.remark(Remark::Broken(name, error));
        }
    }

    /// What could not be opened is tried again when it is time to.
    pub(super) fn open_again(&mut self, id: OwnedId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && let Opening::Broken(again) = stream.opening
            && again <= self.now
        {
            stream.opening = Opening::Due;
            let new = self.opening.due.insert(id);
            assert!(new, "{id:?} was broken, and to be opened all the same");
        }
    }

    pub(super) fn open_failed(&mut self, about: Vec<(OwnedId, bool)>) {
        assert!(self.opening.asked, "what failed was under way");
        self.opening.asked = false;
        for (id, _) in about {
            if let Some(stream) = self.streams.get_mut(&id) {
                assert!(stream.opening == Opening::Asked, "{id:?} was not asked for, but {:?}", stream.opening);
                stream.opening = Opening::Due;
                self.opening.due.insert(id);
            }
        }
    }

    /// A reader begins where the last commit says, or where it wants to if there is none. `last`: the stream's last id,
    /// if it was just asked for. `false`: nobody reads, or that is not known yet: what is still to be committed is not to
    /// be read again.
    pub(super) fn begin(&mut self, id: OwnedId, last: Option<EntryId>) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        let able = stream.known && stream.commits.is_settled();
        let Some(reader) = stream.reader.as_mut().filter(|reader| able && reader.progress.is_none()) else {
            return false;
        };
        let (progress, floor) = match &stream.record {
            Some(record) if !is_blank(record) => (Progress::resumed(record.position, record.read), EntryId::default()),
            _ => match begins_at(reader.start, last) {
                Some(progress) => (progress, progress.after()),
                None => {
                    // The last id is asked for now, not at some earlier instant.
                    if stream.opening == Opening::Done {
                        stream.opening = Opening::Due;
                        self.opening.due.insert(id);
                    }
                    return false;
                }
            },
        };
        let at_end = reader.start == Start::End && stream.record.as_ref().is_none_or(is_blank);
        reader.begin(progress, floor);
        self.say_opened(id);
        if at_end {
            self.commit_start(id, progress.after());
        }
        self.place(id);
        true
    }
}

/// Whether a record tells of writes alone: no position was ever committed.
pub(super) fn is_blank(record: &Record) -> bool {
    record.position == EntryId::default() && record.read.is_none() && record.mark.is_some()
}

/// Where reading begins that nothing was ever committed of.
fn begins_at(start: Start, last: Option<EntryId>) -> Option<Progress> {
    Some(match start {
        Start::Beginning => Progress::begun_behind(EntryId::default()),
        Start::End => Progress::begun_behind(last?),
        Start::After(after) => Progress::resumed(after, None),
        Start::At { unix_ms: 0 } => Progress::begun_behind(EntryId::default()),
        Start::At { unix_ms } => Progress::begun_behind(EntryId { ms: unix_ms - 1, seq: u64::MAX }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_reading_begins() {
        let id = |ms, seq| EntryId { ms, seq };
        let last = Some(id(7, 3));
        for (start, after) in [
            (Start::Beginning, id(0, 0)),
            (Start::End, id(7, 3)),
            (Start::After(id(4, 1)), id(4, 1)),
            (Start::At { unix_ms: 0 }, id(0, 0)),
            (Start::At { unix_ms: 5 }, id(4, u64::MAX)),
        ] {
            assert_eq!(begins_at(start, last).map(|progress| progress.after()), Some(after), "{start:?}");
        }
        assert_eq!(begins_at(Start::End, None), None);
    }
}
