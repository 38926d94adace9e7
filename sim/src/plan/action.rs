//! What happens at a time of a plan. How it is written: [`text`](super::text).

/// In which direction bytes do not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Neither.
    Both,
    /// From the consumer to Redis.
    Out,
    /// From Redis to the consumer.
    In,
}

use super::{RedisFault, Sending};

/// What happens at a time of a plan: an operation or a fault. Lasting faults end by themselves.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Announce these streams, one announcement each.
    Announce {
        /// `prefix` and a number from `from` on.
        prefix: String,
        /// The first number.
        from: u64,
        /// How many.
        count: u64,
    },
    /// Add entries to the data streams of these names.
    Append {
        /// `prefix` and a number from `from` on.
        prefix: String,
        /// The first number.
        from: u64,
        /// How many streams.
        count: u64,
        /// How many entries to each.
        entries: u64,
    },
    /// Announce something that is no announcement.
    Malformed {
        /// Which kind of malformed (any number).
        kind: u8,
    },
    /// Start a consumer that does not run: for the first time, or after a crash or a drain.
    Start {
        /// Which.
        consumer: usize,
        /// Under a name that nobody has had; otherwise under its own.
        renamed: bool,
    },
    /// Kill a consumer's process.
    Crash {
        /// Which.
        consumer: usize,
    },
    /// Tell a consumer to give everything back and stop.
    Drain {
        /// Which.
        consumer: usize,
        /// Within so many milliseconds.
        deadline_ms: u64,
    },
    /// A consumer's process stands still: GC, SIGSTOP. Its clock goes on.
    Pause {
        /// Which.
        consumer: usize,
        /// For so long.
        ms: u64,
        /// Not at once, but at the next such point.
        point: Point,
    },
    /// The consumer's machine is suspended: like a pause, and tokio's timers have not run either.
    Suspend {
        /// Which.
        consumer: usize,
        /// For so long.
        ms: u64,
    },
    /// No bytes pass; connections that stand are dead after it, as with a firewall that forgot them.
    Partition {
        /// Which.
        consumer: usize,
        /// In which direction.
        way: Way,
        /// For so long.
        ms: u64,
    },
    /// No bytes pass, and all arrive afterwards.
    Stall {
        /// Which.
        consumer: usize,
        /// In which direction.
        way: Way,
        /// For so long.
        ms: u64,
    },
    /// All connections of a consumer break.
    Reset {
        /// Which.
        consumer: usize,
    },
    /// Bytes take so much longer.
    Slow {
        /// Which.
        consumer: usize,
        /// In each direction.
        by_ms: u64,
        /// For so long.
        ms: u64,
    },
    /// What this consumer asks next is executed, but the answer never leaves: the connection breaks instead.
    LoseAnswer {
        /// Which.
        consumer: usize,
        /// How many of its calls, before that, are answered.
        after: u32,
    },
    /// Send messages.
    Send(Sending),
    /// What the producer of messages asks next is executed, but the answer never leaves: the connection breaks instead.
    LoseSend {
        /// How many of its calls, before that, are answered.
        after: u32,
    },
    /// The applications' wish for one stream, whoever owns it: `done`, `release` or `fail`.
    Wish {
        /// The stream's name.
        stream: String,
        /// The wish.
        end: Wish,
    },
    /// Something befalls Redis.
    Redis(RedisFault),
    /// Nothing: a word for the reader, shown in the report.
    Note(String),
}

/// Where a pause strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// At once, at whatever await the process stands.
    Now,
    /// When an answer of Redis has arrived and has not been looked at.
    Answer,
    /// When a stream was added and its handler has not begun.
    Handler,
    /// When a call has been sent.
    Call,
}

/// How an application wants an ownership to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Finish.
    Done,
    /// Give back.
    Release,
    /// Give back since the handler failed.
    Fail,
}

impl Action {
    /// The consumer that it befalls, if it is one.
    pub fn consumer(&self) -> Option<usize> {
        self.clone().consumer_mut().copied()
    }

    pub(super) fn consumer_mut(&mut self) -> Option<&mut usize> {
        match self {
            Action::Start { consumer, .. }
            | Action::Crash { consumer }
            | Action::Drain { consumer, .. }
            | Action::Pause { consumer, .. }
            | Action::Suspend { consumer, .. }
            | Action::Partition { consumer, .. }
            | Action::Stall { consumer, .. }
            | Action::Reset { consumer }
            | Action::Slow { consumer, .. }
            | Action::LoseAnswer { consumer, .. }
            | Action::Redis(RedisFault::DeleteConsumer { consumer }) => Some(consumer),
            _ => None,
        }
    }

    /// How long it lasts, in milliseconds, if it does.
    pub fn ms(&self) -> Option<u64> {
        self.clone().ms_mut().copied()
    }

    pub(super) fn ms_mut(&mut self) -> Option<&mut u64> {
        match self {
            Action::Pause { ms, .. }
            | Action::Suspend { ms, .. }
            | Action::Partition { ms, .. }
            | Action::Stall { ms, .. }
            | Action::Slow { ms, .. } => Some(ms),
            Action::Redis(fault) => fault.ms_mut(),
            _ => None,
        }
    }

    /// Something that goes wrong, and not something that is wished for.
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Action::Announce { .. }
                | Action::Append { .. }
                | Action::Send(_)
                | Action::Start { .. }
                | Action::Drain { .. }
                | Action::Wish { .. }
                | Action::Note(_)
        )
    }
}
