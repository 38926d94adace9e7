//! The world in production: TCP, TLS or a unix socket to a server that a Redis URL names.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use redis::RedisConnectionInfo;
use streamkeeper_core::{link::Link, trouble::Trouble};

use super::{
    address::Address,
    connect::{ByteStream, Connect},
    dial::{Dial, Dialer},
    tls::Tls,
    url,
};
use crate::errors::Error;

/// Connects as Redis URLs say. With several URLs, one after the other is tried; all must lead to the same data, such
/// as the servers of one primary and its replicas.
pub struct Tcp {
    addresses: Vec<Address>,
    login: RedisConnectionInfo,
    dialer: Dialer,
    /// Which address is next; counts on, whatever the number of addresses.
    next: Arc<AtomicUsize>,
    /// Which one each link's latest connection went to.
    used: [AtomicUsize; 3],
}

impl Tcp {
    /// Reads the URLs, and the certificates if one of them is `rediss://`. User, password and database number are the
    /// first URL's. `unheard_for` is how long the kernel waits for a peer that acknowledges nothing.
    ///
    /// # Errors
    /// A URL or a file that cannot be read.
    pub fn new<'a>(urls: impl IntoIterator<Item = &'a str>, tls: &Tls, unheard_for: Duration) -> Result<Tcp, Error> {
        let places = urls.into_iter().map(url::parse).collect::<Result<Vec<_>, _>>()?;
        Tcp::to(places, tls, unheard_for)
    }

    /// The same, for URLs that have been read.
    pub(crate) fn to(places: Vec<url::Place>, tls: &Tls, unheard_for: Duration) -> Result<Tcp, Error> {
        let login = places.first().map(|place| place.login.clone()).unwrap_or_default();
        let addresses: Vec<Address> = places.into_iter().flat_map(|place| place.addresses).collect();
        if addresses.is_empty() {
            return Err(Error::Url { url: String::new(), why: "no URL was given".to_owned() });
        }
        let dialer = Dialer::new(&addresses, tls, unheard_for)?;
        Ok(Tcp { addresses, login, dialer, next: Arc::default(), used: Default::default() })
    }
}

impl Connect for Tcp {
    fn open(&self, link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let next = self.next.clone();
        let number = next.load(Ordering::Relaxed);
        self.used[link as usize].store(number, Ordering::Relaxed);
        let opening = self.dialer.dial(&self.addresses[number % self.addresses.len()]);
        Box::pin(async move {
            let opened = opening.await;
            if opened.is_err() {
                go_on(&next, number);
            }
            opened
        })
    }

    fn login(&self) -> RedisConnectionInfo {
        self.login.clone()
    }

    fn describe(&self) -> String {
        self.addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
    }

    fn wrong_server(&self, link: Link, _said: &Trouble) {
        go_on(&self.next, self.used[link as usize].load(Ordering::Relaxed));
    }
}

/// From this address to the next one, unless another link has gone on already.
fn go_on(next: &AtomicUsize, from: usize) {
    let _ = next.compare_exchange(from, from.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
}
