//! Where the server is, from a Redis URL: parsed by the redis crate, and never shown with its password.

use std::{fmt, path::PathBuf};

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

use crate::errors::Error;

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port, tls: false } => write!(f, "redis://{host}:{port}"),
            Address::Tcp { host, port, tls: true } => write!(f, "rediss://{host}:{port}"),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Parses `redis://`, `rediss://`, `unix://` and `redis+unix://` (and `valkey…://`) URLs.
pub(crate) fn parse(url: &str) -> Result<(Address, RedisConnectionInfo), Error> {
    let wrong = |why: String| Error::Url { url: redact(url), why };
    // The redis crate is built without its own TLS, so it is shown the plain scheme.
    let (tls, plain) = match url.split_once("://") {
        Some(("rediss", rest)) => (true, format!("redis://{rest}")),
        Some(("valkeys", rest)) => (true, format!("valkey://{rest}")),
        Some(_) => (false, url.to_owned()),
        None => return Err(wrong("expected redis://[user][:password@]host[:port][/db]".to_owned())),
    };
    if tls && plain.ends_with("#insecure") {
        let advice = "a server whose certificate is not checked is not supported: give its CA file instead";
        return Err(wrong(advice.to_owned()));
    }
    let info = plain.into_connection_info().map_err(|e| wrong(reason(&e)))?;
    let address = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Address::Tcp { host: host.clone(), port: *port, tls },
        ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
        _ => return Err(wrong("this kind of address is not supported".to_owned())),
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
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(r, q)| (r, Some(q)));
    let end = rest.find('/').filter(|_| !scheme.contains("unix")).unwrap_or(rest.len());
    // A password that was not percent-encoded may contain `/` and `@`: the last `@` counts.
    let at = rest.rfind('@').filter(|_| !scheme.contains("unix"));
    let host = match at {
        Some(at) => {
            let user = rest[..at].split(':').next().filter(|user| !user.is_empty() && rest[..at].contains(':'));
            format!("{}:***@{}", user.unwrap_or(""), &rest[at + 1..])
        }
        None => format!("{}{}", &rest[..end], &rest[end..]),
    };
    let query = query.map_or(String::new(), |query| {
        let parts = query.split('&').map(|part| if part.starts_with("pass") { "pass=***" } else { part });
        format!("?{}", parts.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{host}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed() {
        let (address, login) = parse("redis://me:s%40crt@db.example:7000/3").unwrap();
        assert_eq!(address, Address::Tcp { host: "db.example".into(), port: 7000, tls: false });
        assert_eq!((login.username(), login.password(), login.db()), (Some("me"), Some("s@crt"), 3));

        let (address, login) = parse("rediss://:pw@[::1]").unwrap();
        assert_eq!(address, Address::Tcp { host: "::1".into(), port: 6379, tls: true });
        assert_eq!((login.username(), login.password(), login.db()), (None, Some("pw"), 0));

        for url in ["unix:///run/redis.sock?db=2&pass=x", "redis+unix:///run/redis.sock?db=2&pass=x"] {
            let (address, login) = parse(url).unwrap();
            assert_eq!(address.to_string(), "unix:///run/redis.sock");
            assert_eq!((login.password(), login.db()), (Some("x"), 2), "{url}");
        }
    }

    #[test]
    fn wrong_urls_are_named_without_their_password() {
        for url in ["", "localhost:6379", "http://:geheim@h", "redis://:geheim@h/x", "rediss://:geheim@h#insecure"] {
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
            ("unix:///a@b.sock?db=1&pass=geheim&user=me", "unix:///a@b.sock?db=1&pass=***&user=me"),
            ("geheim@h", "…"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }
}
