//! Who owns which stream: the ownership machine.
//!
//! ```text
//!   Event ──▶ handle(event, now) ──▶ ┌─────────────┐ ──▶ poll(now) ──▶ Command        for Redis
//!                                    │   Machine   │                   Notification   for the application
//!   (first, everything that `now`    └─────────────┘                   Extended       for the lease handles
//!    has passed expires)                                               Remark         for logs and meters
//!                                                                      Wait(until)    nothing more, for now
//! ```
//!
//! Only [`Machine::handle`] changes the machine; [`Machine::poll`] hands out what is to be done, until it answers
//! [`Output::Wait`]. Section numbers in this module are those of `docs/protocol.md`.

pub mod call;
pub mod event;
pub mod notification;

mod acquire;
mod answers;
mod checks;
mod claim;
mod epoch;
mod finish;
mod heirs;
mod lease;
mod malformed;
mod orphans;
mod reap;
mod renew;
mod server;
mod take;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    backoff::Dice,
    config::Config,
    id::{Attempt, CallId, ConsumerId, EntryId, StreamName, Token},
    keys::Keys,
    link::Links,
    time::Time,
    trouble::Trouble,
};

pub use crate::link::Link;
pub use call::{Answer, Call};
pub use event::{Command, End, Event, Load, Output, Remark, Wake};
pub use notification::{Added, ClaimLost, LostReason, Notification, Report, SetAside};

/// One consumer of one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    keys: Keys,
    consumer: ConsumerId,
    config: Config,
    incarnation: u64,
    dice: Dice,
    /// The latest instant that it was told.
    now: Time,
    /// The instant at which it asked to be woken.
    wake: Option<Time>,
    /// A standstill of the driver that ended just now.
    paused: Option<Duration>,
    phase: Phase,
    outputs: VecDeque<Output>,
    attempts: u64,
    calls: BTreeMap<CallId, Asked>,
    last_call: u64,
    /// The highest token it has seen: no token that it gets may be smaller.
    floor: Token,
    leases: lease::Leases,
    /// Streams that the application was told of as its own, and not yet of their end.
    told: usize,
    orphans: orphans::Orphans,
    links: Links,
    server: server::State,
    renewals: renew::State,
    taking: take::State,
    claims: claim::State,
    acquiring: acquire::State,
    malformed: malformed::State,
    reaping: reap::State,
    ends: finish::State,
    /// What the other partitions of the service take up of the same capacity.
    elsewhere: Load,
}

/// A call that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    call: Call,
    /// When it was issued: the instant that leases are trusted from.
    issued: Time,
    /// Which connection it went over.
    generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Running,
    /// Takes nothing more, and keeps what it owns.
    Draining(Report),
    Stopping {
        deadline: Time,
        report: Report,
    },
    Stopped,
}

impl Machine {
    /// A machine that has not connected yet. `seed` makes its attempts and jitter its own: random in production.
    pub fn new(keys: Keys, consumer: ConsumerId, config: Config, seed: u64) -> Machine {
        let mut dice = Dice::new(seed);
        Machine {
            keys,
            consumer,
            config,
            incarnation: dice.roll(),
            dice,
            now: Time::ZERO,
            wake: None,
            paused: None,
            phase: Phase::Running,
            outputs: VecDeque::new(),
            attempts: 0,
            calls: BTreeMap::new(),
            last_call: 0,
            floor: Token(0),
            leases: lease::Leases::default(),
            told: 0,
            orphans: orphans::Orphans::default(),
            links: Links::new(),
            server: server::State::default(),
            renewals: renew::State::default(),
            taking: take::State::default(),
            claims: claim::State::default(),
            acquiring: acquire::State::default(),
            malformed: malformed::State::default(),
            reaping: reap::State::default(),
            ends: finish::State::default(),
            elsewhere: Load::default(),
        }
    }

    /// Takes in a fact. First everything that `now` has passed expires, so that nothing later can revive it.
    /// A `now` before an earlier one counts as that earlier one.
    pub fn handle(&mut self, event: Event, now: Time) {
        if self.phase == Phase::Stopped {
            return;
        }
        let answered_for = self.answered_for();
        self.advance_clock(now);
        self.expire_leases();
        assert!(self.leases.next_deadline().is_none_or(|at| at > self.now), "what time has ended ends before all else");
        match event {
            Event::Timeout => {}
            Event::Connected(link) => self.connected(link),
            Event::Disconnected(link, trouble) => self.disconnected(link, trouble),
            Event::Answered(id, result) => self.answered(id, result),
            Event::KeyExpired(key) => self.key_expired(&key),
            Event::Doorbell(text) => self.doorbell(&text),
            Event::Claim(entry) => self.claim(entry),
            Event::Done(entry) => self.end(entry, End::Done, None),
            Event::Rest(entry, pause) => self.rest(entry, pause),
            Event::Release(entry, error) => self.end(entry, End::Release, error),
            Event::Backlogged(backlogged) => self.backlogged(backlogged),
            Event::Elsewhere(load) => self.elsewhere = load,
            Event::Begun => self.begun_without(),
            Event::Drain => self.drain(),
            Event::Shutdown(end, deadline) => self.shut_down(end, deadline),
        }
        if self.phase != Phase::Stopped {
            self.do_what_is_due();
        }
        self.paused = None;
        self.wake = self.next_wake().map(|wake| wake.at);
        self.check();
        self.check_report(answered_for);
    }

    /// The next thing to do. Call it until it answers [`Output::Wait`], then call [`Machine::handle`] with whatever
    /// happens first: an event, or [`Event::Timeout`] at the instant that it names.
    pub fn poll(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| Output::Wait(self.next_wake()))
    }

    /// Whether the lease of this announcement is valid at this instant.
    pub fn owns(&self, entry: EntryId, now: Time) -> bool {
        match self.leases.lease(entry) {
            Some(lease::Lease { state: lease::State::Owned(owned), .. }) => owned.deadline > now,
            _ => false,
        }
    }

    /// Under which announcement this stream is owned here, if it is.
    pub fn entry_of(&self, stream: &StreamName) -> Option<EntryId> {
        self.leases.of_stream(stream)
    }

    /// How many streams are owned.
    pub fn owned(&self) -> usize {
        self.leases.owned()
    }

    /// How much of the capacity is taken up.
    pub fn load(&self) -> Load {
        let held = self.leases.len() + self.orphans.fresh() + self.taking.asked_for();
        Load { held, owned: self.leases.told() }
    }

    /// Whether the machine has stopped for good.
    pub fn stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    fn advance_clock(&mut self, now: Time) {
        if now > self.now {
            let late = self.wake.map_or(Duration::ZERO, |wake| now.since(wake.max(self.now)));
            if late >= self.config.margin() {
                self.paused = Some(late);
                self.remark(Remark::Paused(late));
            }
            self.now = now;
        }
        assert!(self.now >= now, "time goes on to {now:?}, and it is {:?} here", self.now);
    }

    /// Everything that time or the event has made due, in the order in which it matters.
    fn do_what_is_due(&mut self) {
        self.connect_what_is_down();
        self.beat();
        self.ask_the_server();
        self.renew_leases();
        self.send_ends();
        self.look_at_hints();
        self.acquire_candidates();
        self.take_announcements();
        self.reap();
        self.stop_if_finished();
    }

    /// When something becomes due by itself.
    fn next_wake(&self) -> Option<Wake> {
        if self.phase == Phase::Stopped {
            return None;
        }
        let mut first: Option<Wake> = None;
        let mut offer = |at: Option<Time>, why| {
            if let Some(at) = at
                && first.is_none_or(|wake| at < wake.at)
            {
                first = Some(Wake { at, why });
            }
        };
        offer(self.leases.next_deadline(), "a lease ends");
        offer(self.links.next_due(self.wanted_links()), "a connection is tried again");
        offer(self.server_wake(), "the server is asked");
        offer(self.renewals_wake(), "leases are renewed");
        offer(self.ends_wake(), "an end is told");
        offer(self.claims_wake(), "orphans are claimed");
        offer(self.taking_wake(), "announcements are taken");
        offer(self.reaping_wake(), "orphans are looked for");
        if let Phase::Stopping { deadline, .. } = self.phase {
            offer(Some(deadline), "the time to stop is up");
        }
        assert!(first.is_some(), "whoever has not stopped wants to be woken");
        first
    }

    fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Who stops reads no more.
    fn wanted_links(&self) -> &'static [Link] {
        if self.is_running() {
            &[Link::Commands, Link::Reader, Link::Subscriber]
        } else {
            &[Link::Commands, Link::Subscriber]
        }
    }

    /// Whether announcements may be acquired: the server is one that has forgotten nothing, and it has room.
    fn may_acquire(&self) -> bool {
        self.is_running()
            && self.links.is_up(Link::Commands)
            && self.server.is_prepared()
            && self.server.epoch.settled().is_some()
            && self.now >= self.server.hold_until
    }

    /// How many more streams may be owned.
    fn room(&self) -> usize {
        self.capacity().saturating_sub(self.leases.len() + self.orphans.fresh())
    }

    /// Whether nothing more may be owned. What others have only asked for is not theirs yet, and may never be.
    fn is_full(&self) -> bool {
        self.leases.told() + self.elsewhere.owned >= self.config.capacity
    }

    /// How many streams may be held here.
    fn capacity(&self) -> usize {
        self.config.capacity.saturating_sub(self.elsewhere.held)
    }

    /// How many more announcements may be taken: the reader may come back with one at any time.
    fn free(&self) -> usize {
        self.room().saturating_sub(usize::from(self.taking.is_reading()))
    }

    fn next_attempt(&mut self) -> Attempt {
        assert!(self.attempts < u64::MAX, "attempts are counted, and none is used twice");
        self.attempts += 1;
        Attempt { incarnation: self.incarnation, number: self.attempts }
    }

    fn ask(&mut self, call: Call) {
        self.check_call(&call);
        self.last_call += 1;
        let id = CallId(self.last_call);
        let generation = self.links.generation(link_of(&call));
        let before = self.calls.insert(id, Asked { call: call.clone(), issued: self.now, generation });
        assert!(before.is_none(), "{id:?} is used twice");
        self.outputs.push_back(Output::Command(Command::Call(id, call)));
    }

    fn command(&mut self, command: Command) {
        self.outputs.push_back(Output::Command(command));
    }

    fn notify(&mut self, notification: Notification) {
        self.keep_account(&notification);
        self.outputs.push_back(Output::Notification(notification));
    }

    fn remark(&mut self, remark: Remark) {
        self.outputs.push_back(Output::Remark(remark));
    }

    /// Nothing can go on: everything that is owned ends here.
    fn terminate(&mut self, trouble: Trouble) {
        self.drop_everything();
        self.notify(Notification::Terminated(trouble));
        self.stop();
    }

    fn stop(&mut self) {
        assert!(self.phase != Phase::Stopped, "it stops once");
        assert!(self.leases.is_empty(), "it stops, and {} streams have not ended", self.leases.len());
        self.phase = Phase::Stopped;
        self.calls.clear();
        for link in [Link::Commands, Link::Reader, Link::Subscriber] {
            self.command(Command::Disconnect(link));
        }
    }
}

/// The connection that a call goes over.
pub fn link_of(call: &Call) -> Link {
    match call {
        Call::Read { .. } => Link::Reader,
        Call::Ping => Link::Subscriber,
        _ => Link::Commands,
    }
}

#[cfg(test)]
mod tested {
    //! A machine for the tests of its parts.

    use super::Machine;
    use crate::{
        config::{Config, Settings},
        id::{ConsumerId, EntryId},
        keys::Keys,
    };

    /// One that nothing has happened to.
    pub(super) fn machine(change: fn(&mut Settings)) -> Machine {
        let mut settings = Settings::default();
        change(&mut settings);
        let (keys, consumer) = (Keys::plain("svc").unwrap(), ConsumerId::named("pod-1").unwrap());
        Machine::new(keys, consumer, Config::new(settings).unwrap(), 1)
    }

    pub(super) fn entry(number: u64) -> EntryId {
        EntryId { ms: number, seq: 0 }
    }
}
