//! How bytes reach an address: TCP, TLS or a unix socket in production, a simulated network elsewhere.
//!
//! Who must find out where the server is (sentinels, a cluster) asks over the same seam as who talks to it.

use std::{io, time::Duration};

use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{address::Address, connect::ByteStream, tls::Tls};
use crate::{clock::Clock, errors::Error};

/// Opens byte streams. The methods besides [`dial`](Dial::dial) are those of [`Connect`](crate::Connect), with the same
/// defaults.
pub trait Dial: Send + Sync + 'static {
    /// Opens a byte stream to this address. Whoever asks limits its duration.
    fn dial(&self, address: &Address) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>>;

    /// Runs a task.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks are spawned")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    /// Runs the driver of the consumer called `name`, on a thread of its own.
    ///
    /// # Errors
    /// No thread or runtime could be made.
    fn drive(&self, name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        super::connect::drive_on_a_thread(name, driver)
    }

    /// The clock that leases are judged by.
    fn clock(&self) -> Clock {
        Clock::system()
    }
}

/// The world in production.
#[derive(Clone)]
pub(crate) struct Dialer {
    tls: Option<TlsConnector>,
    unheard_for: Duration,
}

impl Dialer {
    /// Reads the certificates if one of the addresses speaks TLS. `unheard_for` is how long the kernel waits for a peer
    /// that acknowledges nothing.
    pub(crate) fn new(addresses: &[Address], tls: &Tls, unheard_for: Duration) -> Result<Dialer, Error> {
        Dialer::speaking(addresses.iter().any(Address::speaks_tls), tls, unheard_for)
    }

    /// The same for addresses that are not known yet.
    pub(crate) fn speaking(encrypted: bool, tls: &Tls, unheard_for: Duration) -> Result<Dialer, Error> {
        let tls = encrypted.then(|| tls.connector()).transpose()?;
        Ok(Dialer { tls, unheard_for })
    }
}

impl Dial for Dialer {
    fn dial(&self, address: &Address) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let (address, tls, unheard_for) = (address.clone(), self.tls.clone(), self.unheard_for);
        Box::pin(async move {
            let opened = open(&address, tls, unheard_for).await;
            opened.map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))
        })
    }
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
