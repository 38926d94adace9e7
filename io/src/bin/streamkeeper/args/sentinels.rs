//! How sentinels are spoken to, where that differs from the servers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use streamkeeper::Tls;

use super::server::Led;

/// The password of the sentinels: from the environment only, so that no list of processes shows it.
const PASSWORD: &str = "REDIS_SENTINEL_PASSWORD";

/// What goes with `redis-sentinel://`; without meaning for other URLs.
#[derive(Debug, Args)]
pub(crate) struct Sentinels {
    /// The user at the sentinels; the environment's REDIS_SENTINEL_PASSWORD is the password, with or without a user. User
    /// and password in the URL are those of the servers.
    #[arg(long, value_name = "NAME")]
    sentinel_user: Option<String>,
    /// Whether sentinels speak TLS [default: as the servers].
    #[arg(long, value_enum, value_name = "WHETHER")]
    sentinel_tls: Option<Whether>,
    /// PEM file with the certificate authorities to trust as to the sentinels [default: as for the servers].
    #[arg(long, value_name = "FILE")]
    sentinel_tls_ca: Option<PathBuf>,
    /// PEM file with our certificate for the sentinels.
    #[arg(long, value_name = "FILE", requires = "sentinel_tls_key")]
    sentinel_tls_cert: Option<PathBuf>,
    /// PEM file with that certificate's private key.
    #[arg(long, value_name = "FILE", requires = "sentinel_tls_cert")]
    sentinel_tls_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whether {
    On,
    Off,
}

impl Sentinels {
    /// Tells a builder.
    pub(crate) fn tell<B: Led>(&self, builder: B, servers: &Tls) -> B {
        let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty());
        let builder = builder.sentinel_login(self.sentinel_user.as_deref(), password.as_deref());
        match self.tls(servers) {
            Some(tls) => builder.sentinel_tls(tls),
            None => builder,
        }
    }

    fn tls(&self, servers: &Tls) -> Option<Option<Tls>> {
        let identity = self.sentinel_tls_cert.clone().zip(self.sentinel_tls_key.clone());
        match self.sentinel_tls {
            Some(Whether::Off) => Some(None),
            None if self.sentinel_tls_ca.is_none() && identity.is_none() => None,
            _ => Some(Some(Tls {
                ca: self.sentinel_tls_ca.clone().or_else(|| servers.ca.clone()),
                identity: identity.or_else(|| servers.identity.clone()),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sentinels: Sentinels,
    }

    fn tls(line: &str) -> Option<Option<Tls>> {
        let line = Line::try_parse_from(line.split(' ')).unwrap();
        line.sentinels.tls(&Tls { ca: Some("servers".into()), identity: None })
    }

    #[test]
    fn sentinels_speak_tls_as_they_are_said_to() {
        assert!(tls("x").is_none());
        assert!(tls("x --sentinel-tls off").unwrap().is_none());
        let ca = |line| tls(line).unwrap().unwrap().ca.unwrap();
        assert_eq!(ca("x --sentinel-tls on"), PathBuf::from("servers"));
        assert_eq!(ca("x --sentinel-tls-ca own"), PathBuf::from("own"));
        assert!(tls("x --sentinel-tls-cert a --sentinel-tls-key b").unwrap().unwrap().identity.is_some());
    }
}
