//! A primary with two replicas, and the three sentinels that look after them, as processes.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Command, Stdio};

use redis::{Connection, RedisResult};
use tempfile::TempDir;

use crate::flavor::Flavor;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::server::{Server, free_port, run_on};
use crate::wait;

/// The name under which the sentinels know the primary.
pub const NAME: &str = "the-primary";

/// How many sentinels there are.
const SENTINELS: usize = 3;

/// The servers and their sentinels. Dropping it kills them all.
#[derive(Debug)]
pub struct Watched {
    servers: Vec<Server>,
    sentinels: Vec<Sentinel>,
    /// What stands in front of the first server.
    proxy: Option<Proxy>,
}

/// How they are set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup<'a> {
    /// Settings of all servers.
    pub servers: &'a [(&'a str, &'a str)],
    /// Lines in the configuration of all sentinels.
    pub sentinels: &'a [&'a str],
    /// The server that is the primary at first is reached through a wire that can be cut.
    pub wire: bool,
    /// The password that the harness needs for a sentinel.
    pub password: Option<&'a str>,
}

/// A sentinel. Dropping it kills it.
#[derive(Debug)]
pub struct Sentinel {
    port: u16,
    password: Option<String>,
    folder: TempDir,
    process: Option<Process>,
}

impl Watched {
    /// Starts them all: what is down for a second is down.
    #[must_use]
    pub fn start(flavor: Flavor) -> Self {
        Self::start_with(flavor, Setup::default())
    }

    /// The same in another way.
    #[must_use]
    pub fn start_with(flavor: Flavor, setup: Setup<'_>) -> Self {
        let proxy = setup.wire.then(Proxy::start);
        let announced = proxy.as_ref().map(|proxy| proxy.port().to_string());
        // A replica is there at once, and its absence is noticed within two seconds.
        let quick = [("repl-diskless-sync-delay", "0"), ("repl-ping-replica-period", "1"), ("repl-timeout", "5")];
        let mut settings = [&quick[..], setup.servers].concat();
        let mut first = settings.clone();
        first.extend(announced.as_deref().map(|port| ("replica-announce-port", port)));
        let primary = Server::start_with(flavor, &first);
        if let Some(proxy) = &proxy {
            proxy.lead_to(primary.port());
        }
        let port = proxy.as_ref().map_or(primary.port(), Proxy::port);
        let address = format!("127.0.0.1 {port}");
        settings.push(("replicaof", &address));
        let mut servers = vec![primary];
        servers.extend((0..2).map(|_| Server::start_with(flavor, &settings)));
        wait::until("two replicas", || {
            servers[1..].iter().all(|server| server.info("master_link_status").as_deref() == Some("up"))
        });
        let sentinels = (0..SENTINELS).map(|_| Sentinel::start(flavor, port, setup)).collect();
        let watched = Self { servers, sentinels, proxy };
        watched.wait_complete();
        watched
    }

    /// The URL that leads to the primary.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as("")
    }

    /// The same with this in front of the sentinels: `user:password@`.
    #[must_use]
    pub fn url_as(&self, login: &str) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis-sentinel://{login}{}/{NAME}", hosts.join(","))
    }

    /// All servers.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The server that is the primary at first.
    #[must_use]
    pub fn first(&self) -> &Server {
        &self.servers[0]
    }

    /// The wire in front of it.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn wire(&self) -> &Proxy {
        self.proxy.as_ref().expect("a wire was asked for")
    }

    /// The primary as most sentinels see it now.
    #[must_use]
    pub fn primary(&self) -> Option<&Server> {
        let ask = |sentinel: &Sentinel| {
            let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
            let (_, port): (String, u16) = run_on(&mut sentinel.connect().ok()?, &words).ok()?;
            self.servers.iter().position(|server| self.announced(server) == port)
        };
        let said: Vec<usize> = self.sentinels.iter().filter_map(ask).collect();
        let agreed = |place: &usize| said.iter().filter(|other| *other == place).count() > SENTINELS / 2;
        said.iter().copied().find(agreed).map(|place| &self.servers[place])
    }

    /// Waits until another server is the primary, and says so itself.
    #[must_use]
    pub fn wait_other_than(&self, former: &Server) -> &Server {
        wait::some("another primary", || {
            let primary = self.primary().filter(|server| server.port() != former.port())?;
            (primary.info("role")? == "master").then_some(primary)
        })
    }

    /// Waits until this server is a replica that hears its primary.
    pub fn wait_replica(&self, server: &Server) {
        wait::until("the former primary to be a replica", || {
            server.try_run::<Vec<redis::Value>>(&["ROLE"]).is_ok()
                && server.info("master_link_status").as_deref() == Some("up")
        });
    }

    /// Has a sentinel make another server the primary.
    pub fn fail_over(&self) {
        wait::until("a sentinel to begin a failover", || {
            let words = ["SENTINEL", "FAILOVER", NAME];
            let asked = self.sentinels[0].connect().and_then(|mut sentinel| run_on::<()>(&mut sentinel, &words));
            // Of a question whose answer came too late there is a failover already: asked again, there would be two.
            asked.map_or_else(|error| error.code() == Some("INPROG"), |()| true)
        });
    }

    /// Kills one of the sentinels.
    pub fn kill_sentinel(&mut self, number: usize) {
        self.sentinels[number].process = None;
    }

    /// Stops one of the sentinels: it listens, and answers nothing.
    ///
    /// # Panics
    /// If it was killed.
    pub fn freeze_sentinel(&self, number: usize) {
        self.sentinels[number].process.as_ref().expect("it runs").stop();
    }

    /// Its port in the eyes of all others.
    fn announced(&self, server: &Server) -> u16 {
        let first = server.port() == self.servers[0].port();
        self.proxy.as_ref().filter(|_| first).map_or(server.port(), Proxy::port)
    }

    /// Waits until every sentinel knows both replicas and both other sentinels.
    fn wait_complete(&self) {
        wait::until("three sentinels that know one another", || {
            self.sentinels.iter().all(|sentinel| {
                sentinel.state().is_some_and(|state| {
                    state["num-slaves"] == "2" && state["num-other-sentinels"] == "2" && state["flags"] == "master"
                })
            })
        });
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for sentinel in &self.sentinels {
                let log = std::fs::read_to_string(sentinel.folder.path().join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last = lines.len().saturating_sub(30);
                eprintln!("-- the sentinel on {}:\n{}", sentinel.port, lines[last..].join("\n"));
            }
        }
    }
}

impl Sentinel {
    /// Starts one for the primary on this port.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(flavor: Flavor, primary: u16, setup: Setup<'_>) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a temporary folder"));
        let path = folder.path().display();
        let mut settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {path}\nsentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 5000\n\
             sentinel parallel-syncs {NAME} 2\n"
        );
        for line in setup.sentinels {
            settings.push_str(line);
            settings.push('\n');
        }
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, settings).expect("a written file");
        let log = File::create(folder.path().join("log")).expect("a log file");
        let mut command = Command::new(flavor.program());
        command.arg(file).arg("--sentinel").stdin(Stdio::null());
        command.stderr(log.try_clone().expect("a file")).stdout(log);
        let process = Some(Process::spawn(&mut command));
        Self { port, password: setup.password.map(str::to_owned), folder, process }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it answers, and has reached the primary.
    #[must_use]
    pub fn knows_primary(&self) -> bool {
        self.state().is_some_and(|state| state["flags"] == "master")
    }

    fn state(&self) -> Option<BTreeMap<String, String>> {
        run_on(&mut self.connect().ok()?, &["SENTINEL", "MASTER", NAME]).ok()
    }

    fn connect(&self) -> RedisResult<Connection> {
        let login = self.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        let client = redis::Client::open(format!("redis://{login}127.0.0.1:{}", self.port))?;
        let connection = client.get_connection_with_timeout(wait::GLANCE * 20)?;
        connection.set_read_timeout(Some(wait::GLANCE * 20))?;
        Ok(connection)
    }
}
