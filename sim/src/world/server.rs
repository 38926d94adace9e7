//! Redis: the machines, served to whoever connects, what befalls them, and the primary's own word on ownerships.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use tokio::task::spawn_local;

use super::{
    SERVICE,
    hand::{Hand, Names},
    hearing::{Heard, Listener},
    scene::Scene,
    seeds,
    servers::{Servers, Step},
    stories::Stories,
};
use crate::{
    entries,
    facts::{Forgot, What, Who},
    messages::{self, facts::Said},
    plan::{Persistence, Plan, RedisFault, RedisPlan, ServerName},
    redis::{ConnId, Redis, serve},
    stage::{Accept, HostId, Stage},
};

/// The server of a run; where there are several, those that are one to the outside.
pub(crate) struct Server {
    pub(crate) servers: Servers,
    settings: RedisPlan,
    scene: Scene,
    connected: Connected,
    heard: Rc<Heard>,
    names: Names,
    /// It is about entries.
    of_entries: bool,
    /// How many entries were added to data streams.
    appended: Cell<u64>,
    /// What it will have forgotten when it is up again.
    forgets: Option<Forgot>,
}

/// Who is connected, to which server with data: from where, and which process of a consumer.
pub(super) type Connected = Rc<RefCell<BTreeMap<(usize, ConnId), (HostId, Option<Who>)>>>;

impl Server {
    pub(crate) fn new(plan: &Plan, scene: Scene) -> Server {
        let names = Names::of(plan);
        let (heard, connected) = (Rc::new(Heard::default()), Connected::default());
        let primary = Rc::new(Cell::new(0));
        let data = (0..plan.servers.topology.data()).map(|number| {
            let part = [seeds::REDIS, number as u64];
            // The only one there is has always had this seed.
            let seed = seeds::of(plan.seed, if number == 0 { &part[..1] } else { &part });
            let mut redis = Redis::new(&plan.redis, seed, scene.clock().now());
            redis.observe();
            if names.of_messages {
                redis.observe_keys(messages::STREAM);
            }
            if plan.has_readers() {
                redis.observe_keys(SERVICE);
            } else if plan.consumers.iter().any(|consumer| consumer.go) {
                redis.observe_keys(names.stream.clone());
            }
            let listener = Listener {
                number,
                primary: primary.clone(),
                scene: scene.clone(),
                heard: heard.clone(),
                connected: connected.clone(),
                of_messages: names.of_messages,
                of_entries: plan.has_readers(),
            };
            let clock = scene.clock().clone();
            serve::Server::new(redis, move || clock.now(), move |output| listener.hear(output))
        });
        let servers = Servers::new(plan, data.collect(), primary, &scene);
        let (settings, of_entries) = (plan.redis.clone(), plan.has_readers());
        let appended = Cell::new(0);
        Server { servers, settings, scene, connected, heard, names, of_entries, appended, forgets: None }
    }

    /// The one there is, to be served by hand, and where it is written down who is connected to it.
    pub(super) fn only(&self) -> (serve::Server, Connected) {
        (self.primary().clone(), self.connected.clone())
    }

    /// Puts all servers on the stage.
    pub(crate) fn enter(&self, stage: &mut dyn Stage) {
        for (number, host) in self.servers.hosts.data.iter().enumerate() {
            stage.server(*host, self.accept(number));
        }
        for (number, host) in self.servers.hosts.sentinels.iter().enumerate() {
            let served = self.servers.sentinel(number).clone();
            let accept: Accept = Rc::new(move |_, bytes| {
                let served = served.clone();
                Box::pin(async move { served.serve(bytes, |_| ()).await })
            });
            stage.server(*host, accept);
        }
    }

    /// What the stage does with each connection to this server.
    fn accept(&self, number: usize) -> Accept {
        let (served, connected, ticks) =
            (self.servers.data()[number].clone(), self.connected.clone(), Rc::new(Cell::new(false)));
        let (scene, servers) = (self.scene.clone(), self.servers.clone());
        Rc::new(move |host, bytes| {
            let (served, connected, ticks) = (served.clone(), connected.clone(), ticks.clone());
            let servers = servers.clone();
            servers.visited(number);
            let who = host.checked_sub(1).and_then(|consumer| scene.life(consumer));
            Box::pin(async move {
                if !ticks.replace(true) {
                    let served = served.clone();
                    spawn_local(async move { served.tick().await });
                }
                let opened = Cell::new(None);
                let note = |conn| {
                    opened.set(Some((number, conn)));
                    connected.borrow_mut().insert((number, conn), (host, who));
                };
                served.serve(bytes, note).await;
                servers.left(number);
                opened.take().and_then(|conn| connected.borrow_mut().remove(&conn));
            })
        })
    }

    /// Something befalls it, or cannot: then it is not written down. For how it ends, see [`over`](Server::over).
    pub(crate) fn inject(&mut self, fault: &RedisFault, consumer: Option<&str>, struck: What) -> bool {
        if !self.can_strike(fault, consumer) {
            return false;
        }
        self.scene.note(struck);
        let of_messages = self.names.of_messages;
        match (fault, consumer) {
            (RedisFault::DeleteConsumer { .. }, Some(id)) if !of_messages => {
                self.primary().with(|redis, _| redis.command(self.names.delete_consumer(id)));
            }
            _ => self.servers.inject(fault),
        }
        if (of_messages && messages::alters(fault)) || (self.of_entries && entries::alters(fault)) {
            self.stands("hand");
        }
        if let Some(forgot) = self.forgets_by(fault) {
            self.forgets(forgot);
        }
        true
    }

    /// A lasting fault is about to end by itself, now.
    pub(crate) fn over(&mut self, kind: &'static str) {
        self.servers.data().iter().for_each(|server| server.with(Redis::tick));
        self.servers.over(kind);
        if matches!(kind, "redis switch" | "redis switch alive" | "redis move-slot" | "redis failover") {
            self.end_switch();
        }
        if !self.primary().with(|redis, _| redis.is_down())
            && let Some(forgot) = self.forgets.take()
        {
            self.scene.note(What::RedisUp { forgot });
            self.stands("up");
        }
    }

    /// Notes how everything about messages or entries stands, if the plan is about them.
    pub(crate) fn stands(&self, why: &'static str) {
        if self.of_entries {
            let stock = self.primary().with(|redis, _| entries::stock::take(why, |command| redis.command(command)));
            return self.scene.note(What::Entry(entries::facts::Said::Stands(stock)));
        }
        if !self.names.of_messages {
            return;
        }
        let stock = self.primary().with(|redis, _| messages::stock::take(why, |command| redis.command(command)));
        self.scene.note(What::Message(Said::Stands(stock)));
    }

    /// Somebody near it adds so many entries to each of these streams. Whether it serves.
    pub(crate) fn append(&self, streams: impl Iterator<Item = String>, entries: u64) -> bool {
        if !Hand(self.primary(), &self.names).is_there() {
            return false;
        }
        for stream in streams {
            for _ in 0..entries {
                let body = entries::body(self.appended.replace(self.appended.get() + 1));
                let add = ["XADD", &stream, "*", "body", &body].map(str::to_owned);
                self.primary().with(|redis, _| redis.command(add));
            }
        }
        true
    }

    /// So many answers to this host still arrive; the next one is lost, and its connection breaks. Whether there is one.
    pub(crate) fn lose_answer(&self, host: HostId, after: u32) -> bool {
        let connected = self.connected.borrow();
        let from_there: Vec<_> = connected.iter().filter(|(_, (other, _))| *other == host).collect();
        for ((number, conn), _) in &from_there {
            self.servers.data()[*number].with(|redis, _| redis.lose_answer(*conn, after));
        }
        !from_there.is_empty()
    }

    /// No more answers are lost, and every server knows who the primary is.
    pub(crate) fn heal(&self) {
        self.servers.heal();
        let connected = self.connected.borrow();
        for (number, conn) in connected.keys() {
            self.servers.data()[*number].with(|redis, _| redis.lose_answer(*conn, u32::MAX));
        }
    }

    /// Roles begin to change, or cannot. The steps, and how many milliseconds after now each of them is.
    pub(crate) fn begin_switch(&mut self, fault: &RedisFault, struck: What) -> Option<Vec<(u64, Step)>> {
        if matches!(fault, RedisFault::MoveSlot { .. }) {
            let begins = !self.servers.is_switching() && self.servers.begin_move();
            return begins.then(|| {
                self.scene.note(struck);
                Vec::new()
            });
        }
        let (ms, after_ms, spread_ms, alive) = match *fault {
            RedisFault::Switch { ms, after_ms, spread_ms, alive } => (ms, after_ms, spread_ms, alive),
            RedisFault::Failover { ms } => (ms, ms, 0, false),
            _ => return None,
        };
        if self.servers.is_switching() || !self.servers.has_heir() {
            return None;
        }
        self.scene.note(struck);
        Some(self.servers.begin_switch(ms, after_ms, spread_ms, alive))
    }

    /// A part of a change of roles.
    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Promote => {
                if let Some(loses) = self.servers.promote() {
                    self.forgets = None;
                    self.scene.note(What::RedisUp { forgot: if loses { Forgot::Latest } else { Forgot::Nothing } });
                    self.stands("up");
                }
            }
            Step::Learn(sentinel) => self.servers.learn(sentinel),
        }
    }

    /// The former primary is told. What it has written by itself is lost.
    fn end_switch(&mut self) {
        let Some(switching) = self.servers.end_switch() else { return };
        if switching.alone || switching.moves {
            self.forgets(if switching.alone { Forgot::Latest } else { Forgot::Nothing });
        }
    }

    /// Whoever is the primary then says so once it is up.
    fn forgets(&mut self, forgot: Forgot) {
        self.forgets = Some(worse(self.forgets.unwrap_or(Forgot::Nothing), forgot));
    }

    fn primary(&self) -> &serve::Server {
        self.servers.primary()
    }

    /// How often the scripts answered what: by script and first word.
    pub(crate) fn words(&self) -> BTreeMap<String, u64> {
        let mut words = self.heard.words.take();
        words.extend(self.servers.remarks());
        words
    }

    /// What the scripts were asked and answered.
    pub(crate) fn stories(&self) -> Stories {
        self.heard.stories.take()
    }

    fn can_strike(&self, fault: &RedisFault, consumer: Option<&str>) -> bool {
        let hand = Hand(self.primary(), &self.names);
        match fault {
            RedisFault::ClearFlags => hand.is_there() && !hand.has_no_flags(),
            RedisFault::Disconnect | RedisFault::ForgetScripts | RedisFault::FlushAll => hand.is_there(),
            RedisFault::DestroyGroup | RedisFault::Redeliver => hand.is_there() && hand.has_group(),
            RedisFault::DeleteLbs => hand.is_there() && hand.announced() > 0,
            RedisFault::Trim { left } => hand.is_there() && hand.announced() > *left,
            RedisFault::TrimData { .. } => hand.is_there() && self.of_entries,
            RedisFault::Evict { .. } | RedisFault::WrongType { .. } => hand.is_there() && hand.has_leases(),
            RedisFault::DeleteConsumer { .. } if self.names.of_messages => hand.is_there() && hand.has_group(),
            RedisFault::DeleteConsumer { .. } => hand.is_there() && consumer.is_some_and(|id| hand.has_consumer(id)),
            // Whoever changes roles is left alone meanwhile.
            RedisFault::Kill { server, .. } => !self.servers.is_switching() && self.has(*server),
            RedisFault::Freeze { server, .. } => self.has(*server),
            RedisFault::Detach { .. } => !self.servers.is_switching() && self.servers.has_heir(),
            RedisFault::Switch { .. } | RedisFault::Cut { .. } => false,
            RedisFault::MoveSlot { .. } | RedisFault::Stale { .. } => false,
            RedisFault::DeleteAttempts => hand.is_there() && hand.has("attempts"),
            RedisFault::DeleteDelayed | RedisFault::Unpark { .. } => hand.is_there() && hand.has("delayed"),
            _ => true,
        }
    }

    /// Whether this server holds data, and there is one.
    fn has(&self, server: ServerName) -> bool {
        matches!(server, ServerName::Data(number) if number < self.servers.data().len())
    }

    /// What it will have forgotten after this.
    fn forgets_by(&self, fault: &RedisFault) -> Option<Forgot> {
        let early = |every_ms: u64| self.scene.clock().now().as_micros() < every_ms.saturating_mul(1_000);
        Some(match fault {
            RedisFault::Kill { server, .. } if !self.servers.is_primary(*server) => return None,
            RedisFault::Crash { .. } | RedisFault::Kill { .. } => match self.settings.persistence {
                Persistence::None => Forgot::All,
                Persistence::Rdb { every_ms } if early(every_ms) => Forgot::All,
                Persistence::Rdb { .. } | Persistence::Aof => Forgot::Latest,
                Persistence::AofAlways => Forgot::Nothing,
            },
            RedisFault::Restart { .. } => Forgot::Nothing,
            RedisFault::Failover { .. } if self.settings.replica_lag_ms > 0 => Forgot::Latest,
            RedisFault::Failover { .. } => Forgot::Nothing,
            _ => return None,
        })
    }
}

fn worse(one: Forgot, other: Forgot) -> Forgot {
    let rank = |forgot: &Forgot| match forgot {
        Forgot::Nothing => 0,
        Forgot::Latest => 1,
        Forgot::All => 2,
    };
    if rank(&one) >= rank(&other) { one } else { other }
}
