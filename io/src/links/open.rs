//! How one connection is made: bytes, handshake, subscriptions, all within one time limit.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{AbortHandle, BoxFuture, Fuse, abortable},
};
use redis::{
    AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError, Value,
    aio::MultiplexedConnection,
};
use streamkeeper_core::{
    keys::Keys,
    streams::Link,
    trouble::{Trouble, TroubleKind},
};

use super::{connect::Connect, push::PushSender};
use crate::wire::troubles::refused;

/// A connection, and with it the task that moves its bytes: it ends with this value, not with the last answer.
pub(crate) struct Connection {
    redis: MultiplexedConnection,
    bytes: AbortHandle,
    /// Resolves when the server to talk to has become another one since this connection was opened.
    moved: Fuse<BoxFuture<'static, ()>>,
    /// The server has closed it, or it broke.
    over: Arc<AtomicBool>,
}

impl Connection {
    pub(crate) fn handle(&self) -> MultiplexedConnection {
        self.redis.clone()
    }

    /// Whether it is of no use any more: it has ended, or the server to talk to has become another one.
    pub(crate) fn is_over(&mut self) -> bool {
        self.over.load(Ordering::Acquire) || (&mut self.moved).now_or_never().is_some()
    }

    /// Ready, once, when the server to talk to has become another one.
    pub(crate) fn poll_moved(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.moved.poll_unpin(context)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.bytes.abort();
    }
}

/// What is needed to make connections.
#[derive(Clone)]
pub(crate) struct Opening {
    connect: Arc<dyn Connect>,
    call_timeout: Duration,
    block: Duration,
    subscription: Option<Subscription>,
}

/// What the subscriber's connection listens to.
#[derive(Clone)]
struct Subscription {
    expiry_pattern: String,
    doorbell: String,
    pushes: PushSender,
    warned: Arc<AtomicBool>,
}

impl Opening {
    pub(crate) fn new(connect: Arc<dyn Connect>, call_timeout: Duration, block: Duration) -> Opening {
        Opening { connect, call_timeout, block, subscription: None }
    }

    /// The subscriber's connection listens to expired leases and to the doorbell.
    pub(crate) fn subscribed(mut self, keys: &Keys, pushes: PushSender) -> Opening {
        let expiry_pattern = Keys::expiry_pattern(self.connect.login().db());
        self.subscription =
            Some(Subscription { expiry_pattern, doorbell: keys.orphans(), pushes, warned: Arc::default() });
        self
    }

    pub(crate) fn wrong_server(&self, link: Link, said: &Trouble) {
        self.connect.wrong_server(link, said);
    }

    /// Makes the connection of a link. `ended` is called when it breaks.
    pub(crate) fn open(
        &self,
        link: Link,
        ended: impl FnOnce() + Send + 'static,
    ) -> BoxFuture<'static, Result<Connection, Trouble>> {
        let this = self.clone();
        Box::pin(async move {
            let limit = this.call_timeout;
            let made = within(&*this.connect, limit, this.make(link, ended)).await;
            made.inspect_err(|trouble| not_reached(&*this.connect, link, trouble))
        })
    }

    async fn make(&self, link: Link, ended: impl FnOnce() + Send + 'static) -> Result<Connection, Trouble> {
        let settings = AsyncConnectionConfig::new();
        let connection = match link {
            Link::Commands => {
                let settings = settings.set_response_timeout(Some(self.call_timeout));
                self.handshake(link, ProtocolVersion::RESP2, settings, ended).await?
            }
            Link::Reader => {
                let settings = settings.set_response_timeout(Some(self.block + self.call_timeout));
                self.handshake(link, ProtocolVersion::RESP2, settings, ended).await?
            }
            Link::Subscriber => {
                let Some(subscription) = &self.subscription else {
                    return Err(Trouble::other("there is nothing to subscribe to"));
                };
                let pushes = subscription.pushes.clone();
                let settings = settings.set_response_timeout(Some(self.call_timeout));
                let settings = settings.set_push_sender(move |push| pushes.send(push));
                let mut connection = self.handshake(link, ProtocolVersion::RESP3, settings, ended).await?;
                subscription.begin(&mut connection.redis).await?;
                connection
            }
        };
        Ok(connection)
    }

    async fn handshake(
        &self,
        link: Link,
        protocol: ProtocolVersion,
        settings: AsyncConnectionConfig,
        ended: impl FnOnce() + Send + 'static,
    ) -> Result<Connection, Trouble> {
        shake_hands(&*self.connect, link, protocol, settings, ended).await
    }
}

impl Subscription {
    /// Subscribes to expiry notifications and to the doorbell. Without the right to, the reaper still finds orphans.
    async fn begin(&self, redis: &mut MultiplexedConnection) -> Result<(), Trouble> {
        let pattern = self.tolerate(&self.expiry_pattern, redis.psubscribe(&self.expiry_pattern).await)?;
        let doorbell = self.tolerate(&self.doorbell, redis.subscribe(&self.doorbell).await)?;
        let all = pattern && doorbell;
        if !all && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                pattern = %self.expiry_pattern, channel = %self.doorbell,
                "not all of these can be subscribed to: takeovers wait for the reaper; see docs/operations.md",
            );
        }
        Ok(())
    }

    fn tolerate(&self, what: &str, subscribed: Result<(), RedisError>) -> Result<bool, Trouble> {
        match subscribed.map_err(|e| crate::calls::trouble(&e)) {
            Ok(()) => Ok(true),
            // ElastiCache Serverless knows no PSUBSCRIBE.
            Err(trouble) if refused(&trouble) => {
                tracing::debug!(channel = what, %trouble, "not subscribed");
                Ok(false)
            }
            Err(trouble) => Err(trouble),
        }
    }
}

/// Makes a connection in so much time at most.
pub(crate) async fn within<T>(
    connect: &dyn Connect,
    limit: Duration,
    making: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let made = tokio::time::timeout(limit, making).await;
    made.unwrap_or_else(|_| Err(Trouble::connection(format!("{}: no connection within {limit:?}", connect.describe()))))
}

/// A server that takes connections and then is silent, or closes them, refuses none: another one is tried next.
pub(crate) fn not_reached(connect: &dyn Connect, link: Link, trouble: &Trouble) {
    if trouble.kind == TroubleKind::Connection {
        connect.wrong_server(link, trouble);
    }
}

/// Opens bytes, introduces us to the server, and lets the connection run.
pub(crate) async fn shake_hands(
    connect: &dyn Connect,
    link: Link,
    protocol: ProtocolVersion,
    settings: AsyncConnectionConfig,
    ended: impl FnOnce() + Send + 'static,
) -> Result<Connection, Trouble> {
    let bytes = connect.open(link).await.map_err(|e| unreachable_server(connect, &e))?;
    let moved = connect.moved().fuse();
    let login = connect.login_now().await.map_err(|e| unreachable_server(connect, &e))?;
    let login = introduce(login, protocol);
    let made = MultiplexedConnection::new_with_config(&login, bytes, settings).await;
    let (redis, running) = made.map_err(|e| handshake_trouble(&e))?;
    let (running, abort) = abortable(running);
    let over = Arc::new(AtomicBool::new(false));
    let says = over.clone();
    connect.spawn(Box::pin(async move {
        if running.await.is_ok() {
            says.store(true, Ordering::Release);
            ended();
        }
    }));
    let mut connection = Connection { redis, bytes: abort, moved, over };
    if connect.asks_role() {
        ask_role(connect, link, &mut connection.redis).await?;
    }
    Ok(connection)
}

/// Makes sure that this is a primary. Who may not ask finds out when it writes.
async fn ask_role(connect: &dyn Connect, link: Link, redis: &mut MultiplexedConnection) -> Result<(), Trouble> {
    match redis.send_packed_command(&redis::cmd("ROLE")).await.map_err(|e| crate::calls::trouble(&e)) {
        Ok(Value::Array(role)) if matches!(role.first(), Some(Value::BulkString(role)) if role != b"master") => {
            let message = format!("READONLY {}: the server is a replica: its primary is needed", connect.describe());
            let trouble = Trouble { kind: TroubleKind::WrongServer, message: message.into() };
            connect.wrong_server(link, &trouble);
            Err(trouble)
        }
        Ok(_) => Ok(()),
        Err(trouble) if trouble.kind == TroubleKind::Connection => Err(trouble),
        Err(trouble) => {
            tracing::debug!(%trouble, "the server does not tell its role");
            Ok(())
        }
    }
}

fn introduce(login: RedisConnectionInfo, protocol: ProtocolVersion) -> RedisConnectionInfo {
    login.set_protocol(protocol).set_lib_name("streamkeeper", env!("CARGO_PKG_VERSION"))
}

fn unreachable_server(connect: &dyn Connect, error: &io::Error) -> Trouble {
    // Who had to ask somebody for the way knows better what it means.
    if let Some(trouble) = error.get_ref().and_then(|inner| inner.downcast_ref::<Trouble>()) {
        return trouble.clone();
    }
    let (server, error) = (connect.describe(), error.to_string());
    if error.contains(&server) { Trouble::connection(error) } else { Trouble::connection(format!("{server}: {error}")) }
}

/// The redis crate has an error of its own for a password that was not accepted.
fn handshake_trouble(error: &RedisError) -> Trouble {
    match error.kind() {
        ErrorKind::AuthenticationFailed => Trouble {
            kind: TroubleKind::Refused,
            message: format!("WRONGPASS {error}: check user and password").into(),
        },
        _ => crate::calls::trouble(error),
    }
}
