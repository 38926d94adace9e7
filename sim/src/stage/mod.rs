//! Where hosts live: a network, and time that jumps. Two fill it: an event-driven network of our own, for volume, and
//! turmoil. The world above does not know which.

pub(crate) mod address;
pub mod events;
mod freeze;
mod panics;
mod road;
#[cfg(test)]
mod tests;
pub(crate) mod time;
pub mod turmoil;
pub(crate) mod ways;

use std::{rc::Rc, sync::Arc, time::Duration};

use futures::future::LocalBoxFuture;
use streamkeeper::{ByteStream, Clock, Connect, Dial, Time};

use crate::plan::Way;

/// A host's number: 0 is Redis, a consumer's is its index + 1; the producer comes next, and then what other servers there
/// are.
pub type HostId = usize;

/// Redis's host: of several servers, the first.
pub const REDIS: HostId = 0;

/// A host, and a server that it reaches.
pub type Between = (HostId, HostId);

/// How long TCP waits before it knocks again where nobody has answered, for the first time.
pub(crate) const KNOCK_AGAIN: Duration = Duration::from_secs(1);

/// What a host runs: called at each start.
pub type Boot = Rc<dyn Fn() -> LocalBoxFuture<'static, ()>>;

/// What the server's host does with each connection that it accepts, called with the number of the host that it comes
/// from. Spawned on the server's host.
pub type Accept = Rc<dyn Fn(HostId, Box<dyn ByteStream>) -> LocalBoxFuture<'static, ()>>;

/// How things go: time passes, hosts come and go, and what lies between them works or does not. All that whoever lets a
/// plan happen needs to know of a stage. All times are true simulated time since the beginning.
pub trait Course {
    /// The present.
    fn now(&self) -> Time;

    /// Lets everything happen until then.
    fn run_until(&mut self, at: Time);

    /// Starts a host that does not run.
    fn start(&mut self, host: HostId);

    /// Kills a host: its tasks are gone, its connections reset.
    fn crash(&mut self, host: HostId);

    /// A host's software stands still until then, at whatever await it has reached, whatever it was told before; its
    /// sockets fill, its timers fire late. Its clock goes on, as `CLOCK_BOOTTIME` does: a suspended machine is the same,
    /// except that its timers would fire later still, by the length of the suspension.
    fn freeze(&mut self, host: HostId, until: Time);

    /// From now on bytes between a host and a server are held back, in that direction; or flow again, all of them.
    fn stall(&mut self, between: Between, way: Way, on: bool);

    /// From now on nothing passes between a host and a server, in that direction; connections that stood when it was
    /// switched on are dead for ever: bytes that they send vanish.
    fn partition(&mut self, between: Between, way: Way, on: bool);

    /// All connections between a host and a server break.
    fn reset(&mut self, between: Between);

    /// How much longer than the plan's latency each byte takes between a host and a server, each way.
    fn slow(&mut self, between: Between, by: Duration);

    /// Panics that nobody caught, in words, since this was last asked.
    fn panics(&mut self) -> Vec<String>;
}

/// A network with hosts on it, for what is made of bytes and tasks.
pub trait Stage: Course {
    /// Adds a host, not started. All hosts are added before the first `run_until`.
    fn host(&mut self, host: HostId, boot: Boot);

    /// Adds a server, and starts it: what connects to it is handed to `accept`.
    fn server(&mut self, host: HostId, accept: Accept);

    /// The handle with which a host freezes itself, from inside, at its next await: at least for so long.
    fn freezer(&self, host: HostId) -> Freezer;

    /// How a host reaches the one Redis: the seam of the shell. The clock runs fast by `drift_ppm`.
    fn connect(&self, host: HostId, drift_ppm: i32) -> Arc<dyn Connect>;

    /// How a host reaches any server: what the shell's connectors to sentinels and clusters stand on.
    fn dial(&self, host: HostId, drift_ppm: i32) -> Arc<dyn Dial>;

    /// The clock of true time, readable anywhere.
    fn clock(&self) -> Clock;
}

/// Freezes a host from inside.
#[derive(Clone)]
pub struct Freezer(pub Arc<dyn Fn(Duration) + Send + Sync>);
