//! The calls that are under way: what the machine has to remember of each, and how long it leaves a kind of call alone
//! that was refused.

use super::{Call, Command, Link, Machine, Output, OwnedId, fetch::Fetching, link_of};
use crate::{
    id::{CallId, EntryId},
    time::Time,
};

/// A call that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) name: &'static str,
    /// Which connection it went over.
    pub(super) generation: u32,
}

/// What a call was about, without what was only for Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    Prepare,
    Identify,
    /// Which streams, and whether the last id was asked for.
    Open(Vec<(OwnedId, bool)>),
    Fetch(Vec<Fetching>),
    Wait(Vec<OwnedId>),
    /// Which wait it is to end.
    Wake(u64),
    Commit(Vec<OwnedId>),
    SetAside(Vec<(OwnedId, EntryId)>),
}

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Prepare,
    Identify,
    Open,
    Fetch,
    Wait,
    Wake,
    Commit,
    SetAside,
}

impl Question {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Question::Prepare => Kind::Prepare,
            Question::Identify => Kind::Identify,
            Question::Open(_) => Kind::Open,
            Question::Fetch(_) => Kind::Fetch,
            Question::Wait(_) => Kind::Wait,
            Question::Wake(_) => Kind::Wake,
            Question::Commit(_) => Kind::Commit,
            Question::SetAside(_) => Kind::SetAside,
        }
    }
}

impl Kind {
    pub(super) fn link(self) -> Link {
        match self {
            Kind::Identify | Kind::Fetch | Kind::Wait => Link::Reader,
            Kind::Prepare | Kind::Open | Kind::Wake | Kind::Commit | Kind::SetAside => Link::Commands,
        }
    }
}

impl Machine {
    pub(super) fn ask(&mut self, question: Question, call: Call) {
        let (kind, link) = (question.kind(), question.kind().link());
        assert!(!self.stopped(), "who has stopped asks for nothing, and for no {kind:?}");
        assert!(self.may(kind), "a {kind:?} goes over a connection that is up, to a server that is known, in its time");
        assert!(link == link_of(&call), "a {kind:?} comes back over the connection that it goes over");
        assert!(link != Link::Reader || self.reading.waiting.is_busy(), "{kind:?}: the reader's connection is taken");
        self.last_call += 1;
        let id = CallId(self.last_call);
        let generation = self.links.generation(link);
        let before = self.calls.insert(id, Asked { question, name: call.name(), generation });
        assert!(before.is_none(), "a call's number is used once");
        self.outputs.push_back(Output::Command(Command::Call(id, call)));
    }

    /// From when on a call of this kind may be issued; `None` as long as it cannot.
    pub(super) fn open_from(&self, kind: Kind) -> Option<Time> {
        let link = kind.link();
        let prepared = link == Link::Reader || kind == Kind::Prepare || self.server.is_prepared();
        let up = self.links.is_up(link) && prepared;
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
