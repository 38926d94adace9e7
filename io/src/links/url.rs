//! Where the server is, from a Redis URL: parsed by the redis crate, and never shown with its password.

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

use super::address::Address;
use crate::errors::Error;

/// What a URL says.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// Of the servers, the sentinels, or nodes of the cluster.
    pub(crate) addresses: Vec<Address>,
    pub(crate) login: RedisConnectionInfo,
}

/// What stands at the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A server.
    Server,
    /// Sentinels that know the primary of this name.
    Sentinel { primary: String },
    /// Nodes of a cluster.
    Cluster,
}

const EXPECTED: &str = "expected redis://[user][:password@]host[:port][/db], rediss://…, unix:///path?db=1, \
                        redis-sentinel://[user][:password@]host[:port],…/primary[/db] or \
                        redis-cluster://[user][:password@]host[:port],…";

/// Parses `redis://`, `unix://`, `redis+unix://`, `redis-sentinel://` and `redis-cluster://` URLs; `rediss` for TLS, and
/// `valkey` for `redis` everywhere.
pub(crate) fn parse(url: &str) -> Result<Place, Error> {
    let wrong = |why: &str| Error::Url { url: redact(url), why: why.to_owned() };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong(EXPECTED))?;
    let (family, suffix) = scheme.split_once('-').unwrap_or((scheme, ""));
    let tls = matches!(family, "rediss" | "valkeys");
    if !suffix.is_empty() && !tls && !matches!(family, "redis" | "valkey") {
        return Err(wrong(EXPECTED));
    }
    if tls && rest.ends_with("#insecure") {
        return Err(wrong("a server whose certificate is not checked is not supported: give its CA file instead"));
    }
    match suffix {
        "" => {
            // The redis crate is built without its own TLS, so it is shown the plain scheme.
            let plain = family.strip_suffix('s').filter(|_| tls).unwrap_or(family);
            let (address, login) = server(&format!("{plain}://{rest}"), tls).map_err(|why| wrong(&why))?;
            Ok(Place { kind: Kind::Server, addresses: vec![address], login })
        }
        "sentinel" => {
            let (before, rest) = hosts(rest);
            let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (primary, db) = path.split_once('/').unwrap_or((path, ""));
            if primary.is_empty() {
                return Err(wrong("it does not name the primary: redis-sentinel://host:port,…/primary"));
            }
            let (addresses, login) = several(before, hosts, 26_379, db, tls).map_err(|why| wrong(&why))?;
            Ok(Place { kind: Kind::Sentinel { primary: primary.to_owned() }, addresses, login })
        }
        "cluster" => {
            let (before, rest) = hosts(rest);
            let (hosts, db) = rest.split_once('/').unwrap_or((rest, ""));
            let (addresses, login) = several(before, hosts, 6_379, db, tls).map_err(|why| wrong(&why))?;
            if login.db() != 0 {
                return Err(wrong("a cluster has no database but 0"));
            }
            Ok(Place { kind: Kind::Cluster, addresses, login })
        }
        _ => Err(wrong(EXPECTED)),
    }
}

/// Parts what stands in front of the hosts, up to the last `@`, from the rest.
fn hosts(rest: &str) -> (&str, &str) {
    rest.rfind('@').map_or(("", rest), |at| rest.split_at(at + 1))
}

/// Each host of a list, with the same user and password.
fn several(
    before: &str,
    hosts: &str,
    default_port: u16,
    db: &str,
    tls: bool,
) -> Result<(Vec<Address>, RedisConnectionInfo), String> {
    let mut parsed = Vec::new();
    for host in hosts.split(',') {
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let has_port = has_port && (!host.starts_with('[') || host.contains("]:"));
        let port = if has_port { String::new() } else { format!(":{default_port}") };
        parsed.push(server(&format!("redis://{before}{host}{port}/{db}"), tls)?);
    }
    let login = parsed.first().map(|(_, login)| login.clone()).unwrap_or_default();
    Ok((parsed.into_iter().map(|(address, _)| address).collect(), login))
}

/// One server, as the redis crate reads it.
fn server(plain: &str, tls: bool) -> Result<(Address, RedisConnectionInfo), String> {
    let info = plain.into_connection_info().map_err(|e| reason(&e))?;
    let address = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Address::Tcp { host: host.clone(), port: *port, tls },
        ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
        _ => return Err("this kind of address is not supported".to_owned()),
    };
    Ok((address, info.redis_settings().clone()))
}

fn reason(error: &redis::RedisError) -> String {
    // The error's own text holds no part of the URL.
    error.to_string().trim_end_matches("- InvalidClientConfig").trim().to_owned()
}

/// The URL without its secrets.
pub(crate) fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Not a URL: whatever it is, a password may be in it.
        return "…".to_owned();
    };
    let unix = scheme == "unix" || scheme.ends_with("+unix");
    // A password that was not percent-encoded may contain `/`, `?` and `@`: the last `@` counts.
    let (login, rest) = match rest.rfind('@').filter(|_| !unix) {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    };
    let (host, query) = rest.split_once('?').map_or((rest, None), |(r, q)| (r, Some(q)));
    let login = login.map_or(String::new(), |login| {
        let user = login.split_once(':').map_or("", |(user, _)| user);
        format!("{user}:***@")
    });
    let query = query.map_or(String::new(), |query| {
        let parts = query.split('&').map(|part| if part.starts_with("pass") { "pass=***" } else { part });
        format!("?{}", parts.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{login}{host}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> Address {
        Address::Tcp { host: host.to_owned(), port, tls }
    }

    #[test]
    fn urls_are_parsed() {
        let place = parse("redis://me:s%40crt@db.example:7000/3").unwrap();
        let login = &place.login;
        assert_eq!((&place.kind, &place.addresses), (&Kind::Server, &vec![tcp("db.example", 7000, false)]));
        assert_eq!((login.username(), login.password(), login.db()), (Some("me"), Some("s@crt"), 3));

        for url in ["rediss://:pw@[::1]", "valkeys://:pw@[::1]"] {
            let place = parse(url).unwrap();
            let login = &place.login;
            assert_eq!(place.addresses, [tcp("::1", 6379, true)]);
            assert_eq!((login.username(), login.password(), login.db()), (None, Some("pw"), 0));
        }

        for url in ["unix:///run/redis.sock?db=2&pass=x", "redis+unix:///run/redis.sock?db=2&pass=x"] {
            let place = parse(url).unwrap();
            assert_eq!(place.addresses[0].to_string(), "unix:///run/redis.sock");
            assert_eq!((place.login.password(), place.login.db()), (Some("x"), 2), "{url}");
        }
    }

    #[test]
    fn so_are_those_of_sentinels_and_clusters() {
        let place = parse("redis-sentinel://me:s%40crt@a,b:1,[::1],[::2]:3/the-primary/5").unwrap();
        let addresses = [tcp("a", 26_379, false), tcp("b", 1, false), tcp("::1", 26_379, false), tcp("::2", 3, false)];
        assert_eq!(place.addresses, addresses);
        assert_eq!(place.kind, Kind::Sentinel { primary: "the-primary".to_owned() });
        let login = &place.login;
        assert_eq!((login.username(), login.password(), login.db()), (Some("me"), Some("s@crt"), 5));

        let place = parse("rediss-cluster://a,b:7000").unwrap();
        assert_eq!((place.kind, place.addresses), (Kind::Cluster, vec![tcp("a", 6_379, true), tcp("b", 7_000, true)]));
        assert_eq!(parse("valkey-cluster://a/").unwrap().addresses, [tcp("a", 6_379, false)]);
    }

    #[test]
    fn wrong_urls_are_named_without_their_password() {
        for url in [
            "",
            "localhost:6379",
            "http://:geheim@h",
            "redis://:geheim@h/x",
            "rediss://:geheim@h#insecure",
            "redis-sentinel://:geheim@h",
            "redis-sentinel://:geheim@h/p/x",
            "redis-sentinel://:geheim@h:x/p",
            "redis-cluster://:geheim@h/1",
            "redis-cluster://:geheim@,",
            "redis-ring://:geheim@h",
            "unix-cluster://:geheim@h",
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn secrets_are_hidden() {
        for (url, shown) in [
            ("redis://h:1/2", "redis://h:1/2"),
            ("redis://:geheim@h:1/2", "redis://:***@h:1/2"),
            ("redis://me:geheim@h", "redis://me:***@h"),
            ("redis://me:ge/h@im@h/1", "redis://me:***@h/1"),
            ("redis://geheim@h", "redis://:***@h"),
            ("redis://me:ge?heim@h", "redis://me:***@h"),
            ("redis://me:ge?he/im@h/1?pass=x", "redis://me:***@h/1?pass=***"),
            ("unix:///a@b.sock?db=1&pass=geheim&user=me", "unix:///a@b.sock?db=1&pass=***&user=me"),
            ("redis-sentinel://me:geheim@a:1,b:2/p/0", "redis-sentinel://me:***@a:1,b:2/p/0"),
            ("rediss-cluster://:geheim@a:1,b:2", "rediss-cluster://:***@a:1,b:2"),
            ("geheim@h", "…"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }
}
