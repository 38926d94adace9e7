//! Where a process can be made to stand still at a point of its work, not merely at an instant: the point is armed, and
//! the process that reaches it freezes itself.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::BoxFuture;
use redis::RedisConnectionInfo;
use streamkeeper::{ByteStream, Clock, Connect, Link, Trouble};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::scene::Scene;
use crate::{
    facts::{What, Who, millis},
    plan::Point,
    stage::Freezer,
};

/// The armed points of one consumer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Checkpoints(Arc<Shared>);

struct Shared {
    scene: Scene,
    freezer: Freezer,
    connect: Arc<dyn Connect>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    who: Option<Who>,
    armed: VecDeque<Armed>,
    paused: Option<Armed>,
}

/// A pause that waits for its point.
#[derive(Clone)]
pub(crate) struct Armed {
    pub(crate) point: Point,
    pub(crate) span: Duration,
    /// What is written down when it strikes.
    pub(crate) struck: What,
    /// What is written down when it is over.
    pub(crate) over: What,
}

impl Checkpoints {
    pub(crate) fn new(scene: Scene, freezer: Freezer, connect: Arc<dyn Connect>) -> Checkpoints {
        Checkpoints(Arc::new(Shared { scene, freezer, connect, state: Mutex::default() }))
    }

    /// The process that the points belong to from now on.
    pub(crate) fn begin(&self, who: Who) {
        self.state().who = Some(who);
    }

    /// The next time that the process reaches this point, it pauses.
    pub(crate) fn arm(&self, armed: Armed) {
        self.state().armed.push_back(armed);
    }

    /// The process stands still at a point.
    pub(crate) fn is_paused(&self) -> bool {
        self.state().paused.is_some()
    }

    /// What has not struck does not strike any more.
    pub(crate) fn disarm(&self) {
        self.state().armed.clear();
    }

    /// The process was killed: a pause that it was in is over.
    pub(crate) fn end(&self) {
        if let Some(armed) = self.state().paused.take() {
            self.0.scene.note(armed.over);
        }
    }

    /// Passes a point: returns after the pause, if one was armed.
    pub(crate) async fn pass(&self, point: Point) {
        if let Some(span) = self.strike(point) {
            tokio::time::sleep(span).await;
            self.resume();
        }
    }

    /// Freezes the process, from its next await on, until it is killed.
    pub(crate) fn freeze(&self) {
        (self.0.freezer.0)(Duration::from_secs(1 << 32));
    }

    /// Freezes the process if a pause was armed for this point. For how long.
    fn strike(&self, point: Point) -> Option<Duration> {
        let mut state = self.state();
        let who = state.who?;
        if state.paused.is_some() {
            return None;
        }
        let place = state.armed.iter().position(|armed| armed.point == point)?;
        let armed = state.armed.remove(place)?;
        let span = armed.span;
        self.0.scene.note(armed.struck.clone());
        self.0.scene.note(What::Paused { who, ms: millis(span) });
        state.paused = Some(armed);
        drop(state);
        (self.0.freezer.0)(span);
        // Counts from here: the task begins when the process goes on.
        let (this, over) = (self.clone(), tokio::time::sleep(span));
        self.0.connect.spawn(Box::pin(async move {
            over.await;
            this.resume();
        }));
        Some(span)
    }

    /// Said by the first that goes on.
    fn resume(&self) {
        let mut state = self.state();
        if let (Some(armed), Some(who)) = (state.paused.take(), state.who) {
            self.0.scene.note(What::Resumed { who });
            self.0.scene.note(armed.over);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consumer's way to the world, on which its process can be made to stand still.
pub(crate) struct Watched {
    pub(crate) inner: Arc<dyn Connect>,
    pub(crate) checkpoints: Checkpoints,
}

impl Connect for Watched {
    fn open(&self, link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let (opening, checkpoints) = (self.inner.open(link), self.checkpoints.clone());
        Box::pin(async move {
            let bytes = opening.await?;
            Ok(match link {
                Link::Commands | Link::Reader => Box::new(Bytes { inner: bytes, checkpoints, pausing: None }),
                // What is pushed is no answer, and nothing is asked here.
                Link::Subscriber => bytes,
            })
        })
    }

    fn login(&self) -> RedisConnectionInfo {
        self.inner.login()
    }

    fn login_now(&self) -> BoxFuture<'static, io::Result<RedisConnectionInfo>> {
        self.inner.login_now()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn wrong_server(&self, link: Link, said: &Trouble) {
        self.inner.wrong_server(link, said);
    }

    fn asks_role(&self) -> bool {
        self.inner.asks_role()
    }

    fn moved(&self) -> BoxFuture<'static, ()> {
        self.inner.moved()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }

    fn drive(&self, name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        self.inner.drive(name, driver)
    }

    fn clock(&self) -> Clock {
        self.inner.clock()
    }
}

/// The bytes of a connection, with a point before each read and after each write.
struct Bytes {
    inner: Box<dyn ByteStream>,
    checkpoints: Checkpoints,
    /// What has arrived is not looked at until then.
    pausing: Option<(Pin<Box<Sleep>>, Vec<u8>)>,
}

impl AsyncRead for Bytes {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some((until, arrived)) = &mut this.pausing {
            ready!(until.as_mut().poll(context));
            this.checkpoints.resume();
            let fitting = arrived.len().min(buffer.remaining());
            buffer.put_slice(&arrived[..fitting]);
            arrived.drain(..fitting);
            if arrived.is_empty() {
                this.pausing = None;
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        let Some(span) = this.checkpoints.strike(Point::Answer) else { return Poll::Ready(Ok(())) };
        let arrived = buffer.filled()[before..].to_vec();
        buffer.set_filled(before);
        let mut until = Box::pin(tokio::time::sleep(span));
        let _ = until.as_mut().poll(context);
        this.pausing = Some((until, arrived));
        Poll::Pending
    }
}

impl AsyncWrite for Bytes {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.inner).poll_write(context, bytes))?;
        // The answer is on its way when it stands still: the freeze begins at the next await.
        let _ = this.checkpoints.strike(Point::Call);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use streamkeeper::Time;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::stage::{Course, REDIS, Stage, events::Events};

    /// A server that answers each byte with itself, and a host that sends ten, 100 ms apart. What the host had heard of
    /// when, and the record.
    fn ten_bytes(armed: Option<Point>) -> (Vec<Time>, Vec<(Time, What)>) {
        let mut stage = Events::new(1, (100, 100)).unwrap();
        stage.server(
            REDIS,
            Rc::new(|_, mut bytes| {
                Box::pin(async move {
                    let mut byte = [0];
                    while let Ok(1) = bytes.read(&mut byte).await {
                        let _ = bytes.write_all(&byte).await;
                    }
                })
            }),
        );
        let (scene, heard) = (Scene::new(stage.clock()), Rc::new(RefCell::new(Vec::new())));
        let road: Rc<RefCell<Option<Arc<dyn Connect>>>> = Rc::default();
        let (taken, clock, hearing) = (road.clone(), stage.clock(), heard.clone());
        stage.host(
            1,
            Rc::new(move || {
                let (road, clock, heard) = (taken.take(), clock.clone(), hearing.clone());
                Box::pin(async move {
                    let mut bytes = road.unwrap().open(Link::Commands).await.unwrap();
                    for number in 0..10 {
                        bytes.write_all(&[number]).await.unwrap();
                        assert_eq!(bytes.read_u8().await.unwrap(), number);
                        heard.borrow_mut().push(clock.now());
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                })
            }),
        );
        let inner = stage.connect(1, 0);
        let checkpoints = Checkpoints::new(scene.clone(), stage.freezer(1), inner.clone());
        road.replace(Some(Arc::new(Watched { inner, checkpoints: checkpoints.clone() })));
        checkpoints.begin(Who { consumer: 0, life: 0 });
        stage.start(1);
        stage.run_until(Time::from_millis(250));
        if let Some(point) = armed {
            let struck = What::Struck { action: "pause".to_owned(), kind: "pause", consumer: Some(0), ms: None };
            let over = What::Over { kind: "pause", consumer: Some(0) };
            checkpoints.arm(Armed { point, span: Duration::from_secs(5), struck, over });
        }
        stage.run_until(Time::from_millis(10_000));
        let record = scene.record().since(0).into_iter().map(|fact| (fact.at, fact.what)).collect();
        assert_eq!(stage.panics(), Vec::<String>::new());
        (heard.take(), record)
    }

    #[test]
    fn an_answer_that_has_arrived_is_looked_at_after_the_pause() {
        for point in [Point::Answer, Point::Call] {
            let (heard, record) = ten_bytes(Some(point));
            assert_eq!(heard.len(), 10);
            let longest = heard.windows(2).map(|two| two[1].since(two[0])).max().unwrap();
            assert!(longest >= Duration::from_secs(5), "{point:?}: {longest:?}");
            let words: Vec<String> = record
                .iter()
                .map(|(at, what)| crate::facts::Fact { at: *at, what: what.clone() }.to_string())
                .collect();
            assert_eq!(record.len(), 4, "{words:#?}");
            assert!(matches!(record[1].1, What::Paused { ms: 5_000, .. }), "{words:#?}");
            assert!(matches!(record[2].1, What::Resumed { .. }), "{words:#?}");
            let span = record[2].0.since(record[1].0);
            assert!(span >= Duration::from_secs(5) && span < Duration::from_millis(5_010), "{words:#?}");
        }
    }

    #[test]
    fn nothing_stands_still_unasked() {
        let (heard, record) = ten_bytes(None);
        let longest = heard.windows(2).map(|two| two[1].since(two[0])).max().unwrap();
        assert!(longest < Duration::from_millis(150), "{longest:?}");
        assert_eq!(record, []);
        let (_, elsewhere) = ten_bytes(Some(Point::Handler));
        assert_eq!(elsewhere, [], "no handler begins here");
    }
}
