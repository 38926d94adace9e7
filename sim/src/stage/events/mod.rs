//! The event-driven stage: one paused runtime for all hosts, whose time jumps straight to the next event. The network
//! behaves like TCP that retransmits: what is stalled arrives later, what is cut off is dead.
//!
//! tokio's timers fire at whole milliseconds, as they do in production; the network is exact to the microsecond. So
//! time goes to the next millisecond at which there is a timer or something arrives, lets tokio fire its timers, and
//! then through what arrives within that millisecond.

mod dial;
mod net;
mod pipe;
mod roots;
mod stream;

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use net::Net;
use roots::Woken;
use streamkeeper::{Clock, Connect, Time};
use tokio::{
    runtime::{Builder, Runtime},
    task::spawn_local,
    time::{Instant, Sleep, advance, sleep_until},
};

use super::{
    Accept, Between, Boot, Course, Freezer, HostId, Stage,
    freeze::{Ices, Slot},
    panics::Panics,
    road::{Dial, Road},
    time::TrueTime,
};
use crate::plan::Way;

/// tokio's timers fire at multiples of that.
const TICK_US: u64 = 1_000;

/// The stage.
pub struct Events {
    hosts: BTreeMap<HostId, Host>,
    woken: Woken,
    ices: Ices,
    net: Net,
    time: TrueTime,
    panics: Panics,
    runtime: Runtime,
    /// When the runtime's clock began.
    began: Instant,
}

struct Host {
    boot: Boot,
    slot: Slot,
    waker: Waker,
}

impl Events {
    /// An empty stage.
    ///
    /// # Errors
    /// No runtime could be made.
    pub fn new(seed: u64, latency_us: (u64, u64)) -> io::Result<Events> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let began = {
            let _inside = runtime.enter();
            Instant::now()
        };
        let time = TrueTime::told();
        Ok(Events {
            hosts: BTreeMap::new(),
            woken: Woken::default(),
            ices: Ices::default(),
            net: Net::new(seed, latency_us, time.clone()),
            time,
            panics: Panics::default(),
            runtime,
            began,
        })
    }

    /// Lets everything happen that happens until then, as far as the runtime lets it: where its clock has to jump, it
    /// is asked to, and calls again.
    fn poll_until(&self, at: Time, jump: &mut Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            self.time.is(self.began.elapsed());
            self.run_woken();
            for host in self.net.happen() {
                self.thaw(host);
            }
            if self.run_woken() {
                continue;
            }
            let now = self.time.now();
            let next = self.net.next_at().map_or(at, |next| next.min(at));
            if next <= now {
                return Poll::Ready(());
            }
            let (tick, rest) = (now.as_micros() / TICK_US, now.as_micros() % TICK_US);
            let next_tick = next.as_micros() / TICK_US;
            if next_tick == tick {
                advance_by(next.since(now));
                continue;
            }
            // The runtime jumps by whole milliseconds.
            if rest > 0 {
                advance_by(Duration::from_micros(TICK_US - rest));
            }
            let then = self.began + Duration::from_micros(next_tick * TICK_US);
            if jump.deadline() != then || jump.is_elapsed() {
                jump.as_mut().reset(then);
            }
            self.woken.sleeps(context.waker());
            if jump.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn road(&self, host: HostId, drift_ppm: i32) -> Road {
        let (net, clock, panics) = (self.net.clone(), self.time.clock(drift_ppm), self.panics.clone());
        let dial: Dial = Arc::new(move |server| Box::pin(dial::dial(net.clone(), (host, server))));
        Road { host, dial, ice: self.ices.of(host), clock, panics }
    }

    /// Runs the hosts that have something to do until none has. Whether there was one.
    fn run_woken(&self) -> bool {
        let mut any = false;
        while let Some(host) = self.woken.next() {
            any = true;
            if let Some(host) = self.hosts.get(&host) {
                // What a frozen one has missed, it finds at the thaw.
                host.slot.poll(&mut Context::from_waker(&host.waker));
            }
        }
        any
    }

    fn thaw(&self, id: HostId) {
        let ice = self.ices.of(id);
        if ice.is_frozen() && ice.until() <= self.time.now() {
            ice.thaw();
            if let Some(host) = self.hosts.get(&id) {
                host.waker.wake_by_ref();
            }
        }
    }
}

impl Course for Events {
    fn now(&self) -> Time {
        self.time.now()
    }

    fn run_until(&mut self, at: Time) {
        let this = &*self;
        this.runtime.block_on(async {
            let mut jump = pin!(sleep_until(this.began));
            poll_fn(|context| this.poll_until(at, &mut jump, context)).await;
            // A task that has used up its turn is woken by the runtime between two polls, and by nobody once this has ended.
            loop {
                tokio::task::yield_now().await;
                if !this.run_woken() {
                    break;
                }
            }
        });
    }

    fn start(&mut self, id: HostId) {
        if let Some(host) = self.hosts.get(&id)
            && host.slot.is_empty()
        {
            let _inside = self.runtime.enter();
            host.slot.fill(Box::pin(self.panics.clone().watch(format!("host {id}"), (host.boot)())));
            host.waker.wake_by_ref();
        }
    }

    fn crash(&mut self, host: HostId) {
        let _inside = self.runtime.enter();
        if let Some(host) = self.hosts.get(&host) {
            host.slot.empty();
        }
    }

    fn freeze(&mut self, host: HostId, until: Time) {
        self.ices.of(host).freeze_until(until);
        self.net.thaw_at(until, host);
    }

    fn stall(&mut self, between: Between, way: Way, on: bool) {
        self.net.stall(between, way, on);
    }

    fn partition(&mut self, between: Between, way: Way, on: bool) {
        self.net.partition(between, way, on);
    }

    fn reset(&mut self, between: Between) {
        self.net.reset(between);
    }

    fn slow(&mut self, between: Between, by: Duration) {
        self.net.slow(between, by);
    }

    fn panics(&mut self) -> Vec<String> {
        self.panics.take()
    }
}

impl Stage for Events {
    fn host(&mut self, host: HostId, boot: Boot) {
        let (slot, waker) = (Slot::new(self.ices.of(host)), Waker::from(self.woken.root(host)));
        self.hosts.insert(host, Host { boot, slot, waker });
    }

    fn server(&mut self, host: HostId, accept: Accept) {
        let (net, ice, panics) = (self.net.clone(), self.ices.of(host), self.panics.clone());
        let boot: Boot = Rc::new(move || {
            let (mut accepted, accept, ice, panics) = (net.listen(host), accept.clone(), ice.clone(), panics.clone());
            Box::pin(async move {
                while let Some((from, stream)) = accepted.recv().await {
                    let what = format!("the connection of host {from}");
                    spawn_local(ice.stills(Box::pin(panics.clone().watch(what, accept(from, Box::new(stream))))));
                }
            })
        });
        self.host(host, boot);
        self.start(host);
    }

    fn freezer(&self, host: HostId) -> Freezer {
        let (ice, net) = (self.ices.of(host), self.net.clone());
        Freezer(Arc::new(move |span| {
            let until = net.now() + span;
            ice.freeze_at_least_until(until);
            net.thaw_at(until, host);
        }))
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

impl Drop for Events {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        self.hosts.values().for_each(|host| host.slot.empty());
    }
}

/// Moves the runtime's clock by less than until its next timer.
fn advance_by(span: Duration) {
    // It has moved once it was polled; what it would wait for is a turn of the runtime, which needs none.
    let _ = pin!(advance(span)).poll(&mut Context::from_waker(Waker::noop()));
}
