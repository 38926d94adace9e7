//! Where the server is, and how a builder is led to it.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use streamkeeper::{Builder, Tls, messages};

use super::sentinels::Sentinels;
use crate::{duration, password};

/// Where the server is.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server: redis://[user][:password@]host[:port][/db], rediss://…, unix:///path?db=1,
    /// redis-sentinel://host:26379,…/primary, redis-cluster://host:port,…
    #[arg(
        long,
        value_name = "URL",
        env = "REDIS_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    pub(crate) redis: Vec<String>,
    /// File with the password, read anew for each connection: it may change. Goes before the URL's.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// PEM file with the certificate authorities to trust instead of the web's.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// PEM file with our certificate.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with our certificate's private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    sentinels: Sentinels,
}

impl Server {
    /// Tells a builder all of it. `tagged`: the keys are to share a slot also where the server is no cluster.
    pub(crate) fn lead<B: Led>(&self, builder: B, tagged: bool) -> B {
        let tls = self.tls();
        let mut builder = self.sentinels.tell(builder, &tls).tls(tls);
        for url in &self.redis {
            builder = builder.redis(url);
        }
        if let Some(file) = &self.password_file {
            builder = builder.password(password::of(file.clone()));
        }
        if tagged { builder.hash_tagged() } else { builder }
    }

    fn tls(&self) -> Tls {
        let identity = self.tls_cert.clone().zip(self.tls_key.clone());
        Tls { ca: self.tls_ca.clone(), identity }
    }
}

/// How patient a command is that asks and ends.
#[derive(Debug, Args)]
pub(crate) struct Patience {
    /// How long one call to Redis may take, and as long again to connect.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    call_timeout: Duration,
}

impl Patience {
    /// Tells a builder.
    pub(crate) fn tell<B: Led>(&self, builder: B) -> B {
        builder.call_timeout(self.call_timeout)
    }
}

/// The builders of the library.
pub(crate) trait Led: Sized {
    fn redis(self, url: &str) -> Self;
    fn tls(self, tls: Tls) -> Self;
    fn password(self, ask: password::Ask) -> Self;
    fn sentinel_login(self, user: Option<&str>, password: Option<&str>) -> Self;
    fn sentinel_tls(self, tls: Option<Tls>) -> Self;
    fn hash_tagged(self) -> Self;
    fn call_timeout(self, span: Duration) -> Self;
}

macro_rules! led {
    ($([$($generics:tt)*] $builder:ty),+ $(,)?) => {
        $(impl<$($generics)*> Led for $builder {
            fn redis(self, url: &str) -> Self {
                <$builder>::redis(self, url)
            }

            fn tls(self, tls: Tls) -> Self {
                <$builder>::tls(self, tls)
            }

            fn password(self, ask: password::Ask) -> Self {
                self.credentials(ask)
            }

            fn sentinel_login(self, user: Option<&str>, password: Option<&str>) -> Self {
                <$builder>::sentinel_login(self, user, password)
            }

            fn sentinel_tls(self, tls: Option<Tls>) -> Self {
                <$builder>::sentinel_tls(self, tls)
            }

            fn hash_tagged(self) -> Self {
                <$builder>::hash_tagged(self, true)
            }

            fn call_timeout(self, span: Duration) -> Self {
                <$builder>::call_timeout(self, span)
            }
        })+
    };
}

led!([] Builder, [] messages::Builder, [T: ?Sized + 'static] messages::ProducerBuilder<T>);
