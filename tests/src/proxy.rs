//! A wire that can be cut: what a server is reached through, byte by byte, until nothing comes through any more.
//!
//! A cut loses nothing and closes nothing: as with a network, both ends wait, and go on if it is mended in time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::time::Duration;

use crate::server::free_port;

/// A proxy in front of one server. Dropping it ends it with all its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    wire: Arc<Wire>,
}

#[derive(Debug, Default)]
struct Wire {
    target: AtomicU16,
    state: AtomicU8,
}

/// What comes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// Everything.
    All,
    /// Only what Streamkeeper says and hears: sentinels and replicas are cut off.
    Clients,
    /// Nothing.
    Nothing,
}

const ENDED: u8 = u8::MAX;
/// How often a state is looked at.
const GLANCE: Duration = Duration::from_millis(20);

impl Proxy {
    /// Listens on a port of its own; leads nowhere yet.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start() -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let wire = Arc::new(Wire::default());
        let shared = Arc::clone(&wire);
        std::thread::spawn(move || {
            while shared.state.load(Ordering::Relaxed) != ENDED {
                match listener.accept() {
                    Ok((client, _)) => {
                        let wire = Arc::clone(&shared);
                        std::thread::spawn(move || wire.carry(client));
                    }
                    Err(_) => std::thread::sleep(GLANCE),
                }
            }
        });
        Self { port, wire }
    }

    /// Leads to the server on this port from now on.
    pub fn lead_to(&self, port: u16) {
        self.wire.target.store(port, Ordering::Relaxed);
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the wire, or mends it.
    pub fn let_through(&self, what: Through) {
        self.wire.state.store(what as u8, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.wire.state.store(ENDED, Ordering::Relaxed);
    }
}

impl Wire {
    /// Carries one connection, from the first bytes that its client says.
    fn carry(&self, client: TcpStream) {
        let mut client = client;
        let _ = client.set_nonblocking(false);
        let _ = client.set_nodelay(true);
        let _ = client.set_read_timeout(Some(GLANCE));
        let mut first = vec![0; 64 * 1024];
        let Some(size) = self.read(&mut client, &mut first) else { return };
        let of_ours = first[..size].windows(12).any(|word| word == b"streamkeeper");
        if !self.wait_open(of_ours) {
            return;
        }
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", self.target.load(Ordering::Relaxed))) else { return };
        let _ = server.set_nodelay(true);
        let _ = server.set_read_timeout(Some(GLANCE));
        if server.write_all(&first[..size]).is_err() {
            return;
        }
        let (Ok(mut answers), Ok(mut back)) = (server.try_clone(), client.try_clone()) else { return };
        std::thread::scope(|scope| {
            scope.spawn(|| self.pump(&mut answers, &mut back, of_ours));
            self.pump(&mut client, &mut server, of_ours);
        });
    }

    fn pump(&self, from: &mut TcpStream, to: &mut TcpStream, of_ours: bool) {
        let mut bytes = vec![0; 64 * 1024];
        while let Some(size) = self.read(from, &mut bytes) {
            if !self.wait_open(of_ours) || to.write_all(&bytes[..size]).is_err() {
                break;
            }
        }
        if self.wait_open(of_ours) {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        }
    }

    /// Some bytes; `None` at the end.
    fn read(&self, from: &mut TcpStream, bytes: &mut [u8]) -> Option<usize> {
        loop {
            match from.read(bytes) {
                Ok(0) => return None,
                Ok(size) => return Some(size),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.state.load(Ordering::Relaxed) == ENDED {
                        return None;
                    }
                }
                Err(_) => return None,
            }
        }
    }

    /// Waits until something comes through again; `false` if the proxy has ended.
    fn wait_open(&self, of_ours: bool) -> bool {
        loop {
            match self.state.load(Ordering::Relaxed) {
                ENDED => return false,
                state if state == Through::All as u8 || (of_ours && state == Through::Clients as u8) => return true,
                _ => std::thread::sleep(GLANCE),
            }
        }
    }
}
