//! One connection for whoever asks now and then: made when it is first needed, and anew after it broke.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{AsyncConnectionConfig, ProtocolVersion, aio::MultiplexedConnection};
use streamkeeper_core::{
    link::Link,
    trouble::{Trouble, TroubleKind},
};

use super::{
    connect::Connect,
    open::{Connection, shake_hands},
};

/// The connection, shared by all who ask: what they send at the same time goes out together.
pub(crate) struct OnDemand {
    connect: Arc<dyn Connect>,
    timeout: Duration,
    current: Mutex<Current>,
    /// Only one at a time makes a connection; the others wait for it.
    making: tokio::sync::Mutex<()>,
}

/// The connection that is there, and how many there have been: who has seen one break does not drop its successor.
struct Current<C = Connection> {
    number: u64,
    connection: Option<C>,
}

impl<C> Current<C> {
    fn made(&mut self, connection: C) -> u64 {
        self.number += 1;
        self.connection = Some(connection);
        self.number
    }

    /// Whether it was the one that is there.
    fn broken(&mut self, number: u64) -> bool {
        self.number == number && self.connection.take().is_some()
    }
}

/// The use of a connection for one call.
pub(crate) struct Borrowed {
    pub(crate) number: u64,
    pub(crate) redis: MultiplexedConnection,
}

impl OnDemand {
    /// Nothing is connected yet. Making a connection, and each call on it, takes `timeout` at most.
    pub(crate) fn new(connect: Arc<dyn Connect>, timeout: Duration) -> OnDemand {
        let current = Mutex::new(Current { number: 0, connection: None });
        OnDemand { connect, timeout, current, making: tokio::sync::Mutex::new(()) }
    }

    /// The connection, made now if there is none. Cancel safe.
    pub(crate) async fn borrow(&self) -> Result<Borrowed, Trouble> {
        if let Some(borrowed) = self.there() {
            return Ok(borrowed);
        }
        let _making = self.making.lock().await;
        if let Some(borrowed) = self.there() {
            return Ok(borrowed);
        }
        let settings = AsyncConnectionConfig::new().set_response_timeout(Some(self.timeout));
        let shaking = shake_hands(&*self.connect, Link::Commands, ProtocolVersion::RESP2, settings, || ());
        let made = tokio::time::timeout(self.timeout, shaking).await.unwrap_or_else(|_| {
            Err(Trouble::connection(format!("{}: no connection within {:?}", self.connect.describe(), self.timeout)))
        })?;
        let redis = made.handle();
        Ok(Borrowed { number: self.lock().made(made), redis })
    }

    /// If this trouble says that the connection of that number is of no use any more, the next call makes another one,
    /// to another server if this one was not the one to talk to.
    pub(crate) fn judge(&self, number: u64, trouble: &Trouble) {
        if !trouble.kind.needs_new_connection() {
            return;
        }
        let current = self.lock().broken(number);
        if current && trouble.kind == TroubleKind::WrongServer {
            self.connect.wrong_server(Link::Commands);
        }
    }

    fn there(&self) -> Option<Borrowed> {
        let current = self.lock();
        let redis = current.connection.as_ref()?.handle();
        Some(Borrowed { number: current.number, redis })
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_saw_a_connection_break_does_not_drop_the_next_one() {
        let mut current = Current { number: 0, connection: None };
        let first = current.made('a');
        assert!(current.broken(first) && !current.broken(first));
        let second = current.made('b');
        assert!(!current.broken(first));
        assert_eq!(current.connection, Some('b'));
        assert!(current.broken(second));
        assert_eq!(current.connection, None);
    }
}
