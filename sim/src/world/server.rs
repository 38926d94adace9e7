//! Redis's host: the machine, served to whoever connects, what befalls it, and its own word on ownerships.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use streamkeeper_core::keys::Keys;
use tokio::task::spawn_local;

use super::{SERVICE, scene::Scene, seeds, stories::Stories, witness};
use crate::{
    facts::{Forgot, What},
    plan::{Persistence, Plan, RedisFault, RedisPlan},
    redis::{ConnId, Executed, Redis, reply::Reply, serve},
    stage::{Accept, HostId},
};

/// The server of a run.
pub(crate) struct Server {
    served: serve::Server,
    settings: RedisPlan,
    scene: Scene,
    /// Who is connected, and from where.
    connected: Rc<RefCell<BTreeMap<ConnId, HostId>>>,
    heard: Rc<Heard>,
    /// What it will have forgotten when it is up again.
    forgets: Option<Forgot>,
}

/// What the scripts answered.
#[derive(Default)]
struct Heard {
    words: RefCell<BTreeMap<String, u64>>,
    stories: RefCell<Stories>,
}

impl Server {
    pub(crate) fn new(plan: &Plan, scene: Scene) -> Server {
        let mut redis = Redis::new(&plan.redis, seeds::of(plan.seed, &[seeds::REDIS]), scene.clock().now());
        redis.observe();
        let heard = Rc::new(Heard::default());
        let (hearing, telling, clock) = (heard.clone(), scene.clone(), scene.clock().clone());
        let served = serve::Server::new(redis, move || clock.now(), move |executed| hearing.hear(&executed, &telling));
        let (settings, connected) = (plan.redis.clone(), Rc::default());
        Server { served, settings, scene, connected, heard, forgets: None }
    }

    /// What the stage does with each connection.
    pub(crate) fn accept(&self) -> Accept {
        let (served, connected, ticks) = (self.served.clone(), self.connected.clone(), Rc::new(Cell::new(false)));
        Rc::new(move |host, bytes| {
            let (served, connected, ticks) = (served.clone(), connected.clone(), ticks.clone());
            Box::pin(async move {
                if !ticks.replace(true) {
                    let served = served.clone();
                    spawn_local(async move { served.tick().await });
                }
                let number = Cell::new(None);
                let opened = |conn| {
                    number.set(Some(conn));
                    connected.borrow_mut().insert(conn, host);
                };
                served.serve(bytes, opened).await;
                number.take().and_then(|conn| connected.borrow_mut().remove(&conn));
            })
        })
    }

    /// Something befalls it, or cannot: then it is not written down. For how it ends, see [`over`](Server::over).
    pub(crate) fn inject(&mut self, fault: &RedisFault, consumer: Option<&str>, struck: What) -> bool {
        if !self.can_strike(fault, consumer) {
            return false;
        }
        self.scene.note(struck);
        self.served.with(|redis, now| match (fault, consumer) {
            (RedisFault::DeleteConsumer { .. }, Some(id)) => drop(redis.command(delete_consumer(id))),
            _ => redis.inject(fault, now),
        });
        if let Some(forgot) = self.forgets_by(fault) {
            self.forgets = Some(worse(self.forgets.unwrap_or(Forgot::Nothing), forgot));
        }
        true
    }

    /// A lasting fault is about to end by itself, now.
    pub(crate) fn over(&mut self) {
        self.served.with(Redis::tick);
        if !self.served.with(|redis, _| redis.is_down())
            && let Some(forgot) = self.forgets.take()
        {
            self.scene.note(What::RedisUp { forgot });
        }
    }

    /// So many answers to this host still arrive; the next one is lost, and its connection breaks. Whether there is one.
    pub(crate) fn lose_answer(&self, host: HostId, after: u32) -> bool {
        let connected = self.connected.borrow();
        let from_there: Vec<ConnId> =
            connected.iter().filter(|(_, other)| **other == host).map(|(conn, _)| *conn).collect();
        self.served.with(|redis, _| from_there.iter().for_each(|conn| redis.lose_answer(*conn, after)));
        !from_there.is_empty()
    }

    /// No more answers are lost.
    pub(crate) fn heal(&self) {
        let connected = self.connected.borrow();
        self.served.with(|redis, _| connected.keys().for_each(|conn| redis.lose_answer(*conn, u32::MAX)));
    }

    /// How often the scripts answered what: by script and first word.
    pub(crate) fn words(&self) -> BTreeMap<String, u64> {
        self.heard.words.take()
    }

    /// What the scripts were asked and answered.
    pub(crate) fn stories(&self) -> Stories {
        self.heard.stories.take()
    }

    fn can_strike(&self, fault: &RedisFault, consumer: Option<&str>) -> bool {
        let hand = Hand(&self.served);
        match fault {
            RedisFault::ClearFlags => hand.is_there() && !hand.has_no_flags(),
            RedisFault::Disconnect | RedisFault::ForgetScripts | RedisFault::FlushAll => hand.is_there(),
            RedisFault::DestroyGroup | RedisFault::Redeliver => hand.is_there() && hand.has_group(),
            RedisFault::DeleteLbs => hand.is_there() && hand.announced() > 0,
            RedisFault::Trim { left } => hand.is_there() && hand.announced() > *left,
            RedisFault::Evict { .. } | RedisFault::WrongType { .. } => hand.is_there() && hand.has_leases(),
            RedisFault::DeleteConsumer { .. } => hand.is_there() && consumer.is_some_and(|id| hand.has_consumer(id)),
            _ => true,
        }
    }

    /// What it will have forgotten after this.
    fn forgets_by(&self, fault: &RedisFault) -> Option<Forgot> {
        let early = |every_ms: u64| self.scene.clock().now().as_micros() < every_ms.saturating_mul(1_000);
        Some(match fault {
            RedisFault::Crash { .. } => match self.settings.persistence {
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

impl Heard {
    fn hear(&self, Executed { args, script, reply, lost, at, .. }: &Executed, scene: &Scene) {
        let mut words = self.words.borrow_mut();
        let mut say = |word: String| *words.entry(word).or_default() += 1;
        if args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"EVAL")) {
            say("script sent in full".to_owned());
        }
        let Some(script) = script else { return };
        self.stories.borrow_mut().executed(*at, script, args, reply, *lost);
        let testimony = witness::hear(script, args, reply);
        testimony.words.into_iter().for_each(say);
        testimony.facts.into_iter().for_each(|fact| scene.note(fact));
    }
}

/// Whoever has the server in their hands, and looks before they act.
struct Hand<'a>(&'a serve::Server);

impl Hand<'_> {
    fn is_there(&self) -> bool {
        self.0.with(|redis, _| !redis.is_down() && !redis.is_stalled())
    }

    fn has_no_flags(&self) -> bool {
        match self.ask(["CONFIG", "GET", "notify-keyspace-events"]) {
            Reply::Map(pairs) => pairs.iter().all(|(_, flags)| *flags == Reply::bulk("")),
            _ => true,
        }
    }

    fn announced(&self) -> u64 {
        match self.ask(["XLEN".to_owned(), key(Keys::lbs)]) {
            Reply::Int(announced) => announced.unsigned_abs(),
            _ => 0,
        }
    }

    fn has_group(&self) -> bool {
        matches!(self.ask(["XINFO".to_owned(), "GROUPS".to_owned(), key(Keys::lbs)]), Reply::Array(groups) if !groups.is_empty())
    }

    fn has_consumer(&self, id: &str) -> bool {
        let consumers = self.ask(["XINFO".to_owned(), "CONSUMERS".to_owned(), key(Keys::lbs), key(Keys::group)]);
        let is_it = |field: &(Reply, Reply)| field.1 == Reply::bulk(id.to_owned());
        let Reply::Array(consumers) = consumers else { return false };
        consumers.iter().any(|consumer| matches!(consumer, Reply::Map(fields) if fields.iter().any(is_it)))
    }

    fn has_leases(&self) -> bool {
        let leases = self.ask(["KEYS".to_owned(), format!("*{}*", streamkeeper_core::id::LEASE_SEPARATOR)]);
        matches!(leases, Reply::Array(leases) if !leases.is_empty())
    }

    fn ask<A: Into<bytes::Bytes>>(&self, command: impl IntoIterator<Item = A>) -> Reply {
        self.0.with(|redis, _| redis.command(command))
    }
}

fn delete_consumer(id: &str) -> [String; 5] {
    ["XGROUP".to_owned(), "DELCONSUMER".to_owned(), key(Keys::lbs), key(Keys::group), id.to_owned()]
}

/// A key of the simulated service.
fn key(name: impl Fn(&Keys) -> String) -> String {
    Keys::plain(SERVICE).map(|keys| name(&keys)).unwrap_or_default()
}

fn worse(one: Forgot, other: Forgot) -> Forgot {
    let rank = |forgot: &Forgot| match forgot {
        Forgot::Nothing => 0,
        Forgot::Latest => 1,
        Forgot::All => 2,
    };
    if rank(&one) >= rank(&other) { one } else { other }
}
