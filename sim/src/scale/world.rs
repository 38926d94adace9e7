//! The run itself: what happens next, until there is nothing left to be seen.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use streamkeeper::{Time, protocol::Protocol};
use streamkeeper_core::{
    config::Config,
    id::{CallId, ConsumerId},
    keys::Keys,
    link::Link,
    streams::{Added, Answer, Call, Event, Machine, Notification},
    trouble::Trouble,
};

use super::{
    agenda::Agenda,
    fleet::{Fleet, Unfit, number_of, stream},
    ledger::{Ledger, Share},
    node::{Node, Wish},
    report::Report,
    server::{Request, Shard, What},
    traffic::Traffic,
};

/// How often a server looks for lapsed keys by itself.
const CYCLE: Duration = Duration::from_millis(100);
/// How often [`Progress`] is told.
const TOLD_EVERY: u64 = 5_000;

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is waited for.
    pub phase: &'static str,
    /// How much time has passed in the world.
    pub passed: Duration,
    /// How many streams are owned.
    pub owned: usize,
}

/// Builds a fleet and lets it run: it takes all streams, is left alone, loses consumers, and takes what they owned.
///
/// # Errors
/// A fleet that cannot be built.
pub fn run(fleet: &Fleet, mut progress: impl FnMut(Progress)) -> Result<Report, Unfit> {
    fleet.check()?;
    let mut world = World::new(fleet, fleet.config()?);
    world.traffic.begin("start", world.now);
    let is_ready = world.go_until(&mut progress, fleet.patience, |world| world.is_ready());

    let announced_from = world.now;
    world.traffic.begin("take", world.now);
    world.announce_all();
    let all_owned = is_ready && world.go_until(&mut progress, fleet.patience, |world| world.all_owned());
    let time_to_own = world.now.since(announced_from);

    world.traffic.begin("calm down", world.now);
    world.go(&mut progress, fleet.settings.heartbeat);
    world.traffic.begin("quiet", world.now);
    world.go(&mut progress, fleet.quiet);
    let share_before = world.share();
    let bytes = world.shards.iter().map(Shard::memory).sum::<usize>();

    world.traffic.begin("takeover", world.now);
    let crashed_at = world.now;
    world.kill();
    let all_taken_over = world.go_until(&mut progress, fleet.patience, |world| world.all_owned());
    let time_to_recover = world.now.since(crashed_at);
    world.traffic.begin("after", world.now);
    world.go(&mut progress, fleet.settings.heartbeat);
    world.traffic.end(world.now);

    Ok(Report::of(Seen {
        fleet,
        passed: world.now.since(Time::ZERO),
        all_owned: all_owned && all_taken_over,
        time_to_own,
        time_to_recover,
        share_before,
        share_after: world.share(),
        bytes_per_stream: bytes / fleet.streams,
        ledger: world.ledger,
        traffic: world.traffic,
    }))
}

/// All that a run has shown.
pub(crate) struct Seen<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) passed: Duration,
    pub(crate) all_owned: bool,
    pub(crate) time_to_own: Duration,
    pub(crate) time_to_recover: Duration,
    pub(crate) share_before: Share,
    pub(crate) share_after: Share,
    pub(crate) bytes_per_stream: usize,
    pub(crate) ledger: Ledger,
    pub(crate) traffic: Traffic,
}

/// Something that happens.
pub(crate) enum Due {
    /// A consumer starts.
    Start(usize),
    /// A node is woken.
    Wake(usize),
    /// A node has a connection of this number.
    Connected(usize, Link, u64),
    /// A node hears the answer to a call.
    Answer(usize, CallId, Result<Answer, Trouble>),
    /// A node waits no longer for the answer to a call.
    GiveUp(usize, CallId),
    /// All nodes of a partition hear this.
    Push(usize, Rc<[Event]>),
    /// Something arrives at a server.
    Arrive(usize, Request),
    /// A server has finished what it was doing.
    Finished(usize),
    /// A server is to look for lapsed keys.
    Cycle(usize),
    /// A wait for announcements is over.
    ReadOver(usize, CallId),
    /// The announcer of a partition is to send more.
    Announce(usize),
}

pub(crate) struct World<'a> {
    pub(crate) fleet: &'a Fleet,
    config: Config,
    pub(crate) keys: Vec<Keys>,
    pub(crate) now: Time,
    pub(crate) agenda: Agenda<Due>,
    pub(crate) shards: Vec<Shard>,
    /// By consumer, then by partition.
    pub(crate) nodes: Vec<Node>,
    /// How many consumers have ever been started: groups remember them all.
    pub(crate) started: usize,
    killed: BTreeSet<usize>,
    /// What is still to be announced in each partition, the last first.
    pub(crate) unannounced: Vec<Vec<usize>>,
    ledger: Ledger,
    pub(crate) traffic: Traffic,
}

impl<'a> World<'a> {
    fn new(fleet: &'a Fleet, config: Config) -> World<'a> {
        let keys = fleet.keys();
        let shard = |shard: usize| {
            let here = keys.iter().enumerate().filter(|(partition, _)| partition % fleet.shards == shard);
            Shard::new(here, fleet.seed.wrapping_add(shard as u64))
        };
        let shards: Vec<Shard> = (0..fleet.shards).map(shard).collect();
        let nodes = (0..fleet.consumers * fleet.partitions).map(|at| {
            let (consumer, partition) = (at / fleet.partitions, at % fleet.partitions);
            let protocol = Protocol::new(keys[partition].clone(), name(consumer), config.clone(), at as u64 + 1);
            Node::new(consumer, partition, protocol)
        });
        let nodes: Vec<Node> = nodes.collect();
        let mut agenda = Agenda::new();
        // Nobody starts a fleet in one instant: heartbeats are spread over their span.
        let mut dice = SmallRng::seed_from_u64(fleet.seed);
        let heartbeat_us = u64::try_from(config.heartbeat.as_micros()).unwrap_or(u64::MAX);
        for consumer in 0..fleet.consumers {
            agenda.put(Time::from_micros(dice.random_range(0..heartbeat_us)), Due::Start(consumer));
        }
        (0..fleet.shards).for_each(|shard| agenda.put(Time::ZERO + CYCLE, Due::Cycle(shard)));
        let mut unannounced = vec![Vec::new(); fleet.partitions];
        for number in (0..fleet.streams).rev() {
            unannounced[fleet.partition_of(&stream(number))].push(number);
        }
        World {
            fleet,
            config,
            keys,
            now: Time::ZERO,
            agenda,
            shards,
            nodes,
            started: 0,
            killed: BTreeSet::new(),
            unannounced,
            ledger: Ledger::new(fleet.consumers, fleet.streams),
            traffic: Traffic::new(fleet.shards),
        }
    }

    /// Lets so much time pass.
    fn go(&mut self, progress: &mut impl FnMut(Progress), span: Duration) {
        self.go_until(progress, span, |_| false);
    }

    /// Lets time pass until this is so, or for so long. Whether it became so.
    fn go_until(
        &mut self,
        progress: &mut impl FnMut(Progress),
        span: Duration,
        so: impl Fn(&World<'_>) -> bool,
    ) -> bool {
        let deadline = self.now + span;
        let mut steps: u64 = 0;
        while !so(self) {
            let Some((at, due)) = self.agenda.next_by(deadline) else {
                self.now = deadline;
                return false;
            };
            self.now = at;
            self.happen(due);
            steps += 1;
            if steps.is_multiple_of(TOLD_EVERY) {
                let phase = self.traffic.spans.last().map_or("", |span| span.name);
                progress(Progress { phase, passed: self.now.since(Time::ZERO), owned: self.ledger.owned() });
            }
        }
        true
    }

    fn is_ready(&self) -> bool {
        self.started == self.fleet.consumers && self.nodes.iter().all(|node| node.is_ready)
    }

    fn all_owned(&self) -> bool {
        self.ledger.owned() == self.fleet.streams
    }

    fn share(&self) -> Share {
        self.ledger.share((0..self.fleet.consumers).filter(|consumer| !self.killed.contains(consumer)))
    }

    fn announce_all(&mut self) {
        (0..self.fleet.partitions).for_each(|partition| self.agenda.put(self.now, Due::Announce(partition)));
    }

    /// Consumers crash, evenly chosen from those that are.
    fn kill(&mut self) {
        let (consumers, partitions) = (self.fleet.consumers, self.fleet.partitions);
        for victim in (0..self.fleet.kill).map(|at| at * consumers / self.fleet.kill) {
            self.killed.insert(victim);
            let (nodes, shards, keys, fleet) = (&self.nodes, &self.shards, &self.keys, self.fleet);
            let heard = |number: usize| {
                let stream = stream(number);
                let partition = fleet.partition_of(&stream);
                let node = &nodes[victim * partitions + partition];
                let entry = node.machine.as_ref().and_then(|machine| machine.entry_of(&stream));
                let key = entry.map(|entry| keys[partition].lease(&stream, entry));
                let shard = &shards[partition % fleet.shards];
                key.and_then(|key| shard.renewed_at(&key, fleet.settings.lease_ttl)).unwrap_or(self.now)
            };
            self.ledger.crashed(victim, self.now, heard);
            for node in victim * partitions..(victim + 1) * partitions {
                self.nodes[node].crash();
            }
            // Its connections are closed: it is handed nothing any more.
            for shard in &mut self.shards {
                shard.waiting.retain(|waiting| self.nodes[waiting.node].is_running());
            }
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Start(consumer) => self.start(consumer),
            Due::Wake(node) => self.wake(node),
            Due::Connected(node, link, number) => {
                if self.nodes[node].connected(link, number) {
                    self.tell(node, Event::Connected(link));
                }
            }
            Due::Answer(node, id, answer) => {
                if self.nodes[node].answered(id) {
                    self.tell(node, Event::Answered(id, answer));
                }
            }
            Due::GiveUp(node, id) => {
                if self.nodes[node].answered(id) {
                    self.traffic.gave_up();
                    self.tell(node, Event::Answered(id, Err(Trouble::connection("no answer in time"))));
                }
            }
            Due::Push(partition, events) => {
                for consumer in 0..self.fleet.consumers {
                    let node = consumer * self.fleet.partitions + partition;
                    for event in &*events {
                        if self.nodes[node].listens() {
                            self.tell(node, event.clone());
                        }
                    }
                }
            }
            Due::Arrive(shard, request) => {
                self.shards[shard].arrived(request);
                self.serve(shard);
            }
            Due::Finished(shard) => {
                self.shards[shard].is_busy = false;
                self.serve(shard);
            }
            Due::Cycle(shard) => {
                self.shards[shard].arrived(Request { since: self.now, what: What::Cycle });
                self.agenda.put(self.now + CYCLE, Due::Cycle(shard));
                self.serve(shard);
            }
            Due::ReadOver(node, id) => self.end_wait(node, id),
            Due::Announce(partition) => self.announce(partition),
        }
    }

    fn start(&mut self, consumer: usize) {
        self.started += 1;
        for partition in 0..self.fleet.partitions {
            let node = consumer * self.fleet.partitions + partition;
            let seed = self.fleet.seed.wrapping_mul(1_000_003).wrapping_add(node as u64);
            let machine = Machine::new(self.keys[partition].clone(), name(consumer), self.config.clone(), seed);
            self.nodes[node].machine = Some(Box::new(machine));
            self.tell(node, Event::Timeout);
        }
    }

    fn wake(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        if place.woken_at != Some(self.now) {
            return; // it is woken earlier, by another entry of the agenda
        }
        place.woken_at = None;
        if place.wake.is_some_and(|at| at <= self.now) {
            self.tell(node, Event::Timeout);
        } else {
            self.set_alarm(node);
        }
    }

    /// Sees to it that a node is woken when it wants to be.
    fn set_alarm(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        let Some(wake) = place.wake.map(|at| at.max(self.now)) else { return };
        if place.woken_at.is_none_or(|at| at > wake) {
            place.woken_at = Some(wake);
            self.agenda.put(wake, Due::Wake(node));
        }
    }

    /// An event comes to a node, and all that follows from it.
    fn tell(&mut self, node: usize, event: Event) {
        let latency = self.fleet.costs.latency();
        for wish in self.nodes[node].tell(event, self.now) {
            match wish {
                // A handshake: there and back twice.
                Wish::Connect(link, number) => {
                    self.agenda.put(self.now + latency * 4, Due::Connected(node, link, number));
                }
                Wish::Call(id, call) => {
                    let block = if let Call::Read { block, .. } = &call { *block } else { Duration::ZERO };
                    self.agenda.put(self.now + block + self.config.call_timeout, Due::GiveUp(node, id));
                    let shard = self.nodes[node].partition % self.fleet.shards;
                    let arrival = self.now + latency;
                    let request = Request { since: arrival, what: What::Call(node, id, call) };
                    self.agenda.put(arrival, Due::Arrive(shard, request));
                }
                Wish::Notify(notification) => self.notified(node, notification),
            }
        }
        self.set_alarm(node);
    }

    fn notified(&mut self, node: usize, notification: Notification) {
        let consumer = self.nodes[node].consumer;
        match notification {
            Notification::Ready => self.nodes[node].is_ready = true,
            Notification::Added(Added { stream, entry, .. }) => {
                let Some(number) = number_of(&stream) else { return };
                if let Some(owner) = self.ledger.owner_of(number) {
                    let other = &self.nodes[owner * self.fleet.partitions + self.nodes[node].partition];
                    let trusts = other.machine.as_ref().is_some_and(|machine| machine.owns(entry, self.now));
                    self.ledger.doubled += u64::from(trusts && owner != consumer);
                }
                self.ledger.added(consumer, number, self.now);
            }
            Notification::Disowned { stream, reason, .. } => {
                if let Some(number) = number_of(&stream) {
                    self.ledger.disowned(consumer, number, reason.label());
                }
            }
            _ => {}
        }
    }
}

/// The name of a consumer.
fn name(consumer: usize) -> ConsumerId {
    ConsumerId::named(&format!("consumer-{consumer:05}")).expect("a good name")
}
