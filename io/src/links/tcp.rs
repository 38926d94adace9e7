//! The world in production: TCP, TLS or a unix socket to a server that a Redis URL names.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use redis::RedisConnectionInfo;
use streamkeeper_core::streams::Link;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{
    connect::{ByteStream, Connect},
    tls::Tls,
    url::{self, Address},
};
use crate::errors::Error;

/// Connects as Redis URLs say. With several URLs, one after the other is tried; all must lead to the same data, such
/// as the servers of one primary and its replicas.
pub struct Tcp {
    addresses: Vec<Address>,
    login: RedisConnectionInfo,
    tls: Option<TlsConnector>,
    unheard_for: Duration,
    /// Which address is next; counts on, whatever the number of addresses.
    next: Arc<AtomicUsize>,
    /// Which one each link's latest connection went to.
    used: [AtomicUsize; 3],
}

impl Tcp {
    /// Reads the URLs, and the certificates if one of them is `rediss://`. User, password and database number are the
    /// first URL's. `unheard_for` is how long the kernel waits for a peer that acknowledges nothing.
    ///
    /// # Errors
    /// A URL or a file that cannot be read.
    pub fn new<'a>(urls: impl IntoIterator<Item = &'a str>, tls: &Tls, unheard_for: Duration) -> Result<Tcp, Error> {
        let parsed = urls.into_iter().map(url::parse).collect::<Result<Vec<_>, _>>()?;
        let login = parsed.first().map(|(_, login)| login.clone()).unwrap_or_default();
        let addresses: Vec<Address> = parsed.into_iter().map(|(address, _)| address).collect();
        if addresses.is_empty() {
            return Err(Error::Url { url: String::new(), why: "no URL was given".to_owned() });
        }
        let encrypted = addresses.iter().any(|address| matches!(address, Address::Tcp { tls: true, .. }));
        let tls = encrypted.then(|| tls.connector()).transpose()?;
        Ok(Tcp { addresses, login, tls, unheard_for, next: Arc::default(), used: Default::default() })
    }
}

impl Connect for Tcp {
    fn open(&self, link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let next = self.next.clone();
        let number = next.load(Ordering::Relaxed);
        self.used[link as usize].store(number, Ordering::Relaxed);
        let address = self.addresses[number % self.addresses.len()].clone();
        let (tls, unheard_for) = (self.tls.clone(), self.unheard_for);
        Box::pin(async move {
            let opened = open(&address, tls, unheard_for).await;
            if opened.is_err() {
                go_on(&next, number);
            }
            opened.map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))
        })
    }

    fn login(&self) -> RedisConnectionInfo {
        self.login.clone()
    }

    fn describe(&self) -> String {
        self.addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
    }

    fn wrong_server(&self, link: Link) {
        go_on(&self.next, self.used[link as usize].load(Ordering::Relaxed));
    }
}

/// From this address to the next one, unless another link has gone on already.
fn go_on(next: &AtomicUsize, from: usize) {
    let _ = next.compare_exchange(from, from.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
}

async fn open(address: &Address, tls: Option<TlsConnector>, unheard_for: Duration) -> io::Result<Box<dyn ByteStream>> {
    match address {
        #[cfg(unix)]
        Address::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "no unix sockets on this system")),
        Address::Tcp { host, port, .. } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            tune(&stream, unheard_for)?;
            match (address, tls) {
                (Address::Tcp { tls: true, .. }, Some(connector)) => {
                    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                    Ok(Box::new(connector.connect(name, stream).await?))
                }
                _ => Ok(Box::new(stream)),
            }
        }
    }
}

/// No delay for small commands, and a dead peer is noticed although nothing is sent.
fn tune(stream: &TcpStream, unheard_for: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    let probe = unheard_for.max(Duration::from_secs(1));
    let keepalive = socket2::TcpKeepalive::new().with_time(probe);
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "windows"))]
    let keepalive = keepalive.with_interval(probe);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(unheard_for))?;
    Ok(())
}
