//! A simulated Redis on real or simulated byte streams: whoever has a stream and a clock can serve it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use bytes::{Bytes, BytesMut};
use streamkeeper::{ByteStream, Time};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{Notify, mpsc},
};

use super::{ConnId, Output, Redis};

type Stream = Box<dyn ByteStream>;

/// A server, shared by the tasks that serve it. Cheap to clone; its clones are one server.
#[derive(Clone)]
pub struct Server(Rc<Shared>);

/// Takes what goes to a connection; `None`: the server has closed it.
type Writer = Box<dyn Fn(Option<Bytes>)>;

struct Shared {
    redis: RefCell<Redis>,
    now: Box<dyn Fn() -> Time>,
    heard: Box<dyn Fn(Output)>,
    /// Where the answers go.
    writers: RefCell<BTreeMap<ConnId, Writer>>,
    /// For when the ticker sleeps.
    armed: Cell<Option<Time>>,
    earlier: Notify,
    ended: Notify,
}

impl Server {
    /// Serves this server by this clock; `heard` is told of every script that runs and of what is written, if the server
    /// is observed.
    pub fn new(redis: Redis, now: impl Fn() -> Time + 'static, heard: impl Fn(Output) + 'static) -> Server {
        Server(Rc::new(Shared {
            redis: RefCell::new(redis),
            now: Box::new(now),
            heard: Box::new(heard),
            writers: RefCell::default(),
            armed: Cell::new(None),
            earlier: Notify::new(),
            ended: Notify::new(),
        }))
    }

    /// Serves one connection until one side closes it. `opened` is told its number.
    pub async fn serve(&self, stream: Stream, opened: impl FnOnce(ConnId)) {
        let (sender, answers) = mpsc::unbounded_channel();
        let conn = self.open(move |bytes| {
            // Nobody reads what goes to a connection that is gone; that it is closed, the receiver hears when this is.
            if let Some(bytes) = bytes {
                let _ = sender.send(bytes);
            }
        });
        opened(conn);
        let _guard = HangUp { server: self, conn };
        let (reader, writer) = tokio::io::split(stream);
        tokio::select! {
            biased;
            () = write(writer, answers) => {}
            () = self.read(conn, reader) => {}
        }
    }

    /// Takes in a connection without a stream: `write` is given what goes to it, and `None` when the server closes it.
    /// What comes from it is told by [`with`](Server::with).
    pub(crate) fn open(&self, write: impl Fn(Option<Bytes>) + 'static) -> ConnId {
        self.with(|redis, now| {
            let conn = redis.accept(now);
            self.0.writers.borrow_mut().insert(conn, Box::new(write));
            conn
        })
    }

    /// The other side of a connection without a stream is gone.
    pub(crate) fn hang_up(&self, conn: ConnId) {
        let known = self.0.writers.borrow_mut().remove(&conn).is_some();
        if known {
            self.with(|redis, now| redis.hang_up(conn, now));
        }
    }

    /// When its own time is to pass next, unless something happens before.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        self.0.redis.borrow().wake_at()
    }

    /// Lets the server's own time pass: expiry, timeouts, the ends of faults. Never returns.
    pub async fn tick(&self) {
        loop {
            let at = self.0.redis.borrow().wake_at();
            self.0.armed.set(at);
            let sleep = async {
                match at {
                    Some(at) => tokio::time::sleep(at.since((self.0.now)())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.0.earlier.notified() => continue,
                () = sleep => {}
            }
            self.with(Redis::tick);
        }
    }

    /// Waits until somebody has shut the server down.
    pub async fn ended(&self) {
        self.0.ended.notified().await;
    }

    /// Does something with the server, now, and sends what comes out.
    pub fn with<R>(&self, act: impl FnOnce(&mut Redis, Time) -> R) -> R {
        let now = (self.0.now)();
        let mut redis = self.0.redis.borrow_mut();
        redis.advance(now);
        let result = act(&mut redis, now);
        drop(redis);
        self.deliver();
        result
    }

    async fn read(&self, conn: ConnId, mut reader: ReadHalf<Stream>) {
        let mut bytes = BytesMut::with_capacity(16 * 1024);
        while matches!(reader.read_buf(&mut bytes).await, Ok(1..)) {
            self.with(|redis, now| redis.receive(conn, &bytes, now));
            bytes.clear();
        }
    }

    fn deliver(&self) {
        loop {
            // Not held while somebody is told: who hears of a script may look at the server.
            let output = self.0.redis.borrow_mut().poll();
            match output {
                Some(Output::Send(conn, bytes)) => {
                    if let Some(writer) = self.0.writers.borrow().get(&conn) {
                        writer(Some(bytes));
                    }
                }
                Some(Output::Close(conn)) => {
                    if let Some(writer) = self.0.writers.borrow_mut().remove(&conn) {
                        writer(None);
                    }
                }
                Some(heard) => (self.0.heard)(heard),
                None => break,
            }
        }
        if self.0.redis.borrow().is_shut_down() {
            self.0.ended.notify_one();
        }
        let at = self.0.redis.borrow().wake_at();
        if at.is_some_and(|at| self.0.armed.get().is_none_or(|armed| at < armed)) {
            self.0.armed.set(at);
            self.0.earlier.notify_one();
        }
    }
}

/// Sends answers until the server closes the connection.
async fn write(mut writer: WriteHalf<Stream>, mut answers: mpsc::UnboundedReceiver<Bytes>) {
    while let Some(bytes) = answers.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await; // it is gone in any case
}

/// Tells the server that a connection is gone, however that came.
struct HangUp<'a> {
    server: &'a Server,
    conn: ConnId,
}

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        self.server.hang_up(self.conn);
    }
}
