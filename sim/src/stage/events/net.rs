//! The network between the hosts and the server: who reaches whom, and how fast.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::sync::mpsc;

use super::{pipe::Pipe, stream::Stream};
use crate::{
    plan::Way,
    stage::{HostId, ways::Ways},
};

/// The network. Its clones are one.
#[derive(Clone)]
pub(super) struct Net(Arc<Mutex<State>>);

struct State {
    dice: SmallRng,
    latency_us: (u64, u64),
    roads: BTreeMap<HostId, Road>,
    server: Option<mpsc::UnboundedSender<(HostId, Stream)>>,
}

/// Between one host and the server.
#[derive(Default)]
struct Road {
    slower_by: Duration,
    stalled: Ways,
    cut: Ways,
    connections: Vec<Ends>,
}

/// The two directions of a connection, as its host sees them.
struct Ends {
    out: Pipe,
    into: Pipe,
}

/// Why a connection was not made.
pub(super) enum NoWay {
    /// Nothing comes back: try again, as TCP does.
    Silence,
    /// Nobody listens.
    Refused,
}

impl Net {
    pub(super) fn new(seed: u64, latency_us: (u64, u64)) -> Net {
        let dice = SmallRng::seed_from_u64(seed ^ 0x6e65_7477_6f72_6b00);
        Net(Arc::new(Mutex::new(State { dice, latency_us, roads: BTreeMap::new(), server: None })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listen(&self) -> mpsc::UnboundedReceiver<(HostId, Stream)> {
        let (sender, accepted) = mpsc::unbounded_channel();
        self.lock().server = Some(sender);
        accepted
    }

    /// How long one segment takes between this host and the server.
    pub(super) fn delay(&self, host: HostId) -> Duration {
        let mut state = self.lock();
        let (least, most) = state.latency_us;
        let drawn = if most > least { state.dice.random_range(least..=most) } else { least };
        Duration::from_micros(drawn) + state.road(host).slower_by
    }

    /// Connects a host to the server, at once.
    pub(super) fn connect(&self, host: HostId) -> Result<Stream, NoWay> {
        let mut state = self.lock();
        let road = state.road(host);
        if road.cut.any() || road.stalled.any() {
            return Err(NoWay::Silence);
        }
        road.connections.retain(|ends| !(ends.out.is_forgotten() && ends.into.is_forgotten()));
        let (out, into) = (Pipe::default(), Pipe::default());
        road.connections.push(Ends { out: out.clone(), into: into.clone() });
        let theirs = Stream::new(self.clone(), host, out.clone(), into.clone());
        let ours = Stream::new(self.clone(), host, into, out);
        let server = state.server.as_ref().ok_or(NoWay::Refused)?;
        server.send((host, theirs)).map_err(|_| NoWay::Refused)?;
        Ok(ours)
    }

    pub(super) fn stall(&self, host: HostId, way: Way, on: bool) {
        let mut state = self.lock();
        let road = state.road(host);
        road.stalled.set(way, on);
        let stalled = road.stalled;
        for ends in &road.connections {
            ends.out.stall(stalled.out);
            ends.into.stall(stalled.into);
        }
    }

    pub(super) fn partition(&self, host: HostId, way: Way, on: bool) {
        let mut state = self.lock();
        let road = state.road(host);
        road.cut.set(way, on);
        if on {
            for ends in &road.connections {
                if road.cut.out {
                    ends.out.kill();
                }
                if road.cut.into {
                    ends.into.kill();
                }
            }
        }
    }

    pub(super) fn slow(&self, host: HostId, by: Duration) {
        self.lock().road(host).slower_by = by;
    }

    /// Breaks all connections of a host. A partition keeps the other side from hearing of it.
    pub(super) fn reset(&self, host: HostId) {
        let connections = std::mem::take(&mut self.lock().road(host).connections);
        for ends in connections {
            for pipe in [ends.out, ends.into] {
                if !pipe.is_dead() {
                    pipe.break_off();
                }
            }
        }
    }
}

impl State {
    fn road(&mut self, host: HostId) -> &mut Road {
        self.roads.entry(host).or_default()
    }
}
