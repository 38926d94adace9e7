//! The network of the engine: connections between hosts and the one server, whose bytes take their time, wait, vanish or
//! break, as on the event-driven stage, but for nobody's sockets. It keeps no time by itself: who sends is told when it
//! arrives.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use streamkeeper::Time;

use crate::{
    plan::Way,
    redis,
    stage::{HostId, KNOCK_AGAIN, ways::Ways},
};

/// Which connection.
pub(super) type ConnNo = u64;

/// The direction from a host to the server.
pub(super) const OUT: usize = 0;
/// The direction from the server to a host.
pub(super) const INTO: usize = 1;

/// What is sent.
#[derive(Debug)]
pub(super) enum Load {
    Bytes(Bytes),
    /// The sender has closed its end, or does not want what it was sent.
    End,
}

/// What becomes of a segment that a connection is made with.
pub(super) enum Knocked {
    /// It is held back, until the end of a stall.
    Waits,
    /// It is lost: the host knocks again then.
    Lost(Time),
    /// It has arrived.
    Passes,
}

pub(super) struct Network {
    latency_us: (u64, u64),
    roads: Vec<Road>,
    conns: BTreeMap<ConnNo, Conn>,
    next: ConnNo,
}

/// Between one host and the server.
struct Road {
    /// Each road has dice of its own: what one host does changes no other's luck.
    dice: SmallRng,
    slower_by: Duration,
    stalled: Ways,
    cut: Ways,
    /// Segments with which connections are being made, held back by a stall: whether they are the server's.
    knocking: Vec<(ConnNo, bool)>,
}

/// A connection, from the first knock on.
pub(super) struct Conn {
    pub(super) host: HostId,
    /// The server's number for it, once it stands.
    pub(super) server: Option<redis::ConnId>,
    /// The host has closed its end.
    pub(super) is_left: bool,
    pipes: [Pipe; 2],
    /// When it was last knocked for, and how long an answer is waited for.
    knocked: (Time, Duration),
}

/// One direction.
#[derive(Default)]
struct Pipe {
    /// Order is kept: nothing arrives before what was sent earlier.
    latest: Time,
    /// A firewall forgot the connection: what is sent, and was under way, vanishes.
    is_dead: bool,
    /// What has come, but is held back.
    held: VecDeque<Load>,
}

impl Network {
    /// So many hosts beside the server.
    pub(super) fn new(seed: u64, latency_us: (u64, u64), hosts: usize) -> Network {
        let roads = (0..=hosts as u64).map(|host| Road {
            dice: SmallRng::seed_from_u64((seed ^ 0x6e65_7477_6f72_6b00).wrapping_add(host)),
            slower_by: Duration::ZERO,
            stalled: Ways::default(),
            cut: Ways::default(),
            knocking: Vec::new(),
        });
        Network { latency_us, roads: roads.collect(), conns: BTreeMap::new(), next: 0 }
    }

    /// A host knocks. When that arrives.
    pub(super) fn dial(&mut self, host: HostId, now: Time) -> (ConnNo, Time) {
        self.next += 1;
        let knocked = (now, KNOCK_AGAIN);
        self.conns.insert(self.next, Conn { host, server: None, is_left: false, pipes: Default::default(), knocked });
        (self.next, now + self.delay(host))
    }

    /// It knocks again. When that arrives; `None`: it has given up.
    pub(super) fn dial_again(&mut self, conn: ConnNo, now: Time) -> Option<Time> {
        let connection = self.conns.get_mut(&conn)?;
        connection.knocked = (now, connection.knocked.1 * 2);
        let host = connection.host;
        Some(now + self.delay(host))
    }

    /// A segment with which a connection is made has come so far; `back`: it is the server's.
    pub(super) fn knocked(&mut self, conn: ConnNo, back: bool) -> Option<Knocked> {
        let connection = self.conns.get(&conn)?;
        if connection.is_left {
            self.conns.remove(&conn);
            return None;
        }
        let road = &mut self.roads[connection.host];
        Some(if road.stalled.any() {
            road.knocking.push((conn, back));
            Knocked::Waits
        } else if road.cut.any() {
            Knocked::Lost(connection.knocked.0 + connection.knocked.1)
        } else {
            Knocked::Passes
        })
    }

    pub(super) fn of(&mut self, conn: ConnNo) -> Option<&mut Conn> {
        self.conns.get_mut(&conn)
    }

    pub(super) fn forget(&mut self, conn: ConnNo) {
        self.conns.remove(&conn);
    }

    /// The connections of a host, those that are being made included.
    pub(super) fn of_host(&self, host: HostId) -> Vec<ConnNo> {
        self.conns.iter().filter(|(_, conn)| conn.host == host).map(|(number, _)| *number).collect()
    }

    /// Something is sent. When it arrives, if it ever does.
    pub(super) fn send(&mut self, conn: ConnNo, pipe: usize, now: Time) -> Option<Time> {
        let host = self.conns.get(&conn)?.host;
        let due = now + self.delay(host);
        let pipe = &mut self.conns.get_mut(&conn)?.pipes[pipe];
        if pipe.is_dead {
            return None;
        }
        pipe.latest = pipe.latest.max(due);
        Some(pipe.latest)
    }

    /// Something has come to the end of a pipe. What is delivered: it, or nothing if it has vanished or is held back.
    pub(super) fn arrives(&mut self, conn: ConnNo, way: usize, load: Load) -> Option<Load> {
        let connection = self.conns.get_mut(&conn)?;
        let is_stalled = self.roads[connection.host].is_stalled(way);
        let pipe = &mut connection.pipes[way];
        if pipe.is_dead {
            return None;
        }
        if is_stalled || !pipe.held.is_empty() {
            pipe.held.push_back(load);
            return None;
        }
        Some(load)
    }

    /// What a stall has held back and does no longer, one by one.
    pub(super) fn released(&mut self, conn: ConnNo, way: usize) -> Option<Load> {
        let connection = self.conns.get_mut(&conn)?;
        if self.roads[connection.host].is_stalled(way) { None } else { connection.pipes[way].held.pop_front() }
    }

    /// A direction is stalled or not any more. Those segments come so far that connections are made with.
    pub(super) fn stall(&mut self, host: HostId, way: Way, on: bool) -> Vec<(ConnNo, bool)> {
        let Some(road) = self.roads.get_mut(host) else { return Vec::new() };
        road.stalled.set(way, on);
        if road.stalled.any() { Vec::new() } else { std::mem::take(&mut road.knocking) }
    }

    /// A direction is cut off or not any more. Connections that stand then are dead in it for ever.
    pub(super) fn partition(&mut self, host: HostId, way: Way, on: bool) {
        let Some(road) = self.roads.get_mut(host) else { return };
        road.cut.set(way, on);
        let cut = road.cut;
        if !on {
            return;
        }
        for connection in self.conns.values_mut().filter(|conn| conn.host == host && conn.server.is_some()) {
            for (pipe, cut) in connection.pipes.iter_mut().zip([cut.out, cut.into]) {
                if cut {
                    pipe.is_dead = true;
                    pipe.held.clear();
                }
            }
        }
    }

    /// Whether the host, and the server, hear of it at once when this connection breaks.
    pub(super) fn hears(&self, conn: ConnNo) -> (bool, bool) {
        self.conns.get(&conn).map_or((false, false), |conn| (!conn.pipes[INTO].is_dead, !conn.pipes[OUT].is_dead))
    }

    pub(super) fn slow(&mut self, host: HostId, by: Duration) {
        if let Some(road) = self.roads.get_mut(host) {
            road.slower_by = by;
        }
    }

    /// How long one segment takes between a host and the server.
    pub(super) fn delay(&mut self, host: HostId) -> Duration {
        let (least, most) = self.latency_us;
        let road = &mut self.roads[host];
        let drawn = if most > least { road.dice.random_range(least..=most) } else { least };
        Duration::from_micros(drawn) + road.slower_by
    }
}

impl Road {
    fn is_stalled(&self, way: usize) -> bool {
        if way == OUT { self.stalled.out } else { self.stalled.into }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One host with a connection that stands.
    fn network() -> (Network, ConnNo) {
        let mut network = Network::new(1, (100, 900), 1);
        let (conn, _) = network.dial(1, Time::ZERO);
        assert!(matches!(network.knocked(conn, true), Some(Knocked::Passes)));
        network.of(conn).unwrap().server = Some(redis::ConnId(7));
        (network, conn)
    }

    fn bytes() -> Load {
        Load::Bytes(Bytes::from_static(b"x"))
    }

    #[test]
    fn order_is_kept_whatever_each_segment_takes() {
        let (mut network, conn) = network();
        let sent = (0..50).map(|ms| network.send(conn, OUT, Time::from_micros(ms * 10)).unwrap());
        assert!(sent.collect::<Vec<_>>().is_sorted());
    }

    #[test]
    fn a_stall_holds_back_what_comes_and_a_partition_kills() {
        let (mut network, conn) = network();
        network.stall(1, Way::Out, true);
        assert!(network.arrives(conn, OUT, bytes()).is_none() && network.arrives(conn, INTO, bytes()).is_some());
        assert!(network.released(conn, OUT).is_none());
        network.stall(1, Way::Out, false);
        assert!(network.released(conn, OUT).is_some() && network.released(conn, OUT).is_none());
        network.partition(1, Way::In, true);
        network.partition(1, Way::In, false);
        assert!(network.send(conn, INTO, Time::ZERO).is_none() && network.send(conn, OUT, Time::ZERO).is_some());
        assert_eq!(network.hears(conn), (false, true));
    }

    #[test]
    fn who_is_cut_off_knocks_again_later_each_time() {
        let mut network = Network::new(1, (100, 900), 1);
        network.partition(1, Way::Both, true);
        let (conn, _) = network.dial(1, Time::ZERO);
        let again = |network: &mut Network| match network.knocked(conn, false) {
            Some(Knocked::Lost(at)) => at,
            _ => panic!("it has arrived"),
        };
        assert_eq!(again(&mut network), Time::from_millis(1_000));
        network.dial_again(conn, Time::from_millis(1_000));
        assert_eq!(again(&mut network), Time::from_millis(3_000));
        network.of(conn).unwrap().is_left = true;
        assert!(network.knocked(conn, false).is_none() && network.of(conn).is_none());
    }
}
