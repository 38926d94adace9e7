//! The runs of one consumer, on the application's runtime: never on the driver's thread, which a worker that blocks
//! would hold up.
//!
//! Runs are handed over in batches, and so do their ends come back. *Lanes* are tasks that take one run after the other
//! and poll each once: where that ends them, they cost no task of their own. Once one is not over, it becomes a task,
//! and so do those behind it. While lanes are busy, one more always waits for work, so that a worker that blocks holds
//! up nobody but itself.

use std::{
    collections::VecDeque,
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
    fn tell(&self) {
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
    pub(crate) fn handler(&self, handed: Arc<Handed>, span: &Span) -> BoxFuture<'static, Outcome> {
        if let Some(on_span) = &self.on_span
            && let Some(traceparent) = super::context::Context::new(handed.clone()).traceparent()
        {
            on_span(span, traceparent);
        }
        self.handler.clone().handle(handed)
    }

    fn cancel_waiting(&self) {
        let runs = std::mem::take(&mut self.lock().runs);
        for handed in runs {
            let (id, stage) = (handed.run.id, handed.run.stage);
            self.ended(End { id, stage, outcome: Outcome::Cancelled, took: Duration::ZERO });
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
