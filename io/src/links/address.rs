//! Where one server listens.

use std::{fmt, path::PathBuf};

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// Name or IP address; an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether it speaks TLS.
        tls: bool,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Whether it speaks TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        matches!(self, Address::Tcp { tls: true, .. })
    }

    /// The same with or without TLS.
    pub(crate) fn with_tls(self, tls: bool) -> Address {
        match self {
            Address::Tcp { host, port, .. } => Address::Tcp { host, port, tls },
            unix @ Address::Unix(_) => unix,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port, tls } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                match host.contains(':') {
                    true => write!(f, "{scheme}://[{host}]:{port}"),
                    false => write!(f, "{scheme}://{host}:{port}"),
                }
            }
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}
