//! A real server process on a port of its own: started, killed, frozen, restarted and asked.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use redis::{Connection, FromRedisValue, RedisResult, Value};
use tempfile::TempDir;

use crate::flavor::Flavor;
use crate::process::Process;
use crate::wait;

/// A server. Dropping it kills the process and removes its files.
#[derive(Debug)]
pub struct Server {
    flavor: Flavor,
    port: u16,
    folder: TempDir,
    settings: Vec<(String, String)>,
    process: Mutex<Option<Process>>,
}

impl Server {
    /// Starts one with an empty data set and no persistence.
    #[must_use]
    pub fn start(flavor: Flavor) -> Self {
        Self::start_with(flavor, &[])
    }

    /// Starts one with these settings on top.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start_with(flavor: Flavor, settings: &[(&str, &str)]) -> Self {
        let server = Self {
            flavor,
            port: free_port(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            process: Mutex::new(None),
        };
        server.start_again();
        server
    }

    /// Starts the process (again) on the same port with the same settings and whatever it had persisted.
    pub fn start_again(&self) {
        let log = File::create(self.folder.path().join("log")).expect("a log file");
        let mut command = Command::new(self.flavor.program());
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
        if !self.flavor.is_before_7() {
            command.args(["--enable-debug-command", "yes"]);
        }
        command.arg("--dir").arg(self.folder.path()).arg("--unixsocket").arg(self.socket());
        for (name, value) in &self.settings {
            command.arg(format!("--{name}"));
            command.args(value.split(' ').map(|word| if word == "''" { "" } else { word }));
        }
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a file")).stdout(log);
        *self.process.lock().unwrap() = Some(Process::spawn(&mut command));
        assert!(
            wait::within_limit(|| self.try_connect().is_ok_and(|mut connection| ping(&mut connection).is_ok())),
            "{:?} did not come up: {}",
            self.flavor,
            self.log()
        );
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process.lock().unwrap().take();
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.with_process(Process::stop);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.with_process(Process::cont);
    }

    fn with_process(&self, act: impl Fn(&Process)) {
        act(self.process.lock().unwrap().as_ref().expect("the server runs"));
    }

    /// Which kind it is.
    #[must_use]
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// Its process's id.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.lock().unwrap().as_ref().expect("the server runs").id()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its database 0.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The URL for a user of its own.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// The unix socket that it also listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A connection to its database 0 as the default user, as soon as there is one.
    ///
    /// # Panics
    /// If there is none to be had.
    #[must_use]
    pub fn connect(&self) -> Connection {
        wait::some("a connection to the test's server", || self.try_connect().ok())
    }

    /// The same for another database.
    ///
    /// # Panics
    /// If there is none to be had.
    #[must_use]
    pub fn connect_to(&self, database: u32) -> Connection {
        let mut connection = self.connect();
        redis::cmd("SELECT").arg(database).exec(&mut connection).expect("the database exists");
        connection
    }

    /// A connection, if the server gives one.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub fn try_connect(&self) -> RedisResult<Connection> {
        let connection = redis::Client::open(self.url())?.get_connection_with_timeout(Duration::from_secs(2))?;
        connection.set_read_timeout(Some(wait::LIMIT))?;
        Ok(connection)
    }

    /// Runs one command, given as words.
    ///
    /// # Errors
    /// Whatever the server says.
    pub fn try_run<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        run_on(&mut self.try_connect()?, words)
    }

    /// Runs one command, again while it is refused: right after a failover some nodes of a cluster do not know yet who is
    /// a primary ("Target node is not a master").
    pub fn wait_accepted(&self, words: &[&str]) {
        wait::until("a command to be accepted", || match self.try_run::<Value>(words) {
            Ok(_) => true,
            Err(error) => {
                eprintln!("{words:?}: {error}");
                false
            }
        });
    }

    /// Runs one command, given as words.
    ///
    /// # Panics
    /// If the server answers with an error.
    pub fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        run_on(&mut self.connect(), words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The value of one setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> String {
        self.run::<Vec<String>>(&["CONFIG", "GET", name]).pop().unwrap_or_default()
    }

    /// Changes one setting.
    pub fn set(&self, name: &str, value: &str) {
        self.run::<()>(&["CONFIG", "SET", name, value]);
    }

    /// One field of INFO; none where it has no such field, or does not answer now. A sentinel that makes a server a
    /// replica, or a primary, ends all connections to it.
    #[must_use]
    pub fn info(&self, field: &str) -> Option<String> {
        let text: String = self.try_run(&["INFO"]).ok()?;
        let prefix = format!("{field}:");
        text.lines().find_map(|line| line.strip_prefix(&prefix)).map(|value| value.trim().to_owned())
    }
}

impl Server {
    /// Waits until it has as many replicas as it wants before it takes writes: one that has just been made the primary has
    /// none for a moment.
    pub fn wait_writable(&self) {
        let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
        wait::until("the primary to have the replicas that it wants", || {
            let wanted: Option<Vec<String>> = self.try_run(&["CONFIG", "GET", "min-replicas-to-write"]).ok();
            let wanted = number(wanted.and_then(|mut pair| pair.pop()));
            // Who wants none does not say how many there are.
            wanted.is_some_and(|wanted| wanted == 0 || number(self.info("min_slaves_good_slaves")) >= Some(wanted))
        });
    }
}

/// Runs one command, given as words, on this connection.
///
/// # Errors
/// Whatever the server says.
pub fn run_on<T: FromRedisValue>(connection: &mut Connection, words: &[&str]) -> RedisResult<T> {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query(connection)
}

fn ping(connection: &mut Connection) -> RedisResult<()> {
    redis::cmd("PING").exec(connection)
}

/// A free port outside the range that the system hands to outgoing connections, so that nobody gets it while the
/// server is down. Several test processes may search at once: each starts at a place of its own.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let place = u16::try_from(std::process::id().wrapping_mul(397) % u32::from(COUNT)).expect("below COUNT");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (place.wrapping_add(step)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
