//! One connection for whoever asks now and then: made when it is first needed, and anew after it broke.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{AsyncConnectionConfig, ProtocolVersion, aio::MultiplexedConnection};
use streamkeeper_core::{
    link::Link,
    time::Time,
    trouble::{Trouble, TroubleKind},
};

use super::{
    connect::Connect,
    open::{Connection, not_reached, shake_hands, within},
};
use crate::clock::Clock;

/// The pause before a call is made again: it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

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

/// What became of a call that was not answered as it should be.
#[derive(Clone)]
pub(crate) enum Failed {
    /// There was no connection for it.
    Connecting(Trouble),
    /// It was sent.
    Answered(Trouble),
}

impl Failed {
    pub(crate) fn trouble(&self) -> &Trouble {
        let (Failed::Connecting(trouble) | Failed::Answered(trouble)) = self;
        trouble
    }
}

/// How long the servers may say that it is not for them, or not now: as long as a call may take.
///
/// A slot that is being moved and a failover take a moment, in which nothing was changed.
struct Patience {
    clock: Clock,
    until: Time,
    pause: Duration,
}

impl Patience {
    /// Waits a moment, after which the call is to be made again. `false`: this trouble is the answer.
    async fn again(&mut self, trouble: &Trouble) -> bool {
        let again = trouble.kind.may_pass() && self.clock.now() + self.pause < self.until;
        if again {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        again
    }
}

impl OnDemand {
    /// Nothing is connected yet. Making a connection, and each call on it, takes `timeout` at most.
    pub(crate) fn new(connect: Arc<dyn Connect>, timeout: Duration) -> OnDemand {
        let current = Mutex::new(Current { number: 0, connection: None });
        OnDemand { connect, timeout, current, making: tokio::sync::Mutex::new(()) }
    }

    /// The connection, made now if there is none. Cancel safe.
    pub(crate) async fn borrow(&self) -> Result<Borrowed, Trouble> {
        match self.there() {
            Some(borrowed) => Ok(borrowed),
            // Waiting for one that another call makes counts: no call waits for longer than that.
            None => within(&*self.connect, self.timeout, self.make()).await,
        }
    }

    /// Makes a call, again and again while the servers say that it is not for them or not now. Cancel safe as the call
    /// is.
    pub(crate) async fn ask<T, A>(&self, call: impl Fn(MultiplexedConnection) -> A) -> Result<T, Failed>
    where
        A: Future<Output = Result<T, Trouble>>,
    {
        let mut patience = self.patience();
        loop {
            let failed = match self.ask_once(&call).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !patience.again(failed.trouble()).await {
                return Err(failed);
            }
        }
    }

    async fn ask_once<T, A>(&self, call: &impl Fn(MultiplexedConnection) -> A) -> Result<T, Failed>
    where
        A: Future<Output = Result<T, Trouble>>,
    {
        let Borrowed { number, redis } = self.borrow().await.map_err(Failed::Connecting)?;
        self.judged(number, call(redis).await)
    }

    /// The same for several things in one call, each with an answer of its own: only those that were refused for the moment
    /// are asked again.
    pub(crate) async fn ask_each<I, T, A>(
        &self,
        items: Vec<I>,
        call: impl Fn(MultiplexedConnection, Arc<[I]>) -> A,
    ) -> Vec<Result<T, Failed>>
    where
        I: Clone,
        A: Future<Output = Vec<Result<T, Trouble>>>,
    {
        let all: Arc<[I]> = items.into();
        let missing = || Err(Failed::Answered(Trouble::other("there was no answer for this one")));
        let mut results: Vec<Result<T, Failed>> = all.iter().map(|_| missing()).collect();
        let (mut left, mut asked): (Vec<usize>, Arc<[I]>) = ((0..all.len()).collect(), all.clone());
        let mut patience = self.patience();
        while !left.is_empty() {
            let answers = self.ask_each_once(asked, &call).await;
            let (mut again, mut passing) = (Vec::new(), None);
            for (index, answer) in left.into_iter().zip(answers) {
                if let Err(failed) = &answer
                    && failed.trouble().kind.may_pass()
                {
                    passing = Some(failed.trouble().clone());
                    again.push(index);
                }
                results[index] = answer;
            }
            match passing {
                Some(trouble) if patience.again(&trouble).await => {
                    asked = again.iter().map(|index| all[*index].clone()).collect();
                    left = again;
                }
                _ => break,
            }
        }
        results
    }

    async fn ask_each_once<I, T, A>(
        &self,
        items: Arc<[I]>,
        call: &impl Fn(MultiplexedConnection, Arc<[I]>) -> A,
    ) -> Vec<Result<T, Failed>>
    where
        A: Future<Output = Vec<Result<T, Trouble>>>,
    {
        match self.borrow().await {
            Ok(Borrowed { number, redis }) => {
                let answers = call(redis, items).await.into_iter();
                answers.map(|answer| self.judged(number, answer)).collect()
            }
            Err(trouble) => items.iter().map(|_| Err(Failed::Connecting(trouble.clone()))).collect(),
        }
    }

    /// The answer to a call on the connection of that number, which is [judged](OnDemand::judge) by it.
    fn judged<T>(&self, number: u64, answer: Result<T, Trouble>) -> Result<T, Failed> {
        answer.map_err(|trouble| {
            self.judge(number, &trouble);
            Failed::Answered(trouble)
        })
    }

    /// Begins now.
    fn patience(&self) -> Patience {
        let clock = self.connect.clock();
        Patience { until: clock.now() + self.timeout, clock, pause: FIRST_PAUSE }
    }

    async fn make(&self) -> Result<Borrowed, Trouble> {
        let _making = self.making.lock().await;
        if let Some(borrowed) = self.there() {
            return Ok(borrowed);
        }
        // Should the time be up before it is made, the server is silent, and another one is tried next.
        let silent = Silent(Some(self));
        let settings = AsyncConnectionConfig::new().set_response_timeout(Some(self.timeout));
        let shaking = shake_hands(&*self.connect, Link::Commands, ProtocolVersion::RESP2, settings, || ());
        let made = shaking.await;
        silent.no();
        let made = made.inspect_err(|trouble| not_reached(&*self.connect, Link::Commands, trouble))?;
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
            self.connect.wrong_server(Link::Commands, trouble);
        }
    }

    fn there(&self) -> Option<Borrowed> {
        let mut current = self.lock();
        if current.connection.as_mut().is_some_and(Connection::is_over) {
            current.connection = None;
        }
        let redis = current.connection.as_ref()?.handle();
        Some(Borrowed { number: current.number, redis })
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is being made: if nobody waits for it any longer, the server has not answered in time.
struct Silent<'a>(Option<&'a OnDemand>);

impl Silent<'_> {
    fn no(mut self) {
        self.0 = None;
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        if let Some(OnDemand { connect, .. }) = self.0 {
            not_reached(&**connect, Link::Commands, &Trouble::connection("no connection in time"));
        }
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
