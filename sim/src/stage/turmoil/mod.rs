//! The stage on turmoil: each host has a runtime of its own, and time goes in ticks. turmoil carries the bytes, cuts
//! hosts off and kills them; what it lacks (directions that stall, links that break, buffers that fill, hosts that
//! freeze) lies in layers around it, so that both stages behave alike.

mod stream;
mod wires;

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::turmoil::{
    Builder, Sim,
    net::{TcpListener, TcpStream},
};
use stream::{Side, Stream};
use streamkeeper::{ByteStream, Clock, Connect, Time};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_local,
    time::sleep,
};
use wires::Wires;

use super::{
    Accept, Between, Boot, Course, Freezer, HostId, KNOCK_AGAIN, Stage,
    address::PORT,
    freeze::{Ices, Slot},
    panics::Panics,
    road::{Dial, Road},
    time::TrueTime,
};
use crate::plan::Way;

/// How long a step of time is. Bytes take at least that long.
const TICK: Duration = Duration::from_millis(5);
/// So many segments may be under way on one connection; what limits them in bytes are the wires.
const SEGMENTS: usize = 65_536;

/// The stage.
pub struct Turmoil {
    sim: Sim<'static>,
    up: BTreeMap<HostId, bool>,
    ices: Ices,
    wires: Wires,
    latency: (Duration, Duration),
    time: TrueTime,
    panics: Panics,
}

impl Turmoil {
    /// An empty stage.
    pub fn new(seed: u64, latency_us: (u64, u64)) -> Turmoil {
        let latency = (Duration::from_micros(latency_us.0), Duration::from_micros(latency_us.1.max(latency_us.0)));
        let sim = Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH)
            .simulation_duration(Duration::MAX)
            .tick_duration(TICK)
            .min_message_latency(latency.0)
            .max_message_latency(latency.1)
            .tcp_capacity(SEGMENTS)
            .build();
        Turmoil {
            sim,
            up: BTreeMap::new(),
            ices: Ices::default(),
            wires: Wires::default(),
            latency,
            time: TrueTime::of_turmoil(),
            panics: Panics::default(),
        }
    }

    /// Adds a host, with something that runs beside its software and cannot be frozen: its kernel.
    fn add<K: Future<Output = io::Result<()>> + 'static>(
        &mut self,
        host: HostId,
        boot: impl Fn() -> (Boot, K) + 'static,
    ) {
        let (ice, panics, clock) = (self.ices.of(host), self.panics.clone(), self.time.clock(0));
        self.sim.host(address(host), move || {
            let ((software, kernel), slot) = (boot(), Slot::new(ice.clone()));
            // Called within the first step: outside of it there is no time yet.
            slot.fill(Box::pin(panics.clone().watch(format!("host {host}"), async move { software().await })));
            let software = slot.run(clock.clone());
            async move {
                tokio::select! {
                    biased;
                    died = kernel => Ok(died?),
                    () = software => Ok(()),
                }
            }
        });
        // turmoil starts what it is told of; this host is started later.
        self.sim.crash(address(host));
        self.up.insert(host, false);
    }

    fn road(&self, host: HostId, drift_ppm: i32) -> Road {
        let (wires, clock, panics) = (self.wires.clone(), self.time.clock(drift_ppm), self.panics.clone());
        let dial: Dial = Arc::new(move |server| Box::pin(dial(wires.clone(), (host, server))));
        Road { host, dial, ice: self.ices.of(host), clock, panics }
    }

    fn is_up(&self, host: HostId) -> bool {
        self.up.get(&host).copied().unwrap_or_default()
    }
}

impl Course for Turmoil {
    fn now(&self) -> Time {
        self.time.now()
    }

    fn run_until(&mut self, at: Time) {
        while self.time.now() < at {
            if let Err(error) = self.sim.step() {
                self.panics.report(format!("turmoil: {error}"));
            }
            self.time.is(self.sim.elapsed());
        }
    }

    fn start(&mut self, host: HostId) {
        if self.up.contains_key(&host) && !self.is_up(host) {
            self.sim.bounce(address(host));
            self.up.insert(host, true);
            self.wires.serves(host, true);
        }
    }

    fn crash(&mut self, host: HostId) {
        if self.is_up(host) {
            self.sim.crash(address(host));
            self.up.insert(host, false);
            self.wires.serves(host, false);
        }
    }

    fn freeze(&mut self, host: HostId, until: Time) {
        self.ices.of(host).freeze_until(until);
    }

    fn stall(&mut self, between: Between, way: Way, on: bool) {
        self.wires.stall(between, way, on);
    }

    fn partition(&mut self, between: Between, way: Way, on: bool) {
        self.wires.partition(between, way, on);
        let (host, server) = (address(between.0), address(between.1));
        for (from, to, with) in [(host, server, way != Way::In), (server, host, way != Way::Out)] {
            match (with, on) {
                (true, true) => self.sim.partition_oneway(from, to),
                (true, false) => self.sim.repair_oneway(from, to),
                (false, _) => {}
            }
        }
    }

    fn reset(&mut self, between: Between) {
        self.wires.reset(between);
    }

    fn slow(&mut self, (host, server): Between, by: Duration) {
        let (least, most) = self.latency;
        self.sim.set_link_latency(address(host), address(server), least + by);
        self.sim.set_link_max_message_latency(address(host), address(server), most + by);
    }

    fn panics(&mut self) -> Vec<String> {
        self.panics.take()
    }
}

impl Stage for Turmoil {
    fn host(&mut self, host: HostId, boot: Boot) {
        self.add(host, move || (boot.clone(), std::future::pending()));
    }

    fn server(&mut self, host: HostId, accept: Accept) {
        let wires = self.wires.clone();
        self.add(host, move || {
            let (backlog, accepted) = mpsc::unbounded_channel();
            (accept_all(accept.clone(), accepted), listen(wires.clone(), host, backlog))
        });
        self.start(host);
    }

    fn freezer(&self, host: HostId) -> Freezer {
        let (ice, time) = (self.ices.of(host), self.time.clone());
        Freezer(Arc::new(move |span| ice.freeze_at_least_until(time.now() + span)))
    }

    fn connect(&self, host: HostId, drift_ppm: i32) -> Arc<dyn Connect> {
        Arc::new(self.road(host, drift_ppm))
    }

    fn dial(&self, host: HostId, drift_ppm: i32) -> Arc<dyn streamkeeper::Dial> {
        Arc::new(self.road(host, drift_ppm))
    }

    fn clock(&self) -> Clock {
        self.time.clock(0)
    }
}

/// A server's kernel: makes connections even while the server's software stands still.
async fn listen(wires: Wires, server: HostId, backlog: mpsc::UnboundedSender<(HostId, Stream)>) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        let (bytes, from) = listener.accept().await?;
        if let Some(host) = host_at(from.ip()) {
            let wire = wires.lay((host, server), from);
            // The software may have ended.
            let _ = backlog.send((host, Stream::new(bytes, wire, Side::Server)));
        }
    }
}

fn accept_all(accept: Accept, accepted: mpsc::UnboundedReceiver<(HostId, Stream)>) -> Boot {
    let accepted = Rc::new(std::cell::RefCell::new(Some(accepted)));
    Rc::new(move || {
        let (accept, accepted) = (accept.clone(), accepted.borrow_mut().take());
        Box::pin(async move {
            let Some(mut accepted) = accepted else { return };
            while let Some((from, stream)) = accepted.recv().await {
                spawn_local(accept(from, Box::new(stream)));
            }
        })
    })
}

/// Connects a host to a server, as TCP does: who is not heard knocks again.
async fn dial(wires: Wires, between: Between) -> io::Result<Box<dyn ByteStream>> {
    loop {
        while wires.is_blocked(between) {
            sleep(KNOCK_AGAIN).await;
        }
        if !wires.is_served(between.1) {
            sleep(TICK).await;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        // In a task of its own: turmoil forgets to close a connection whose making is given up.
        let (made, making) = oneshot::channel();
        spawn_local(async move {
            let _ = made.send(TcpStream::connect(SocketAddr::new(address(between.1), PORT)).await);
        });
        let made = making.await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
        // A host that is cut off is refused by turmoil at once: in truth it hears nothing.
        match made {
            Ok(bytes) => {
                let wire = wires.end_of(between, bytes.local_addr()?);
                return Ok(Box::new(Stream::new(bytes, wire, Side::Host)));
            }
            Err(_) if wires.is_blocked(between) => {}
            Err(error) => return Err(error),
        }
    }
}

fn address(host: HostId) -> IpAddr {
    let number = u16::try_from(host + 1).unwrap_or(u16::MAX);
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(192, 168, high, low).into()
}

fn host_at(address: IpAddr) -> Option<HostId> {
    let IpAddr::V4(address) = address else { return None };
    let [_, _, high, low] = address.octets();
    usize::from(u16::from_be_bytes([high, low])).checked_sub(1)
}
