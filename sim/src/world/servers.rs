//! The servers of a run: one, or several that change roles. Which of them is the primary is known here; everybody else
//! has to find out.

#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use streamkeeper_core::keys::Keys;

use super::{SERVICE, scene::Scene};
use crate::{
    plan::{Plan, RedisFault, RedisPlan, ServerName, Topology},
    redis::{
        CLUSTER_WRITABLE_DELAY, Redis,
        cluster::{Cluster, slot_of},
        replica::Follower,
        sentinel::Sentinel,
        serve::Server,
    },
    stage::{
        HostId, REDIS,
        address::{PORT, name_of},
    },
};

/// What the sentinels call the primary.
pub(crate) const PRIMARY: &str = "simulated";

/// The keys of the simulated service.
pub(crate) fn keys(topology: Topology) -> Option<Keys> {
    if topology == Topology::Cluster { Keys::hash_tagged(SERVICE).ok() } else { Keys::plain(SERVICE).ok() }
}

/// A key of the simulated service: in a cluster, all lie where it lies.
pub(crate) fn service_key(plan: &Plan) -> String {
    keys(plan.servers.topology).map(|keys| keys.lbs()).unwrap_or_default()
}

/// Where servers are.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    pub(crate) data: Vec<HostId>,
    pub(crate) sentinels: Vec<HostId>,
    /// Those who reach them: consumers, and the producer.
    pub(crate) clients: Vec<HostId>,
}

/// All servers.
#[derive(Clone)]
pub(crate) struct Servers {
    pub(crate) hosts: Hosts,
    data: Vec<Server>,
    sentinels: Vec<Server>,
    primary: Rc<Cell<usize>>,
    epoch: Rc<Cell<u64>>,
    switching: Rc<RefCell<Option<Switching>>>,
    /// Which server follows the primary.
    follower: Rc<Cell<usize>>,
    /// The slot of the service, in a cluster.
    slot: Option<u16>,
    /// Nodes that do not hear who serves the slot.
    stale: Rc<RefCell<Vec<usize>>>,
    /// How often somebody left a former primary that went on serving.
    left: Rc<Cell<u64>>,
}

/// A change of roles that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switching {
    from: usize,
    to: usize,
    /// The former primary takes writes after the promotion, of whoever has not heard of it: they are lost.
    pub(crate) alone: bool,
    /// It never stops.
    alive: bool,
    /// The slot moves, and nobody is replaced.
    pub(crate) moves: bool,
}

/// A part of a change of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The replica is promoted.
    Promote,
    /// This sentinel hears of it; in a cluster, this node.
    Learn(usize),
}

impl Hosts {
    /// Behind the consumers and the producer, but for the first server.
    pub(crate) fn of(plan: &Plan) -> Hosts {
        let (topology, next) = (plan.servers.topology, plan.consumers.len() + 2);
        let more = topology.data() - 1;
        Hosts {
            data: [REDIS].into_iter().chain(next..next + more).collect(),
            sentinels: (next + more..next + more + topology.sentinels()).collect(),
            clients: (1..next).collect(),
        }
    }

    /// All servers.
    pub(crate) fn all(&self) -> impl Iterator<Item = HostId> {
        self.data.iter().chain(&self.sentinels).copied()
    }

    /// Where this one is, if there is one.
    pub(crate) fn find(&self, server: ServerName) -> Option<HostId> {
        match server {
            ServerName::Data(number) => self.data.get(number).copied(),
            ServerName::Sentinel(number) => self.sentinels.get(number).copied(),
        }
    }
}

impl Servers {
    /// These servers with data, and the sentinels that go with them. The first one is the primary; `primary` shows it.
    pub(crate) fn new(plan: &Plan, data: Vec<Server>, primary: Rc<Cell<usize>>, scene: &Scene) -> Servers {
        let hosts = Hosts::of(plan);
        let watching = |own: usize| {
            let mut redis = Redis::new(&RedisPlan::default(), own as u64, scene.clock().now());
            let others = hosts.sentinels.iter().enumerate().filter(|(number, _)| *number != own);
            redis.watch_over(Sentinel {
                name: PRIMARY.to_owned(),
                primary: place(hosts.data[0]),
                epoch: 0,
                others: others.map(|(_, host)| place(*host)).collect(),
            });
            let clock = scene.clock().clone();
            Server::new(redis, move || clock.now(), |_| ())
        };
        let sentinels = (0..hosts.sentinels.len()).map(watching).collect();
        let servers = Servers {
            hosts,
            data,
            sentinels,
            primary,
            epoch: Rc::default(),
            switching: Rc::default(),
            follower: Rc::default(),
            slot: (plan.servers.topology == Topology::Cluster).then(|| slot_of(service_key(plan).as_bytes())),
            stale: Rc::default(),
            left: Rc::default(),
        };
        if servers.data.len() > 1 {
            servers.demote(1, 0);
        }
        servers.teach_all();
        servers
    }

    /// The server that is the primary.
    pub(crate) fn primary(&self) -> &Server {
        &self.data[self.primary.get()]
    }

    /// All servers with data.
    pub(crate) fn data(&self) -> &[Server] {
        &self.data
    }

    /// A sentinel.
    pub(crate) fn sentinel(&self, number: usize) -> &Server {
        &self.sentinels[number]
    }

    /// Somebody connects to a server: a replica shows what has arrived there.
    pub(crate) fn visited(&self, number: usize) {
        if number != self.primary.get() && self.data[number].with(|redis, _| redis.follows()) {
            let received = self.primary().with(|redis, _| redis.received());
            self.data[number].with(|redis, _| redis.refresh(received));
        }
    }

    /// Somebody ends a connection to a server.
    pub(crate) fn left(&self, number: usize) {
        let alone = |switching: &Switching| switching.alive && switching.from == number && self.primary.get() != number;
        if self.switching.borrow().as_ref().is_some_and(alone) {
            self.left.set(self.left.get() + 1);
        }
    }

    /// How often each of what servers do together has happened.
    pub(crate) fn remarks(&self) -> BTreeMap<String, u64> {
        let mut remarks = BTreeMap::from([("a former primary was left".to_owned(), self.left.get())]);
        for server in &self.data {
            server.with(|redis, _| {
                for (what, times) in redis.remarks() {
                    *remarks.entry((*what).to_owned()).or_default() += times;
                }
            });
        }
        remarks
    }

    /// Something of the operator's, or of the site as a whole, befalls the servers.
    pub(crate) fn inject(&self, fault: &RedisFault) {
        match fault {
            // They keep one time, right or wrong.
            RedisFault::ClockStep { .. } => self.data.iter().for_each(|server| inject(server, fault)),
            RedisFault::Detach { .. } => self.primary().with(|redis, _| redis.detach(true)),
            RedisFault::Freeze { server: ServerName::Data(number), ms } => {
                inject(&self.data[*number], &RedisFault::Stall { ms: *ms });
            }
            RedisFault::Kill { server: ServerName::Data(number), ms } => {
                inject(&self.data[*number], &RedisFault::Crash { ms: *ms });
                if *number == self.follower.get() && *number != self.primary.get() {
                    self.primary().with(|redis, _| redis.detach(true));
                }
            }
            _ => inject(self.primary(), fault),
        }
    }

    /// What lasted is over.
    pub(crate) fn over(&self, kind: &str) {
        match kind {
            "redis detach" => self.primary().with(|redis, _| redis.detach(false)),
            // A replica that was started again follows as before.
            "redis kill" => {
                let replica = self.follower.get();
                let lost = self.data[replica].with(|redis, _| !redis.is_down() && !redis.follows());
                if lost && replica != self.primary.get() && !self.is_switching() {
                    self.demote(replica, self.primary.get());
                }
            }
            _ => {}
        }
    }

    /// Whether a server with data is the primary.
    pub(crate) fn is_primary(&self, server: ServerName) -> bool {
        server == ServerName::Data(self.primary.get())
    }

    /// Whether roles are changing.
    pub(crate) fn is_switching(&self) -> bool {
        self.switching.borrow().is_some()
    }

    /// Whether there is a replica that could be promoted.
    pub(crate) fn has_heir(&self) -> bool {
        self.heir().is_some()
    }

    fn heir(&self) -> Option<usize> {
        let heir = self.follower.get();
        let fit = self.data[heir].with(|redis, _| redis.follows() && !redis.is_down());
        (heir != self.primary.get() && fit).then_some(heir)
    }

    /// Roles begin to change. The steps, and how many milliseconds after now each of them is.
    pub(crate) fn begin_switch(&self, ms: u64, after_ms: u64, spread_ms: u64, alive: bool) -> Vec<(u64, Step)> {
        let Some(to) = self.heir() else { return Vec::new() };
        let from = self.primary.get();
        self.switching.replace(Some(Switching { from, to, alone: alive || after_ms < ms, alive, moves: false }));
        let promoted_ms = after_ms.min(ms);
        if !alive {
            // It is back before anybody tells it that it is no primary any more. In a cluster it serves nobody before it
            // has had the time to hear that from others.
            let deaf_ms = if self.slot.is_some() { CLUSTER_WRITABLE_DELAY.as_millis() as u64 } else { u64::MAX };
            let down_ms = ((promoted_ms + ms) / 2).max(ms.saturating_sub(deaf_ms)).saturating_add(1);
            inject(&self.data[from], &RedisFault::Crash { ms: down_ms });
        }
        if self.slot.is_some() {
            let others = (0..self.data.len()).filter(|number| ![from, to].contains(number));
            let learns = others.map(|number| (promoted_ms.saturating_add(spread_ms), Step::Learn(number)));
            return [(promoted_ms, Step::Promote)].into_iter().chain(learns).collect();
        }
        let sentinels = self.sentinels.len();
        // Who hears of it first is another one each time.
        let first = usize::try_from(self.epoch.get()).unwrap_or(0);
        let learns = (0..sentinels).map(|nth| {
            let later_ms = spread_ms.saturating_mul(nth as u64) / (sentinels.max(2) as u64 - 1);
            (promoted_ms.saturating_add(later_ms), Step::Learn((first + nth) % sentinels))
        });
        [(promoted_ms, Step::Promote)].into_iter().chain(learns).collect()
    }

    /// The replica is promoted. Whether acknowledged writes are lost, or will be.
    pub(crate) fn promote(&self) -> Option<bool> {
        let Switching { from, to, alone, .. } = (*self.switching.borrow())?;
        let (received, loses) = self.data[from].with(|redis, _| {
            let loses = alone || !redis.lag().is_zero() || redis.replicas() == 0;
            (redis.received(), loses)
        });
        self.data[to].with(|redis, _| {
            redis.promote(received);
            redis.has_follower(None);
        });
        self.primary.set(to);
        self.epoch.set(self.epoch.get() + 1);
        self.teach(to);
        Some(loses)
    }

    /// A sentinel hears who the primary is; in a cluster, a node.
    pub(crate) fn learn(&self, sentinel: usize) {
        if self.slot.is_some() {
            return self.teach(sentinel);
        }
        if self.sentinels[sentinel].with(|redis, _| redis.watched_epoch()) == Some(self.epoch.get()) {
            return;
        }
        let (primary, epoch) = (place(self.hosts.data[self.primary.get()]), self.epoch.get());
        self.sentinels[sentinel].with(|redis, _| redis.switch_master(primary, epoch));
    }

    /// All hear who the primary is, unless that is just changing.
    pub(crate) fn heal(&self) {
        self.stale.borrow_mut().clear();
        if !self.is_switching() {
            self.teach_all();
            (0..self.sentinels.len()).for_each(|sentinel| self.learn(sentinel));
        }
    }

    /// The former primary is told: from now on it follows the new one. What it was.
    pub(crate) fn end_switch(&self) -> Option<Switching> {
        let switching = self.switching.take()?;
        if switching.moves {
            let rest = self.data[switching.from].with(|redis, _| {
                redis.rise();
                redis.give_keys(true)
            });
            self.data[switching.to].with(|redis, _| {
                redis.rise();
                redis.take_keys(rest);
            });
            self.data[switching.from].with(|redis, _| redis.has_follower(None));
            self.primary.set(switching.to);
            self.demote(self.follower.get(), switching.to);
        } else {
            self.demote(switching.from, switching.to);
        }
        self.teach_all();
        Some(switching)
    }

    /// The slot begins to move to the node that has nothing to do with it: half of its keys are there. Whether there is one.
    pub(crate) fn begin_move(&self) -> bool {
        let from = self.primary.get();
        let other = (0..self.data.len()).find(|number| ![from, self.follower.get()].contains(number));
        let runs = |number: usize| self.data[number].with(|redis, _| !redis.is_down());
        let Some(to) = other.filter(|to| self.slot.is_some() && runs(from) && runs(*to)) else { return false };
        self.switching.replace(Some(Switching { from, to, alone: false, alive: false, moves: true }));
        let half = self.data[from].with(|redis, _| redis.give_keys(false));
        self.data[to].with(|redis, _| redis.take_keys(half));
        self.teach(from);
        true
    }

    /// From now on a node does not hear who serves the slot; or it does.
    pub(crate) fn stale(&self, number: usize, on: bool) {
        let mut stale = self.stale.borrow_mut();
        match stale.iter().position(|other| *other == number).filter(|_| !on) {
            Some(place) => drop(stale.remove(place)),
            None => stale.push(number),
        }
        drop(stale);
        if !on {
            self.teach(number);
        }
    }

    fn teach_all(&self) {
        (0..self.data.len()).for_each(|number| self.teach(number));
    }

    /// A node of a cluster hears who serves the slot, if it hears anything. Those who change roles know in any case.
    fn teach(&self, own: usize) {
        let Some(slot) = self.slot else { return };
        let (serves, follower) = (self.primary.get(), self.follower.get());
        let switching = *self.switching.borrow();
        let moving = switching.filter(|switching| switching.moves && switching.from == own);
        if self.stale.borrow().contains(&own) && own != serves && moving.is_none() {
            return;
        }
        let heir = (follower != serves).then_some(follower);
        let above = (0..self.data.len()).find(|number| ![serves, follower].contains(number)).unwrap_or(serves);
        let nodes = self.hosts.data.iter().map(|host| place(*host)).collect();
        let moving_to = moving.map(|switching| switching.to);
        self.data[own].with(|redis, _| redis.joins(Cluster { nodes, own, slot, serves, heir, above, moving_to }));
    }

    /// This server follows that one.
    fn demote(&self, replica: usize, primary: usize) {
        let whole = self.data[primary].with(|redis, _| redis.whole());
        let (host, port) = place(self.hosts.data[primary]);
        self.data[replica].with(|redis, _| redis.follow(host, port, whole));
        let (host, port) = place(self.hosts.data[replica]);
        self.follower.set(replica);
        self.data[primary].with(|redis, _| redis.has_follower(Some(Follower { host, port, detached: None })));
    }
}

fn inject(server: &Server, fault: &RedisFault) {
    server.with(|redis, now| redis.inject(fault, now));
}

/// Host and port of a server, as others tell it.
fn place(server: HostId) -> (String, u16) {
    (name_of(server), PORT)
}
