//! A redis-server process on a unix socket in a directory of its own; it ends with the test.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo, aio::MultiplexedConnection};
use tokio::{net::UnixStream, sync::mpsc::UnboundedSender};

use super::counted::Counted;

pub(crate) struct Redis {
    child: Child,
    directory: PathBuf,
}

/// Settings that came with Redis 7: before it DEBUG is allowed anyhow, and the bus of a cluster has a port by itself.
const SINCE_SEVEN: [&str; 2] = ["--enable-debug-command", "--cluster-port"];

static SERVERS: AtomicU32 = AtomicU32::new(0);

impl Redis {
    /// Starts a server. A test without one fails; it is never skipped.
    pub(crate) async fn start(arguments: &[&str]) -> Redis {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("streamkeeper-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let binary = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let version = Command::new(&binary).arg("--version").output().unwrap_or_else(|e| panic!("{binary}: {e}"));
        let old = String::from_utf8_lossy(&version.stdout).contains(" v=6.");
        let mut arguments = arguments.to_vec();
        while let Some(at) = arguments.iter().position(|argument| old && SINCE_SEVEN.contains(argument)) {
            arguments.drain(at..at + 2);
        }
        let child = Command::new(&binary)
            .args(["--port", "0", "--save", "", "--unixsocket", "s", "--dir", "."])
            .args(arguments)
            .current_dir(&directory)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{binary} cannot be started: {e}"));
        let redis = Redis { child, directory };
        for _ in 0..6_000 {
            if UnixStream::connect(redis.socket()).await.is_ok() {
                return redis;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{binary} did not come up within a minute");
    }

    /// What a client is to be given.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// From now on the server cannot save. Whoever is connected stays so.
    pub(crate) fn remove_directory(&self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("s")
    }

    pub(crate) async fn connect(&self, resp3: bool) -> MultiplexedConnection {
        self.login(resp3, RedisConnectionInfo::default()).await
    }

    /// A connection whose pushes go to the channel.
    pub(crate) async fn listen(&self, sender: UnboundedSender<PushInfo>) -> MultiplexedConnection {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        let config = AsyncConnectionConfig::new().set_push_sender(sender);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&info, Counted::new(stream), config).await.unwrap();
        tokio::task::spawn_local(driver);
        connection
    }

    pub(crate) async fn login(&self, resp3: bool, info: RedisConnectionInfo) -> MultiplexedConnection {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let protocol = if resp3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&info.set_protocol(protocol), Counted::new(stream), config)
                .await
                .unwrap();
        tokio::task::spawn_local(driver);
        connection
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
