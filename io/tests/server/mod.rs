//! A redis-server of one's own, for as long as this value lives.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
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
        for _ in 0..500 {
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

    /// A consumer that does not wait long for anything.
    pub(crate) fn builder(&self, name: &str) -> Builder {
        short(name).redis(&self.url)
    }
}

/// The same, of no server yet.
pub(crate) fn short(name: &str) -> Builder {
    Client::builder("svc")
        .name(name)
        .lease_ttl(Duration::from_secs(2))
        .heartbeat(Duration::from_millis(500))
        .call_timeout(Duration::from_millis(900))
        .metrics(None)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
