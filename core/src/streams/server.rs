//! The server as a whole: connections, what is prepared on it, whether the fleet has settled on it, and how long
//! nothing is asked of it after a trouble (DESIGN 5.7, 5.8).

use std::time::Duration;

use super::{
    Link, Machine, Notification, Remark,
    call::{Call, EpochAnswer, EpochCall, Server},
    epoch::Epoch,
    event::Command,
};
use crate::{
    backoff::pause,
    config::Config,
    time::Time,
    trouble::{Trouble, TroubleKind},
};

/// What is known of the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    preparation: Preparation,
    /// It was prepared once: from then on no trouble counts as one of the start.
    started: bool,
    /// The client has begun without it: no trouble ever counts as one of the start.
    begun_without: bool,
    announced_ready: bool,
    /// It was told at least once where the fleet stands: it has seen the service.
    seen: bool,
    pub(super) epoch: Epoch,
    asking_epoch: bool,
    /// The last question after the epoch failed: leases are renewed all the same.
    pub(super) epoch_failed: bool,
    ask_epoch_at: Time,
    beat_at: Time,
    pinging: bool,
    /// When Redis last answered anything.
    pub(super) heard: Time,
    /// Nothing is taken or acquired before this: the server said that it cannot.
    pub(super) hold_until: Time,
    troubles: u32,
    /// The server has no memory left: nothing new is taken until something could be acquired again.
    pub(super) full: bool,
    longest_ttl: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Preparation {
    Due(Time),
    Asked,
    Done,
}

impl Default for State {
    fn default() -> State {
        State {
            preparation: Preparation::Due(Time::ZERO),
            started: false,
            begun_without: false,
            announced_ready: false,
            seen: false,
            epoch: Epoch::Unknown,
            asking_epoch: false,
            epoch_failed: false,
            ask_epoch_at: Time::ZERO,
            beat_at: Time::ZERO,
            pinging: false,
            heard: Time::ZERO,
            hold_until: Time::ZERO,
            troubles: 0,
            full: false,
            longest_ttl: Duration::ZERO,
        }
    }
}

impl State {
    pub(super) fn is_prepared(&self) -> bool {
        self.preparation == Preparation::Done
    }

    /// The longest ttl in the fleet, as far as it is known.
    pub(super) fn longest_ttl(&self, config: &Config) -> Duration {
        self.longest_ttl.max(config.lease_ttl)
    }

    /// Whether this trouble ends the consumer: waiting cannot help, and this has never gone well before.
    fn cannot_start(&self, went_well: bool, trouble: &Trouble) -> bool {
        !went_well && !self.begun_without && trouble.kind.is_fatal_at_start()
    }

    /// What is true between two events.
    pub(super) fn check(&self, now: Time, config: &Config, connected: bool) {
        assert!(connected || self.epoch == Epoch::Unknown, "without a connection nobody knows where the fleet stands");
        assert!(self.heard <= now, "Redis was heard at {:?}, which is still to come", self.heard);
        let (beat, epoch) = (self.beat_at, self.ask_epoch_at);
        assert!(beat <= now + config.heartbeat, "the next heartbeat is at {beat:?}, more than one away");
        assert!(epoch <= now + config.heartbeat, "the epoch is asked for at {epoch:?}, more than a heartbeat away");
        let pause = config.retry_backoff_limit.saturating_add(config.retry_backoff_limit / 4);
        assert!(self.hold_until <= now + pause, "the server is left alone until {:?}", self.hold_until);
        assert!(self.started || self.preparation != Preparation::Done, "what was prepared was prepared once");
        assert!(self.started || !self.announced_ready, "who is ready has prepared the server");
        assert!(self.seen || self.epoch == Epoch::Unknown, "who knows where the fleet stands was told");
    }

    /// What is true between two events of the questions that are under way.
    pub(super) fn check_calls(&self, epochs: usize, pings: usize, preparations: usize) {
        assert_eq!(usize::from(self.asking_epoch), epochs, "one question after the epoch is under way, or none");
        assert_eq!(usize::from(self.pinging), pings, "one ping is under way, or none");
        let asked = self.preparation == Preparation::Asked;
        assert!(!asked || preparations > 0, "the server is being prepared, and no call does it");
    }
}

impl Machine {
    /// The client serves others: what is wrong here is to be mended while they are served.
    pub(super) fn begun_without(&mut self) {
        self.server.begun_without = true;
    }

    pub(super) fn connect_what_is_down(&mut self) {
        for link in self.links.due(self.now, self.wanted_links()) {
            assert!(link != Link::Reader || self.is_running(), "who stops reads no more");
            self.command(Command::Connect(link));
        }
    }

    pub(super) fn connected(&mut self, link: Link) {
        if !self.links.connected(link) {
            return;
        }
        match link {
            Link::Commands => {
                assert_eq!(self.server.epoch, Epoch::Unknown, "of the server behind a new connection nothing is known");
                self.server.preparation = Preparation::Due(self.now);
                self.server.epoch = Epoch::Unknown;
                self.server.epoch_failed = false;
                self.server.ask_epoch_at = self.now;
                self.renew_idle_reader();
            }
            Link::Reader => {
                self.taking.doubt_commands(self.now);
                self.look_around();
            }
            Link::Subscriber => {
                self.links.works(link);
                self.look_around();
            }
        }
    }

    /// What broke the one connection may have broken the other, and nobody notices that of one on which nothing is asked:
    /// while the fleet waits for a new server, for one.
    fn renew_idle_reader(&mut self) {
        if self.links.is_anew(Link::Commands) && self.links.is_up(Link::Reader) && !self.taking.is_reading() {
            self.links.close(Link::Reader, self.now);
            self.command(Command::Disconnect(Link::Reader));
            assert!(self.is_running(), "a reader's connection was kept by who stops");
        }
    }

    /// A connection is lost. Calls that went over it and are not answered yet have their own troubles to come.
    pub(super) fn disconnected(&mut self, link: Link, trouble: Trouble) {
        if self.server.cannot_start(self.server.started, &trouble) {
            return self.terminate(trouble);
        }
        if link == Link::Reader && self.links.is_up(link) && !self.taking.is_reading() {
            // Nobody had asked anything on it: it was closed for being idle, or with the others. No try has failed.
            self.links.works(link);
        }
        let backoff = (self.config.retry_backoff, self.config.retry_backoff_limit);
        let Some((failures, pause)) = self.links.lost(link, backoff, self.now, &mut self.dice) else { return };
        assert!(!self.links.is_up(link), "{link:?} was lost, and is up");
        if link == Link::Commands {
            self.server.preparation = Preparation::Due(self.now);
            self.server.epoch = Epoch::Unknown;
            self.server.epoch_failed = false;
        }
        if self.config.retry.allows(failures) {
            self.remark(Remark::LinkDown { link, trouble, pause });
        } else {
            self.terminate(trouble);
        }
    }

    /// The heartbeat: is the server still the same, is the subscriber still there, do we still hold what we hold?
    pub(super) fn beat(&mut self) {
        if self.now < self.server.beat_at {
            return;
        }
        self.server.beat_at = self.now + self.config.heartbeat;
        self.server.ask_epoch_at = self.server.ask_epoch_at.min(self.now);
        self.start_renewing();
        self.orphans.tidy(self.now);
        assert!(self.renewals.is_under_way(), "each heartbeat renews what is owned");
        if self.links.is_up(Link::Subscriber) && !self.server.pinging {
            self.server.pinging = true;
            self.ask(Call::Ping);
        }
    }

    /// Prepares a server that is not prepared, and asks where the fleet stands with it.
    pub(super) fn ask_the_server(&mut self) {
        if !self.links.is_up(Link::Commands) {
            return;
        }
        if let Preparation::Due(at) = self.server.preparation
            && at <= self.now
        {
            self.server.preparation = Preparation::Asked;
            self.ask(Call::Prepare);
        }
        let over = self.server.epoch.over_at().is_some_and(|at| at <= self.now);
        let due = (over && !self.server.epoch_failed) || self.server.ask_epoch_at <= self.now;
        if due && !self.server.asking_epoch {
            self.server.asking_epoch = true;
            self.server.ask_epoch_at = self.now + self.config.heartbeat;
            let (settle, waited) = match &self.server.epoch {
                Epoch::Waiting { wait, identity, since, .. } if over => {
                    (Some((wait.clone(), identity.clone())), self.now.since(*since))
                }
                _ => (None, Duration::ZERO),
            };
            assert_eq!(settle.is_some(), over, "whoever has sat out a wait settles, and nobody else");
            assert!(settle.is_none() || self.server.epoch.settled().is_none(), "who has settled does not settle again");
            let call = EpochCall {
                settle,
                waited,
                longest_ttl: self.server.longest_ttl(&self.config),
                nonce: self.dice.roll(),
                lived: self.renewals.lived(self.now, &self.config),
                fresh: !self.server.seen,
            };
            self.ask(Call::Epoch(call));
        }
    }

    pub(super) fn server_wake(&self) -> Option<Time> {
        let mut wake = self.server.beat_at;
        if self.links.is_up(Link::Commands) {
            if let Preparation::Due(at) = self.server.preparation {
                wake = wake.min(at);
            }
            if !self.server.asking_epoch {
                wake = wake.min(self.server.ask_epoch_at);
                let over_at = self.server.epoch.over_at().filter(|_| !self.server.epoch_failed);
                wake = over_at.map_or(wake, |at| wake.min(at));
            }
        }
        Some(wake)
    }

    pub(super) fn prepared(&mut self, server: Server) {
        assert!(self.server.started || !self.server.announced_ready, "who was ready has started");
        self.server.preparation = Preparation::Done;
        self.server.started = true;
        self.remark(Remark::Server(server));
        self.look_around();
        self.announce_ready();
    }

    fn announce_ready(&mut self) {
        if self.server.is_prepared() && self.server.epoch.settled().is_some() && !self.server.announced_ready {
            assert!(self.server.started && self.server.seen, "who is ready knows the server and the fleet");
            self.server.announced_ready = true;
            self.notify(Notification::Ready);
        }
    }

    pub(super) fn prepare_failed(&mut self, trouble: &Trouble, current: bool) {
        if self.server.cannot_start(self.server.started, trouble) {
            return self.terminate(trouble.clone());
        }
        if current && self.server.preparation == Preparation::Asked {
            self.server.preparation = Preparation::Due(self.server.hold_until.max(self.now));
        }
    }

    pub(super) fn epoch_learned(&mut self, answer: &EpochAnswer) {
        assert!(self.server.asking_epoch, "the epoch is told to who has not asked");
        assert!(self.links.is_up(Link::Commands), "what a lost connection says of its server is not to be heard");
        self.server.asking_epoch = false;
        self.server.epoch_failed = false;
        self.server.longest_ttl = self.server.longest_ttl.max(answer.longest_ttl);
        if answer.consumers > 0 {
            self.claims.consumers = answer.consumers;
        }
        assert!(self.server.longest_ttl >= answer.longest_ttl, "the longest ttl is never forgotten");
        let before = self.server.epoch.clone();
        self.server.epoch.learn(answer, self.now);
        if self.server.epoch.settled().is_some() {
            if before.settled() != self.server.epoch.settled() {
                self.remark(Remark::Settled);
                self.look_around();
            }
            self.announce_ready();
        } else if before.wait() != self.server.epoch.wait() {
            self.remark(Remark::Quarantine(answer.longest_ttl));
        }
        // Leases whose renewal waited for this answer.
        if before == Epoch::Unknown {
            self.start_renewing();
        }
    }

    /// The question was refused. If it has never been answered, it never will be.
    pub(super) fn epoch_failed(&mut self, trouble: &Trouble, current: bool) {
        if current && self.server.cannot_start(self.server.seen, trouble) {
            return self.terminate(trouble.clone());
        }
        self.epoch_unanswered(current);
    }

    /// The question was not answered; `current`, if on the connection that is in use.
    pub(super) fn epoch_unanswered(&mut self, current: bool) {
        assert!(self.server.asking_epoch, "a question after the epoch fails, and none was asked");
        self.server.asking_epoch = false;
        if !current {
            self.server.ask_epoch_at = self.now;
            return;
        }
        self.server.epoch_failed = true;
        self.server.ask_epoch_at = self.now + self.config.heartbeat / 4;
        self.start_renewing();
    }

    /// The server said that our view of it is old.
    pub(super) fn epoch_differs(&mut self) {
        self.server.epoch = Epoch::Unknown;
        self.server.ask_epoch_at = self.now;
    }

    /// What a trouble with a call means for everything else; `current`, if it went over the connection that is in use.
    /// Called once for each call that failed.
    pub(super) fn suffer(&mut self, call: &Call, current: bool, trouble: &Trouble) {
        self.remark(Remark::CallFailed { call: call.name(), trouble: trouble.clone() });
        let link = super::link_of(call);
        if trouble.kind.needs_new_connection() {
            if current {
                self.disconnected(link, trouble.clone());
            }
            return;
        }
        if trouble.kind == TroubleKind::GroupLost {
            self.group_lost();
        }
        self.server.full |= trouble.kind == TroubleKind::OutOfMemory;
        self.hold();
    }

    /// The group or the LBS is gone: it is created again, and everything is looked at again.
    pub(super) fn group_lost(&mut self) {
        if self.server.preparation == Preparation::Done {
            assert!(self.server.started, "the group of a server is lost that was never prepared");
            self.server.preparation = Preparation::Due(self.now);
            self.remark(Remark::GroupRecreated);
        }
    }

    /// Leaves the server alone for a while, longer each time.
    pub(super) fn hold(&mut self) {
        if self.server.hold_until > self.now {
            return; // several calls failed of one cause
        }
        self.server.troubles = self.server.troubles.saturating_add(1);
        let s = &self.config;
        let span = pause(self.server.troubles, s.retry_backoff, s.retry_backoff_limit, &mut self.dice);
        assert!(!span.is_zero(), "a server in trouble is left alone for a while");
        self.server.hold_until = self.now + span;
        if let Preparation::Due(at) = &mut self.server.preparation
            && self.server.troubles > 1
        {
            *at = (*at).max(self.server.hold_until);
        }
    }

    /// A call went well.
    pub(super) fn thrive(&mut self, call: &Call) {
        assert!(self.server.heard <= self.now, "Redis was heard at {:?}, after now", self.server.heard);
        self.server.heard = self.now;
        self.links.works(super::link_of(call));
        match call {
            Call::Ping => {
                assert!(self.server.pinging, "a ping is answered, and none was sent");
                self.server.pinging = false;
            }
            Call::Epoch(_) => self.server.seen = true,
            Call::Acquire(_) => {
                self.server.full = false;
                self.server.troubles = 0;
            }
            Call::Take { .. } | Call::Read { .. } if !self.server.full => self.server.troubles = 0,
            _ => {}
        }
    }

    pub(super) fn pong_missed(&mut self) {
        assert!(self.server.pinging, "a ping fails, and none was sent");
        self.server.pinging = false;
    }
}

#[cfg(test)]
mod tests;
