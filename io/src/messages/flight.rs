//! One run under way: the worker's future, polled for as long as it is not cancelled. However it ends, that is reported
//! exactly once.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures::future::BoxFuture;
use streamkeeper_core::{
    messages::{Outcome, RunId, Stage},
    time::Time,
};
use tracing::Span;

use super::{context::Handed, handler::words, runs::Runs};

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) id: RunId,
    pub(crate) stage: Stage,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// A run under way.
pub(crate) struct Flight {
    /// `None` once it has ended.
    worker: Option<BoxFuture<'static, Outcome>>,
    handed: Arc<Handed>,
    runs: Arc<Runs>,
    began: Time,
    span: Span,
}

impl Flight {
    pub(crate) fn new(handed: Arc<Handed>, runs: Arc<Runs>) -> Flight {
        let run = &handed.run;
        let span = tracing::info_span!("message", stream = handed.stream(), entry = %run.entry, attempt = run.attempt);
        let worker = runs.handler(handed.clone(), &span);
        Flight { worker: Some(worker), began: runs.now(), span, handed, runs }
    }

    /// Drops the worker's future, and reports.
    fn end(&mut self, outcome: Outcome) {
        let _entered = self.span.enter();
        let worker = self.worker.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(worker)));
        let outcome = match dropped {
            Ok(()) => outcome,
            Err(panic) => panicked(&*panic),
        };
        let took = self.runs.now().since(self.began);
        self.runs.ended(End { id: self.handed.run.id, stage: self.handed.run.stage, outcome, took });
    }
}

impl Future for Flight {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(worker) = &mut this.worker else { return Poll::Ready(()) };
        this.handed.task.register(context.waker());
        let outcome = if this.handed.is_cancelled() {
            Outcome::Cancelled
        } else {
            let _entered = this.span.enter();
            match catch_unwind(AssertUnwindSafe(|| worker.as_mut().poll(context))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(outcome)) => outcome,
                Err(panic) => panicked(&*panic),
            }
        };
        this.end(outcome);
        Poll::Ready(())
    }
}

impl Drop for Flight {
    /// Whoever ran it has ended before: the application's runtime.
    fn drop(&mut self) {
        if self.worker.is_some() {
            self.end(Outcome::Cancelled);
        }
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Outcome {
    Outcome::Failed { error: format!("panicked: {}", words(panic)).into(), pause: None }
}
