//! What can happen next in an explored world.

use std::{fmt, time::Duration};

use streamkeeper_core::{id::EntryId, link::Link, streams::End};

use super::{bounds::Kind, truth::name};

/// One step from a state to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next call of a consumer fares so.
    Call(usize, Fate),
    /// A consumer's wait for announcements arrives where there are some; the answer is heard, or lost.
    Read(usize, bool),
    /// A call over a connection that was given up arrives all the same.
    Stale(usize),
    /// A notification to a consumer fares so.
    Hint(usize, Heard),
    /// Redis finds that a lease has lapsed.
    Expire,
    /// Time passes, until something happens by itself.
    Pass,
    /// A connection breaks.
    Cut(usize, Link),
    Crash(usize),
    Boot(usize),
    Pause(usize, Duration),
    Restart(Forgotten),
    /// An application ends an ownership.
    End(usize, EntryId, End),
    /// An application stops its consumer.
    Stop(usize),
}

/// How a notification fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Now,
    Late(Duration),
    Never,
}

/// How a call fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is executed, and answered.
    Well,
    /// It is executed; the connection breaks before the answer.
    AnswerLost,
    /// It is executed, as are those that follow; no answer comes over this connection any more.
    Silence,
    /// It is executed; the answers over this connection come this much later.
    AnswerLate(Duration),
    /// The connection breaks before it arrives.
    Lost,
    /// It and those that follow it over this connection arrive this much later.
    Late(Duration),
}

/// What a server that starts again does not know any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgotten {
    Everything,
    /// What has happened since the beginning.
    SinceBeginning,
    /// The latest change of an ownership: a replica is promoted.
    LatestChange,
}

impl Step {
    /// Whether it takes one of the faults that may happen.
    pub(crate) fn is_fault(self) -> bool {
        self.kind().is_some()
    }

    /// Which kind of fault it is, if it is one.
    pub(crate) fn kind(self) -> Option<Kind> {
        match self {
            Step::Call(_, Fate::Lost | Fate::AnswerLost | Fate::Silence) | Step::Read(_, false) => Some(Kind::Lost),
            Step::Call(_, Fate::Late(_) | Fate::AnswerLate(_)) => Some(Kind::Late),
            Step::Hint(_, Heard::Late(_) | Heard::Never) => Some(Kind::Hint),
            Step::Cut(..) => Some(Kind::Cut),
            Step::Crash(_) | Step::Boot(_) => Some(Kind::Crash),
            Step::Pause(..) => Some(Kind::Pause),
            Step::Restart(_) => Some(Kind::Restart),
            Step::Call(_, Fate::Well) | Step::Read(_, true) | Step::Hint(_, Heard::Now) => None,
            Step::Stale(_) | Step::Expire | Step::Pass | Step::End(..) | Step::Stop(_) => None,
        }
    }

    /// Whether a reader of a story wants to see it as a line of its own.
    pub(crate) fn is_told(self) -> bool {
        self.is_fault() || matches!(self, Step::End(..) | Step::Stop(_) | Step::Expire | Step::Stale(_))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Call(node, Fate::Well) => write!(f, "the next call of {} is executed and answered", name(*node)),
            Step::Call(node, Fate::AnswerLost) => {
                write!(f, "the next call of {} is executed; the connection breaks before the answer", name(*node))
            }
            Step::Call(node, Fate::Silence) => {
                write!(f, "from here on no answer to {} arrives over its connection", name(*node))
            }
            Step::Call(node, Fate::AnswerLate(by)) => write!(f, "answers to {} come {by:?} late", name(*node)),
            Step::Call(node, Fate::Lost) => {
                write!(f, "the connection of {} breaks before its call arrives", name(*node))
            }
            Step::Call(node, Fate::Late(by)) => write!(f, "calls of {} arrive {by:?} late", name(*node)),
            Step::Read(node, true) => write!(f, "{} is handed an announcement", name(*node)),
            Step::Read(node, false) => {
                write!(f, "an announcement is handed to {}; the connection breaks before it arrives", name(*node))
            }
            Step::Stale(node) => {
                write!(f, "a call over a connection that {} gave up arrives all the same", name(*node))
            }
            Step::Hint(node, Heard::Now) => write!(f, "{} hears a notification", name(*node)),
            Step::Hint(node, Heard::Late(by)) => write!(f, "a notification to {} comes {by:?} late", name(*node)),
            Step::Hint(node, Heard::Never) => write!(f, "a notification to {} is lost", name(*node)),
            Step::Expire => f.write_str("Redis finds that a lease has lapsed"),
            Step::Pass => f.write_str("time passes"),
            Step::Cut(node, link) => write!(f, "the connection {link:?} of {} breaks", name(*node)),
            Step::Crash(node) => write!(f, "{} crashes", name(*node)),
            Step::Boot(node) => write!(f, "{} starts", name(*node)),
            Step::Pause(node, span) => write!(f, "{} stands still for {span:?}", name(*node)),
            Step::Restart(Forgotten::Everything) => f.write_str("Redis starts again, with nothing in its memory"),
            Step::Restart(Forgotten::SinceBeginning) => f.write_str("Redis starts again, as it was at the beginning"),
            Step::Restart(Forgotten::LatestChange) => {
                f.write_str("a replica takes the place of Redis that lacks the latest change of an ownership")
            }
            Step::Stop(node) => write!(f, "the application of {} stops it", name(*node)),
            Step::End(node, entry, End::Done) => write!(f, "the application of {} finishes {entry}", name(*node)),
            Step::End(node, entry, End::Release) => {
                write!(f, "the application of {} gives {entry} back", name(*node))
            }
        }
    }
}
