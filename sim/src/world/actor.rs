//! Who takes part in a run, as the director knows them: whatever they are made of.

use super::{checkpoints::Armed, consumer, producer};
use crate::facts::Who;

/// A consumer: one process after the other under one name.
pub(crate) trait Actor {
    /// Its id, as it stands in Redis.
    fn id(&self) -> String;

    /// Its host is about to be started.
    fn rise(&self);

    /// Its host runs, if only to start a process again.
    fn is_up(&self) -> bool;

    /// The process that runs, if one does.
    fn running(&self) -> Option<Who>;

    /// It has been started at least once.
    fn has_lived(&self) -> bool;

    /// From the next start on it has a name that nobody has had.
    fn rename(&self);

    /// Tells the process that runs, if there is one.
    fn tell(&self, order: consumer::Order);

    /// The process was killed.
    fn killed(&self);

    /// The next time that the process reaches a point, it pauses.
    fn arm(&self, armed: Armed);

    /// What has not struck does not strike any more.
    fn disarm(&self);

    /// The process stands still at a point.
    fn is_paused(&self) -> bool;
}

/// The producers.
pub(crate) trait Orders {
    /// Tells them.
    fn tell(&self, order: producer::Order);
}
