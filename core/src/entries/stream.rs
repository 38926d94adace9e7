//! An owned stream: everything that is known of it.

use super::{
    Machine, Owned, OwnedId, aside::Asides, call::Record, commit::Commits, open::Opening, progress::Counts,
    read::Reader,
};
use crate::id::EntryId;

/// An owned stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    pub(super) owned: Owned,
    pub(super) opening: Opening,
    /// It was said that it cannot be opened.
    pub(super) cannot_open: bool,
    /// It was opened: `record` is what stands in Redis, as far as can be known.
    pub(super) known: bool,
    pub(super) record: Option<Record>,
    /// Redis said that the lease is somebody else's.
    pub(super) fenced: bool,
    pub(super) reader: Option<Reader>,
    pub(super) counts: Counts,
    pub(super) commits: Commits,
    pub(super) asides: Asides,
}

impl Stream {
    fn new(owned: Owned) -> Stream {
        Stream {
            owned,
            opening: Opening::Due,
            cannot_open: false,
            known: false,
            record: None,
            fenced: false,
            reader: None,
            counts: Counts::default(),
            commits: Commits::default(),
            asides: Asides::default(),
        }
    }

    /// What was committed: `0-0` if nothing was.
    pub(super) fn position(&self) -> EntryId {
        self.record.as_ref().map_or(EntryId::default(), |record| record.position)
    }
}

impl Machine {
    /// A stream is owned. Its record is asked for at once: somebody wants to know it, or else it would not have been
    /// told.
    pub(super) fn own(&mut self, owned: Owned) {
        if !self.streams.contains_key(&owned.id) {
            let new = self.opening.due.insert(owned.id);
            assert!(new, "{:?} is to be opened before it is owned", owned.id);
            self.streams.insert(owned.id, Stream::new(owned));
        }
    }

    /// The ownership has ended.
    pub(super) fn lose(&mut self, id: OwnedId) {
        self.stop_reading(id);
        let Some(mut stream) = self.streams.remove(&id) else { return };
        assert!(stream.reader.is_none(), "{id:?} is lost, and read");
        self.opening.due.remove(&id);
        self.asides.leave(&mut stream.asides);
        self.committing.leave(&mut stream.commits);
        self.committing.settled(id);
        self.answer_tickets(stream.commits.give_up());
    }

    /// Redis says that the lease is somebody else's: nothing more is read or written. That the ownership has ended is
    /// told by who keeps it.
    pub(super) fn fence(&mut self, id: OwnedId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.fenced = true;
        self.asides.leave(&mut stream.asides);
        self.committing.leave(&mut stream.commits);
        stream.asides.clear();
        let ends = stream.commits.fence();
        assert!(stream.asides.first().is_none(), "{id:?} is another's, and so are its entries");
        self.answer_tickets(ends);
        self.place(id);
    }
}
