//! A consumer of an explored world: the machine, and everything that is on its way from it or to it.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::Hash,
};

use streamkeeper::Time;
use streamkeeper_core::{
    id::CallId,
    streams::{Answer, Call, Event, Machine},
    trouble::Trouble,
};

use super::digest::{self, Digest};

/// A consumer at one instant.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    life: Life,
    /// The digest of its life; `None`: it has changed since.
    digest: Option<Digest>,
}

/// All that a consumer consists of.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Life {
    /// `None`: it does not run.
    pub(crate) machine: Option<Box<Machine>>,
    /// How often it was started.
    pub(crate) starts: u64,
    /// The instant at which the machine wants to be woken, by true time.
    pub(crate) wake: Option<Time>,
    /// It stands still until then.
    pub(crate) paused_until: Option<Time>,
    /// What came while it stood still.
    pub(crate) inbox: VecDeque<Event>,
    pub(crate) commands: Connection,
    /// The wait for announcements.
    pub(crate) read: Option<Read>,
    pub(crate) reader_up: bool,
    pub(crate) subscriber_up: bool,
    /// Notifications and the doorbell, on their way to it.
    pub(crate) hints: VecDeque<Event>,
    /// Those that come later than they should.
    pub(crate) late_hints: VecDeque<(Time, Event)>,
    /// Calls of connections that it has given up, still on their way.
    pub(crate) stale: VecDeque<(Time, Call)>,
}

/// The connection for commands.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Connection {
    pub(crate) up: bool,
    /// Calls that have not arrived.
    pub(crate) sent: VecDeque<(CallId, Call)>,
    /// Nothing arrives at the server before then.
    pub(crate) out_until: Option<Time>,
    /// Answers that have not arrived.
    pub(crate) back: VecDeque<(CallId, Result<Answer, Trouble>)>,
    /// No answer arrives before then.
    pub(crate) in_until: Option<Time>,
    /// Those that wait for an answer, and since when.
    pub(crate) unanswered: BTreeMap<CallId, Time>,
}

/// A wait for announcements.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Read {
    pub(crate) id: CallId,
    pub(crate) call: Call,
    /// It waits at the server until then; `None`: it has not arrived.
    pub(crate) until: Option<Time>,
}

impl Node {
    /// A consumer that does not run.
    pub(crate) fn new() -> Node {
        Node { life: Life::default(), digest: None }
    }

    pub(crate) fn life(&self) -> &Life {
        &self.life
    }

    /// To be changed: its digest has to be made anew.
    pub(crate) fn life_mut(&mut self) -> &mut Life {
        self.digest = None;
        &mut self.life
    }

    /// Makes the digest, if it has changed.
    pub(crate) fn seal(&mut self) {
        self.digest.get_or_insert_with(|| digest::of(&self.life));
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.digest.is_some()
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest.unwrap_or_else(|| digest::of(&self.life))
    }
}

impl Life {
    /// Whether it runs, and time passes for it.
    pub(crate) fn is_awake(&self) -> bool {
        self.machine.is_some() && self.paused_until.is_none()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.machine.is_some()
    }

    /// Everything of it is gone, but what is on its way to the server.
    pub(crate) fn crash(&mut self) {
        let mut stale = std::mem::take(&mut self.stale);
        if let Some(until) = self.commands.out_until {
            stale.extend(self.commands.sent.drain(..).map(|(_, call)| (until, call)));
        }
        *self = Life { starts: self.starts, stale, ..Life::default() };
    }

    /// The connection for commands is gone. What had not left the host is gone with it; what is held on the way still
    /// arrives. The calls that will not be answered.
    pub(crate) fn drop_commands(&mut self) -> Vec<CallId> {
        let commands = std::mem::take(&mut self.commands);
        if let Some(until) = commands.out_until {
            self.stale.extend(commands.sent.into_iter().map(|(_, call)| (until, call)));
        }
        commands.unanswered.into_keys().collect()
    }

    /// When something happens to it by itself next; `timeout` is how long a call may take.
    pub(crate) fn next(&self, timeout: std::time::Duration) -> Option<Time> {
        let stale = self.stale.front().map(|(at, _)| *at);
        let hint = self.late_hints.front().map(|(at, _)| *at);
        let read = self.read.as_ref().and_then(|read| read.until);
        let held = [self.commands.out_until, self.commands.in_until.filter(|at| *at < NEVER)];
        let by_itself = if self.is_awake() {
            let late = self.commands.unanswered.values().min().map(|issued| *issued + timeout);
            [self.wake, late]
        } else {
            [self.paused_until, None]
        };
        by_itself.into_iter().chain(held).chain([stale, hint, read]).flatten().min()
    }
}

/// An instant that is not lived to see.
pub(crate) const NEVER: Time = Time::from_micros(u64::MAX);
