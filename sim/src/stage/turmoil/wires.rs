//! What turmoil's network lacks: directions of a connection that stall, die, break, and fill.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{
    plan::Way,
    stage::{Between, HostId, ways::Ways},
};

/// How many bytes may be under way or unread before the writer has to wait: a socket's buffers.
const BUFFER: usize = 256 * 1024;

/// All connections there are. Its clones are one.
#[derive(Clone, Default)]
pub(super) struct Wires(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Those that listen.
    serving: BTreeSet<HostId>,
    roads: BTreeMap<Between, Road>,
}

/// Between one host and one server.
#[derive(Default)]
struct Road {
    stalled: Ways,
    cut: Ways,
    /// By the host's port.
    wires: BTreeMap<u16, Wire>,
}

/// One connection: what both of its ends share.
#[derive(Clone, Default)]
pub(super) struct Wire {
    pub(super) out: Lane,
    pub(super) into: Lane,
}

/// One direction of a connection.
#[derive(Clone, Default)]
pub(super) struct Lane(Arc<Mutex<Flow>>);

#[derive(Default)]
struct Flow {
    /// Under way or unread.
    bytes: usize,
    stalled: bool,
    dead: bool,
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Whether a lane can be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// As ever.
    Free,
    /// What is written vanishes.
    Dead,
    /// The connection is broken.
    Broken,
}

impl Wires {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server listens, or does not.
    pub(super) fn serves(&self, server: HostId, serves: bool) {
        let mut state = self.lock();
        if serves {
            state.serving.insert(server);
        } else {
            state.serving.remove(&server);
        }
    }

    pub(super) fn is_served(&self, server: HostId) -> bool {
        self.lock().serving.contains(&server)
    }

    /// No new connection can be made.
    pub(super) fn is_blocked(&self, between: Between) -> bool {
        self.lock().roads.get(&between).is_some_and(|road| road.stalled.any() || road.cut.any())
    }

    /// The server has accepted a connection from there.
    pub(super) fn lay(&self, between: Between, from: SocketAddr) -> Wire {
        let mut state = self.lock();
        let road = state.roads.entry(between).or_default();
        road.wires.retain(|_, wire| !wire.is_forgotten());
        let wire = Wire::default();
        wire.out.stall(road.stalled.out);
        wire.into.stall(road.stalled.into);
        road.wires.insert(from.port(), wire.clone());
        if road.cut.out {
            wire.out.kill();
        }
        if road.cut.into {
            wire.into.kill();
        }
        wire
    }

    /// The host's end of a connection that the server has accepted.
    pub(super) fn end_of(&self, between: Between, from: SocketAddr) -> Wire {
        let state = self.lock();
        state.roads.get(&between).and_then(|road| road.wires.get(&from.port())).cloned().unwrap_or_default()
    }

    pub(super) fn stall(&self, between: Between, way: Way, on: bool) {
        let mut state = self.lock();
        let road = state.roads.entry(between).or_default();
        road.stalled.set(way, on);
        for wire in road.wires.values() {
            wire.out.stall(road.stalled.out);
            wire.into.stall(road.stalled.into);
        }
    }

    pub(super) fn partition(&self, between: Between, way: Way, on: bool) {
        let mut state = self.lock();
        let road = state.roads.entry(between).or_default();
        road.cut.set(way, on);
        for wire in road.wires.values().filter(|_| on) {
            if road.cut.out {
                wire.out.kill();
            }
            if road.cut.into {
                wire.into.kill();
            }
        }
    }

    /// Breaks all connections between a host and a server. A partition keeps the other side from hearing of it.
    pub(super) fn reset(&self, between: Between) {
        let wires = self.lock().roads.get_mut(&between).map(|road| std::mem::take(&mut road.wires)).unwrap_or_default();
        for lane in wires.into_values().flat_map(|wire| [wire.out, wire.into]) {
            lane.break_off();
        }
    }
}

impl Wire {
    fn is_forgotten(&self) -> bool {
        Arc::strong_count(&self.out.0) == 1
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stall(&self, on: bool) {
        let mut flow = self.lock();
        flow.stalled = on;
        wake(flow.reader.take());
    }

    fn kill(&self) {
        self.lock().dead = true;
    }

    /// A dead lane tells nobody.
    fn break_off(&self) {
        let mut flow = self.lock();
        if !flow.dead {
            flow.broken = true;
            wake(flow.reader.take());
            wake(flow.writer.take());
        }
    }

    /// Waits until bytes may be read, if there are any.
    pub(super) fn poll_readable(&self, context: &Context<'_>) -> Poll<Use> {
        let mut flow = self.lock();
        if flow.broken {
            return Poll::Ready(Use::Broken);
        }
        flow.reader = Some(context.waker().clone());
        if flow.stalled || flow.dead { Poll::Pending } else { Poll::Ready(Use::Free) }
    }

    /// Waits until bytes may be written.
    pub(super) fn poll_writable(&self, context: &Context<'_>) -> Poll<Use> {
        let mut flow = self.lock();
        if flow.broken {
            return Poll::Ready(Use::Broken);
        }
        if flow.bytes >= BUFFER {
            flow.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(if flow.dead { Use::Dead } else { Use::Free })
    }

    pub(super) fn written(&self, bytes: usize) {
        self.lock().bytes += bytes;
    }

    pub(super) fn read(&self, bytes: usize) {
        let mut flow = self.lock();
        flow.bytes = flow.bytes.saturating_sub(bytes);
        if bytes > 0 {
            wake(flow.writer.take());
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
