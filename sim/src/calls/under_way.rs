//! A call that takes its time: it asks, waits for what it is told, and asks on. No runtime drives it; whoever has it does.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::FutureExt;
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike};
use streamkeeper::protocol::Protocol;
use streamkeeper_core::{
    streams::{Answer, Call},
    trouble::Trouble,
};

/// A call that is being executed.
pub(crate) struct UnderWay {
    executing: Pin<Box<dyn Future<Output = Result<Answer, Trouble>>>>,
    port: Port,
}

/// What it comes to next.
#[derive(Debug)]
pub(crate) enum Step {
    /// It asks: these bytes are to be sent, and so many answers are to be [told](UnderWay::told).
    Asks(Vec<u8>, usize),
    /// It is over.
    Over(Result<Answer, Trouble>),
}

impl UnderWay {
    /// Begins it.
    pub(crate) fn begin(protocol: Protocol, call: Call) -> (UnderWay, Step) {
        let port = Port::default();
        let mut connection = port.clone();
        let executing = Box::pin(async move { protocol.execute(&mut connection, &call).await });
        let mut under_way = UnderWay { executing, port };
        let step = under_way.step();
        (under_way, step)
    }

    /// What it has asked for was answered, all of it, or never will be.
    pub(crate) fn told(&mut self, answers: RedisResult<Vec<Value>>) -> Step {
        self.port.lock().told = Some(answers);
        self.step()
    }

    fn step(&mut self) -> Step {
        if let Poll::Ready(answer) = self.executing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Step::Over(answer);
        }
        match self.port.lock().asks.take() {
            Some((bytes, answers)) => Step::Asks(bytes, answers),
            None => Step::Over(Err(Trouble::other("the call waits for something else than Redis"))),
        }
    }
}

/// Where a call and whoever drives it meet.
#[derive(Clone, Default)]
struct Port(Arc<Mutex<Exchange>>);

#[derive(Default)]
struct Exchange {
    asks: Option<(Vec<u8>, usize)>,
    told: Option<RedisResult<Vec<Value>>>,
}

impl Port {
    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, bytes: Vec<u8>, answers: usize) -> impl Future<Output = RedisResult<Vec<Value>>> + Send + use<> {
        self.lock().asks = Some((bytes, answers));
        let port = self.clone();
        poll_fn(move |_| port.lock().told.take().map_or(Poll::Pending, Poll::Ready))
    }
}

impl ConnectionLike for Port {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let answers = self.ask(cmd.get_packed_command(), 1);
        async { Ok(answers.await?.pop().unwrap_or(Value::Nil)) }.boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let answers = self.ask(pipeline.get_packed_pipeline(), pipeline.len());
        async move { Ok(answers.await?.into_iter().skip(offset).take(count).collect()) }.boxed()
    }

    fn get_db(&self) -> i64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::RedisError;
    use streamkeeper_core::{
        config::Config,
        id::{ConsumerId, EntryId},
        keys::Keys,
        trouble::TroubleKind,
    };

    use super::*;
    use crate::plan::ConsumerPlan;

    fn begin(call: Call) -> (UnderWay, Step) {
        let config = Config::new(ConsumerPlan::default().settings()).unwrap();
        let consumer = ConsumerId::named("a").unwrap();
        UnderWay::begin(Protocol::new(Keys::plain("s").unwrap(), consumer, config, 1), call)
    }

    fn asked(step: Step) -> (String, usize) {
        match step {
            Step::Asks(bytes, answers) => (String::from_utf8_lossy(&bytes).into_owned(), answers),
            over @ Step::Over(_) => panic!("{over:?}"),
        }
    }

    #[test]
    fn a_script_that_is_not_known_is_sent_in_full_once_that_was_said() {
        let (mut call, first) = begin(Call::Look(vec![EntryId::default()]));
        assert!(asked(first).0.contains("EVALSHA"));
        let unknown = redis::parse_redis_value(b"-NOSCRIPT No matching script.\r\n");
        let (again, answers) = asked(call.told(unknown.map(|value| vec![value])));
        assert!(again.contains("$4\r\nEVAL\r\n") && answers == 1, "{again}");
        let over = call.told(Ok(vec![Value::Array(Vec::new())]));
        assert!(matches!(over, Step::Over(_)), "{over:?}");
    }

    #[test]
    fn what_is_never_answered_is_a_trouble_of_the_connection() {
        let (mut call, first) = begin(Call::Ping);
        assert!(asked(first).0.contains("PING"));
        let Step::Over(Err(trouble)) = call.told(Err(RedisError::from(io::Error::from(io::ErrorKind::TimedOut))))
        else {
            panic!("it goes on");
        };
        assert_eq!(trouble.kind, TroubleKind::Connection);
    }
}
