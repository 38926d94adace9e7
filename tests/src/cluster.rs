//! A Redis Cluster of real processes: three primaries, a replica of each, and one node more that may join.
//!
//! It is put together by hand, command by command, because that is what tests then take apart.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use redis::{RedisResult, Value};

use crate::certificates::Certificates;
use crate::flavor::Flavor;
use crate::server::{Server, free_port};
use crate::wait;

/// How many primaries there are, and as many replicas, where nothing else is said.
const PRIMARIES: usize = 3;

/// How many slots there are.
const SLOTS: usize = 16_384;

/// How long a replica tries `CLUSTER FAILOVER`, and a little more.
const MANUAL: Duration = Duration::from_secs(6);

/// How many keys are moved at once.
const BATCH: &str = "10";

/// A cluster. Dropping it kills its processes.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
    primaries: usize,
    /// How many nodes it begins with: the primaries, and then the replica of each, if they have some.
    members: usize,
    /// Those that do not answer now, by their place among the nodes.
    silent: RefCell<BTreeSet<usize>>,
}

impl Cluster {
    /// Starts one whose nodes give each other up after two seconds.
    #[must_use]
    pub fn start(flavor: Flavor) -> Self {
        Self::with_replicas((0..=2 * PRIMARIES).map(|_| start_node(flavor, &[])).collect())
    }

    /// One of so many primaries that lose their data with their process, for figures: they give each other up late, since
    /// a machine at its limits keeps them waiting.
    #[must_use]
    pub fn of_primaries(flavor: Flavor, count: usize) -> Self {
        let patient = [("cluster-node-timeout", "30000")];
        Self::of((0..count).map(|_| start_node(flavor, &patient)).collect(), count, count)
    }

    /// The same, in which all speak TLS with each other and with those who have a certificate, too. Only Redis: the Valkey
    /// at hand is built without TLS.
    #[must_use]
    pub fn encrypted(certificates: &Certificates) -> Self {
        let paths = [certificates.certificate(), certificates.key(), certificates.authority()];
        let [certificate, key, authority] = paths.each_ref().map(|path| path.to_str().expect("a plain path"));
        let node = |_| {
            let port = free_port().to_string();
            let settings = [
                ("tls-port", &*port),
                ("tls-cluster", "yes"),
                ("tls-replication", "yes"),
                ("tls-cert-file", certificate),
                ("tls-key-file", key),
                ("tls-ca-cert-file", authority),
            ];
            start_node(Flavor::Redis, &settings)
        };
        Self::with_replicas((0..=2 * PRIMARIES).map(node).collect())
    }

    fn with_replicas(nodes: Vec<Server>) -> Self {
        Self::of(nodes, PRIMARIES, 2 * PRIMARIES)
    }

    fn of(nodes: Vec<Server>, primaries: usize, members: usize) -> Self {
        let cluster = Self { nodes, primaries, members, silent: RefCell::default() };
        let per = SLOTS.div_ceil(primaries);
        for (place, node) in cluster.members().enumerate() {
            node.run::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
            if place < primaries {
                let (from, to) = (place * per, ((place + 1) * per).min(SLOTS) - 1);
                node.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
            }
            cluster.meet(place);
        }
        cluster.wait_known(members);
        for replica in primaries..members {
            cluster.replicate(replica, replica - primaries);
        }
        wait::until("the cluster to be up", || cluster.members().all(is_up));
        cluster
    }

    /// The node that has joined none yet becomes one of the cluster, without slots.
    pub fn join(&self) -> usize {
        let spare = self.members;
        self.meet(spare);
        self.wait_known(self.nodes.len());
        wait::until("it to know the slots", || is_up(&self.nodes[spare]));
        spare
    }

    fn meet(&self, place: usize) {
        let (first, bus) = (&self.nodes[0], self.nodes[0].setting("cluster-port"));
        if place > 0 {
            self.nodes[place].run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port_of(first), &bus]);
        }
    }

    fn wait_known(&self, count: usize) {
        let known = format!("cluster_known_nodes:{count}\r\n");
        wait::until("all nodes to know each other", || {
            self.nodes[..count].iter().all(|node| {
                let handshakes = node.run::<String>(&["CLUSTER", "NODES"]).contains("handshake");
                !handshakes && node.run::<String>(&["CLUSTER", "INFO"]).contains(&known)
            })
        });
    }

    fn replicate(&self, replica: usize, primary: usize) {
        let (replica, id) = (&self.nodes[replica], self.id(primary));
        wait::until("it to be a replica", || replica.try_run::<()>(&["CLUSTER", "REPLICATE", &id]).is_ok());
        wait::until("it to have the data", || replica.info("master_link_status").as_deref() == Some("up"));
    }

    /// The URL: it names two nodes, one of which is the last that anybody would ask for.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", self.nodes[0].port(), self.unlikely().port())
    }

    /// The replica of the second primary; a primary where there are none.
    fn unlikely(&self) -> &Server {
        &self.nodes[(self.primaries + 1).min(self.members - 1)]
    }

    /// The URL of one that speaks TLS.
    #[must_use]
    pub fn encrypted_url(&self) -> String {
        format!("rediss-cluster://127.0.0.1:{}", port_of(self.unlikely()))
    }

    /// The node at this place.
    #[must_use]
    pub fn node(&self, place: usize) -> &Server {
        &self.nodes[place]
    }

    /// All nodes that it begins with.
    pub fn members(&self) -> impl Iterator<Item = &Server> {
        self.nodes[..self.members].iter()
    }

    /// The slot of a key, as the cluster says.
    #[must_use]
    pub fn slot(&self, key: &str) -> u16 {
        self.live().next().expect("a node that answers").1.run(&["CLUSTER", "KEYSLOT", key])
    }

    /// Where the node is that serves the slot: it says so itself.
    #[must_use]
    pub fn serving(&self, slot: u16) -> Option<usize> {
        self.live().find(|(_, node)| says_it_serves(node, slot).unwrap_or(false)).map(|(place, _)| place)
    }

    /// The same, once there is one.
    #[must_use]
    pub fn wait_serving(&self, slot: u16) -> usize {
        wait::some("a node to serve the slot", || self.serving(slot))
    }

    /// A primary of other slots, which this one may move to.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn another_primary(&self, slot: u16) -> usize {
        let serving = self.wait_serving(slot);
        let mut others =
            (0..SLOTS).step_by(SLOTS / self.primaries / 2).filter_map(|slot| self.serving(u16::try_from(slot).ok()?));
        others.find(|other| *other != serving).expect("another primary")
    }

    /// A replica of the node at this place that has its data.
    #[must_use]
    pub fn replica_of(&self, primary: usize) -> usize {
        let port = port_of(&self.nodes[primary]);
        let is_replica = |node: &Server| {
            node.info("master_port").as_deref() == Some(&port)
                && node.info("master_link_status").as_deref() == Some("up")
        };
        wait::some("a replica", || self.live().find(|(_, node)| is_replica(node))).0
    }

    /// Waits until a replica has all that was written on the primary at this place so far.
    pub fn wait_replicated(&self, primary: usize) {
        let offset = |node: &Server, field: &str| node.info(field).and_then(|text| text.parse::<u64>().ok());
        let written = offset(&self.nodes[primary], "master_repl_offset");
        let replica = &self.nodes[self.replica_of(primary)];
        wait::until("a replica to have all", || offset(replica, "slave_repl_offset") >= written);
    }

    /// `CLUSTER FAILOVER` to a replica of the node that serves the slot; returns when it serves.
    pub fn fail_over(&self, slot: u16) {
        let replica = self.replica_of(self.wait_serving(slot));
        let mut asked = Instant::now() - MANUAL;
        wait::until("the replica to take over", || {
            // It is given up where not enough votes come in time, as may be right after another election.
            // It has also taken over already where this machine kept us waiting meanwhile, and refuses then.
            let serves = self.serving(slot) == Some(replica);
            if !serves && asked.elapsed() >= MANUAL {
                if let Err(error) = self.nodes[replica].try_run::<()>(&["CLUSTER", "FAILOVER"]) {
                    eprintln!("CLUSTER FAILOVER: {error}");
                }
                asked = Instant::now();
            }
            serves
        });
    }

    /// SIGKILL of the node.
    pub fn kill(&self, place: usize) {
        self.silent.borrow_mut().insert(place);
        self.nodes[place].kill();
    }

    /// It comes back, with its part of the map and without data.
    pub fn start_again(&self, place: usize) {
        self.nodes[place].start_again();
        self.silent.borrow_mut().remove(&place);
    }

    /// SIGSTOP of the node.
    pub fn freeze(&self, place: usize) {
        self.silent.borrow_mut().insert(place);
        self.nodes[place].freeze();
    }

    /// SIGCONT of the node.
    pub fn thaw(&self, place: usize) {
        self.nodes[place].thaw();
        self.silent.borrow_mut().remove(&place);
    }

    /// Moves the slot with its keys to the node at `to`, as `redis-cli --cluster reshard` does. `lingering`: how long
    /// the keys are already there before the slot is.
    pub fn move_slot(&self, slot: u16, to: usize, lingering: Duration) {
        let from = self.wait_serving(slot);
        let (slot, target, port) = (slot.to_string(), self.id(to), self.nodes[to].port().to_string());
        self.nodes[to].wait_accepted(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        self.nodes[from].wait_accepted(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]);
        loop {
            let keys: Vec<String> = self.nodes[from].run(&["CLUSTER", "GETKEYSINSLOT", &slot, BATCH]);
            if keys.is_empty() {
                break;
            }
            // Where there is no answer in time it is asked once more, and some keys may be there already.
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "REPLACE", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            wait::until("some keys to have moved", || match self.nodes[from].try_run::<Value>(&words) {
                Ok(_) => true,
                Err(error) => {
                    eprintln!("MIGRATE: {error}");
                    false
                }
            });
        }
        std::thread::sleep(lingering);
        self.nodes[to].run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]);
        // It may have heard already; who has no slots left may even be a replica by now, that may not be told.
        let told = self.nodes[from].try_run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]);
        assert!(
            told.as_ref().map_or_else(|error| error.to_string().contains("only with masters"), |()| true),
            "{told:?}"
        );
    }

    /// Moves the slot as Valkey 9 can: all at once, with no moment between two nodes.
    pub fn move_slot_at_once(&self, slot: u16, to: usize) {
        let (from, id) = (self.wait_serving(slot), self.id(to));
        let slot_text = slot.to_string();
        let words = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &slot_text, &slot_text, "NODE", &id];
        let mut asked = None;
        wait::until("the slot to have moved", || {
            let moved = self.serving(slot) == Some(to);
            // It is given up where the nodes are too slow for each other; asked again while it goes on, it says so.
            if !moved && asked.is_none_or(|asked: Instant| asked.elapsed() >= MANUAL) {
                if let Err(error) = self.nodes[from].try_run::<()>(&words) {
                    eprintln!("CLUSTER MIGRATESLOTS: {error}");
                }
                asked = Some(Instant::now());
            }
            moved
        });
    }

    /// How many keys of the slot the node holds.
    #[must_use]
    pub fn keys_in(&self, place: usize, slot: u16) -> u64 {
        self.nodes[place].run(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()])
    }

    fn id(&self, place: usize) -> String {
        self.nodes[place].run(&["CLUSTER", "MYID"])
    }

    fn live(&self) -> impl Iterator<Item = (usize, &Server)> {
        self.nodes.iter().enumerate().filter(|(place, _)| !self.silent.borrow().contains(place))
    }
}

impl Drop for Cluster {
    /// For a person who looks for what went wrong.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (place, node) in self.nodes.iter().enumerate() {
                let log = node.log();
                let lines: Vec<&str> = log.lines().collect();
                let from = lines.len().saturating_sub(15);
                eprintln!("-- node {place}, port {}:\n{}", node.port(), lines[from..].join("\n"));
            }
        }
    }
}

fn start_node(flavor: Flavor, settings: &[(&str, &str)]) -> Server {
    // The bus needs a port of its own.
    let bus = free_port().to_string();
    let usual = [
        ("cluster-enabled", "yes"),
        ("cluster-port", &bus),
        ("cluster-node-timeout", "2000"),
        // A replica may always be promoted, and has the data at once.
        ("cluster-replica-validity-factor", "0"),
        ("repl-diskless-sync-delay", "0"),
    ];
    Server::start_with(flavor, &[&usual[..], settings].concat())
}

/// Its port in the eyes of the other nodes.
fn port_of(node: &Server) -> String {
    match node.setting("tls-port") {
        none if none.is_empty() || none == "0" => node.port().to_string(),
        port => port,
    }
}

fn is_up(node: &Server) -> bool {
    node.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
}

/// Whether the node says that it is the primary of the slot.
fn says_it_serves(node: &Server, slot: u16) -> RedisResult<bool> {
    let text: String = node.try_run(&["CLUSTER", "NODES"])?;
    let myself = text.lines().find(|line| line.contains("myself")).unwrap_or_default();
    if !myself.contains("master") {
        return Ok(false);
    }
    // Behind eight words stand ranges of slots, `0-99` or `100`; those in brackets are being moved.
    Ok(myself.split(' ').skip(8).filter(|range| !range.starts_with('[')).any(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to) = (from.parse::<u16>(), to.parse::<u16>());
        from.is_ok_and(|from| from <= slot) && to.is_ok_and(|to| slot <= to)
    }))
}
