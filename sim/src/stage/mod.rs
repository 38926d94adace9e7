//! Where hosts live: a network, and time that jumps. Two fill it: an event-driven network of our own, for volume, and
//! turmoil. The world above does not know which.

pub mod events;
mod freeze;
mod panics;
mod road;
#[cfg(test)]
mod tests;
mod time;
pub mod turmoil;
mod ways;

use std::{rc::Rc, sync::Arc, time::Duration};

use futures::future::LocalBoxFuture;
use streamkeeper::{ByteStream, Clock, Connect, Time};

use crate::plan::Way;

/// A host's number: 0 is Redis, a consumer's is its index + 1.
pub type HostId = usize;

/// Redis's host.
pub const REDIS: HostId = 0;

/// How long TCP waits before it knocks again where nobody has answered, for the first time.
const KNOCK_AGAIN: Duration = Duration::from_secs(1);

/// What a host runs: called at each start.
pub type Boot = Rc<dyn Fn() -> LocalBoxFuture<'static, ()>>;

/// What the server's host does with each connection that it accepts, called with the number of the host that it comes
/// from. Spawned on the server's host.
pub type Accept = Rc<dyn Fn(HostId, Box<dyn ByteStream>) -> LocalBoxFuture<'static, ()>>;

/// A network with hosts on it. All times are true simulated time since the beginning.
pub trait Stage {
    /// The present.
    fn now(&self) -> Time;

    /// Lets everything happen until then.
    fn run_until(&mut self, at: Time);

    /// Adds a host, not started. All hosts are added before the first `run_until`.
    fn host(&mut self, host: HostId, boot: Boot);

    /// Adds the server, and starts it: what connects to it is handed to `accept`.
    fn server(&mut self, host: HostId, accept: Accept);

    /// Starts a host that does not run.
    fn start(&mut self, host: HostId);

    /// Kills a host: its tasks are gone, its connections reset.
    fn crash(&mut self, host: HostId);

    /// A host's software stands still until then, at whatever await it has reached, whatever it was told before; its
    /// sockets fill, its timers fire late. Its clock goes on, as `CLOCK_BOOTTIME` does: a suspended machine is the same,
    /// except that its timers would fire later still, by the length of the suspension.
    fn freeze(&mut self, host: HostId, until: Time);

    /// The handle with which a host freezes itself, from inside, at its next await: at least for so long.
    fn freezer(&self, host: HostId) -> Freezer;

    /// From now on bytes between a host and the server are held back, in that direction; or flow again, all of them.
    fn stall(&mut self, host: HostId, way: Way, on: bool);

    /// From now on nothing passes between a host and the server, in that direction; connections that stood when it was
    /// switched on are dead for ever: bytes that they send vanish.
    fn partition(&mut self, host: HostId, way: Way, on: bool);

    /// All connections between a host and the server break.
    fn reset(&mut self, host: HostId);

    /// How much longer than the plan's latency each byte takes between a host and the server, each way.
    fn slow(&mut self, host: HostId, by: Duration);

    /// How a host reaches the server: the seam of the shell. The clock runs fast by `drift_ppm`.
    fn connect(&self, host: HostId, drift_ppm: i32) -> Arc<dyn Connect>;

    /// The clock of true time, readable anywhere.
    fn clock(&self) -> Clock;

    /// Panics that nobody caught, in words, since this was last asked.
    fn panics(&mut self) -> Vec<String>;
}

/// Freezes a host from inside.
#[derive(Clone)]
pub struct Freezer(pub Arc<dyn Fn(Duration) + Send + Sync>);
