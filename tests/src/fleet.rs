//! The consumers of one service on one server: started, waited for and, at the end of every test, judged.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Connection;

use crate::cluster::Cluster;
use crate::consumer::Consumer;
use crate::event::Kind;
use crate::home::Home;
use crate::judge;
use crate::keys::{Keys, SEPARATOR, announcement};
use crate::ledger::Ledger;
use crate::server::{Server, run_on};
use crate::wait;

/// A service's consumers. A test must end with [`Fleet::conclude`].
#[derive(Debug)]
pub struct Fleet<'s> {
    home: Cell<Home<'s>>,
    service: String,
    url: String,
    database: u32,
    ttl: Duration,
    heartbeat: Duration,
    arguments: Vec<String>,
    partitions: u32,
    consumers: RefCell<Vec<Arc<Consumer>>>,
    concluded: Cell<bool>,
}

impl<'s> Fleet<'s> {
    /// The fleet of the service `svc` with the default settings.
    #[must_use]
    pub fn on(server: &'s Server) -> Self {
        Self::at(Home::Server(server), server.url())
    }

    /// The fleet of the service `svc` on a cluster.
    #[must_use]
    pub fn on_cluster(cluster: &'s Cluster) -> Self {
        Self::at(Home::Slot(cluster, cluster.slot("{svc}")), cluster.url())
    }

    fn at(home: Home<'s>, url: String) -> Self {
        Self {
            home: Cell::new(home),
            service: "svc".to_owned(),
            url,
            database: 0,
            ttl: Duration::from_secs(3),
            heartbeat: Duration::from_secs(1),
            arguments: Vec::new(),
            partitions: 1,
            consumers: RefCell::default(),
            concluded: Cell::new(false),
        }
    }

    /// The same for another service.
    #[must_use]
    pub fn service(mut self, service: &str) -> Self {
        service.clone_into(&mut self.service);
        if let Home::Slot(cluster, _) = self.home.get() {
            self.home.set(Home::Slot(cluster, cluster.slot(&format!("{{{service}}}"))));
        }
        self
    }

    /// The same by another URL.
    #[must_use]
    pub fn url(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// Tells the harness that the data are on another server from now on.
    pub fn moved_to(&self, server: &'s Server) {
        self.home.set(Home::Server(server));
    }

    /// The same spread over so many partitions.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Tells the harness which database the URL leads to.
    #[must_use]
    pub fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// The same with another lease time and heartbeat.
    #[must_use]
    pub fn lease(mut self, ttl: Duration, heartbeat: Duration) -> Self {
        (self.ttl, self.heartbeat) = (ttl, heartbeat);
        self
    }

    /// The same where only a death may cost a lease: none lapses because this machine kept its owner waiting.
    #[must_use]
    pub fn patient(self) -> Self {
        self.lease(Duration::from_secs(9), Duration::from_secs(1)).settled()
    }

    /// The same where the fleet has settled on this server long ago: a new one would be left alone for a whole lease, and
    /// nothing else is waited for when leases are long. Called last: it writes where the fleet is then.
    ///
    /// # Panics
    /// If the server does not tell who it is.
    #[must_use]
    pub fn settled(self) -> Self {
        let server = self.home.get().server();
        let [run, replication] = ["run_id", "master_replid"].map(|field| server.info(field).expect("who it is"));
        self.run::<()>(&["HSET", &self.keys().epoch(), "id", &format!("{run}:{replication}")]);
        self
    }

    /// Arguments for every consumer of the fleet.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// The names of its keys.
    #[must_use]
    pub fn keys(&self) -> Keys {
        match self.home.get() {
            Home::Server(_) => Keys::of(&self.service),
            Home::Slot(..) => Keys::tagged(&self.service),
        }
    }

    /// The lease time.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The arguments that lead any command to this service.
    #[must_use]
    pub fn address(&self) -> Vec<String> {
        self.address_for(self.partitions)
    }

    /// The same for somebody who asks for another number of partitions.
    #[must_use]
    pub fn address_for(&self, partitions: u32) -> Vec<String> {
        let mut words = ["--redis", &self.url, "--service", &self.service].map(str::to_owned).to_vec();
        if partitions > 1 {
            words.extend(["--partitions".to_owned(), partitions.to_string()]);
        }
        words
    }

    /// A connection of the harness to the database of the service.
    #[must_use]
    pub fn connect(&self) -> Connection {
        self.home.get().server().connect_to(self.database)
    }

    /// Runs a command of the harness, in words, in the database of the service.
    ///
    /// # Panics
    /// If the server answers with an error.
    pub fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        run_on(&mut self.connect(), words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Starts a consumer.
    pub fn start(&self, name: &str) -> Arc<Consumer> {
        self.start_with(name, &[])
    }

    /// Starts a consumer with arguments of its own.
    pub fn start_with(&self, name: &str, arguments: &[&str]) -> Arc<Consumer> {
        let mut all = vec!["work".to_owned()];
        all.extend(self.address());
        let (ttl, heartbeat) = (format!("{}ms", self.ttl.as_millis()), format!("{}ms", self.heartbeat.as_millis()));
        all.extend(["--name", name, "--lease-ttl", &ttl, "--heartbeat", &heartbeat, "--json"].map(str::to_owned));
        all.extend(self.arguments.iter().cloned());
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let consumer = Arc::new(Consumer::spawn(name, &all));
        self.consumers.borrow_mut().push(Arc::clone(&consumer));
        consumer
    }

    /// Starts several consumers and waits until all are ready.
    pub fn start_all<const N: usize>(&self, names: [&str; N]) -> [Arc<Consumer>; N] {
        let all = names.map(|name| self.start(name));
        for consumer in &all {
            self.wait_ready(consumer);
        }
        all
    }

    /// Waits until the consumer is ready.
    pub fn wait_ready(&self, consumer: &Consumer) {
        self.wait(&format!("{} to be ready", consumer.name()), |_| consumer.said(Kind::Ready));
    }

    /// Announces the streams `<prefix>0`, `<prefix>1`, ... in one pipeline and answers their names.
    pub fn announce(&self, prefix: &str, count: usize) -> Vec<String> {
        let streams: Vec<String> = (0..count).map(|index| format!("{prefix}{index}")).collect();
        let mut pipeline = redis::pipe();
        for stream in &streams {
            pipeline.cmd("XADD").arg(self.keys().lbs()).arg("*").arg("lbs-input").arg(announcement(stream)).ignore();
        }
        pipeline.exec(&mut self.connect()).expect("the streams are announced");
        streams
    }

    /// Adds one entry to the LBS as it is, and answers its id.
    pub fn add_raw(&self, id: &str, field: &str, value: &str) -> String {
        self.run(&["XADD", &self.keys().lbs(), id, field, value])
    }

    /// What is known so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let lives = self.consumers.borrow().iter().map(|consumer| consumer.life()).collect();
        Ledger { ttl: self.ttl, heartbeat: self.heartbeat, lives }
    }

    /// Waits until the condition holds.
    ///
    /// # Panics
    /// If it does not within the limit, or if a consumer ends though nobody asked it to.
    pub fn wait(&self, what: &str, mut condition: impl FnMut(&Ledger) -> bool) {
        let start = Instant::now();
        loop {
            if condition(&self.ledger()) {
                return;
            }
            self.assert_alive();
            assert!(start.elapsed() < wait::LIMIT, "waited {:?} in vain for: {what}", wait::LIMIT);
            std::thread::sleep(2 * wait::GLANCE);
        }
    }

    /// Checks again and again, for a while, that something stays as it is.
    pub fn observe(&self, span: Duration, mut look: impl FnMut(&Ledger)) {
        wait::observe(span, || {
            look(&self.ledger());
            self.assert_alive();
        });
    }

    fn assert_alive(&self) {
        for consumer in self.consumers.borrow().iter() {
            if let Some(status) = consumer.ended_by_itself() {
                panic!("{} ended by itself, {status}: {}", consumer.name(), consumer.errors());
            }
        }
    }

    /// Waits until each stream has exactly one owner that runs.
    pub fn wait_owned(&self, streams: &[String]) {
        self.wait(&format!("{} streams owned by one each", streams.len()), |ledger| {
            let owners = ledger.owners();
            streams.iter().all(|stream| owners.get(stream).is_some_and(|owners| owners.len() == 1))
        });
    }

    /// Waits until each stream has exactly one owner, one of these.
    pub fn wait_owned_by(&self, streams: &[String], consumers: &[&Arc<Consumer>]) {
        let allowed: BTreeSet<usize> = consumers.iter().map(|consumer| self.index(consumer)).collect();
        let names: Vec<&str> = consumers.iter().map(|consumer| consumer.name()).collect();
        self.wait(&format!("{} streams owned by one of {names:?} each", streams.len()), |ledger| {
            let owners = ledger.owners();
            streams
                .iter()
                .all(|stream| owners.get(stream).is_some_and(|owners| owners.len() == 1 && owners.is_subset(&allowed)))
        });
    }

    /// Waits until the consumer has said this about each of the streams.
    pub fn wait_said(&self, consumer: &Consumer, kind: Kind, streams: &[String]) {
        self.wait(&format!("{} to say {kind:?} of {} streams", consumer.name(), streams.len()), |_| {
            streams.iter().all(|stream| consumer.said_of(kind, stream))
        });
    }

    /// What the consumer owns.
    #[must_use]
    pub fn owned_by(&self, consumer: &Arc<Consumer>) -> Vec<String> {
        let index = self.index(consumer);
        let owners = self.ledger().owners();
        owners.into_iter().filter(|(_, owners)| owners.contains(&index)).map(|(stream, _)| stream).collect()
    }

    /// The place of the consumer in the ledger.
    ///
    /// # Panics
    /// If it belongs to another fleet.
    #[must_use]
    pub fn index(&self, consumer: &Arc<Consumer>) -> usize {
        let consumers = self.consumers.borrow();
        consumers.iter().position(|one| Arc::ptr_eq(one, consumer)).expect("a consumer of this fleet")
    }

    /// All leases in the database: key and value. Looks without touching a lease that has lapsed (`KEYS` hides such
    /// a key, but neither deletes it nor announces its end).
    #[must_use]
    pub fn leases(&self) -> Vec<(String, String)> {
        let mut connection = self.connect();
        let keys: Vec<String> = run_on(&mut connection, &["KEYS", &format!("*{SEPARATOR}*")]).expect("KEYS");
        if keys.is_empty() {
            return Vec::new();
        }
        let values: Vec<Option<String>> = redis::cmd("MGET").arg(&keys).query(&mut connection).expect("MGET");
        keys.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The streams whose names stand in the LBS now.
    #[must_use]
    pub fn announced(&self) -> Vec<String> {
        let entries: Vec<(String, Vec<String>)> = self.run(&["XRANGE", &self.keys().lbs(), "-", "+"]);
        let name = |text: &String| serde_json::from_str::<serde_json::Value>(text).ok();
        entries
            .iter()
            .filter_map(|(_, fields)| name(fields.get(1)?)?["DataStreamName"].as_str().map(str::to_owned))
            .collect()
    }

    /// The last step of a test: holds every promise against what was seen.
    ///
    /// # Panics
    /// If one was broken.
    pub fn conclude(&self) {
        self.concluded.set(true);
        self.assert_alive();
        let mut seen: Vec<String> = judge::judge(&self.ledger())
            .into_iter()
            .map(|violation| format!("{}: {}", violation.promise, violation.seen))
            .collect();
        for consumer in self.consumers.borrow().iter() {
            seen.extend(
                consumer.strange_lines().into_iter().map(|line| format!("{}: no event: {line}", consumer.name())),
            );
        }
        assert!(seen.is_empty(), "broken promises:\n{}", seen.join("\n"));
    }

    /// Leaves out the judgement, where a test has made its own.
    pub fn waive(&self, why: &str) {
        eprintln!("{}: not judged as usual: {why}", self.service);
        self.concluded.set(true);
    }

    /// The same, and these streams must each have one owner, or be done or set aside.
    ///
    /// # Panics
    /// If one is lost, or a promise was broken.
    pub fn conclude_with(&self, streams: &[String]) {
        self.concluded.set(true);
        self.wait("everything owned or settled", |ledger| judge::lost(ledger, streams).is_empty());
        self.conclude();
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ledger = self.ledger();
            let flavor = self.home.get().try_server().map(Server::flavor);
            eprintln!("== {} on {flavor:?}\n{}", self.service, ledger.story(40));
            for consumer in self.consumers.borrow().iter() {
                let errors = consumer.errors();
                let from = errors.len().saturating_sub(4000);
                let from = (from..=errors.len()).find(|at| errors.is_char_boundary(*at)).unwrap_or(0);
                eprintln!("-- {} on standard error:\n{}", consumer.name(), &errors[from..]);
            }
        } else {
            assert!(self.concluded.get(), "the test forgot to conclude: nothing was judged");
        }
    }
}
