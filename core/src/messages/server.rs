//! The server as a whole: connections, and what is prepared on it.

use super::{
    Command, Link, Machine, Notification, Remark,
    asked::{Kind, Question},
    call::{Call, Server},
};
use crate::{
    gates::Gates,
    id::{EntryId, Identity},
    time::Time,
    trouble::Trouble,
};

/// What is known of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) preparation: Preparation,
    pub(super) identity: Option<Identity>,
    /// The group is gone, and is being created again.
    pub(super) lost: bool,
    /// It has been read from: from here on no trouble counts as one of the start.
    proven: bool,
    /// When it was found to be another one than before. What was held then was handed out by an earlier server.
    since: Time,
    /// Not all of that was asked about yet. Until it is, nothing is read: this server may give a new message the id of one
    /// that it has forgotten, and what is pending under our name must not be both.
    sifting: bool,
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

    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Which one it is.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Whether what is asked for now may be what an earlier server has handed out.
    pub(super) fn is_sifting(&self) -> bool {
        self.sifting
    }

    /// Whether this instant was in the days of the present server.
    pub(super) fn spans(&self, instant: Time) -> bool {
        instant >= self.since
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
        let awaited = self.links.connected(link);
        assert!(!awaited || link != Link::Subscriber, "who works on messages has no {link:?}");
        if awaited && link == Link::Commands {
            self.server.preparation = Preparation::Due;
            self.renew_idle_reader();
        }
    }

    /// What broke the one connection may have broken the other, and nobody notices that of one on which nothing is asked.
    /// The first read on it would keep the room that what is due needs, for as long as it is waited for.
    fn renew_idle_reader(&mut self) {
        let idle = self.links.is_up(Link::Reader) && self.reading.read.is_none();
        if idle && self.is_running() && self.links.is_anew(Link::Commands) {
            self.links.close(Link::Reader, self.now);
            assert!(!self.links.is_up(Link::Reader), "the reader is made anew, and is there");
            self.command(Command::Disconnect(Link::Reader));
        }
    }

    /// A connection is lost. Calls that went over it and are not answered yet have their own troubles to come.
    pub(super) fn disconnected(&mut self, link: Link, trouble: Trouble) {
        if !self.server.proven && trouble.kind.is_fatal_at_start() {
            return self.terminate(trouble);
        }
        let backoff = (self.config.retry_backoff, self.config.retry_backoff_limit);
        let Some((failures, pause)) = self.links.lost(link, backoff, self.now, &mut self.dice) else { return };
        assert!(link != Link::Subscriber, "who works on messages has no {link:?}");
        assert!(failures >= 1, "what is lost has failed");
        assert!(
            pause <= backoff.1.saturating_mul(2),
            "a connection is left alone for {pause:?}: longer than the limit"
        );
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
        assert!(self.links.is_up(Link::Commands), "a server that cannot be reached is not prepared");
        assert!(issued <= self.now, "an answer to a question that is to come");
        let first = self.server.identity.is_none();
        assert!(!first || self.holds.is_empty(), "messages came from a server that was never prepared");
        self.server.preparation = Preparation::Done;
        let known = std::mem::take(&mut self.server.lost);
        if server.created && !first && !known {
            self.lose_everything();
        }
        let before = self.server.identity.replace(server.identity.clone());
        let same = !server.identity.as_str().is_empty() && before.as_ref() == Some(&server.identity);
        if !first && !same && !self.config.no_ack {
            self.sift_what_is_held();
        }
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

    /// This is another server than before: what is held counts for nothing before it was confirmed here.
    fn sift_what_is_held(&mut self) {
        assert!(!self.config.no_ack, "nothing is held");
        assert!(self.server.is_prepared(), "the server does not say yet which one it is");
        assert!(self.server.since <= self.now, "a server is known since an instant that is to come");
        self.server.since = self.now;
        self.server.sifting = true;
        self.holds.doubt_all();
        let entries: Vec<EntryId> = self.holds.iter().map(|(entry, _)| entry).collect();
        for entry in entries {
            self.want_refresh(entry);
        }
        self.withhold_acks();
    }

    /// Whether it was handed out by the present server.
    pub(super) fn came_from_this_server(&self, entry: EntryId) -> bool {
        self.holds.get(entry).is_some_and(|held| self.server.spans(held.came))
    }

    /// All is known once the server has said of each whose it is, or it has ended.
    pub(super) fn go_on_sifting(&mut self) {
        self.server.sifting = self.server.sifting && !self.holds.iter().all(|(_, held)| held.sifted);
    }

    /// It was read from.
    pub(super) fn prove(&mut self) {
        assert!(self.server.identity.is_some(), "messages were read from a server that was never prepared");
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
