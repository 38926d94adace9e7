//! The event-driven stage: one paused runtime for all hosts, whose time jumps straight to the next timer. The network
//! behaves like TCP that retransmits: what is stalled arrives later, what is cut off is dead.

mod net;
mod pipe;
mod stream;

use std::{collections::BTreeMap, io, rc::Rc, sync::Arc, time::Duration};

use net::{Net, NoWay};
use streamkeeper::{ByteStream, Clock, Connect, Time};
use tokio::{
    runtime::{Builder, Runtime},
    task::{LocalSet, spawn_local},
    time::sleep,
};

use super::{
    Accept, Boot, Freezer, HostId, Stage,
    freeze::{Ices, Slot},
    panics::Panics,
    road::{Dial, Road},
    time::TrueTime,
};
use crate::plan::Way;

/// How long TCP waits before it knocks again.
const KNOCK_AGAIN: Duration = Duration::from_millis(200);

/// The stage.
pub struct Events {
    hosts: BTreeMap<HostId, (Boot, Slot)>,
    ices: Ices,
    net: Net,
    time: TrueTime,
    panics: Panics,
    tasks: LocalSet,
    runtime: Runtime,
}

impl Events {
    /// An empty stage.
    ///
    /// # Errors
    /// No runtime could be made.
    pub fn new(seed: u64, latency_us: (u64, u64)) -> io::Result<Events> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let time = {
            let _inside = runtime.enter();
            TrueTime::begin()
        };
        let (hosts, ices, tasks) = (BTreeMap::new(), Ices::default(), LocalSet::new());
        Ok(Events { hosts, ices, net: Net::new(seed, latency_us), time, panics: Panics::default(), tasks, runtime })
    }

    fn slot(&self, host: HostId) -> Option<&Slot> {
        self.hosts.get(&host).map(|(_, slot)| slot)
    }
}

impl Stage for Events {
    fn now(&self) -> Time {
        self.time.now()
    }

    fn run_until(&mut self, at: Time) {
        let time = self.time.clone();
        self.tasks.block_on(&self.runtime, async move {
            tokio::time::sleep_until(time.instant(at)).await;
            time.leave();
        });
    }

    fn host(&mut self, host: HostId, boot: Boot) {
        let slot = Slot::new(self.ices.of(host));
        self.tasks.spawn_local(slot.clone().run(self.time.clock(0)));
        self.hosts.insert(host, (boot, slot));
    }

    fn server(&mut self, host: HostId, accept: Accept) {
        let net = self.net.clone();
        let boot: Boot = Rc::new(move || {
            let (mut accepted, accept) = (net.listen(), accept.clone());
            Box::pin(async move {
                while let Some((from, stream)) = accepted.recv().await {
                    spawn_local(accept(from, Box::new(stream)));
                }
            })
        });
        self.host(host, boot);
        self.start(host);
    }

    fn start(&mut self, host: HostId) {
        if let Some((boot, slot)) = self.hosts.get(&host)
            && slot.is_empty()
        {
            let _inside = self.runtime.enter();
            slot.fill(Box::pin(self.panics.clone().watch(format!("host {host}"), boot())));
        }
    }

    fn crash(&mut self, host: HostId) {
        let _inside = self.runtime.enter();
        if let Some(slot) = self.slot(host) {
            slot.empty();
        }
    }

    fn freeze(&mut self, host: HostId, until: Time) {
        self.ices.of(host).freeze_until(until);
    }

    fn freezer(&self, host: HostId) -> Freezer {
        let (ice, time) = (self.ices.of(host), self.time.clone());
        Freezer(Arc::new(move |span| ice.freeze_at_least_until(time.now() + span)))
    }

    fn stall(&mut self, host: HostId, way: Way, on: bool) {
        self.net.stall(host, way, on);
    }

    fn partition(&mut self, host: HostId, way: Way, on: bool) {
        self.net.partition(host, way, on);
    }

    fn reset(&mut self, host: HostId) {
        self.net.reset(host);
    }

    fn slow(&mut self, host: HostId, by: Duration) {
        self.net.slow(host, by);
    }

    fn connect(&self, host: HostId, drift_ppm: i32) -> Arc<dyn Connect> {
        let (net, clock, panics) = (self.net.clone(), self.time.clock(drift_ppm), self.panics.clone());
        let dial: Dial = Arc::new(move || Box::pin(dial(net.clone(), host)));
        Arc::new(Road { host, dial, ice: self.ices.of(host), clock, panics })
    }

    fn clock(&self) -> Clock {
        self.time.clock(0)
    }

    fn panics(&mut self) -> Vec<String> {
        self.panics.take()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        self.hosts.values().for_each(|(_, slot)| slot.empty());
    }
}

/// Connects a host to the server, as TCP does: who is not heard knocks again.
async fn dial(net: Net, host: HostId) -> io::Result<Box<dyn ByteStream>> {
    sleep(net.delay(host)).await;
    loop {
        match net.connect(host) {
            Ok(stream) => {
                sleep(net.delay(host)).await;
                return Ok(Box::new(stream));
            }
            Err(NoWay::Silence) => sleep(KNOCK_AGAIN).await,
            Err(NoWay::Refused) => return Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}
