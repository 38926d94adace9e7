//! Working on owned streams: reading their entries in order, and committing how far they were worked on. `docs/entries.md`
//! is the protocol in prose.
//!
//! ```text
//!   Event ──▶ handle(event, now) ──▶ ┌─────────────┐ ──▶ poll() ──▶ Command        for Redis
//!                                    │   Machine   │                Deliver        for who reads a stream
//!                                    └─────────────┘                Committed      for who waits for a commit
//!                                                                   Remark         for logs and meters
//!                                                                   Wait(until)    nothing more, for now
//! ```
//!
//! One machine serves everything that a client owns, over two connections. Which streams are owned it is told by
//! [`Event::Owned`] and [`Event::Lost`]; it decides nothing about ownership, and every commit is fenced by the lease.

pub mod call;
pub mod config;
pub mod event;
pub mod record;

mod answers;
mod aside;
mod asked;
mod bound;
#[cfg(debug_assertions)]
mod checks;
mod commit;
mod committed;
mod fetch;
mod line;
mod open;
mod progress;
mod read;
mod server;
mod stop;
mod stream;
mod wait;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

pub use crate::link::Link;
pub use call::{Answer, Call};
pub use config::{Config, Settings};
pub use event::{Command, CommitEnd, Delivery, Event, Output, Owned, OwnedId, Remark, Ticket};

use crate::{backoff::Dice, id::CallId, link::Links, time::Time};

/// What cannot be used (a key of a wrong type) is tried again after so long.
const MENDED: Duration = Duration::from_secs(5);
/// A lease that is not there is looked for again after so long: its owner may create it again, or lose it.
const ABSENT: Duration = Duration::from_millis(250);

/// Everything that a client reads and commits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    config: Config,
    dice: Dice,
    /// The latest instant that it was told.
    now: Time,
    /// The instant at which it asked to be woken.
    wake: Option<Time>,
    phase: Phase,
    outputs: VecDeque<Output>,
    calls: BTreeMap<CallId, asked::Asked>,
    last_call: u64,
    links: Links,
    server: server::State,
    streams: BTreeMap<OwnedId, stream::Stream>,
    /// When a stream is to be looked at again, for whatever reason.
    again: BTreeSet<(Time, OwnedId)>,
    opening: open::State,
    reading: read::State,
    committing: commit::State,
    asides: aside::State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Running,
    /// Until when.
    Stopping(Time),
    Stopped,
}

impl Machine {
    /// A machine that has not connected yet. `seed` makes its jitter its own: random in production.
    pub fn new(config: Config, seed: u64) -> Machine {
        Machine {
            config,
            dice: Dice::new(seed),
            now: Time::ZERO,
            wake: None,
            phase: Phase::Running,
            outputs: VecDeque::new(),
            calls: BTreeMap::new(),
            last_call: 0,
            links: Links::new(),
            server: server::State::default(),
            streams: BTreeMap::new(),
            again: BTreeSet::new(),
            opening: open::State::default(),
            reading: read::State::default(),
            committing: commit::State::default(),
            asides: aside::State::default(),
        }
    }

    /// Takes in a fact. A `now` before an earlier one counts as that earlier one.
    pub fn handle(&mut self, event: Event, now: Time) {
        if self.stopped() {
            if let Event::Commit(commit) = event {
                self.answer_ticket(commit.ticket, CommitEnd::Lost);
            }
            return;
        }
        self.now = self.now.max(now);
        match event {
            Event::Timeout => {}
            Event::Connected(link) => self.connected(link),
            Event::Disconnected(link, trouble) => self.disconnected(link, trouble),
            Event::Answered(id, result) => self.answered(id, result),
            Event::Owned(owned) => self.own(owned),
            Event::Lost(id) => self.lose(id),
            Event::Read { id, start, room } => self.start_reading(id, start, room),
            Event::Room(id, count) => self.give_room(id, count),
            Event::Closed(id) => self.stop_reading(id),
            Event::Look(id) => self.look(id),
            Event::Commit(commit) => self.wish(commit),
            Event::Undecodable { id, entry, error } => self.put_aside(id, entry, error),
            Event::Shutdown(deadline) => self.shut_down(deadline),
        }
        self.do_what_is_due();
        self.wake = self.next_wake();
        #[cfg(debug_assertions)]
        self.check();
    }

    /// The next thing to do. Call it until it answers [`Output::Wait`], then call [`Machine::handle`] with whatever
    /// happens first: an event, or [`Event::Timeout`] at the instant that it names, if it names one.
    pub fn poll(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or(Output::Wait(self.wake))
    }

    /// Whether the machine has stopped for good. A commit is answered all the same: [`CommitEnd::Lost`].
    pub fn stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// How many streams it was told of that are owned.
    pub fn owned(&self) -> usize {
        self.streams.len()
    }

    /// How many entries were delivered that the application has not taken in.
    pub fn buffered(&self) -> usize {
        self.reading.buffered()
    }

    /// Everything that time or the event has made due, in the order in which it matters.
    fn do_what_is_due(&mut self) {
        self.look_again();
        self.connect_what_is_down();
        self.prepare();
        self.open_streams();
        self.set_aside();
        self.commit();
        self.wake_reader();
        self.read();
        self.stop_if_finished();
    }

    /// When something becomes due by itself.
    fn next_wake(&self) -> Option<Time> {
        if self.stopped() {
            return None;
        }
        let due = [
            self.again.first().map(|(at, _)| *at),
            self.links.next_due(self.wanted_links()),
            self.prepare_due(),
            self.open_due(),
            self.aside_due(),
            self.commit_due(),
            self.wake_due(),
            self.read_due(),
            self.stop_due(),
        ];
        due.into_iter().flatten().min()
    }

    fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// What could not be used, or was not there, is tried again.
    fn look_again(&mut self) {
        while let Some((at, id)) = self.again.first().copied()
            && at <= self.now
        {
            self.again.pop_first();
            self.open_again(id);
            self.place(id);
            self.commit_soon(id);
            self.set_aside_soon(id);
        }
    }

    fn command(&mut self, command: Command) {
        let hangs_up = matches!(command, Command::Disconnect(_));
        assert!(self.stopped() == hangs_up, "connections are dropped at the end, and nothing else is: {command:?}");
        self.outputs.push_back(Output::Command(command));
    }

    fn deliver(&mut self, id: OwnedId, delivery: Delivery) {
        assert!(self.streams.contains_key(&id), "{id:?} is told something, and is not owned");
        let empty = matches!(&delivery, Delivery::Entries(entries) if entries.is_empty());
        assert!(!empty, "{id:?} is told of no entries");
        let reads = self.streams.get(&id).is_some_and(|stream| stream.reader.is_some());
        assert!(reads || !matches!(delivery, Delivery::Entries(_)), "{id:?} is given entries, and nobody reads");
        self.outputs.push_back(Output::Deliver(id, delivery));
    }

    fn answer_ticket(&mut self, ticket: Ticket, end: CommitEnd) {
        self.outputs.push_back(Output::Committed(ticket, end));
    }

    fn remark(&mut self, remark: Remark) {
        self.outputs.push_back(Output::Remark(remark));
    }
}

/// The connection that a call goes over.
pub fn link_of(call: &Call) -> Link {
    match call {
        Call::Identify | Call::Fetch(_) | Call::Wait { .. } => Link::Reader,
        Call::Prepare | Call::Open(_) | Call::Wake { .. } | Call::Commit(_) | Call::SetAside(_) => Link::Commands,
    }
}
