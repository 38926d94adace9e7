//! Everything of a run of the engine, on one agenda: what is due happens, in order of time, and nothing lies between. That
//! is all that passes for time here.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use bytes::Bytes;
use streamkeeper::Time;

use super::{
    network::{ConnNo, INTO, Knocked, Load, Network, OUT},
    node::Node,
    process::{Happening, Process, Timer},
    producer::{self, Producer},
};
use crate::{
    facts::Who,
    plan::{Plan, Way},
    redis::{Redis, serve},
    scale::agenda::Agenda,
    stage::{Between, Course, HostId, time::TrueTime},
    world::{scene::Scene, seeds, server::Connected},
};

/// How often everybody is asked what they believe, while more than one lease of a stream is held.
const PROBE: Duration = Duration::from_millis(10);

/// What the server has sent: on which connection; `None`: it has closed it.
type Mail = Rc<RefCell<VecDeque<(ConnNo, Option<Bytes>)>>>;

/// A run.
pub(super) struct State {
    pub(super) now: Time,
    pub(super) time: TrueTime,
    pub(super) scene: Scene,
    pub(super) network: Network,
    pub(super) nodes: Vec<Node>,
    pub(super) producer: Producer,
    agenda: Agenda<Due>,
    served: serve::Server,
    connected: Connected,
    mail: Mail,
    /// When the server's own time passes next.
    tick_at: Option<Time>,
    is_probing: bool,
}

/// What is due.
enum Due {
    /// The server's own time passes.
    Tick,
    /// Something has come to the end of a pipe.
    Arrival(ConnNo, usize, Load),
    /// A segment with which a connection is made has come; `true`: it is the server's.
    Knock(ConnNo, bool),
    /// Nobody has answered.
    KnockAgain(ConnNo),
    /// Something in a process of a consumer.
    Process(Who, Timer),
    /// A process that stood still at a point goes on.
    Resume(Who),
    /// A process that has ended by itself is followed by another one.
    Restart(Who),
    Producer(producer::Timer),
    Probe,
}

/// The state, as the director's stage.
#[derive(Clone)]
pub(super) struct Engine(pub(super) Rc<RefCell<State>>);

impl State {
    pub(super) fn new(
        plan: &Plan,
        time: TrueTime,
        scene: Scene,
        (served, connected): (serve::Server, Connected),
    ) -> State {
        let hosts = plan.consumers.len() + 1;
        let seed = seeds::of(plan.seed, &[seeds::NETWORK]);
        State {
            now: Time::ZERO,
            network: Network::new(seed, plan.latency_us, hosts),
            nodes: (0..plan.consumers.len()).map(|index| Node::new(plan, index)).collect(),
            producer: Producer::new(hosts, seeds::of(plan.seed, &[seeds::PRODUCER])),
            agenda: Agenda::new(),
            time,
            scene,
            served,
            connected,
            mail: Mail::default(),
            tick_at: None,
            is_probing: false,
        }
    }

    /// The process of a consumer, if one runs.
    pub(super) fn process(&mut self, index: usize) -> Option<&mut Process> {
        self.nodes[index].process.as_deref_mut()
    }

    pub(super) fn put_timer(&mut self, index: usize, at: Time, timer: Timer) {
        let who = self.who(index);
        self.agenda.put(at, Due::Process(who, timer));
    }

    pub(super) fn put_resume(&mut self, who: Who, at: Time) {
        self.agenda.put(at, Due::Resume(who));
    }

    pub(super) fn put_restart(&mut self, who: Who, at: Time) {
        self.agenda.put(at, Due::Restart(who));
    }

    pub(super) fn put_producer(&mut self, at: Time, timer: producer::Timer) {
        self.agenda.put(at, Due::Producer(timer));
    }

    pub(super) fn put_knock(&mut self, conn: ConnNo, back: bool, at: Time) {
        self.agenda.put(at, Due::Knock(conn, back));
    }

    /// More than one lease of some stream is held.
    pub(super) fn probe_soon(&mut self) {
        if !std::mem::replace(&mut self.is_probing, true) {
            self.agenda.put(self.now + PROBE, Due::Probe);
        }
    }

    /// Sends something over a connection.
    pub(super) fn transmit(&mut self, conn: ConnNo, way: usize, bytes: Bytes) {
        self.send(conn, way, Load::Bytes(bytes));
    }

    fn send(&mut self, conn: ConnNo, way: usize, load: Load) {
        if let Some(at) = self.network.send(conn, way, self.now) {
            self.agenda.put(at, Due::Arrival(conn, way, load));
        }
    }

    /// A host closes its end of a connection.
    pub(super) fn close(&mut self, conn: ConnNo) {
        let Some(connection) = self.network.of(conn) else { return };
        let stands = connection.server.is_some();
        if !std::mem::replace(&mut connection.is_left, true) && stands {
            self.send(conn, OUT, Load::End);
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Tick => {
                if self.tick_at == Some(self.now) {
                    self.tick_at = None;
                    self.served.with(Redis::tick);
                    self.collect();
                }
            }
            Due::Arrival(conn, way, load) => {
                if let Some(load) = self.network.arrives(conn, way, load) {
                    self.deliver(conn, way, load);
                }
            }
            Due::Knock(conn, back) => self.knock(conn, back),
            Due::KnockAgain(conn) => {
                if let Some(at) = self.network.dial_again(conn, self.now) {
                    self.put_knock(conn, false, at);
                }
            }
            Due::Process(who, timer) => self.befall(who, Happening::Timer(timer)),
            Due::Resume(who) => self.resume(who),
            Due::Restart(who) => self.restart(who),
            Due::Producer(timer) => self.produce(timer),
            Due::Probe => {
                self.is_probing = false;
                if self.scene.note_beliefs() {
                    self.probe_soon();
                }
            }
        }
    }

    fn knock(&mut self, conn: ConnNo, back: bool) {
        match self.network.knocked(conn, back) {
            None | Some(Knocked::Waits) => {}
            Some(Knocked::Lost(again)) => self.agenda.put(again.max(self.now), Due::KnockAgain(conn)),
            Some(Knocked::Passes) if !back => {
                let Some(host) = self.network.of(conn).map(|connection| connection.host) else { return };
                let at = self.now + self.network.delay(host);
                self.put_knock(conn, true, at);
            }
            Some(Knocked::Passes) => self.connected(conn),
        }
    }

    /// A connection stands.
    fn connected(&mut self, conn: ConnNo) {
        let mail = self.mail.clone();
        let server = self.served.open(move |bytes| mail.borrow_mut().push_back((conn, bytes)));
        let Some(connection) = self.network.of(conn) else { return };
        connection.server = Some(server);
        let host = connection.host;
        let who = host.checked_sub(1).and_then(|consumer| self.scene.life(consumer));
        self.connected.borrow_mut().insert((0, server), (host, who));
        match self.place_of(host) {
            Some(index) => self.befall_now(index, Happening::Dialled(conn)),
            None => self.producer_dialled(conn),
        }
        self.collect();
    }

    fn deliver(&mut self, conn: ConnNo, way: usize, load: Load) {
        let Some(connection) = self.network.of(conn) else { return };
        let (host, left, server) = (connection.host, connection.is_left, connection.server);
        if way == OUT {
            let Some(server) = server else { return };
            match load {
                Load::Bytes(bytes) => self.served.with(|redis, now| redis.receive(server, &bytes, now)),
                Load::End => {
                    self.hang_up(conn);
                    self.network.forget(conn);
                }
            }
            return self.collect();
        }
        if left {
            // Nobody reads any more: the server is told.
            if let Load::Bytes(_) = load {
                self.send(conn, OUT, Load::End);
            }
            return;
        }
        match (load, self.place_of(host)) {
            (Load::Bytes(bytes), Some(index)) => self.befall_now(index, Happening::Data(conn, bytes)),
            (Load::End, Some(index)) => self.befall_now(index, Happening::Closed(conn)),
            (Load::Bytes(bytes), None) => self.producer_data(conn, &bytes),
            (Load::End, None) => self.producer_closed(conn),
        }
    }

    fn hang_up(&mut self, conn: ConnNo) {
        if let Some(server) = self.network.of(conn).and_then(|connection| connection.server) {
            self.served.hang_up(server);
            self.connected.borrow_mut().remove(&(0, server));
        }
    }

    /// What the server has to say is on its way, and its own time will pass.
    fn collect(&mut self) {
        loop {
            let mail = self.mail.borrow_mut().pop_front();
            let Some((conn, bytes)) = mail else { break };
            self.send(conn, INTO, bytes.map_or(Load::End, Load::Bytes));
        }
        if let Some(at) = self.served.wake_at().map(|at| at.max(self.now))
            && self.tick_at.is_none_or(|tick_at| at < tick_at)
        {
            self.tick_at = Some(at);
            self.agenda.put(at, Due::Tick);
        }
    }

    /// Something happens to whatever process a consumer has.
    pub(super) fn befall_now(&mut self, index: usize, happening: Happening) {
        let who = self.who(index);
        self.befall(who, happening);
    }

    /// Something happens to a process, as soon as it goes on if it stands still.
    fn befall(&mut self, who: Who, happening: Happening) {
        let node = &mut self.nodes[who.consumer];
        if node.process.as_ref().is_none_or(|process| process.who != who) {
            return;
        }
        if node.is_frozen {
            node.inbox.push_back(happening);
        } else {
            self.happens(who.consumer, happening);
        }
    }

    /// The consumer on a host, if it is one's.
    fn place_of(&self, host: HostId) -> Option<usize> {
        host.checked_sub(1).filter(|index| *index < self.nodes.len())
    }

    /// What a stall held back comes.
    fn release(&mut self, host: HostId) {
        for conn in self.network.of_host(host) {
            for way in [OUT, INTO] {
                while let Some(load) = self.network.released(conn, way) {
                    self.deliver(conn, way, load);
                }
            }
        }
    }

    fn reset(&mut self, host: HostId) {
        for conn in self.network.of_host(host) {
            if self.network.of(conn).is_none_or(|connection| connection.server.is_none()) {
                continue;
            }
            let (client, server) = self.network.hears(conn);
            if server {
                self.hang_up(conn);
            }
            if client {
                if let Some(connection) = self.network.of(conn) {
                    connection.is_left = true;
                }
                match self.place_of(host) {
                    Some(index) => self.befall_now(index, Happening::Closed(conn)),
                    None => self.producer_closed(conn),
                }
            }
            if client && server {
                self.network.forget(conn);
            }
        }
        self.collect();
    }
}

impl Course for Engine {
    fn now(&self) -> Time {
        self.0.borrow().now
    }

    fn run_until(&mut self, at: Time) {
        let mut state = self.0.borrow_mut();
        // Whoever laid hands on the server has made it say something.
        state.collect();
        while let Some((due_at, due)) = state.agenda.next_by(at) {
            let due_at = due_at.max(state.now);
            state.at(due_at);
            state.happen(due);
        }
        let at = at.max(state.now);
        state.at(at);
    }

    fn start(&mut self, host: HostId) {
        let mut state = self.0.borrow_mut();
        if let Some(index) = state.place_of(host) {
            state.start(index);
        }
    }

    fn crash(&mut self, host: HostId) {
        let mut state = self.0.borrow_mut();
        if let Some(index) = state.place_of(host) {
            state.crash(index);
        }
    }

    fn freeze(&mut self, host: HostId, until: Time) {
        let mut state = self.0.borrow_mut();
        let thaws = until <= state.now;
        if let Some(index) = state.place_of(host) {
            if thaws {
                state.thaw(index);
            } else {
                state.nodes[index].is_frozen = true;
            }
        }
    }

    fn stall(&mut self, (host, _): Between, way: Way, on: bool) {
        let mut state = self.0.borrow_mut();
        for (conn, back) in state.network.stall(host, way, on) {
            state.knock(conn, back);
        }
        state.release(host);
    }

    fn partition(&mut self, (host, _): Between, way: Way, on: bool) {
        self.0.borrow_mut().network.partition(host, way, on);
    }

    fn reset(&mut self, (host, _): Between) {
        self.0.borrow_mut().reset(host);
    }

    fn slow(&mut self, (host, _): Between, by: Duration) {
        self.0.borrow_mut().network.slow(host, by);
    }

    fn panics(&mut self) -> Vec<String> {
        Vec::new()
    }
}

impl State {
    fn at(&mut self, now: Time) {
        self.now = now;
        self.time.is(now.since(Time::ZERO));
    }
}
