//! The seam between the shell and the world: how bytes reach a server, where tasks run, what time it is.
//!
//! Production fills it with [`Tcp`](super::tcp::Tcp); a simulation with its own network, its own spawn and its own
//! clock. Everything above it, the redis client included, is the same code in both.

use std::io;

use futures::future::BoxFuture;
use redis::RedisConnectionInfo;
use streamkeeper_core::streams::Link;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::clock::Clock;

/// A connection's bytes: anything that can be read and written.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// Where a consumer meets the world.
///
/// Give an own implementation to [`Builder::connect_with`](crate::Builder::connect_with) to reach Redis in another way
/// (a tunnel, a simulated network). Only [`open`](Connect::open) and [`login`](Connect::login) must be written; the
/// other methods have the defaults of production.
pub trait Connect: Send + Sync + 'static {
    /// Opens a byte stream to the server. The shell limits its duration, does the handshake and subscribes.
    fn open(&self, link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>>;

    /// User, password and database number. The protocol version is set by the shell.
    fn login(&self) -> RedisConnectionInfo;

    /// What the server is called in errors and logs. No secrets.
    fn describe(&self) -> String {
        "redis".to_owned()
    }

    /// The server behind this link's latest connection turned out not to be the one to talk to, such as a replica:
    /// open the next connections to another one, if there is one. Said once for each connection.
    fn wrong_server(&self, link: Link) {
        let _ = link;
    }

    /// Runs a task: a connection, an application's handler. By default with [`tokio::spawn`], so on the runtime from
    /// which it is called.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks are spawned")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    /// Runs the driver of the consumer called `name`. By default on a thread of its own, so that an application that
    /// blocks its own runtime loses no lease.
    ///
    /// # Errors
    /// No thread or runtime could be made.
    #[expect(clippy::disallowed_methods, reason = "this is where the driver's thread is made")]
    fn drive(&self, name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("streamkeeper-{name}").replace('\0', "?"));
        thread.spawn(move || runtime.block_on(driver)).map(drop)
    }

    /// The clock that leases are judged by.
    fn clock(&self) -> Clock {
        Clock::system()
    }
}
