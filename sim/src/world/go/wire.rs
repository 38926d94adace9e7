//! How go-redis talks: a connection that is made when it is needed, a few seconds for an answer, three more tries.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, ProtocolVersion, PushInfo, RedisError, RedisResult, Script,
    ServerErrorKind, Value, aio::MultiplexedConnection,
};
use streamkeeper::{Connect, Link};
use tokio::{
    sync::{Mutex, mpsc},
    time::{sleep, timeout},
};

/// go-redis's DialTimeout.
const DIAL: Duration = Duration::from_secs(5);
/// go-redis's ReadTimeout.
const ANSWER: Duration = Duration::from_secs(3);
/// go-redis's MaxRetries, MinRetryBackoff and MaxRetryBackoff.
const TRIES: u32 = 4;
const PAUSE: (Duration, Duration) = (Duration::from_millis(8), Duration::from_millis(512));

/// One connection, made anew when it breaks.
pub(super) struct Wire {
    connect: Arc<dyn Connect>,
    answer: Option<Duration>,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Wire {
    /// For commands that are answered at once.
    pub(super) fn new(connect: Arc<dyn Connect>) -> Wire {
        Wire { connect, answer: Some(ANSWER), connection: Mutex::default() }
    }

    /// For commands that block for ever.
    pub(super) fn patient(connect: Arc<dyn Connect>) -> Wire {
        Wire { connect, answer: None, connection: Mutex::default() }
    }

    /// Sends a command, again if its connection breaks: whatever it changes may be changed twice.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let mut pause = PAUSE.0;
        for left in (0..TRIES).rev() {
            match self.try_once(command).await {
                Err(error) if left > 0 && is_passing(&error) => {
                    *self.connection.lock().await = None;
                    sleep(pause).await;
                    pause = (2 * pause).min(PAUSE.1);
                }
                Err(error) => return Err(error),
                Ok(value) => return redis::from_redis_value(value).map_err(RedisError::from),
            }
        }
        Err((ErrorKind::Io, "no try is left").into())
    }

    /// Runs a script by its hash, in full if it is unknown.
    pub(super) async fn script<T: FromRedisValue>(&self, code: &str, key: &str, arguments: &[&str]) -> RedisResult<T> {
        let invoke = |verb: &str, script: &str| {
            let mut command = redis::cmd(verb);
            command.arg(script).arg(1).arg(key).arg(arguments);
            command
        };
        match self.query(&invoke("EVALSHA", Script::new(code).get_hash())).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.query(&invoke("EVAL", code)).await
            }
            result => result,
        }
    }

    async fn try_once(&self, command: &Cmd) -> RedisResult<Value> {
        let mut connection = self.connected().await?;
        match connection.send_packed_command(command).await? {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        }
    }

    async fn connected(&self) -> RedisResult<MultiplexedConnection> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let settings = AsyncConnectionConfig::new().set_response_timeout(self.answer);
        let made = dial(&*self.connect, ProtocolVersion::RESP2, settings).await?;
        *connection = Some(made.clone());
        Ok(made)
    }
}

/// A connection that is told what is published under a pattern, and what it is told.
pub(super) async fn subscribe(
    connect: &dyn Connect,
    pattern: &str,
) -> RedisResult<(MultiplexedConnection, mpsc::UnboundedReceiver<PushInfo>)> {
    let (pushes, pushed) = mpsc::unbounded_channel();
    let settings = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER)).set_push_sender(pushes);
    let mut connection = dial(connect, ProtocolVersion::RESP3, settings).await?;
    connection.psubscribe(pattern).await?;
    Ok((connection, pushed))
}

async fn dial(
    connect: &dyn Connect,
    protocol: ProtocolVersion,
    settings: AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let login = connect.login().set_protocol(protocol);
    let making = async {
        let stream = connect.open(Link::Commands).await?;
        MultiplexedConnection::new_with_config(&login, stream, settings).await
    };
    let (connection, driver) = timeout(DIAL, making).await.map_err(|_| RedisError::from((ErrorKind::Io, "dial")))??;
    connect.spawn(Box::pin(driver));
    Ok(connection)
}

/// What go-redis tries again: a broken connection, and a server that says that it will be better.
fn is_passing(error: &RedisError) -> bool {
    let codes = ["LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"];
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.code().is_some_and(|code| codes.contains(&code))
        || error.to_string().contains("max number of clients")
}
