//! A redis-server of one's own, for as long as this value lives.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use streamkeeper::{Builder, Client};
use tokio::{net::TcpStream, time::sleep};

/// The server, and a folder for its files.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    pub(crate) url: String,
    pub(crate) folder: PathBuf,
}

/// A free port that nobody gets before the server has it: outside the range that the system hands to outgoing connections,
/// and below those that `tests/` takes. Several test processes may search at once: each starts at a place of its own.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 4_000;
    const COUNT: u16 = 8_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let place = u16::try_from(std::process::id().wrapping_mul(397) % u32::from(COUNT)).expect("below COUNT");
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let next = || FIRST + place.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
    (0..COUNT).map(|_| next()).find(free).expect("a free port")
}

impl Server {
    pub(crate) async fn start(arguments: &[&str]) -> Server {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("streamkeeper-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Server::start_in(&folder, port, arguments).await
    }

    pub(crate) async fn start_in(folder: &Path, port: u16, arguments: &[&str]) -> Server {
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let process = Command::new(program)
            .args(["--port", &port.to_string(), "--save", "", "--loglevel", "warning"])
            .arg("--dir")
            .arg(folder)
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed: tests/run installs it");
        let url = format!("redis://127.0.0.1:{port}");
        let server = Server { process, port, url, folder: folder.to_owned() };
        for _ in 0..6_000 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return server;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not answer");
    }

    /// From here on it answers nobody.
    pub(crate) async fn pause(&self) {
        let client = redis::Client::open(&*self.url).expect("its url");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let pause = redis::cmd("CLIENT").arg("PAUSE").arg(3_600_000).exec_async(&mut connection).await;
        pause.expect("CLIENT PAUSE");
    }

    /// A consumer that does not wait long for anything, and loses nothing because this machine keeps it waiting.
    pub(crate) fn builder(&self, name: &str) -> Builder {
        short(name).redis(&self.url)
    }
}

/// The same, of no server yet.
pub(crate) fn short(name: &str) -> Builder {
    Client::builder("svc")
        .name(name)
        .lease_ttl(Duration::from_secs(6))
        .heartbeat(Duration::from_secs(1))
        .call_timeout(Duration::from_secs(2))
        .metrics(None)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
