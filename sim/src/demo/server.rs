//! The Redis of the demo: embedded in this process, or a real one.

use std::io;

use redis::aio::MultiplexedConnection;
use streamkeeper::{Clock, Time};
use tokio::{net::TcpListener, task::LocalSet};

use crate::{
    plan::RedisPlan,
    redis::{Redis, serve},
};

/// A server that can be reached over TCP.
pub(super) struct Server {
    /// What stands in front of the address: `redis://user:password@`.
    before: String,
    /// `host:port`.
    pub(super) address: String,
    /// What stands behind it: `/1`.
    after: String,
    embedded: bool,
}

impl Server {
    /// Reaches this server, or starts one in this process.
    pub(super) async fn start(url: Option<&str>) -> io::Result<Server> {
        match url {
            Some(url) => Server::at(url, false),
            None => {
                let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
                let port = listener.local_addr()?.port();
                embed(listener)?;
                Server::at(&format!("redis://127.0.0.1:{port}"), true)
            }
        }
    }

    fn at(url: &str, embedded: bool) -> io::Result<Server> {
        let wrong = || io::Error::other("the demo needs a URL such as redis://[user:password@]host:port[/db]");
        let rest = url.strip_prefix("redis://").ok_or_else(wrong)?;
        let (user, rest) =
            rest.rsplit_once('@').map_or((String::new(), rest), |(user, rest)| (format!("{user}@"), rest));
        let (address, after) = rest.find(['/', '?']).map_or((rest, ""), |end| rest.split_at(end));
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { address.to_owned() } else { format!("{address}:6379") };
        Ok(Server { before: format!("redis://{user}"), address, after: after.to_owned(), embedded })
    }

    /// The URL.
    pub(super) fn url(&self) -> String {
        format!("{}{}{}", self.before, self.address, self.after)
    }

    /// The URL through a proxy on this port.
    pub(super) fn through(&self, port: u16) -> String {
        format!("{}127.0.0.1:{port}{}", self.before, self.after)
    }

    /// For people; without a password.
    pub(super) fn describe(&self) -> String {
        if self.embedded { "the simulated one, in this process".to_owned() } else { self.address.clone() }
    }

    /// A connection.
    pub(super) async fn connect(&self) -> io::Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url()).map_err(io::Error::other)?;
        let connection = client.get_multiplexed_async_connection().await;
        connection.map_err(|error| io::Error::other(format!("{}: {error}", self.address)))
    }

    /// Deletes what the demo has left behind on a real server: every key that begins with the service's name.
    pub(super) async fn clean(&self, service: &str) -> io::Result<()> {
        if self.embedded {
            return Ok(());
        }
        let mut redis = self.connect().await?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{service}*")).arg("COUNT").arg(1_000);
            let found: (u64, Vec<Vec<u8>>) = scan.query_async(&mut redis).await.map_err(io::Error::other)?;
            if !found.1.is_empty() {
                let deleted = redis::cmd("DEL").arg(found.1).query_async::<()>(&mut redis).await;
                deleted.map_err(io::Error::other)?;
            }
            cursor = found.0;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

/// Serves the simulated Redis, on a thread of its own: it is no part of what the demo is busy with.
fn embed(listener: std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("redis".to_owned());
    // Should it end, everybody is told by the connections that break.
    let serve = move || drop(LocalSet::new().block_on(&runtime, serve_all(listener)));
    thread.spawn(serve).map(drop)
}

async fn serve_all(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let clock = Clock::system();
    let began = clock.now();
    let redis = Redis::new(&RedisPlan::default(), began.as_micros(), Time::ZERO);
    let server = serve::Server::new(redis, move || Time::ZERO + clock.now().since(began), |_| {});
    let ticker = server.clone();
    tokio::task::spawn_local(async move { ticker.tick().await });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let server = server.clone();
        tokio::task::spawn_local(async move { server.serve(Box::new(stream), |_| {}).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_through_a_proxy() {
        let table = [
            ("redis://localhost", "localhost:6379", "redis://127.0.0.1:9"),
            ("redis://10.0.0.1:7000/2", "10.0.0.1:7000", "redis://127.0.0.1:9/2"),
            ("redis://me:p@ss@host?protocol=resp3", "host:6379", "redis://me:p@ss@127.0.0.1:9?protocol=resp3"),
        ];
        for (url, address, through) in table {
            let server = Server::at(url, false).unwrap();
            assert_eq!((server.address.as_str(), server.through(9).as_str()), (address, through));
        }
        assert!(Server::at("rediss://host", false).is_err());
    }
}
