//! Who works on which message: the machine of the second half. Many workers share one stream through a consumer group,
//! message by message, at least once. `docs/messages.md` is the protocol in prose.
//!
//! ```text
//!   Event ──▶ handle(event, now) ──▶ ┌─────────────┐ ──▶ poll() ──▶ Command        for Redis and for the runs
//!                                    │   Machine   │                Notification   for the application
//!                                    └─────────────┘                Settled        what became of messages
//!                                                                   Remark         for logs and meters
//!                                                                   Wait(until)    nothing more, for now
//! ```
//!
//! Only [`Machine::handle`] changes the machine; [`Machine::poll`] hands out what is to be done, until it answers
//! [`Output::Wait`]. One machine is one consumer of one group on one stream.

pub mod call;
pub mod config;
pub mod event;
pub mod keys;

mod acks;
mod admit;
mod answers;
mod asked;
#[cfg(debug_assertions)]
mod checks;
mod held;
mod outcome;
mod own;
mod rates;
mod read;
mod reclaim;
mod refresh;
mod runs;
mod server;
mod settle;
mod stop;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

pub use crate::link::Link;
pub use call::{Answer, Call};
pub use config::{Config, Settings};
pub use event::{Command, Event, Fate, Notification, Outcome, Output, Remark, Report, Run, RunId, Stage};
pub use keys::{Consumer, Keys, NameError};

use crate::{
    backoff::Dice,
    id::{CallId, EntryId},
    link::Links,
    time::Time,
    trouble::Trouble,
};

/// One consumer of one group on one stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    config: Config,
    dice: Dice,
    /// The latest instant that it was told.
    now: Time,
    /// The instant at which it asked to be woken.
    wake: Option<Time>,
    phase: Phase,
    /// The application wants no new runs.
    paused: bool,
    outputs: VecDeque<Output>,
    /// What became of messages during this event.
    settled: Vec<(EntryId, Fate)>,
    calls: BTreeMap<CallId, asked::Asked>,
    last_call: u64,
    holds: held::Holds,
    links: Links,
    server: server::State,
    reading: read::State,
    own: own::State,
    runs: runs::State,
    rates: rates::State,
    settling: settle::State,
    refreshes: refresh::State,
    reclaiming: reclaim::State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Running,
    Stopping(stop::Stop),
    Stopped,
}

impl Machine {
    /// A machine that has not connected yet. `seed` makes its jitter its own: random in production.
    pub fn new(config: Config, seed: u64) -> Machine {
        Machine {
            dice: Dice::new(seed),
            now: Time::ZERO,
            wake: None,
            phase: Phase::Running,
            paused: false,
            outputs: VecDeque::new(),
            settled: Vec::new(),
            calls: BTreeMap::new(),
            last_call: 0,
            holds: held::Holds::default(),
            links: Links::new(),
            server: server::State::default(),
            reading: read::State::default(),
            own: own::State::default(),
            runs: runs::State::default(),
            rates: rates::State::new(&config),
            settling: settle::State::default(),
            refreshes: refresh::State::default(),
            reclaiming: reclaim::State::default(),
            config,
        }
    }

    /// Takes in a fact. A `now` before an earlier one counts as that earlier one.
    pub fn handle(&mut self, event: Event, now: Time) {
        if self.stopped() {
            return;
        }
        self.advance_clock(now);
        match event {
            Event::Timeout => {}
            Event::Connected(link) => self.connected(link),
            Event::Disconnected(link, trouble) => self.disconnected(link, trouble),
            Event::Answered(id, result) => self.answered(id, result),
            Event::Ran(ends) => self.ran(ends),
            Event::Pause(paused) => self.pause(paused),
            Event::Shutdown(deadline) => self.shut_down(deadline),
        }
        if !self.stopped() {
            self.do_what_is_due();
        }
        if !self.settled.is_empty() {
            let settled = std::mem::take(&mut self.settled);
            self.outputs.push_back(Output::Settled(settled));
        }
        self.wake = self.next_wake();
        #[cfg(debug_assertions)]
        self.check();
    }

    /// The next thing to do. Call it until it answers [`Output::Wait`], then call [`Machine::handle`] with whatever
    /// happens first: an event, or [`Event::Timeout`] at the instant that it names.
    pub fn poll(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or(Output::Wait(self.wake))
    }

    /// Whether the machine has stopped for good.
    pub fn stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// How many messages it holds: those that wait, run, or have ended and are not settled yet.
    pub fn held(&self) -> usize {
        self.holds.len()
    }

    /// How many runs are under way.
    pub fn running(&self) -> usize {
        self.runs.under_way()
    }

    /// How many more messages may be asked for now. Up to a `batch` of those that wait for their ordering key take up
    /// nothing: one slow key would else stop all others.
    pub fn room(&self) -> usize {
        let reserved = self.reading.reserved() + self.own.reserved();
        let capacity = self.config.concurrency + self.config.prefetch + usize::from(self.runs.suspect_waits());
        let behind = self.holds.behind().saturating_sub(self.config.batch);
        let free = capacity.saturating_sub(self.holds.waiting() + behind + self.holds.slots() + reserved);
        free.min(self.most_held().saturating_sub(self.holds.len() + reserved))
    }

    /// How many messages are held at most. Those that have ended and are being settled are no reason to read less,
    /// unless there are too many of them.
    fn most_held(&self) -> usize {
        let capacity = self.config.concurrency + self.config.prefetch;
        capacity + capacity.max(2 * self.config.batch)
    }

    /// There is room for what is on its way, so many more among it.
    fn assert_room(&self, count: usize) {
        let all = self.holds.len() + self.reading.reserved() + self.own.reserved();
        assert!(count == 0 || all <= self.most_held(), "{all} may be held, {} are too many", self.most_held() + 1);
    }

    fn advance_clock(&mut self, now: Time) {
        if now > self.now {
            let late = self.wake.map_or(Duration::ZERO, |wake| now.since(wake.max(self.now)));
            self.now = now;
            if late >= self.config.reclaim_idle / 10 {
                self.remark(Remark::Paused(late));
            }
            if late >= self.config.refresh_interval() {
                // Perhaps everybody stood still, and the others have yet to refresh what they hold.
                self.distrust_idle_times();
            }
        }
    }

    /// Everything that time or the event has made due, in the order in which it matters.
    fn do_what_is_due(&mut self) {
        self.connect_what_is_down();
        self.prepare();
        self.cut_off_late_runs();
        self.stop_at_the_deadline();
        self.refresh();
        self.go_on_sifting();
        self.list_own();
        self.ask_for_due();
        self.start_runs();
        self.settle();
        self.read();
        self.reclaim();
        self.sweep();
        self.stop_if_finished();
    }

    /// When something becomes due by itself.
    fn next_wake(&self) -> Option<Time> {
        if self.stopped() {
            return None;
        }
        let first = [
            self.links.next_due(self.wanted_links()),
            self.prepare_due(),
            self.timeout_due(),
            self.hang_due(),
            self.stop_due(),
            self.tick_due(),
            self.refresh_due(),
            self.listing_due(),
            self.fetch_due(),
            self.ask_due(),
            self.start_due(),
            self.permits_due(),
            self.settling_due(),
            self.read_due(),
            self.reclaim_due(),
            self.sweep_due(),
        ];
        // A machine that does not know what to wait for looks again all the same.
        let last = self.now + self.config.reclaim_idle;
        Some(first.into_iter().flatten().fold(last, Time::min))
    }

    fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether runs may be started and messages asked for.
    fn is_open(&self) -> bool {
        self.is_running() && !self.paused
    }

    /// What becomes due during a pause is asked for as soon as things go on.
    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.ask_soon(Duration::ZERO);
    }

    fn command(&mut self, command: Command) {
        let hangs_up = |link| command == Command::Disconnect(link);
        let fits =
            if self.stopped() { hangs_up(Link::Commands) || hangs_up(Link::Reader) } else { !hangs_up(Link::Commands) };
        assert!(fits, "at the end connections are dropped, and before it none but an idle reader's: {command:?}");
        if let Command::Lost(run) | Command::Cancel(run) = &command {
            assert!(self.runs.is_live(*run), "{run:?} is told something, and has ended");
        }
        self.outputs.push_back(Output::Command(command));
    }

    fn notify(&mut self, notification: Notification) {
        assert!(!self.stopped(), "after the end it says {notification:?}");
        self.outputs.push_back(Output::Notification(notification));
    }

    fn remark(&mut self, remark: Remark) {
        self.outputs.push_back(Output::Remark(remark));
    }

    /// Nothing can go on.
    fn terminate(&mut self, trouble: Trouble) {
        self.cancel_runs();
        self.notify(Notification::Terminated(trouble));
        self.end();
    }

    fn end(&mut self) {
        assert!(!self.stopped(), "it ends once");
        debug_assert!(self.all_are_told_to_stop(), "it ends, and a run knows nothing of it");
        self.phase = Phase::Stopped;
        self.calls.clear();
        for link in [Link::Commands, Link::Reader] {
            self.command(Command::Disconnect(link));
        }
    }
}

/// The connection that a call goes over.
pub fn link_of(call: &Call) -> Link {
    match call {
        Call::Read { .. } => Link::Reader,
        _ => Link::Commands,
    }
}
