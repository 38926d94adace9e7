//! A process of redis-server or valkey-server.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use streamkeeper_sim::conformance::{Got, Sequence, Side, Value};
use streamkeeper_tests::{
    flavor::Flavor,
    server::{Server, run_on},
};

/// A server process with raw connections.
pub(crate) struct Real {
    server: Server,
    control: redis::Connection,
    clients: BTreeMap<String, Wire>,
}

/// A connection and what has been read from it, but not taken.
struct Wire {
    stream: TcpStream,
    bytes: Vec<u8>,
    closed: bool,
}

impl Real {
    /// The `redis-server` that a sequence asks for.
    pub(crate) fn of(sequence: &Sequence) -> Self {
        Real::start(Flavor::Redis, &sequence.settings)
    }

    pub(crate) fn start(flavor: Flavor, settings: &[(String, String)]) -> Self {
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let server = Server::start_with(flavor, &settings);
        Self { control: server.connect(), server, clients: BTreeMap::new() }
    }

    /// On the harness's own connection, which a sequence may have killed.
    fn run(&mut self, words: &[&str]) {
        if run_on::<redis::Value>(&mut self.control, words).is_ok() {
            return;
        }
        self.control = self.server.connect();
        run_on::<redis::Value>(&mut self.control, words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }
}

impl Side for Real {
    fn send(&mut self, client: &str, bytes: &[u8]) {
        let port = self.server.port();
        let wire = self.clients.entry(client.to_owned()).or_insert_with(|| Wire::open(port));
        // A server that closes early makes itself known when reading.
        let _ = wire.stream.write_all(bytes);
    }

    fn read(&mut self, client: &str, within: Duration) -> Got {
        match self.clients.get_mut(client) {
            Some(wire) => wire.read(within),
            None => Got::Closed,
        }
    }

    /// What other connections sent lay in the server's sockets before this PING, so it is executed with it at the
    /// latest; and replies are written before the next commands are read.
    fn settle(&mut self) {
        self.run(&["PING"]);
        self.run(&["PING"]);
    }

    fn wait(&mut self, span: Duration) {
        std::thread::sleep(span);
    }

    fn restart(&mut self) {
        self.server.kill();
        self.clients.clear();
        self.server.start_again();
        self.control = self.server.connect();
    }

    fn hang_up(&mut self, client: &str) {
        self.clients.remove(client);
        self.settle();
    }

    fn reset(&mut self) {
        self.clients.clear();
        self.run(&["FLUSHALL"]);
        self.run(&["SCRIPT", "FLUSH"]);
        self.run(&["CONFIG", "SET", "notify-keyspace-events", ""]);
        // One at a time: Redis 6.2 takes no more.
        self.run(&["CONFIG", "SET", "maxmemory", "0"]);
        self.run(&["CONFIG", "SET", "requirepass", ""]);
        self.run(&["CONFIG", "RESETSTAT"]);
        self.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
        let users: Vec<String> = run_on(&mut self.control, &["ACL", "USERS"]).expect("the users");
        for user in users.iter().filter(|user| *user != "default") {
            self.run(&["ACL", "DELUSER", user]);
        }
    }
}

impl Wire {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection to the test's server");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, bytes: Vec::new(), closed: false }
    }

    fn read(&mut self, within: Duration) -> Got {
        let start = Instant::now();
        loop {
            if let Some((value, taken)) = Value::parse(&self.bytes) {
                self.bytes.drain(..taken);
                return Got::Value(value);
            }
            let left = within.saturating_sub(start.elapsed());
            if self.closed {
                return Got::Closed;
            }
            if left.is_zero() {
                return Got::Nothing;
            }
            self.fill(left);
        }
    }

    fn fill(&mut self, within: Duration) {
        self.stream.set_read_timeout(Some(within)).expect("a socket option");
        let mut part = [0; 65_536];
        match self.stream.read(&mut part) {
            Ok(0) => self.closed = true,
            Ok(count) => self.bytes.extend(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.closed = true,
        }
    }
}
