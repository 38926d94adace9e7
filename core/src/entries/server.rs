//! The server as a whole: connections, and what is prepared on it.

use super::{
    Command, Link, Machine, Remark,
    asked::{Kind, Question},
    call::{Call, Server},
};
use crate::{gates::Gates, time::Time, trouble::Trouble};

/// What is known of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) preparation: Preparation,
    pub(super) gates: Gates<Kind>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Preparation {
    #[default]
    Due,
    Asked,
    Done,
}

impl State {
    pub(super) fn is_prepared(&self) -> bool {
        self.preparation == Preparation::Done
    }
}

impl Machine {
    /// Nothing is wanted of Redis while nothing is owned, and the reader's connection only while something is read.
    pub(super) fn wanted_links(&self) -> &'static [Link] {
        if self.streams.is_empty() {
            &[]
        } else if self.is_running() && self.reading.readers() > 0 {
            &[Link::Commands, Link::Reader]
        } else {
            &[Link::Commands]
        }
    }

    pub(super) fn connect_what_is_down(&mut self) {
        for link in self.links.due(self.now, self.wanted_links()) {
            self.command(Command::Connect(link));
        }
    }

    pub(super) fn connected(&mut self, link: Link) {
        if self.links.connected(link) {
            assert!(link != Link::Subscriber, "who reads entries has no {link:?}");
            self.server.preparation = match link {
                Link::Commands => Preparation::Due,
                Link::Reader | Link::Subscriber => self.server.preparation,
            };
            if link == Link::Reader {
                self.forget_client();
            }
        }
    }

    /// A connection is lost. Calls that went over it and are not answered yet have their own troubles to come.
    pub(super) fn disconnected(&mut self, link: Link, trouble: Trouble) {
        let backoff = (self.config.retry_backoff, self.config.retry_backoff_limit);
        let Some((_, pause)) = self.links.lost(link, backoff, self.now, &mut self.dice) else { return };
        assert!(link != Link::Subscriber, "who reads entries has no {link:?}");
        assert!(
            pause <= backoff.1.saturating_mul(2),
            "a connection is left alone for {pause:?}: longer than the limit"
        );
        if link == Link::Commands {
            self.server.preparation = Preparation::Due;
        }
        assert!(!self.server.is_prepared() || self.links.is_up(Link::Commands), "a server is known that is not there");
        self.remark(Remark::LinkDown { link, trouble, pause });
    }

    pub(super) fn prepare_due(&self) -> Option<Time> {
        if self.server.preparation == Preparation::Due { self.open_from(Kind::Prepare) } else { None }
    }

    /// Looks at a server that it does not know.
    pub(super) fn prepare(&mut self) {
        if self.prepare_due().is_some_and(|at| at <= self.now) {
            self.server.preparation = Preparation::Asked;
            self.ask(Question::Prepare, Call::Prepare);
        }
    }

    pub(super) fn prepare_again(&mut self) {
        assert!(!self.server.is_prepared(), "what is known of the server is asked for again");
        self.server.preparation = Preparation::Due;
    }

    pub(super) fn prepared(&mut self, server: Server) {
        assert!(self.links.is_up(Link::Commands), "a server that cannot be reached is not known");
        self.server.preparation = Preparation::Done;
        self.remark(Remark::Prepared(server));
    }
}
