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
    facts::{Forgot, What, Who},
    messages::{self, facts::Said, witness::Witness},
    plan::{Persistence, Plan, RedisFault, RedisPlan},
    redis::{ConnId, Executed, Output, Redis, reply::Reply, serve},
    stage::{Accept, HostId},
};

/// The server of a run.
pub(crate) struct Server {
    served: serve::Server,
    settings: RedisPlan,
    scene: Scene,
    connected: Connected,
    heard: Rc<Heard>,
    names: Names,
    /// What it will have forgotten when it is up again.
    forgets: Option<Forgot>,
}

/// Who is connected: from where, and which process of a consumer.
type Connected = Rc<RefCell<BTreeMap<ConnId, (HostId, Option<Who>)>>>;

/// What the stream and its group are called that hands are laid on.
struct Names {
    stream: String,
    group: String,
    /// Other keys, as patterns of KEYS.
    leases: Vec<String>,
    of_messages: bool,
}

/// What the scripts answered.
#[derive(Default)]
struct Heard {
    words: RefCell<BTreeMap<String, u64>>,
    stories: RefCell<Stories>,
    witness: RefCell<Witness>,
}

impl Server {
    pub(crate) fn new(plan: &Plan, scene: Scene) -> Server {
        let mut redis = Redis::new(&plan.redis, seeds::of(plan.seed, &[seeds::REDIS]), scene.clock().now());
        redis.observe();
        let names = Names::of(plan);
        if names.of_messages {
            redis.observe_keys(messages::STREAM);
        }
        let heard = Rc::new(Heard::default());
        let connected = Connected::default();
        let (hearing, telling, clock, from) = (heard.clone(), scene.clone(), scene.clock().clone(), connected.clone());
        let served = serve::Server::new(
            redis,
            move || clock.now(),
            move |output| match output {
                Output::Executed(executed) => hearing.hear(&executed, &telling),
                Output::Touched(touched) => {
                    let conn = touched.conn;
                    let by = conn.and_then(|conn| from.borrow().get(&conn).and_then(|(_, who)| *who));
                    let said = hearing.witness.borrow_mut().hear(by, &touched);
                    said.into_iter().for_each(|said| telling.note(What::Message(said)));
                }
                // Long after the action struck, perhaps: it counts commands.
                Output::AnswerLost(conn) => {
                    if let Some((_, Some(who))) = from.borrow().get(&conn) {
                        telling.note(What::Over { kind: "lose-answer", consumer: Some(who.consumer) });
                    }
                }
                Output::Send(..) | Output::Close(_) => {}
            },
        );
        let settings = plan.redis.clone();
        Server { served, settings, scene, connected, heard, names, forgets: None }
    }

    /// What the stage does with each connection.
    pub(crate) fn accept(&self) -> Accept {
        let (served, connected, ticks) = (self.served.clone(), self.connected.clone(), Rc::new(Cell::new(false)));
        let scene = self.scene.clone();
        Rc::new(move |host, bytes| {
            let (served, connected, ticks) = (served.clone(), connected.clone(), ticks.clone());
            let who = host.checked_sub(1).and_then(|consumer| scene.life(consumer));
            Box::pin(async move {
                if !ticks.replace(true) {
                    let served = served.clone();
                    spawn_local(async move { served.tick().await });
                }
                let number = Cell::new(None);
                let opened = |conn| {
                    number.set(Some(conn));
                    connected.borrow_mut().insert(conn, (host, who));
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
        let of_messages = self.names.of_messages;
        self.served.with(|redis, now| match (fault, consumer) {
            (RedisFault::DeleteConsumer { .. }, Some(id)) if !of_messages => drop(redis.command(delete_consumer(id))),
            _ => redis.inject(fault, now),
        });
        if self.names.of_messages && messages::alters(fault) {
            self.stands("hand");
        }
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
            if self.names.of_messages {
                self.stands("up");
            }
        }
    }

    /// Notes how everything about messages stands.
    pub(crate) fn stands(&self, why: &'static str) {
        let stock = self.served.with(|redis, _| messages::stock::take(why, |command| redis.command(command)));
        self.scene.note(What::Message(Said::Stands(stock)));
    }

    /// So many answers to this host still arrive; the next one is lost, and its connection breaks. Whether there is one.
    pub(crate) fn lose_answer(&self, host: HostId, after: u32) -> bool {
        let connected = self.connected.borrow();
        let from_there: Vec<ConnId> =
            connected.iter().filter(|(_, (other, _))| *other == host).map(|(conn, _)| *conn).collect();
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
        let hand = Hand(&self.served, &self.names);
        match fault {
            RedisFault::ClearFlags => hand.is_there() && !hand.has_no_flags(),
            RedisFault::Disconnect | RedisFault::ForgetScripts | RedisFault::FlushAll => hand.is_there(),
            RedisFault::DestroyGroup | RedisFault::Redeliver => hand.is_there() && hand.has_group(),
            RedisFault::DeleteLbs => hand.is_there() && hand.announced() > 0,
            RedisFault::Trim { left } => hand.is_there() && hand.announced() > *left,
            RedisFault::Evict { .. } | RedisFault::WrongType { .. } => hand.is_there() && hand.has_leases(),
            RedisFault::DeleteConsumer { .. } if self.names.of_messages => hand.is_there() && hand.has_group(),
            RedisFault::DeleteConsumer { .. } => hand.is_there() && consumer.is_some_and(|id| hand.has_consumer(id)),
            RedisFault::DeleteAttempts => hand.is_there() && hand.has("attempts"),
            RedisFault::DeleteDelayed | RedisFault::Unpark { .. } => hand.is_there() && hand.has("delayed"),
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
        if script.starts_with("messages/") {
            return messages::sometimes::words(script, reply, *lost).into_iter().for_each(say);
        }
        self.stories.borrow_mut().executed(*at, script, args, reply, *lost);
        let testimony = witness::hear(script, args, reply);
        testimony.words.into_iter().for_each(say);
        testimony.facts.into_iter().for_each(|fact| scene.note(fact));
    }
}

/// Whoever has the server in their hands, and looks before they act.
struct Hand<'a>(&'a serve::Server, &'a Names);

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
        match self.ask(["XLEN".to_owned(), self.1.stream.clone()]) {
            Reply::Int(announced) => announced.unsigned_abs(),
            _ => 0,
        }
    }

    fn has_group(&self) -> bool {
        matches!(self.ask(["XINFO".to_owned(), "GROUPS".to_owned(), self.1.stream.clone()]), Reply::Array(groups) if !groups.is_empty())
    }

    fn has_consumer(&self, id: &str) -> bool {
        let consumers =
            self.ask(["XINFO".to_owned(), "CONSUMERS".to_owned(), self.1.stream.clone(), self.1.group.clone()]);
        let is_it = |field: &(Reply, Reply)| field.1 == Reply::bulk(id.to_owned());
        let Reply::Array(consumers) = consumers else { return false };
        consumers.iter().any(|consumer| matches!(consumer, Reply::Map(fields) if fields.iter().any(is_it)))
    }

    fn has_leases(&self) -> bool {
        let any = |pattern: &String| matches!(self.ask(["KEYS".to_owned(), pattern.clone()]), Reply::Array(found) if !found.is_empty());
        self.1.leases.iter().any(any)
    }

    /// Whether this key of the group of messages is there.
    fn has(&self, what: &str) -> bool {
        self.ask(["EXISTS".to_owned(), format!("{}:{}:{what}", self.1.stream, self.1.group)]) == Reply::Int(1)
    }

    fn ask<A: Into<bytes::Bytes>>(&self, command: impl IntoIterator<Item = A>) -> Reply {
        self.0.with(|redis, _| redis.command(command))
    }
}

impl Names {
    fn of(plan: &Plan) -> Names {
        if plan.has_workers() {
            let (stream, group) = (messages::STREAM.to_owned(), messages::GROUP.to_owned());
            let leases = vec![format!("{stream}:once:*"), format!("{stream}:{group}:reclaimer")];
            return Names { stream, group, leases, of_messages: true };
        }
        let leases = vec![format!("*{}*", streamkeeper_core::id::LEASE_SEPARATOR)];
        Names { stream: key(Keys::lbs), group: key(Keys::group), leases, of_messages: false }
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
