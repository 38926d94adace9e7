//! The server as a whole: connections, and what is prepared on it.

use super::{
    Command, Link, Machine, Notification, Remark,
    asked::{Gates, Kind, Question},
    call::{Call, Server},
};
use crate::{id::Identity, time::Time, trouble::Trouble};

/// What is known of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    preparation: Preparation,
    identity: Option<Identity>,
    /// The group is gone, and is being created again.
    lost: bool,
    /// It has been read from: from here on no trouble counts as one of the start.
    proven: bool,
    pub(super) gates: Gates,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Preparation {
    #[default]
    Due,
    Asked,
    Done,
}

impl State {
    pub(super) fn is_prepared(&self) -> bool {
        self.preparation == Preparation::Done
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }
}

impl Machine {
    /// Who stops reads no more.
    pub(super) fn wanted_links(&self) -> &'static [Link] {
        if self.is_running() { &[Link::Commands, Link::Reader] } else { &[Link::Commands] }
    }

    pub(super) fn connect_what_is_down(&mut self) {
        for link in self.links.due(self.now, self.wanted_links()) {
            self.command(Command::Connect(link));
        }
    }

    pub(super) fn connected(&mut self, link: Link) {
        if self.links.connected(link) && link == Link::Commands {
            self.server.preparation = Preparation::Due;
        }
    }

    /// A connection is lost. Calls that went over it and are not answered yet have their own troubles to come.
    pub(super) fn disconnected(&mut self, link: Link, trouble: Trouble) {
        if !self.server.proven && trouble.kind.is_fatal_at_start() {
            return self.terminate(trouble);
        }
        let backoff = (self.config.retry_backoff, self.config.retry_backoff_limit);
        let Some((failures, pause)) = self.links.lost(link, backoff, self.now, &mut self.dice) else { return };
        if link == Link::Commands {
            self.server.preparation = Preparation::Due;
        }
        if self.config.retry.allows(failures) {
            self.remark(Remark::LinkDown { link, trouble, pause });
        } else {
            self.terminate(trouble);
        }
    }

    pub(super) fn prepare_due(&self) -> Option<Time> {
        if self.server.preparation == Preparation::Due { self.open_from(Kind::Prepare) } else { None }
    }

    /// Prepares a server that is not prepared.
    pub(super) fn prepare(&mut self) {
        if self.prepare_due().is_some_and(|at| at <= self.now) {
            self.server.preparation = Preparation::Asked;
            self.ask(Question::Prepare, Call::Prepare);
        }
    }

    pub(super) fn prepare_again(&mut self) {
        if self.server.preparation == Preparation::Asked {
            self.server.preparation = Preparation::Due;
        }
    }

    pub(super) fn prepared(&mut self, server: Server, issued: Time) {
        let first = self.server.identity.is_none();
        self.server.preparation = Preparation::Done;
        let known = std::mem::take(&mut self.server.lost);
        if server.created && !first && !known {
            self.lose_everything();
        }
        self.server.identity = Some(server.identity.clone());
        self.compare_clocks(server.now_ms, issued);
        self.distrust_idle_times();
        self.look_at_own_list();
        self.refresh_now();
        self.ask_soon(std::time::Duration::ZERO);
        self.remark(Remark::Prepared(Box::new(server)));
        if first {
            self.notify(Notification::Ready);
        }
    }

    /// It was read from.
    pub(super) fn prove(&mut self) {
        self.server.proven = true;
    }

    /// The group is gone: it is created again, by whoever comes first.
    pub(super) fn group_lost(&mut self) {
        if self.server.preparation == Preparation::Done {
            self.server.preparation = Preparation::Due;
            self.server.lost = true;
            self.lose_everything();
        }
    }
}
