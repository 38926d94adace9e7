//! The event-driven stage: one paused runtime for all hosts, whose time jumps straight to the next timer. The network
//! behaves like TCP that retransmits: what is stalled arrives later, what is cut off is dead.

mod net;
mod pipe;
mod stream;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use net::{Net, NoWay};
use streamkeeper::{ByteStream, Clock, Connect, Link, RedisConnectionInfo, Time};
use tokio::{
    runtime::{Builder, Runtime},
    task::{LocalSet, spawn_local},
    time::sleep,
};

use super::{Accept, Boot, Freezer, HostId, Stage, freeze::Slot, panics::Panics, time::TrueTime};
use crate::plan::Way;

/// How long TCP waits before it knocks again.
const KNOCK_AGAIN: Duration = Duration::from_millis(200);

/// The stage.
pub struct Events {
    hosts: BTreeMap<HostId, (Boot, Slot)>,
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
        let (hosts, tasks) = (BTreeMap::new(), LocalSet::new());
        Ok(Events { hosts, net: Net::new(seed, latency_us), time, panics: Panics::default(), tasks, runtime })
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
        let slot = Slot::default();
        self.tasks.spawn_local(slot.clone().run(self.time.clock(0)));
        self.hosts.insert(host, (boot, slot));
    }

    fn server(&mut self, host: HostId, accept: Accept) {
        let net = self.net.clone();
        let boot: Boot = std::rc::Rc::new(move || {
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
        if let Some(slot) = self.slot(host) {
            slot.ice().freeze_until(until);
        }
    }

    fn freezer(&self, host: HostId) -> Freezer {
        let (ice, time) = (self.slot(host).map(Slot::ice).unwrap_or_default(), self.time.clone());
        Freezer(Arc::new(move |span| ice.freeze_until(time.now() + span)))
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
        Arc::new(Road { host, net: self.net.clone(), clock: self.time.clock(drift_ppm), panics: self.panics.clone() })
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

/// How one host reaches the server.
struct Road {
    host: HostId,
    net: Net,
    clock: Clock,
    panics: Panics,
}

impl Road {
    fn spawn_on_host(&self, what: &str, task: BoxFuture<'static, ()>) {
        spawn_local(self.panics.clone().watch(format!("host {}, {what}", self.host), task));
    }
}

impl Connect for Road {
    fn open(&self, _link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let (net, host) = (self.net.clone(), self.host);
        Box::pin(async move {
            sleep(net.delay(host)).await;
            loop {
                match net.connect(host) {
                    Ok(stream) => {
                        sleep(net.delay(host)).await;
                        return Ok(Box::new(stream) as Box<dyn ByteStream>);
                    }
                    Err(NoWay::Silence) => sleep(KNOCK_AGAIN).await,
                    Err(NoWay::Refused) => return Err(io::ErrorKind::ConnectionRefused.into()),
                }
            }
        })
    }

    fn login(&self) -> RedisConnectionInfo {
        RedisConnectionInfo::default()
    }

    fn describe(&self) -> String {
        "the simulated Redis".to_owned()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.spawn_on_host("a task", task);
    }

    fn drive(&self, name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        self.spawn_on_host(name, driver);
        Ok(())
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }
}
