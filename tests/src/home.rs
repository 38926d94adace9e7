//! Where the keys of a test's service lie: on one server, or on the node of a cluster that serves their slot now.

use crate::cluster::Cluster;
use crate::server::Server;

/// The server to ask.
#[derive(Debug, Clone, Copy)]
pub enum Home<'s> {
    /// Always this one.
    Server(&'s Server),
    /// Whichever serves this slot.
    Slot(&'s Cluster, u16),
}

impl<'s> Home<'s> {
    /// The server, as it is now.
    #[must_use]
    pub fn server(&self) -> &'s Server {
        match self {
            Home::Server(server) => server,
            Home::Slot(cluster, slot) => cluster.node(cluster.wait_serving(*slot)),
        }
    }

    /// The same without waiting: for what is said when a test has failed.
    #[must_use]
    pub fn try_server(&self) -> Option<&'s Server> {
        match self {
            Home::Server(server) => Some(server),
            Home::Slot(cluster, slot) => cluster.serving(*slot).map(|place| cluster.node(place)),
        }
    }
}
