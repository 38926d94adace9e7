//! Which servers a builder was given, and how they are reached.

use std::{sync::Arc, time::Duration};

use redis::RedisConnectionInfo;

use super::{
    address::Address,
    cluster::Cluster,
    connect::Connect,
    credentials::{Asking, Login, Provider},
    dial::{Dial, Dialer},
    sentinel::{Sentinel, Sentinels},
    tcp::Tcp,
    tls::Tls,
    url::{self, Kind, Place},
};
use crate::errors::Error;

/// How long servers may take.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// For a call, and for a connection.
    pub(crate) call_timeout: Duration,
    /// How long a peer may acknowledge nothing.
    pub(crate) unheard_for: Duration,
}

/// How the servers are reached.
enum Way {
    /// The same for every key.
    Same(Arc<dyn Connect>),
    /// By the key's slot.
    Cluster(Seeds),
}

/// Nodes of a cluster.
struct Seeds {
    dial: Arc<dyn Dial>,
    addresses: Vec<Address>,
    login: Login,
}

impl Seeds {
    fn of(servers: &Servers, places: Vec<Place>, unheard_for: Duration) -> Result<Seeds, Error> {
        let of_url = places.first().map(|place| place.login.clone()).unwrap_or_default();
        let login = Login { of_url, provider: servers.provider.clone() };
        let addresses: Vec<Address> = places.into_iter().flat_map(|place| place.addresses).collect();
        let dial = Arc::new(Dialer::new(&addresses, &servers.tls, unheard_for)?);
        Ok(Seeds { dial, addresses, login })
    }

    fn to(&self, key: &str) -> Arc<dyn Connect> {
        Arc::new(Cluster::new(self.dial.clone(), self.addresses.clone(), self.login.clone(), key))
    }
}

/// The URLs, and what goes with them.
#[derive(Clone, Default)]
pub(crate) struct Servers {
    pub(crate) urls: Vec<String>,
    pub(crate) tls: Tls,
    /// Whether the keys are to share a slot, if that was said.
    pub(crate) hash_tagged: Option<bool>,
    /// Who is asked for user and password at each new connection; else they are the URL's.
    pub(crate) provider: Option<Provider>,
    /// User and password of the sentinels.
    pub(crate) sentinel_login: RedisConnectionInfo,
    /// How TLS is spoken to sentinels, or that it is not, if that was said.
    pub(crate) sentinel_tls: Option<Option<Tls>>,
}

impl Servers {
    /// Connects as the URLs say, or to a server on this machine. In a cluster, `key` says which of its slots all keys lie
    /// in.
    pub(crate) fn reach(&self, patience: Patience, key: &str) -> Result<Arc<dyn Connect>, Error> {
        match self.way(patience)? {
            Way::Same(connect) => Ok(connect),
            Way::Cluster(cluster) => Ok(cluster.to(key)),
        }
    }

    /// The same for several keys, that need not lie in one slot. Where there are no slots, all share one [`Connect`].
    pub(crate) fn reach_each(&self, patience: Patience, keys: &[&str]) -> Result<Vec<Arc<dyn Connect>>, Error> {
        let way = self.way(patience)?;
        let to = |key: &&str| match &way {
            Way::Same(connect) => connect.clone(),
            Way::Cluster(cluster) => cluster.to(key),
        };
        Ok(keys.iter().map(to).collect())
    }

    fn way(&self, patience: Patience) -> Result<Way, Error> {
        let unheard_for = patience.unheard_for;
        let default = self.urls.is_empty().then_some("redis://127.0.0.1:6379");
        let urls = self.urls.iter().map(String::as_str).chain(default);
        let places = urls.map(url::parse).collect::<Result<Vec<_>, _>>()?;
        self.agree(&places)?;
        Ok(match places.first().map(|place| place.kind.clone()) {
            Some(Kind::Cluster) => Way::Cluster(Seeds::of(self, places, unheard_for)?),
            Some(Kind::Sentinel { primary }) => {
                Way::Same(self.asking(Arc::new(self.sentinel(primary, places, patience)?)))
            }
            _ => Way::Same(self.asking(Arc::new(Tcp::to(places, &self.tls, unheard_for)?))),
        })
    }

    /// The same way to the server, on which user and password are asked for if there is somebody to ask.
    pub(crate) fn asking(&self, inner: Arc<dyn Connect>) -> Arc<dyn Connect> {
        match &self.provider {
            Some(provider) => Arc::new(Asking { inner, provider: provider.clone() }),
            None => inner,
        }
    }

    pub(crate) fn log_in_at_sentinels(&mut self, user: Option<&str>, password: Option<&str>) {
        let mut login = RedisConnectionInfo::default();
        if let Some(user) = user {
            login = login.set_username(user);
        }
        if let Some(password) = password {
            login = login.set_password(password);
        }
        self.sentinel_login = login;
    }

    /// Several URLs lead to the same data: they are of one kind.
    fn agree(&self, places: &[Place]) -> Result<(), Error> {
        let Some((first, others)) = places.split_first() else { return Ok(()) };
        for (place, url) in others.iter().zip(self.urls.iter().skip(1)) {
            let why = match (&first.kind, &place.kind) {
                (one, other) if one == other => continue,
                (Kind::Sentinel { primary: one }, Kind::Sentinel { primary: other }) => {
                    format!("it names the primary `{other}`, the first one `{one}`: a client has one primary")
                }
                (one, other) => format!(
                    "it names {}, the first one {}: give URLs of one kind only",
                    what_stands_there(other),
                    what_stands_there(one)
                ),
            };
            return Err(Error::Url { url: url::redact(url), why });
        }
        Ok(())
    }

    fn sentinel(&self, primary: String, places: Vec<Place>, patience: Patience) -> Result<Sentinel, Error> {
        let Patience { call_timeout, unheard_for } = patience;
        let server_login = places.first().map(|place| place.login.clone()).unwrap_or_default();
        let mut addresses: Vec<Address> = places.into_iter().flat_map(|place| place.addresses).collect();
        let server_tls = addresses.iter().any(Address::speaks_tls);
        if let Some(said) = &self.sentinel_tls {
            addresses = addresses.into_iter().map(|address| address.with_tls(said.is_some())).collect();
        }
        let sentinel_tls = self.sentinel_tls.clone().flatten().unwrap_or_else(|| self.tls.clone());
        Ok(Sentinel::new(Sentinels {
            primary,
            login: self.sentinel_login.clone(),
            dial: Arc::new(Dialer::new(&addresses, &sentinel_tls, unheard_for)?),
            addresses,
            server_login,
            server_tls,
            server_dial: Arc::new(Dialer::speaking(server_tls, &self.tls, unheard_for)?),
            call_timeout,
        }))
    }

    /// Whether the keys are to share a slot: if nothing was said, in a cluster.
    pub(crate) fn are_tagged(&self) -> bool {
        let cluster = |url: &String| url::parse(url).is_ok_and(|place| place.kind == Kind::Cluster);
        self.hash_tagged.unwrap_or_else(|| self.urls.iter().any(cluster))
    }
}

fn what_stands_there(kind: &Kind) -> &'static str {
    match kind {
        Kind::Server => "a server",
        Kind::Sentinel { .. } => "sentinels",
        Kind::Cluster => "a cluster",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { call_timeout: Duration::from_secs(1), unheard_for: Duration::from_secs(1) };

    fn reach(urls: &[&str]) -> Result<Arc<dyn Connect>, String> {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        let servers = Servers { urls, ..Servers::default() };
        servers.reach(PATIENCE, "k").map_err(|error| error.to_string())
    }

    #[test]
    fn the_addresses_of_several_urls_are_joined() {
        let sentinel = reach(&["redis-sentinel://:pw@a,b:1/p/2", "redis-sentinel://c/p"]).unwrap();
        let shown = "the primary `p` of the sentinels redis://a:26379, redis://b:1, redis://c:26379";
        assert_eq!(sentinel.describe(), shown);
        assert_eq!((sentinel.login().password(), sentinel.login().db()), (Some("pw"), 2));
    }

    #[test]
    fn urls_that_do_not_go_together_are_named() {
        for (urls, why) in [
            (["redis-sentinel://a/p", "redis://:geheim@b"], "redis://:***@b` cannot be used: it names a server"),
            (["redis://a", "redis-sentinel://:geheim@b/p"], "it names sentinels, the first one a server"),
            (["redis-sentinel://a/p", "redis-sentinel://:geheim@a/q"], "the primary `q`, the first one `p`"),
        ] {
            let error = reach(&urls).err().unwrap();
            assert!(error.contains(why) && !error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn sentinels_speak_tls_as_the_servers_do_unless_said_otherwise() {
        let shown = |url: &str, sentinel_tls: Option<Option<Tls>>| {
            let servers = Servers { urls: vec![url.to_owned()], sentinel_tls, ..Servers::default() };
            servers.reach(PATIENCE, "k").unwrap().describe()
        };
        let (plain, encrypted) = ("redis-sentinel://a/p", "rediss-sentinel://a/p");
        assert!(shown(encrypted, None).ends_with("rediss://a:26379"));
        assert!(shown(encrypted, Some(None)).ends_with(" redis://a:26379"));
        assert!(shown(plain, None).ends_with(" redis://a:26379"));
        assert!(shown(plain, Some(Some(Tls::default()))).ends_with("rediss://a:26379"));
    }
}
