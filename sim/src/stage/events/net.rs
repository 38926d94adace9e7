//! The network between the hosts and the servers: who reaches whom, how fast, and what happens next.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use streamkeeper::Time;
use tokio::{io::ReadBuf, sync::mpsc};

use super::{
    pipe::{Load, Pipe},
    stream::Stream,
};
use crate::{
    plan::Way,
    stage::{Between, HostId, time::TrueTime, ways::Ways},
};

/// The network. Its clones are one.
#[derive(Clone)]
pub(super) struct Net {
    state: Arc<Mutex<State>>,
    time: TrueTime,
}

struct State {
    seed: u64,
    latency_us: (u64, u64),
    roads: BTreeMap<Between, Road>,
    connections: BTreeMap<ConnId, Connection>,
    next: ConnId,
    servers: BTreeMap<HostId, mpsc::UnboundedSender<(HostId, Stream)>>,
    due: BinaryHeap<Reverse<Due>>,
    put: u64,
}

/// Which connection.
type ConnId = u64;

/// Between one host and one server.
struct Road {
    /// Each road has dice of its own: what one host does changes no other's luck.
    dice: SmallRng,
    slower_by: Duration,
    stalled: Ways,
    cut: Ways,
    /// Those who wait for the end of a stall.
    waiting: Vec<Waker>,
}

struct Connection {
    between: Between,
    /// From the host to the server, and back.
    pipes: [Pipe; 2],
    /// The host's end, and the server's.
    ends: [End; 2],
}

#[derive(Clone, Copy, Default)]
struct End {
    closed: bool,
    broken: bool,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndId {
    conn: ConnId,
    side: usize,
}

const HOST: usize = 0;
const SERVER: usize = 1;
/// The pipe that the host writes into, and the one that the server writes into.
const OUT: usize = HOST;
const INTO: usize = SERVER;

/// Something that will happen. What was put down first happens first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Time,
    number: u64,
    what: Next,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Arrival { conn: ConnId, pipe: usize },
    Alarm(Alarm),
    Thaw(HostId),
}

/// Somebody who is woken.
struct Alarm(Waker);

/// How a host and the server reach each other just now.
pub(super) enum Reach {
    /// Bytes pass.
    Open,
    /// They are lost.
    Cut,
    /// They pass, but nobody listens.
    Refused,
}

impl Net {
    pub(super) fn new(seed: u64, latency_us: (u64, u64), time: TrueTime) -> Net {
        let state = State {
            seed,
            latency_us,
            roads: BTreeMap::new(),
            connections: BTreeMap::new(),
            next: 0,
            servers: BTreeMap::new(),
            due: BinaryHeap::new(),
            put: 0,
        };
        Net { state: Arc::new(Mutex::new(state)), time }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Time {
        self.time.now()
    }

    pub(super) fn listen(&self, server: HostId) -> mpsc::UnboundedReceiver<(HostId, Stream)> {
        let (sender, accepted) = mpsc::unbounded_channel();
        self.lock().servers.insert(server, sender);
        accepted
    }

    /// How long one segment takes between a host and a server.
    pub(super) fn delay(&self, between: Between) -> Duration {
        self.lock().delay(between)
    }

    /// Waits while a direction is stalled, in which a connection is being made.
    pub(super) fn poll_flow(&self, between: Between, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let road = state.road(between);
        if !road.stalled.any() {
            return Poll::Ready(());
        }
        road.waiting.push(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn reach(&self, between: Between) -> Reach {
        let mut state = self.lock();
        if state.road(between).cut.any() {
            return Reach::Cut;
        }
        match state.servers.get(&between.1) {
            Some(server) if !server.is_closed() => Reach::Open,
            _ => Reach::Refused,
        }
    }

    /// Makes a connection, and hands its other end to the server.
    pub(super) fn connect(&self, between: Between) -> io::Result<Stream> {
        let mut state = self.lock();
        let conn = state.next;
        state.next += 1;
        state.connections.insert(conn, Connection { between, pipes: Default::default(), ends: Default::default() });
        let server = state.servers.get(&between.1).cloned();
        drop(state);
        let ours = Stream::new(self.clone(), EndId { conn, side: HOST });
        let theirs = Stream::new(self.clone(), EndId { conn, side: SERVER });
        let accepted = server.is_some_and(|server| server.send((between.0, theirs)).is_ok());
        if accepted { Ok(ours) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
    }

    pub(super) fn read(&self, end: EndId, into: &mut ReadBuf<'_>, context: &Context<'_>) -> Poll<io::Result<()>> {
        let (now, mut state) = (self.now(), self.lock());
        let Some((connection, road)) = state.of(end.conn) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if connection.ends[end.side].broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let from = other(end.side);
        let pipe = &mut connection.pipes[from];
        if !road.is_stalled(from) && pipe.read(into, now) {
            return Poll::Ready(Ok(()));
        }
        pipe.reader_waits(context);
        Poll::Pending
    }

    pub(super) fn write(&self, end: EndId, bytes: &[u8], context: &Context<'_>) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let Some((connection, _)) = state.of(end.conn) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let pipe = &mut connection.pipes[end.side];
        if connection.ends[end.side].broken || pipe.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = pipe.room().min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            pipe.writer_waits(context);
            return Poll::Pending;
        }
        state.send(end.conn, end.side, Load::Bytes(Bytes::copy_from_slice(&bytes[..room])), self.now());
        Poll::Ready(Ok(room))
    }

    /// The end writes nothing more.
    pub(super) fn shut(&self, end: EndId) {
        self.lock().shut(end, Load::Fin, self.now());
    }

    /// The end is gone.
    pub(super) fn close(&self, end: EndId) {
        let (now, mut state) = (self.now(), self.lock());
        let Some((connection, _)) = state.of(end.conn) else { return };
        connection.ends[end.side].closed = true;
        let unread = connection.pipes[other(end.side)].discard(now);
        // Who has not read everything says so.
        state.shut(end, if unread { Load::Rst } else { Load::Fin }, now);
        if state.connections[&end.conn].ends.iter().all(|end| end.closed) {
            state.connections.remove(&end.conn);
        }
    }

    pub(super) fn stall(&self, between: Between, way: Way, on: bool) {
        let mut state = self.lock();
        let road = state.road(between);
        road.stalled.set(way, on);
        if !road.stalled.any() {
            road.waiting.drain(..).for_each(Waker::wake);
        }
        for conn in state.connections_of(between) {
            for pipe in [OUT, INTO] {
                state.arrive(conn, pipe, self.now());
            }
        }
    }

    pub(super) fn partition(&self, between: Between, way: Way, on: bool) {
        let mut state = self.lock();
        let road = state.road(between);
        road.cut.set(way, on);
        let cut = road.cut;
        for conn in state.connections_of(between) {
            if let Some((connection, _)) = state.of(conn).filter(|_| on) {
                for (pipe, cut) in connection.pipes.iter_mut().zip([cut.out, cut.into]) {
                    if cut {
                        pipe.kill();
                    }
                }
            }
        }
    }

    pub(super) fn slow(&self, between: Between, by: Duration) {
        self.lock().road(between).slower_by = by;
    }

    /// Breaks all connections between a host and a server. A partition keeps the other side from hearing of it.
    pub(super) fn reset(&self, between: Between) {
        let mut state = self.lock();
        for conn in state.connections_of(between) {
            if let Some((connection, _)) = state.of(conn) {
                for side in [HOST, SERVER] {
                    if !connection.pipes[other(side)].dead {
                        connection.break_end(side);
                    }
                }
            }
        }
    }

    /// Wakes somebody then.
    pub(super) fn wake_at(&self, at: Time, waker: Waker) {
        self.lock().put(at, Next::Alarm(Alarm(waker)));
    }

    /// Has a host thawed then.
    pub(super) fn thaw_at(&self, at: Time, host: HostId) {
        self.lock().put(at, Next::Thaw(host));
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<Time> {
        self.lock().due.peek().map(|Reverse(due)| due.at)
    }

    /// Lets happen what is due. The hosts that thaw.
    pub(super) fn happen(&self) -> Vec<HostId> {
        let (now, mut thawing) = (self.now(), Vec::new());
        let mut state = self.lock();
        while state.due.peek().is_some_and(|Reverse(due)| due.at <= now)
            && let Some(Reverse(due)) = state.due.pop()
        {
            match due.what {
                Next::Arrival { conn, pipe } => {
                    if let Some((connection, _)) = state.of(conn) {
                        connection.pipes[pipe].awaited = false;
                        state.arrive(conn, pipe, now);
                    }
                }
                Next::Alarm(alarm) => alarm.0.wake(),
                Next::Thaw(host) => thawing.push(host),
            }
        }
        thawing
    }
}

impl State {
    fn road(&mut self, between: Between) -> &mut Road {
        let seed = self.seed;
        self.roads.entry(between).or_insert_with(|| Road::new(seed, between))
    }

    fn of(&mut self, conn: ConnId) -> Option<(&mut Connection, &mut Road)> {
        let connection = self.connections.get_mut(&conn)?;
        let (seed, between) = (self.seed, connection.between);
        Some((connection, self.roads.entry(between).or_insert_with(|| Road::new(seed, between))))
    }

    fn connections_of(&self, between: Between) -> Vec<ConnId> {
        self.connections.iter().filter(|(_, connection)| connection.between == between).map(|(conn, _)| *conn).collect()
    }

    fn delay(&mut self, between: Between) -> Duration {
        let (least, most) = self.latency_us;
        let road = self.road(between);
        let drawn = if most > least { road.dice.random_range(least..=most) } else { least };
        Duration::from_micros(drawn) + road.slower_by
    }

    fn send(&mut self, conn: ConnId, pipe: usize, load: Load, now: Time) {
        let Some(between) = self.connections.get(&conn).map(|connection| connection.between) else { return };
        let due = now + self.delay(between);
        let arrives = self.of(conn).and_then(|(connection, _)| connection.pipes[pipe].send(load, due));
        if let Some(at) = arrives {
            self.put(at, Next::Arrival { conn, pipe });
        }
    }

    /// An end writes nothing more: the other one is told, once, unless the connection is broken.
    fn shut(&mut self, end: EndId, how: Load, now: Time) {
        let Some((connection, _)) = self.of(end.conn) else { return };
        let again = std::mem::replace(&mut connection.pipes[end.side].shut, true);
        if !connection.ends[end.side].broken && (!again || matches!(how, Load::Rst)) {
            self.send(end.conn, end.side, how, now);
        }
    }

    /// Something has arrived at the end of a pipe, or may have.
    fn arrive(&mut self, conn: ConnId, pipe: usize, now: Time) {
        let Some((connection, road)) = self.of(conn) else { return };
        if road.is_stalled(pipe) {
            return;
        }
        let reader = other(pipe);
        let mut refused = false;
        if connection.pipes[pipe].was_refused(now) {
            connection.break_end(reader);
        } else if connection.ends[reader].closed {
            refused = connection.pipes[pipe].discard(now);
        } else {
            connection.pipes[pipe].wake_reader();
        }
        let pipe_is = &mut connection.pipes[pipe];
        let next = pipe_is.next_after(now).filter(|_| !std::mem::replace(&mut pipe_is.awaited, true));
        if let Some(at) = next {
            self.put(at, Next::Arrival { conn, pipe });
        }
        if refused {
            self.send(conn, reader, Load::Rst, now);
        }
    }

    fn put(&mut self, at: Time, what: Next) {
        let number = self.put;
        self.put += 1;
        self.due.push(Reverse(Due { at, number, what }));
    }
}

impl Road {
    fn new(seed: u64, (host, server): Between) -> Road {
        let place = (host as u64).wrapping_add((server as u64) << 32);
        let seed = (seed ^ 0x6e65_7477_6f72_6b00).wrapping_add(place);
        Road {
            dice: SmallRng::seed_from_u64(seed),
            slower_by: Duration::ZERO,
            stalled: Ways::default(),
            cut: Ways::default(),
            waiting: Vec::new(),
        }
    }

    fn is_stalled(&self, pipe: usize) -> bool {
        if pipe == OUT { self.stalled.out } else { self.stalled.into }
    }
}

impl Connection {
    fn break_end(&mut self, side: usize) {
        self.ends[side].broken = true;
        self.pipes[side].wake_writer();
        self.pipes[other(side)].wake_reader();
    }
}

/// The other side: what one writes, the other one reads.
fn other(side: usize) -> usize {
    1 - side
}

/// Alarms are ordered by when they were put down, not by whom they wake.
impl Ord for Alarm {
    fn cmp(&self, _: &Alarm) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Alarm) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alarm {
    fn eq(&self, _: &Alarm) -> bool {
        true
    }
}

impl Eq for Alarm {}
