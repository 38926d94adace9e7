//! The calls that are under way: what the machine has to remember of each, and how long it leaves a kind of call alone
//! that was refused.

use super::{Call, Command, Link, Machine, Output, call::Hold, link_of};
use crate::{
    id::{CallId, EntryId},
    time::Time,
};

/// A call that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) name: &'static str,
    /// When it was issued: the instant from which what it confirms is trusted.
    pub(super) issued: Time,
    /// Which connection it went over.
    pub(super) generation: u32,
}

/// What a call was about, without what was only for Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    Prepare,
    Read(usize),
    Mine { after: Option<EntryId>, count: usize },
    Fetch(usize),
    Due(usize),
    Mark(Vec<Hold>),
    Check(Vec<Hold>),
    Permits(u32),
    Ack(Vec<EntryId>),
    Refresh(Vec<Hold>),
    Park(Vec<Hold>),
    Bury(Vec<Hold>),
    Reclaim,
    Sweep,
    Leave,
}

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Prepare,
    Read,
    Mine,
    Fetch,
    Due,
    Mark,
    Check,
    Permits,
    Ack,
    Refresh,
    Park,
    Bury,
    Reclaim,
    Sweep,
    Leave,
}

impl Question {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Question::Prepare => Kind::Prepare,
            Question::Read(_) => Kind::Read,
            Question::Mine { .. } => Kind::Mine,
            Question::Fetch(_) => Kind::Fetch,
            Question::Due(_) => Kind::Due,
            Question::Mark(_) => Kind::Mark,
            Question::Check(_) => Kind::Check,
            Question::Permits(_) => Kind::Permits,
            Question::Ack(_) => Kind::Ack,
            Question::Refresh(_) => Kind::Refresh,
            Question::Park(_) => Kind::Park,
            Question::Bury(_) => Kind::Bury,
            Question::Reclaim => Kind::Reclaim,
            Question::Sweep => Kind::Sweep,
            Question::Leave => Kind::Leave,
        }
    }

    /// Whether the answer says what is held, and nothing besides.
    pub(super) fn is_about_holds(&self) -> bool {
        match self {
            Question::Read(_) | Question::Due(_) | Question::Mine { .. } | Question::Fetch(_) => true,
            Question::Refresh(_) | Question::Mark(_) => true,
            Question::Prepare | Question::Check(_) | Question::Permits(_) | Question::Ack(_) => false,
            Question::Park(_) | Question::Bury(_) | Question::Reclaim | Question::Sweep | Question::Leave => false,
        }
    }

    pub(super) fn link(&self) -> Link {
        match self {
            Question::Read(_) => Link::Reader,
            _ => Link::Commands,
        }
    }
}

impl Machine {
    pub(super) fn ask(&mut self, question: Question, call: Call) -> CallId {
        let (kind, link) = (question.kind(), question.link());
        assert!(!self.stopped(), "who has stopped asks for nothing, and for no {kind:?}");
        assert!(
            self.may(kind),
            "a {kind:?} goes over a connection that is up, to a server that is prepared, in its time"
        );
        assert!(link == link_of(&call), "a {kind:?} comes back over the connection that it goes over");
        self.last_call += 1;
        let id = CallId(self.last_call);
        let generation = self.links.generation(link);
        let before = self.calls.insert(id, Asked { question, name: call.name(), issued: self.now, generation });
        assert!(before.is_none(), "a call's number is used once");
        self.outputs.push_back(Output::Command(Command::Call(id, call)));
        id
    }

    /// From when on a call of this kind may be issued; `None` as long as it cannot.
    pub(super) fn open_from(&self, kind: Kind) -> Option<Time> {
        let up = self.links.is_up(Link::Commands) && (self.server.is_prepared() || kind == Kind::Prepare);
        let up = up && (kind != Kind::Read || self.links.is_up(Link::Reader));
        up.then(|| self.server.gates.open_from(kind))
    }

    /// Whether a call of this kind may be issued now.
    pub(super) fn may(&self, kind: Kind) -> bool {
        self.open_from(kind).is_some_and(|at| at <= self.now)
    }

    /// A call of this kind was refused: it is left alone for a while, longer each time.
    pub(super) fn close(&mut self, kind: Kind) {
        let s = &self.config;
        self.server.gates.close(kind, self.now, s.retry_backoff, s.retry_backoff_limit, &mut self.dice);
    }

    /// A call of this kind went well.
    pub(super) fn open(&mut self, kind: Kind) {
        self.server.gates.open(kind);
    }
}
