//! The runs of one consumer, on the application's runtime: never on the driver's thread, which a worker that blocks
//! would hold up.
//!
//! Runs are handed over in batches, and so do their ends come back. *Lanes* are tasks that take one run after the other
//! and poll each once: where that ends them, they cost no task of their own. Once one is not over, it becomes a task,
//! and so do those behind it. While lanes are busy, one more always waits for work, so that a worker that blocks holds
//! up nobody but itself.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Context,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture, task::noop_waker_ref};
use streamkeeper_core::{messages::Outcome, time::Time};
use tokio::sync::Notify;
use tracing::Span;

use super::{
    context::Handed,
    flight::{End, Flight},
    handler::Handler,
};
use crate::{clock::Clock, links::connect::Connect};

/// What the driver and the lanes share.
pub(crate) struct Runs {
    connect: Arc<dyn Connect>,
    clock: Clock,
    handler: Arc<dyn Handler>,
    on_span: Option<OnSpan>,
    waiting: Mutex<Waiting>,
    work: Notify,
    ended: Mutex<Ended>,
    told: Notify,
}

/// What the application does with the span of each run that has a trace context.
pub(crate) type OnSpan = Arc<dyn Fn(&Span, &str) + Send + Sync>;

/// Runs that no lane has taken.
#[derive(Default)]
struct Waiting {
    runs: VecDeque<Arc<Handed>>,
    /// Lanes that wait, or are about to begin.
    idle: usize,
    closed: bool,
}

/// Runs that have ended, and that the driver has not taken.
#[derive(Default)]
struct Ended {
    ends: Vec<End>,
    /// The driver has been told that there are some.
    told: bool,
}

/// How many runs a lane takes before it lets other tasks of its thread have a turn, and tells the driver.
const TURN: u32 = 64;

/// How long a lane keeps the driver waiting for the ends of runs.
const PATIENCE: Duration = Duration::from_millis(1);

impl Runs {
    pub(crate) fn new(connect: Arc<dyn Connect>, handler: Arc<dyn Handler>, on_span: Option<OnSpan>) -> Arc<Runs> {
        Arc::new(Runs {
            clock: connect.clock(),
            connect,
            handler,
            on_span,
            waiting: Mutex::default(),
            work: Notify::new(),
            ended: Mutex::default(),
            told: Notify::new(),
        })
    }

    /// Makes the first lane, on the runtime from which this is called.
    pub(crate) fn open(self: &Arc<Runs>) {
        self.lock().idle += 1;
        self.begin_lane();
    }

    /// Hands runs over.
    pub(crate) fn start(&self, runs: impl IntoIterator<Item = Arc<Handed>>) {
        let mut waiting = self.lock();
        waiting.runs.extend(runs);
        let closed = waiting.closed;
        drop(waiting);
        self.work.notify_one();
        if closed {
            self.cancel_waiting();
        }
    }

    /// Takes nothing more, and ends the lanes: the driver has ended.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.cancel_waiting();
        // Each lane that ends wakes the next one.
        self.work.notify_one();
    }

    /// Whether nobody runs anything any more: the application's runtime has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The next runs that have ended; nothing, unless `stopping`, if nobody runs anything any more. Cancel safe.
    pub(crate) async fn next_ended(&self, stopping: bool) -> Vec<End> {
        loop {
            let ends = self.take_ended();
            if !ends.is_empty() || (!stopping && self.is_closed()) {
                return ends;
            }
            self.told.notified().await;
        }
    }

    fn take_ended(&self) -> Vec<End> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.told = false;
        std::mem::take(&mut ended.ends)
    }

    /// A run has ended. In a lane, the driver is told later.
    pub(crate) fn ended(&self, end: End) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).ends.push(end);
    }

    /// Tells the driver of what has ended, once.
    pub(crate) fn tell(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.ends.is_empty() || std::mem::replace(&mut ended.told, true) {
            return;
        }
        drop(ended);
        self.told.notify_one();
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The worker's future for a run.
    pub(crate) fn worker(&self, handed: Arc<Handed>) -> BoxFuture<'static, Outcome> {
        self.handler.clone().handle(handed)
    }

    /// Tells the application of the trace context that a run belongs to. A hook that panics costs a trace, not a
    /// message.
    pub(crate) fn on_span(&self, span: &Span, traceparent: &str) {
        if let Some(on_span) = &self.on_span {
            let _ = catch_unwind(AssertUnwindSafe(|| on_span(span, traceparent)));
        }
    }

    fn cancel_waiting(&self) {
        let runs = std::mem::take(&mut self.lock().runs);
        for handed in runs {
            let (id, stage) = (handed.run.id, handed.run.stage);
            self.ended(End { id, stage, outcome: Outcome::NotBegun, took: Duration::ZERO });
        }
        self.tell();
    }

    fn begin_lane(self: &Arc<Runs>) {
        let lane = Lane { runs: self.clone(), orderly: false };
        self.connect.spawn(Box::pin(lane.run()));
        // What was spawned last waits for this very thread, which is about to be busy: let that be something else.
        self.connect.spawn(Box::pin(async {}));
    }

    /// Lets a run become a task.
    fn spawn(self: &Arc<Runs>, flight: Flight) {
        let runs = self.clone();
        self.connect.spawn(Box::pin(async move {
            flight.await;
            runs.tell();
        }));
    }

    /// The next run for a lane: `idle` if the lane waits, and is not on its way from another run.
    fn next(self: &Arc<Runs>, idle: &mut bool) -> Option<Arc<Handed>> {
        let mut waiting = self.lock();
        let run = waiting.runs.pop_front()?;
        if std::mem::take(idle) {
            waiting.idle -= 1;
        }
        let alone = waiting.idle == 0;
        waiting.idle += usize::from(alone);
        drop(waiting);
        if alone {
            self.begin_lane();
        }
        Some(run)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that takes runs.
struct Lane {
    runs: Arc<Runs>,
    /// It was not cut off by the end of its runtime.
    orderly: bool,
}

impl Lane {
    async fn run(mut self) {
        let runs = self.runs.clone();
        let mut idle = true;
        loop {
            let mut told_at = runs.now();
            let (mut taken, mut polls) = (0_u32, true);
            while let Some(handed) = runs.next(&mut idle) {
                let mut flight = Flight::new(handed, runs.clone());
                polls = polls && flight.poll_unpin(&mut Context::from_waker(noop_waker_ref())).is_ready();
                if !polls {
                    // Polled again at once: by a task that can be woken.
                    runs.spawn(flight);
                }
                taken += 1;
                if taken.is_multiple_of(TURN) {
                    runs.tell();
                    tokio::task::yield_now().await;
                    (told_at, polls) = (runs.now(), true);
                } else if runs.now().since(told_at) > PATIENCE {
                    runs.tell();
                    told_at = runs.now();
                }
            }
            runs.tell();
            // Another one waits.
            if !idle || runs.is_closed() {
                break;
            }
            runs.work.notified().await;
        }
        if runs.is_closed() {
            runs.work.notify_one();
        }
        self.orderly = true;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if !self.orderly {
            self.runs.close();
            self.runs.told.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::future::pending;
    use streamkeeper_core::messages::{RunId, Stage};

    use super::*;
    use crate::{Tcp, Tls, messages::context::tests::handed};

    /// Runs whose id is odd never end by themselves; run 0 blocks until another has run, or fails.
    struct Odd(Arc<AtomicU64>);

    impl Handler for Odd {
        fn handle(self: Arc<Self>, handed: Arc<Handed>) -> BoxFuture<'static, Outcome> {
            Box::pin(async move {
                let id = handed.run.id.0;
                if id == 0 && !came_true(|| self.0.load(Ordering::SeqCst) > 0) {
                    return Outcome::Cancelled;
                }
                self.0.fetch_add(1, Ordering::SeqCst);
                if id % 2 == 1 {
                    pending::<()>().await;
                }
                Outcome::Ack
            })
        }
    }

    fn runs() -> Arc<Runs> {
        counted(Arc::default())
    }

    /// Counts how many runs have begun.
    fn counted(begun: Arc<AtomicU64>) -> Arc<Runs> {
        let connect = Tcp::new(["redis://127.0.0.1:1"], &Tls::default(), Duration::from_secs(1)).unwrap();
        let runs = Runs::new(Arc::new(connect), Arc::new(Odd(begun)), None);
        runs.open();
        runs
    }

    async fn ends(runs: &Arc<Runs>, count: usize) -> Vec<(RunId, Outcome)> {
        let mut all = Vec::new();
        while all.len() < count {
            let ends = tokio::time::timeout(Duration::from_secs(20), runs.next_ended(true)).await.expect("they end");
            all.extend(ends.into_iter().map(|end| (end.id, end.outcome)));
        }
        all.sort_by_key(|(id, _)| *id);
        all
    }

    fn came_true(holds: impl Fn() -> bool) -> bool {
        (0..5_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            holds()
        })
    }

    fn batch(ids: impl Iterator<Item = u64>) -> Vec<Arc<Handed>> {
        ids.map(|id| handed(id, Stage::Process, &[])).collect()
    }

    #[tokio::test]
    async fn every_run_ends_once_also_when_it_is_cancelled() {
        let runs = runs();
        let started = batch(1..1_001);
        runs.start(started.clone());
        assert!(ends(&runs, 500).await.iter().all(|(id, outcome)| id.0 % 2 == 0 && *outcome == Outcome::Ack));
        started.iter().for_each(|handed| handed.cancel());
        assert!(ends(&runs, 500).await.iter().all(|(id, outcome)| id.0 % 2 == 1 && *outcome == Outcome::Cancelled));
        let cancelled = batch(2_000..2_010);
        cancelled.iter().for_each(|handed| handed.cancel());
        runs.start(cancelled);
        assert!(ends(&runs, 10).await.iter().all(|(_, outcome)| *outcome == Outcome::NotBegun));
        assert!(runs.take_ended().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_run_that_blocks_leaves_the_others_to_another_lane() {
        for _ in 0..100 {
            let runs = runs();
            runs.start(batch(std::iter::once(0)));
            tokio::task::yield_now().await;
            runs.start(batch((2..10).step_by(2)));
            let outcomes = ends(&runs, 5).await;
            assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Ack), "{outcomes:?}");
            runs.close();
        }
    }

    #[tokio::test]
    async fn once_closed_nothing_is_run() {
        let runs = runs();
        runs.start(batch(1..4));
        assert_eq!(ends(&runs, 1).await, [(RunId(2), Outcome::Ack)]);
        runs.close();
        assert!(runs.next_ended(false).await.is_empty());
        runs.start(batch(10..12));
        let not_begun = [(RunId(10), Outcome::NotBegun), (RunId(11), Outcome::NotBegun)];
        assert_eq!(ends(&runs, 2).await, not_begun);
    }

    #[tokio::test]
    async fn a_run_that_is_dropped_is_told_at_once() {
        let runs = runs();
        let driver = runs.clone();
        let waiting = tokio::spawn(async move { ends(&driver, 1).await });
        tokio::task::yield_now().await;
        drop(Flight::new(handed(1, Stage::Process, &[]), runs));
        assert_eq!(waiting.await.unwrap(), [(RunId(1), Outcome::NotBegun)]);
    }

    #[tokio::test]
    async fn a_run_that_comes_too_late_does_not_begin() {
        let begun = Arc::new(AtomicU64::new(0));
        let runs = counted(begun.clone());
        let mut late = handed(2, Stage::Process, &[]);
        Arc::get_mut(&mut late).unwrap().run.begins_before = Time::ZERO;
        runs.start([late, handed(4, Stage::Process, &[])]);
        assert_eq!(ends(&runs, 2).await, [(RunId(2), Outcome::NotBegun), (RunId(4), Outcome::Ack)]);
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_runtime_that_ends_ends_its_runs() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let begun = Arc::new(AtomicU64::new(0));
        let runs = runtime.block_on(async { counted(begun.clone()) });
        runs.start(batch((1..8).step_by(2)));
        assert!(came_true(|| begun.load(Ordering::SeqCst) == 4));
        runtime.shutdown_background();
        assert!(came_true(|| runs.ended.lock().unwrap().ends.len() == 4 && runs.is_closed()));
        assert!(runs.take_ended().iter().all(|end| end.outcome == Outcome::Cancelled));
    }
}
