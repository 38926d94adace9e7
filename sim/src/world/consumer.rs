//! A consumer: one process after the other under one name, each with the real client and the plan's application.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng, rngs::SmallRng};
use streamkeeper::{Client, Connect, ConsumerId, Error, Settings, entries};
use streamkeeper_core::keys::Keys;
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{
    SERVICE,
    actor::Actor,
    application::Application,
    checkpoints::{Armed, Checkpoints},
    go::Peer,
    scene::Scene,
    seeds,
    site::{Fleet, Handler, Site},
    ways::Renew,
    worker,
};
use crate::{
    facts::{What, Who},
    messages,
    plan::{ConsumerPlan, Servers, Topology, Wish, WorkerPlan},
};

/// The first and the longest pause before a process that has ended by itself is started again.
pub(super) const RESTART: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// How often an application that is to finish everything looks for more.
pub(super) const FINISH: Duration = Duration::from_millis(50);

/// How long a worker waits for a server at its start.
const START: Duration = Duration::from_secs(10);

/// What a process is told.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Give everything back and stop, within this time.
    Drain(Duration),
    /// End this stream, if it is owned.
    Wish(String, Wish),
    /// From now on, finish everything.
    Finish,
}

/// How a consumer reaches the servers, and what it asks of them.
pub(crate) struct Ways {
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) renew: Renew,
    pub(crate) servers: Servers,
}

/// A consumer, as the director knows it.
pub(crate) struct Consumer {
    index: usize,
    plan: ConsumerPlan,
    settings: Settings,
    handler: Option<Handler>,
    seed: u64,
    connect: Arc<dyn Connect>,
    renew: Renew,
    servers: Servers,
    scene: Scene,
    checkpoints: Checkpoints,
    lives: Cell<u32>,
    name: RefCell<String>,
    /// Its host has been started, and has not ended.
    up: Cell<bool>,
    running: Cell<Option<Who>>,
    finishing: Cell<bool>,
    orders: RefCell<Option<mpsc::UnboundedSender<Order>>>,
}

impl Actor for Consumer {
    fn id(&self) -> String {
        format!("{}{}", ConsumerId::PREFIX, self.name.borrow())
    }

    fn rise(&self) {
        self.up.set(true);
    }

    fn is_up(&self) -> bool {
        self.up.get()
    }

    fn running(&self) -> Option<Who> {
        self.running.get()
    }

    fn has_lived(&self) -> bool {
        self.lives.get() > 0
    }

    fn rename(&self) {
        self.name.replace(format!("{}-{}", self.plan.name, self.lives.get()));
    }

    fn tell(&self, order: Order) {
        if matches!(order, Order::Finish) {
            self.finishing.set(true);
        }
        if let Some(orders) = &*self.orders.borrow() {
            // Who has ended hears nothing any more.
            let _ = orders.send(order);
        }
    }

    fn killed(&self) {
        self.checkpoints.end();
        self.scene.forget(self.index);
        self.orders.replace(None);
        self.up.set(false);
        if let Some(who) = self.running.take() {
            self.scene.note(What::Crashed { who });
        }
    }

    fn arm(&self, armed: Armed) {
        self.checkpoints.arm(armed);
    }

    fn disarm(&self) {
        self.checkpoints.disarm();
    }

    fn is_paused(&self) -> bool {
        self.checkpoints.is_paused()
    }
}

impl Consumer {
    pub(crate) fn new(
        index: usize,
        plan: ConsumerPlan,
        fleet: &Fleet,
        seed: u64,
        ways: Ways,
        scene: Scene,
        checkpoints: Checkpoints,
    ) -> Rc<Consumer> {
        let Ways { connect, renew, servers } = ways;
        let settings = fleet.settings.get(&index).cloned().unwrap_or_else(|| plan.settings());
        let handler = fleet.handler.clone();
        let name = RefCell::new(plan.name.clone());
        let (lives, up, running, finishing) = (Cell::new(0), Cell::new(false), Cell::new(None), Cell::new(false));
        let orders = RefCell::new(None);
        Rc::new(Consumer {
            index,
            plan,
            settings,
            handler,
            seed,
            connect,
            renew,
            servers,
            scene,
            checkpoints,
            lives,
            name,
            up,
            running,
            finishing,
            orders,
        })
    }

    /// What its host runs: one process after the other, until one is stopped by wish.
    pub(crate) async fn live(&self) {
        let mut pause = RESTART.0;
        loop {
            let (orders, mut told) = mpsc::unbounded_channel();
            self.orders.replace(Some(orders));
            let who = self.begin();
            let ended = self.process(who, &mut told).await;
            self.scene.forget(self.index);
            self.orders.replace(None);
            self.running.set(None);
            match ended {
                Ok(()) => {
                    self.up.set(false);
                    return self.scene.note(What::Stopped { who });
                }
                Err(why) => self.scene.note(What::Terminated { who, why }),
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(RESTART.1);
        }
    }

    fn begin(&self) -> Who {
        (self.renew)();
        let who = Who { consumer: self.index, life: self.lives.get() };
        self.lives.set(who.life + 1);
        self.running.set(Some(who));
        self.scene.lives(self.index, Some(who));
        self.checkpoints.begin(who);
        self.scene.note(What::Started {
            who,
            id: self.id().into(),
            ttl_ms: self.plan.worker.as_ref().map_or(self.plan.ttl_ms, |worker| worker.idle_ms),
            capacity: self.plan.worker.as_ref().map_or(self.plan.capacity, |worker| worker.concurrency),
            automatic: !self.plan.manual,
            go: self.plan.go,
        });
        who
    }

    /// One process, from its start to its end. An error if it did not end by wish.
    async fn process(&self, who: Who, told: &mut mpsc::UnboundedReceiver<Order>) -> Result<(), String> {
        if self.plan.go {
            return self.go_peer(who)?.run(told).await;
        }
        if let Some(worker) = &self.plan.worker {
            return self.work(who, worker, told).await;
        }
        let client = tokio::select! {
            biased;
            client = self.start(who) => client.map_err(|error| error.to_string())?,
            () = self.drained_early(who, told) => return Ok(()),
        };
        self.scene.note(What::Ready { who });
        let dice = self.dice(who);
        let (connect, checkpoints) = (self.connect.clone(), self.checkpoints.clone());
        let site = Site { who, name: self.name.borrow().as_str().into(), scene: self.scene.clone() };
        let handler = self.handler.clone();
        let app = Application::new(site, &self.plan.app, client.clone(), connect, checkpoints, dice, handler);
        let runs = app.clone();
        let (done, mut reading) = mpsc::channel::<()>(1);
        self.connect.spawn(Box::pin(async move {
            runs.run().await;
            drop(done);
        }));
        let mut look = tokio::time::interval(FINISH);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                biased;
                ended = client.ended() => break ended,
                Some(order) = told.recv() => self.obey(who, order, &client, &app),
                _ = look.tick(), if self.finishing.get() => app.finish(),
            }
        };
        // The application hears how everything ended before its process does.
        app.hurry();
        let _ = reading.recv().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        ended.map(drop).map_err(|error| error.to_string())
    }

    /// One process that works on messages.
    async fn work(
        &self,
        who: Who,
        worker: &WorkerPlan,
        told: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Result<(), String> {
        let seed = seeds::of(self.seed, &[seeds::CLIENT, who.life.into()]);
        let builder = streamkeeper::messages::Consumer::builder(messages::STREAM, messages::GROUP);
        let builder = builder.connect_with(self.connect.clone()).name(self.name.borrow().as_str()).seed(seed);
        let builder = builder.metrics(None).settings(worker.settings()).start_within(START);
        let process = worker::Process::new(who, self.scene.clone(), self.checkpoints.clone());
        let consumer = tokio::select! {
            biased;
            consumer = builder.start(process) => consumer.map_err(|error| error.to_string())?,
            () = self.drained_early(who, told) => return Ok(()),
        };
        self.scene.note(What::Ready { who });
        loop {
            tokio::select! {
                biased;
                ended = consumer.ended() => return ended.map(drop).map_err(|error| error.to_string()),
                Some(Order::Drain(deadline)) = told.recv() => {
                    self.scene.note(What::Draining { who });
                    let consumer = consumer.clone();
                    self.connect.spawn(Box::pin(async move {
                        let _ = consumer.shutdown(deadline).await;
                    }));
                }
            }
        }
    }

    fn go_peer(&self, who: Who) -> Result<Peer, String> {
        let keys = Keys::plain(SERVICE).map_err(|error| error.to_string())?;
        let (connect, scene) = (self.connect.clone(), self.scene.clone());
        Ok(Peer::new(who, self.id(), self.plan.ttl_ms, keys, &self.plan.app, connect, scene, self.dice(who)))
    }

    fn dice(&self, who: Who) -> SmallRng {
        SmallRng::seed_from_u64(seeds::of(self.seed, &[seeds::APPLICATION, who.life.into()]))
    }

    async fn start(&self, who: Who) -> Result<Client, Error> {
        let seed = seeds::of(self.seed, &[seeds::CLIENT, who.life.into()]);
        let name = self.name.borrow().clone();
        let builder = Client::builder(SERVICE).connect_with(self.connect.clone()).name(name).seed(seed).metrics(None);
        let builder = builder.settings(self.settings.clone()).output_buffer(self.plan.output_buffer);
        let builder = builder.hash_tagged(self.servers.topology == Topology::Cluster);
        let builder = match self.servers.wait_ms {
            Some(ms) => builder.wait_for_replicas(1, Duration::from_millis(ms)),
            None => builder,
        };
        match &self.plan.app.reading {
            None => builder.start().await,
            Some(reading) => {
                let (prefetch, prefetch_total) = (reading.prefetch, reading.prefetch_total);
                let settings = entries::Settings { prefetch, prefetch_total, ..entries::Settings::default() };
                builder.entries(settings).start().await
            }
        }
    }

    /// Waits until a process that has not started yet is told to stop.
    async fn drained_early(&self, who: Who, told: &mut mpsc::UnboundedReceiver<Order>) {
        loop {
            match told.recv().await {
                Some(Order::Drain(_)) => return self.scene.note(What::Draining { who }),
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn obey(&self, who: Who, order: Order, client: &Client, app: &Application) {
        match order {
            Order::Drain(deadline) => {
                self.scene.note(What::Draining { who });
                let client = client.clone();
                self.connect.spawn(Box::pin(async move {
                    let _ = client.shutdown(deadline).await;
                }));
            }
            Order::Wish(stream, wish) => app.wish(&stream, wish),
            Order::Finish => app.finish(),
        }
    }
}
