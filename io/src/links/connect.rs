//! The seam between the shell and the world: how bytes reach a server, where tasks run, what time it is.
//!
//! Production fills it with [`Tcp`](super::tcp::Tcp); a simulation with its own network, its own spawn and its own
//! clock. Everything above it, the redis client included, is the same code in both.

use std::io;

use futures::future::BoxFuture;
use redis::RedisConnectionInfo;
use streamkeeper_core::{link::Link, trouble::Trouble};
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

    /// The login with the user and password that are valid now: asked once for each connection, when its bytes are
    /// there. What is connected is never asked again. An error is tried again as a connection that could not be made.
    /// Default: [`login`](Connect::login).
    fn login_now(&self) -> BoxFuture<'static, io::Result<RedisConnectionInfo>> {
        Box::pin(std::future::ready(Ok(self.login())))
    }

    /// What the server is called in errors and logs. No secrets.
    fn describe(&self) -> String {
        "redis".to_owned()
    }

    /// The server behind this link's latest connection turned out not to be the one to talk to, such as a replica, or a
    /// node of a cluster that does not serve the slot, or it said nothing in the time that a connection may take: open the
    /// next connections to another one, if there is one. `said` is how the server put it. Said once for each connection.
    fn wrong_server(&self, link: Link, said: &Trouble) {
        let _ = (link, said);
    }

    /// Whether a new connection must ask the server for its role before it is used: where others say which server is
    /// the primary, they may say so of one that has just been demoted. Default: no.
    fn asks_role(&self) -> bool {
        false
    }

    /// Resolves when the server to talk to has become another one, although the connections to the former may still
    /// work: all are made anew then. Called again after it has resolved; cancel safe. Default: never.
    fn moved(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
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
    fn drive(&self, name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        drive_on_a_thread(name, driver)
    }

    /// The clock that leases are judged by.
    fn clock(&self) -> Clock {
        Clock::system()
    }
}

/// Runs a driver on a thread and a runtime of its own.
#[expect(clippy::disallowed_methods, reason = "this is where the driver's thread is made")]
pub(crate) fn drive_on_a_thread(name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
    let (made, heard) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name(format!("streamkeeper-{name}").replace('\0', "?"));
    // The runtime is made there: dropped here, for want of a thread, it would panic within the application's own.
    thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                // Whoever waits for this is waiting.
                let _ = made.send(Ok(()));
                runtime.block_on(driver);
            }
            Err(error) => {
                let _ = made.send(Err(error));
            }
        }
    })?;
    heard.recv().unwrap_or_else(|_| Err(io::Error::other("the driver's thread has ended")))
}
