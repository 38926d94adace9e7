//! Who owns which stream: the ownership machine.

pub mod call;
pub mod event;
pub mod notification;

use crate::{
    config::Config,
    id::{ConsumerId, EntryId},
    keys::Keys,
    time::Time,
};

pub use call::{Answer, Call};
pub use event::{Command, End, Event, Link, Output, Remark, Wake};
pub use notification::Notification;

/// One consumer of one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {}

impl Machine {
    /// A machine that has not connected yet. `seed` makes its attempts and jitter its own: random in production.
    pub fn new(_keys: Keys, _consumer: ConsumerId, _config: Config, _seed: u64) -> Machine {
        Machine {}
    }

    /// Takes in a fact. `now` must not be earlier than in any call before.
    pub fn handle(&mut self, _event: Event, _now: Time) {}

    /// The next thing to do; call it until it answers [`Output::Wait`].
    pub fn poll(&mut self, _now: Time) -> Output {
        Output::Wait(None)
    }

    /// Whether the lease of this announcement is valid at this instant.
    pub fn owns(&self, _entry: EntryId, _now: Time) -> bool {
        false
    }

    /// How many streams are owned.
    pub fn owned(&self) -> usize {
        0
    }

    /// Whether the machine has stopped for good.
    pub fn stopped(&self) -> bool {
        false
    }
}
