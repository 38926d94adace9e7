//! Which servers there are, and what each of them is called.

use std::{fmt, str::FromStr};

/// The servers of a run, and what consumers ask of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// How they belong together.
    pub topology: Topology,
    /// `wait_for_replicas`: after an acquire, one replica is waited for, for so many milliseconds.
    pub wait_ms: Option<u64>,
}

/// How the servers of a run belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// One server, whose replica is nobody's business until it is promoted in its place.
    #[default]
    One,
    /// A primary and a replica behind three sentinels, each at an address of its own.
    Sentinel,
    /// Three nodes of a cluster, each at an address of its own. One serves the slot of the service, and another one has
    /// what it has written.
    Cluster,
}

/// One server: `r0`, `r1` … hold data, `s0`, `s1`, `s2` are sentinels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerName {
    /// Holds data.
    Data(usize),
    /// Says where the primary is.
    Sentinel(usize),
}

impl Servers {
    /// One server, and nobody waits for replicas.
    pub fn is_usual(self) -> bool {
        self == Servers::default()
    }
}

impl Topology {
    /// All of them.
    pub const ALL: [Topology; 3] = [Topology::One, Topology::Sentinel, Topology::Cluster];

    /// How many servers hold data.
    pub fn data(self) -> usize {
        match self {
            Topology::One => 1,
            Topology::Sentinel => 2,
            Topology::Cluster => 3,
        }
    }

    /// How many sentinels there are.
    pub fn sentinels(self) -> usize {
        if self == Topology::Sentinel { 3 } else { 0 }
    }

    /// Whether it has this server.
    pub fn has(self, server: ServerName) -> bool {
        match server {
            ServerName::Data(number) => number < self.data(),
            ServerName::Sentinel(number) => number < self.sentinels(),
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Topology::One => "one",
            Topology::Sentinel => "sentinel",
            Topology::Cluster => "cluster",
        })
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Topology, String> {
        let found = Topology::ALL.into_iter().find(|topology| topology.to_string() == text);
        found.ok_or_else(|| format!("`{text}` is no topology: `one`, `sentinel` or `cluster`"))
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerName::Data(number) => write!(f, "r{number}"),
            ServerName::Sentinel(number) => write!(f, "s{number}"),
        }
    }
}

impl FromStr for ServerName {
    type Err = ();

    fn from_str(text: &str) -> Result<ServerName, ()> {
        let read = |number: &str| number.parse().ok().filter(|read: &usize| read.to_string() == number);
        let data = text.strip_prefix('r').and_then(read).map(ServerName::Data);
        data.or_else(|| text.strip_prefix('s').and_then(read).map(ServerName::Sentinel)).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_they_are_written() {
        for server in [ServerName::Data(0), ServerName::Data(12), ServerName::Sentinel(2)] {
            assert_eq!(server.to_string().parse(), Ok(server));
        }
        for text in ["", "r", "s-1", "r01", "c0", "r+1"] {
            assert_eq!(text.parse::<ServerName>(), Err(()), "{text}");
        }
        assert!(Topology::Sentinel.has(ServerName::Sentinel(2)) && !Topology::Sentinel.has(ServerName::Data(2)));
        assert!(Topology::Cluster.has(ServerName::Data(2)) && !Topology::Cluster.has(ServerName::Sentinel(0)));
        assert!(Topology::One.has(ServerName::Data(0)) && !Topology::One.has(ServerName::Data(1)));
    }
}
