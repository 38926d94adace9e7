//! Entries that cannot be decoded: each is copied to `S-dead-entries` with the reason before a position beyond it is
//! committed.

use std::collections::BTreeMap;

use super::{
    ABSENT, MENDED, Machine, Output, OwnedId, Remark,
    asked::{Kind, Question},
    bound::Bound,
    call::{Aside, AsideItem, Call, Entry, Fields},
    event::CommitEnd,
    line::{Line, Turn},
};
use crate::{id::EntryId, time::Time};

/// How many entries go into one call: each is a payload.
const BATCH: usize = 100;
/// A stream of which so many wait is not read on.
const MOST: usize = 100;

/// Whose entries are to be set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) line: Line,
    pub(super) asked: bool,
    pub(super) bound: Bound<BATCH>,
}

/// The entries of one stream that are to be set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Asides {
    waiting: BTreeMap<EntryId, (Fields, Box<str>)>,
    pub(super) turn: Option<Turn>,
    /// They could not be written: not before this.
    pub(super) again_at: Time,
    said: bool,
}

impl State {
    /// Nobody waits for this stream's turn any more.
    pub(super) fn leave(&mut self, asides: &mut Asides) {
        if let Some(turn) = asides.turn.take() {
            self.line.leave(turn);
        }
    }
}

impl Asides {
    /// The first that is not set aside yet.
    pub(super) fn first(&self) -> Option<EntryId> {
        self.waiting.first_key_value().map(|(id, _)| *id)
    }

    pub(super) fn are_too_many(&self) -> bool {
        self.waiting.len() >= MOST
    }

    pub(super) fn clear(&mut self) {
        assert!(self.turn.is_none(), "who has nothing to set aside does not wait for its turn");
        self.waiting.clear();
    }
}

impl Machine {
    pub(super) fn put_aside(&mut self, id: OwnedId, entry: Entry, error: Box<str>) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.fenced) else { return };
        stream.asides.waiting.insert(entry.id, (entry.fields, error));
        self.committing.unsettled(id);
        self.set_aside_soon(id);
        self.place(id);
    }

    pub(super) fn set_aside_soon(&mut self, id: OwnedId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let asides = &mut stream.asides;
        assert!(!stream.fenced || asides.waiting.is_empty(), "{id:?} is another's, and so are its entries");
        if !asides.waiting.is_empty() && asides.again_at <= self.now && asides.turn.is_none() {
            asides.turn = Some(self.asides.line.join(id));
        }
    }

    pub(super) fn aside_due(&self) -> Option<Time> {
        let wanted = !self.asides.asked && !self.asides.line.is_empty();
        if wanted { self.open_from(Kind::SetAside) } else { None }
    }

    pub(super) fn set_aside(&mut self) {
        if self.aside_due().is_none_or(|at| at > self.now) {
            return;
        }
        assert!(!self.asides.asked, "one call sets aside at a time");
        let (mut about, mut items) = (Vec::new(), Vec::new());
        let most = self.asides.bound.most();
        while items.len() < most
            && let Some(id) = self.asides.line.next()
        {
            assert!(self.streams.contains_key(&id), "{id:?} stands in line to set aside, and is not owned");
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            assert!(stream.asides.turn.is_some(), "{id:?} stands in line to set aside, and does not know it");
            stream.asides.turn = None;
            for (entry, (fields, error)) in stream.asides.waiting.iter().take(most - items.len()) {
                about.push((id, *entry));
                items.push(AsideItem {
                    entry: stream.owned.entry,
                    stream: stream.owned.stream.clone(),
                    attempt: stream.owned.attempt,
                    id: *entry,
                    fields: fields.clone(),
                    error: error.clone(),
                });
            }
        }
        assert!(items.len() <= BATCH, "{} payloads go into one call", items.len());
        if !items.is_empty() {
            self.asides.asked = true;
            self.ask(Question::SetAside(about), Call::SetAside(items));
        }
    }

    pub(super) fn asides_answered(&mut self, about: Vec<(OwnedId, EntryId)>, answers: Vec<Aside>) {
        assert!(self.asides.asked, "what is answered was under way");
        assert_eq!(about.len(), answers.len(), "each entry has its answer");
        self.asides.asked = false;
        self.asides.bound.raise();
        for ((id, entry), answer) in about.into_iter().zip(answers) {
            match answer {
                Aside::Done => self.is_aside(id, entry),
                Aside::Fenced => self.is_not_ours(id),
                Aside::Broken(error) => self.cannot_set_aside(id, entry, error),
            }
            self.set_aside_soon(id);
        }
    }

    pub(super) fn asides_failed(&mut self, about: Vec<(OwnedId, EntryId)>, refused: bool) {
        assert!(self.asides.asked, "what failed was under way");
        self.asides.asked = false;
        if !refused {
            self.asides.bound.lower(about.len());
        }
        for (id, _) in about {
            self.set_aside_soon(id);
        }
    }

    fn is_aside(&mut self, id: OwnedId, entry: EntryId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.asides.said = false;
        if stream.asides.waiting.remove(&entry).is_some() {
            self.outputs.push_back(Output::SetAside(id, entry));
        }
        self.commit_soon(id);
        self.place(id);
    }

    /// The lease may only be missing for a while: it is tried again until the ownership is lost.
    fn is_not_ours(&mut self, id: OwnedId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let again = self.now + ABSENT;
        stream.asides.again_at = again;
        self.again.insert((again, id));
    }

    /// It is tried again until it is mended; who waits to commit beyond it is told.
    fn cannot_set_aside(&mut self, id: OwnedId, entry: EntryId, error: Box<str>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let again = self.now + MENDED;
        stream.asides.again_at = again;
        let said = std::mem::replace(&mut stream.asides.said, true);
        let name = stream.owned.stream.clone();
        let ends = stream.commits.take_wishes_beyond(entry, &CommitEnd::Broken(error.clone()));
        assert!(!stream.is_held() || stream.asides.first() < Some(entry), "{id:?}: who waits for {entry} is told");
        self.again.insert((again, id));
        self.answer_tickets(ends);
        if !said {
            self.remark(Remark::Broken(name, error));
        }
        self.commit_soon(id);
    }
}
