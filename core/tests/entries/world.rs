//! Two consumers, a few streams that go from one to the other, and a network that loses and delays: everything that
//! happens in it follows from a [`Plan`](super::plan::Plan).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use streamkeeper_core::{
    entries::{Answer, Call, Command, Config, Event, Link, Machine, Output, Owned, OwnedId, Ticket},
    id::{Attempt, CallId, EntryId, StreamName},
    time::Time,
    trouble::Trouble,
};

use super::{
    application::{App, Item},
    plan::{Fault, LAST_FAULT, LONGEST, NODES, Plan, STREAMS},
    redis::Redis,
};

/// When everything is mended; from then on it takes this long at most until all is read and committed.
const MENDED: Duration = Duration::from_millis(LAST_FAULT + LONGEST + 500);
const PATIENCE: Duration = Duration::from_secs(30);
/// More than this does not happen in one world, unless somebody spins.
const MOST_THINGS: u64 = 1_000_000;
const MOST_SPINS: u32 = 10;
const ANNOUNCED: EntryId = EntryId { ms: 1, seq: 0 };

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) config: Config,
    pub(crate) now: Time,
    dice: u64,
    queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    things: Vec<Option<Thing>>,
    pub(crate) redis: Redis,
    /// What the server may go back to.
    past: Vec<(Time, Redis)>,
    /// How often it did.
    pub(crate) forgotten: u32,
    pub(crate) names: Vec<StreamName>,
    /// Everything that was ever added.
    pub(crate) added: Vec<BTreeSet<EntryId>>,
    pub(crate) owners: Vec<Option<(usize, OwnedId, Attempt)>>,
    spoilt_until: Vec<Time>,
    pub(crate) positions: Vec<EntryId>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) blocked: BTreeMap<u32, Blocked>,
    pub(crate) connections: u32,
    pub(crate) outage_until: Time,
    owned: u64,
    pub(crate) tickets: u64,
    pub(crate) answered: BTreeSet<Ticket>,
}

pub(crate) struct Node {
    pub(crate) machine: Machine,
    wake: Option<Time>,
    spins: u32,
    pub(crate) up: [Option<u32>; 2],
    pub(crate) connecting: [Option<u32>; 2],
    pub(crate) asked: BTreeMap<CallId, (Link, u32)>,
    pub(crate) apps: BTreeMap<OwnedId, App>,
    pub(crate) cut_until: Time,
    pub(crate) stopping: bool,
}

/// A wait that blocks.
#[derive(Clone)]
pub(crate) struct Blocked {
    pub(crate) node: usize,
    pub(crate) id: CallId,
    pub(crate) streams: Arc<[(StreamName, EntryId)]>,
    pub(crate) until: Time,
}

#[derive(Clone)]
pub(crate) enum Thing {
    Add(usize, u64),
    Fault(usize),
    /// Who owns a stream now creates its lease again.
    Recreate(usize),
    Mend,
    Tell(usize, Event),
    Wake(usize),
    Connected(usize, Link, u32),
    Arrives(usize, CallId, Call, u32),
    Serve(u32),
    Answer(usize, CallId, Result<Answer, Trouble>),
    GivesUp(usize, CallId),
    Works(usize, OwnedId),
    /// A node hears that an ownership has ended.
    Loses(usize, OwnedId),
    /// A node that has stopped is replaced.
    Replace(usize),
}

impl World {
    pub(crate) fn new(plan: Plan) -> World {
        let config = Config::new(plan.settings()).expect("good settings");
        let node = |number: u64| Node {
            machine: Machine::new(config.clone(), plan.seed ^ number),
            wake: None,
            spins: 0,
            up: [None; 2],
            connecting: [None; 2],
            asked: BTreeMap::new(),
            apps: BTreeMap::new(),
            cut_until: Time::ZERO,
            stopping: false,
        };
        let redis = Redis { does_not_count: plan.does_not_count, no_client: plan.no_client, ..Redis::default() };
        let mut world = World {
            now: Time::ZERO,
            dice: plan.seed,
            queue: BinaryHeap::new(),
            things: Vec::new(),
            redis,
            past: Vec::new(),
            forgotten: 0,
            names: (0..STREAMS).map(|n| StreamName::new(&format!("s{n}")).expect("a good name")).collect(),
            added: vec![BTreeSet::new(); STREAMS],
            owners: vec![None; STREAMS],
            spoilt_until: vec![Time::ZERO; STREAMS],
            positions: vec![EntryId::default(); STREAMS],
            nodes: (0..NODES as u64).map(node).collect(),
            blocked: BTreeMap::new(),
            connections: 0,
            outage_until: Time::ZERO,
            owned: 0,
            tickets: 0,
            answered: BTreeSet::new(),
            config,
            plan,
        };
        for (at, stream, count) in world.plan.adds.clone() {
            world.at(Time::from_millis(at), Thing::Add(stream, count));
        }
        for (index, (at, _)) in world.plan.faults.clone().into_iter().enumerate() {
            world.at(Time::from_millis(at), Thing::Fault(index));
        }
        world.at(Time::ZERO + MENDED, Thing::Mend);
        world
    }

    /// Lives until all is read and committed.
    pub(crate) fn live(&mut self) {
        for stream in 0..STREAMS {
            self.hand(stream, stream % NODES, 0);
        }
        let end = Time::ZERO + MENDED + PATIENCE;
        let mut happened = 0;
        while let Some(Reverse((at, _, index))) = self.queue.pop() {
            self.now = at;
            if at > end || (at > Time::ZERO + MENDED && self.is_all_done()) {
                break;
            }
            happened += 1;
            assert!(happened < MOST_THINGS, "too much happens");
            let thing = self.things[index].take().expect("it happens once");
            self.happens(thing);
        }
        self.judge_the_end();
    }

    fn happens(&mut self, thing: Thing) {
        match thing {
            Thing::Add(stream, count) => self.add(stream, count),
            Thing::Fault(index) => self.fault(self.plan.faults[index].1.clone()),
            Thing::Recreate(stream) => {
                if let Some((_, _, attempt)) = self.owners[stream] {
                    self.redis.leases.insert((self.names[stream].clone(), ANNOUNCED), attempt);
                }
            }
            Thing::Mend => self.mend(),
            Thing::Tell(node, event) => self.tell(node, event),
            Thing::Wake(node) => {
                if self.nodes[node].wake.is_some_and(|wake| wake <= self.now) {
                    self.tell(node, Event::Timeout);
                }
            }
            Thing::Connected(node, link, connection) => self.connected(node, link, connection),
            Thing::Arrives(node, id, call, connection) => self.arrives(node, id, call, connection),
            Thing::Serve(connection) => self.serve(connection),
            Thing::Answer(node, id, result) => {
                if self.nodes[node].asked.remove(&id).is_some() {
                    self.tell(node, Event::Answered(id, result));
                }
            }
            Thing::GivesUp(node, id) => {
                if self.nodes[node].asked.remove(&id).is_some() {
                    self.tell(node, Event::Answered(id, Err(Trouble::connection("no answer in time"))));
                }
            }
            Thing::Works(node, id) => self.works(node, id),
            Thing::Loses(node, id) => {
                self.nodes[node].apps.remove(&id);
                self.tell(node, Event::Lost(id));
            }
            Thing::Replace(node) => self.replace(node),
        }
    }

    fn add(&mut self, stream: usize, count: u64) {
        for _ in 0..count {
            let ms = 1 + self.added.iter().filter_map(|added| added.last()).map(|id| id.ms).max().unwrap_or(0);
            let id = EntryId { ms, seq: 0 };
            let name = self.names[stream].clone();
            self.redis.add(&name, id);
            self.added[stream].insert(id);
        }
        if self.spoilt_until[stream] > self.now {
            self.spoil(stream);
        }
        self.remember();
    }

    fn spoil(&mut self, stream: usize) {
        let (name, spoilt) = (self.names[stream].clone(), self.spoilt_until[stream] > self.now);
        if let Some(data) = self.redis.streams.get_mut(&name) {
            data.wrong_type = spoilt;
        }
    }

    pub(crate) fn remember(&mut self) {
        if self.plan.forgets() {
            self.past.push((self.now, self.redis.clone()));
        }
    }

    /// A stream goes to a node; the one that had it hears of it later.
    fn hand(&mut self, stream: usize, node: usize, late_ms: u64) {
        let node = if self.nodes[node].stopping { 0 } else { node };
        if let Some((before, id, _)) = self.owners[stream] {
            self.later(Duration::from_millis(late_ms), Thing::Loses(before, id));
        }
        self.owned += 1;
        let (id, attempt) = (OwnedId(self.owned), Attempt { incarnation: node as u64, number: self.owned });
        self.owners[stream] = Some((node, id, attempt));
        let name = self.names[stream].clone();
        self.redis.leases.insert((name.clone(), ANNOUNCED), attempt);
        self.nodes[node].apps.insert(id, App::new(stream, attempt));
        self.tell(node, Event::Owned(Owned { id, entry: ANNOUNCED, stream: name, attempt }));
        self.read(node, id);
    }

    fn fault(&mut self, fault: Fault) {
        let until = |world: &World, ms: u64| world.now + Duration::from_millis(ms);
        match fault {
            Fault::Break(node, reader) => {
                let first = self.roll(2) == 0;
                self.break_link(node, if reader { Link::Reader } else { Link::Commands }, Some(first));
            }
            Fault::Cut(node, ms) => self.nodes[node].cut_until = until(self, ms),
            Fault::Outage(ms) => self.outage_until = until(self, ms),
            Fault::Hand(stream, node, late_ms) => self.hand(stream, node, late_ms),
            Fault::Lapse(stream, ms) => {
                self.redis.leases.remove(&(self.names[stream].clone(), ANNOUNCED));
                self.later(Duration::from_millis(ms), Thing::Recreate(stream));
            }
            Fault::Trim(stream, left) => {
                let name = self.names[stream].clone();
                if let Some(data) = self.redis.streams.get_mut(&name) {
                    while data.entries.len() > left {
                        data.entries.pop_first();
                    }
                }
            }
            Fault::Spoil(stream, ms) => {
                self.spoilt_until[stream] = until(self, ms);
                self.spoil(stream);
            }
            Fault::Odd(stream) => {
                self.redis.odd_records.insert(self.names[stream].clone());
            }
            Fault::OddDead => self.redis.odd_dead = true,
            Fault::Reread(stream) => {
                if let Some((node, id, _)) = self.owners[stream]
                    && !self.nodes[node].stopping
                {
                    self.read(node, id);
                }
            }
            Fault::Delete(stream) => {
                self.redis.streams.remove(&self.names[stream]);
            }
            Fault::Forget(ms) => self.forget(ms),
            Fault::Stop(ms) => {
                let node = NODES - 1;
                self.nodes[node].stopping = true;
                self.tell(node, Event::Shutdown(until(self, ms)));
                self.later(Duration::from_millis(ms + 1), Thing::Replace(node));
            }
        }
        self.remember();
    }

    fn forget(&mut self, ms: u64) {
        let then = self.now - Duration::from_millis(ms);
        let at = self.past.iter().rposition(|(at, _)| *at <= then).unwrap_or(0);
        let Some((_, past)) = self.past.get(at).cloned() else { return };
        self.past.truncate(at + 1);
        self.forgotten += 1;
        let now = std::mem::replace(&mut self.redis, past);
        (self.redis.odd_records, self.redis.odd_dead) = (now.odd_records, now.odd_dead);
        self.redis.leases.clear();
        for stream in 0..STREAMS {
            self.spoil(stream);
            self.positions[stream] = self.position(stream);
            self.later(Duration::from_millis(100), Thing::Recreate(stream));
        }
    }

    fn replace(&mut self, node: usize) {
        assert!(self.nodes[node].machine.stopped(), "the stop does not end");
        for stream in 0..STREAMS {
            if self.owners[stream].is_some_and(|(owner, ..)| owner == node) {
                self.hand(stream, 0, 0);
            }
        }
    }

    /// Nothing goes wrong any more; every stream is owned, and gets a last entry.
    fn mend(&mut self) {
        self.redis.odd_records.clear();
        self.redis.odd_dead = false;
        for stream in 0..STREAMS {
            self.spoilt_until[stream] = self.now;
            self.spoil(stream);
            self.happens(Thing::Recreate(stream));
            self.add(stream, 1);
        }
    }

    pub(crate) fn tell(&mut self, node: usize, event: Event) {
        let timer = event == Event::Timeout;
        self.nodes[node].machine.handle(event, self.now);
        loop {
            match self.nodes[node].machine.poll() {
                Output::Wait(wake) => {
                    self.sleep(node, wake, timer);
                    break;
                }
                output => self.obey(node, output),
            }
        }
    }

    fn sleep(&mut self, at: usize, wake: Option<Time>, timer: bool) {
        let node = &mut self.nodes[at];
        node.wake = wake;
        let again = timer && wake.is_some_and(|wake| wake <= self.now);
        node.spins = if again { node.spins + 1 } else { 0 };
        assert!(node.spins < MOST_SPINS, "it spins at {:?}", self.now);
        if let Some(wake) = wake {
            self.at(wake, Thing::Wake(at));
        }
    }

    fn obey(&mut self, node: usize, output: Output) {
        match output {
            Output::Command(Command::Connect(link)) => self.connect(node, link),
            Output::Command(Command::Disconnect(link)) => self.break_link(node, link, None),
            Output::Command(Command::Call(id, call)) => self.call(node, id, call),
            Output::Deliver(id, delivery) => {
                self.delivered(node, id, delivery);
                let is_entry = |item: &&Item| matches!(item, Item::Entry(_));
                let entries = |app: &App| app.buffer.iter().filter(is_entry).count();
                let lying: usize = self.nodes[node].apps.values().map(entries).sum();
                // Who has none is given one, however full the buffers are.
                let most = self.config.prefetch_total + self.nodes[node].apps.len();
                assert!(lying <= most, "{lying} entries lie with the applications");
            }
            Output::Committed(ticket, end) => self.ticket_answered(node, ticket, end),
            Output::Nothing(id) => panic!("{id:?} has not asked whether there is nothing"),
            Output::SetAside(id, entry) => {
                let stream = self.nodes[node].apps[&id].stream;
                let there = self.redis.dead.contains(&(self.names[stream].clone(), entry));
                assert!(there || self.plan.forgets(), "{entry} is said to be set aside");
            }
            Output::Remark(_) => {}
            Output::Wait(_) => unreachable!("handled before"),
        }
    }

    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    pub(crate) fn later(&mut self, pause: Duration, thing: Thing) {
        self.at(self.now + pause, thing);
    }

    fn at(&mut self, at: Time, thing: Thing) {
        self.things.push(Some(thing));
        let index = self.things.len() - 1;
        self.queue.push(Reverse((at.max(self.now), index as u64, index)));
    }
}
