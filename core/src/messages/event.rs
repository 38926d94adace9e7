//! What the machine is told, and what it tells.

use std::{fmt, time::Duration};

use super::call::{Answer, Call, Fields, History, Reason};
use crate::{
    id::{CallId, EntryId},
    link::Link,
    time::Time,
    trouble::Trouble,
};

/// A fact for the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Nothing but that time has passed: the wake-up that the machine asked for.
    Timeout,
    /// A connection that [`Command::Connect`] asked for is there.
    Connected(Link),
    /// A connection could not be made, or broke. Calls on it that were not answered are answered with their own
    /// trouble, before or after this.
    Disconnected(Link, Trouble),
    /// An answer to a call.
    Answered(CallId, Result<Answer, Trouble>),
    /// Runs have ended: each exactly once, also those that were cancelled.
    Ran(Vec<(RunId, Outcome)>),
    /// The application wants no new runs to start (`true`), or wants them again.
    Pause(bool),
    /// Start nothing more; what runs may finish until this instant, then it is cancelled and given back.
    Shutdown(Time),
}

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Drop this connection if there is one, and make a new one.
    Connect(Link),
    /// Drop this connection.
    Disconnect(Link),
    /// Execute a call, and answer it.
    Call(CallId, Call),
    /// Start a run.
    Start(Run),
    /// Tell a run that its message is not its own any more: whatever it does but succeed will be ignored.
    Lost(RunId),
    /// Stop a run where it stands. It still ends with [`Event::Ran`], with whatever outcome.
    Cancel(RunId),
}

/// One call of the worker for one message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Which.
    pub id: RunId,
    /// The message.
    pub entry: EntryId,
    /// What is called.
    pub stage: Stage,
    /// Which attempt this is, from 1 on: runs that failed or crashed before, and this one.
    pub attempt: u32,
    /// How often Redis has delivered the message.
    pub deliveries: u64,
    /// What went wrong with it earlier, if anything did.
    pub history: Option<History>,
    /// What the message says.
    pub fields: Fields,
    /// It begins before this instant or not at all, and ends as [`Outcome::NotBegun`] then: the process may have stood
    /// still, and its message may be another's.
    pub begins_before: Time,
}

/// What is called for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// `process`, or `process_broken` if it cannot be decoded.
    Process,
    /// `process_dead`, for this reason.
    Dead(Reason),
}

/// Which run of this process.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}", self.0)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It succeeded. In the stage [`Stage::Dead`]: the application has taken care, nothing is to be buried.
    Ack,
    /// It failed, or panicked; again after this pause, or after the backoff's.
    Failed {
        /// What it said.
        error: Box<str>,
        /// The pause that the worker wants.
        pause: Option<Duration>,
    },
    /// Never again: to the dead letter stream. From the stage [`Stage::Process`] with the reason
    /// [`Reason::Rejected`] or, if it could not be decoded, [`Reason::Broken`].
    Dead {
        /// Why.
        reason: Reason,
        /// What it said.
        error: Box<str>,
    },
    /// Never again, and nowhere: acknowledged like a success, counted as dropped.
    Drop,
    /// It was cancelled before it ended.
    Cancelled,
    /// It never began: it was cancelled before that, or [`Run::begins_before`] had passed. As if it had not been
    /// started: nothing is counted.
    NotBegun,
}

/// What became of a message here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Acknowledged.
    Acked,
    /// Acknowledged since the worker dropped it.
    Dropped,
    /// Acknowledged without a run: it was processed already.
    Duplicate,
    /// Put aside: due again after so long.
    Retried(Duration),
    /// Given back without having failed.
    Returned,
    /// In the dead letter stream.
    Buried(Reason),
    /// It is another's now, or gone.
    Lost,
}

/// A fact for the application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Notification {
    /// The server is prepared: messages can come.
    Ready,
    /// It has stopped, as wished.
    Stopped(Report),
    /// Nothing can go on.
    Terminated(Trouble),
}

/// What a stop left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// Runs that ended by themselves before the deadline, counted from the wish to stop.
    pub finished: usize,
    /// Messages that were given back unfinished.
    pub returned: usize,
    /// Messages that stay pending until others reclaim them: their run could not be stopped, or Redis did not answer.
    pub left: usize,
}

/// Something that logs and meters may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Remark {
    /// A connection is lost, and tried again after this pause.
    LinkDown {
        /// Which.
        link: Link,
        /// Why.
        trouble: Trouble,
        /// The pause.
        pause: Duration,
    },
    /// A call was refused; what it was about is tried again.
    CallFailed {
        /// Its name.
        call: &'static str,
        /// Why.
        trouble: Trouble,
    },
    /// An answer came to no known question.
    StrayAnswer(CallId),
    /// The server is prepared, or prepared again.
    Prepared(Box<super::call::Server>),
    /// The group was lost and has been created again: what was in flight comes again.
    GroupLost,
    /// The driver stood still for so long.
    Paused(Duration),
    /// A message that is held cannot be judged: what is wrong with its keys.
    Broken(EntryId, Box<str>),
    /// A message was put aside by the reclaimer, and has crashed its process so often.
    Reclaimed(EntryId, u32),
    /// A run has lasted ten times `reclaim_idle`: it may hang.
    Hangs(EntryId, Duration),
    /// A run is over its `timeout` and was cancelled.
    TimedOut(EntryId),
    /// What was cleared away.
    Swept(super::call::Swept),
}

/// What [`Machine::poll`](super::Machine::poll) answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// To be done.
    Command(Command),
    /// For the application.
    Notification(Notification),
    /// What became of messages.
    Settled(Vec<(EntryId, Fate)>),
    /// For logs and meters.
    Remark(Remark),
    /// Nothing more for now: wait for an event, at most until this instant.
    Wait(Option<Time>),
}
