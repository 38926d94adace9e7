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
use tracing::{Span, field::Empty};

use super::{
    context::{Context, Handed},
    handler::words,
    runs::Runs,
};

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
    /// The worker's future has not been polled yet.
    waits: bool,
    span: Span,
}

impl Flight {
    pub(crate) fn new(handed: Arc<Handed>, runs: Arc<Runs>) -> Flight {
        let run = &handed.run;
        let span = tracing::info_span!(
            "message",
            stream = handed.stream(),
            entry = %run.entry,
            attempt = run.attempt,
            traceparent = Empty,
        );
        if let Some(traceparent) = Context::new(handed.clone()).traceparent() {
            span.record("traceparent", traceparent);
            runs.on_span(&span, traceparent);
        }
        let worker = runs.worker(handed.clone());
        Flight { worker: Some(worker), began: runs.now(), waits: true, span, handed, runs }
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
        let (cancelled, begins) = (this.handed.is_cancelled(), std::mem::take(&mut this.waits));
        let outcome = if begins && (cancelled || this.runs.now() >= this.handed.run.begins_before) {
            Outcome::NotBegun
        } else if cancelled {
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
            self.end(if self.waits { Outcome::NotBegun } else { Outcome::Cancelled });
            self.runs.tell();
        }
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Outcome {
    Outcome::Failed { error: format!("panicked: {}", words(panic)).into(), pause: None }
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::{Debug, Write as _},
        sync::Mutex,
    };

    use tracing::{Event, Metadata, Subscriber, field::Field, span};

    use super::*;
    use crate::{
        Connect, Tcp, Tls,
        messages::{context::tests::handed, handler::Handler},
    };

    /// Writes down spans, and which of them events are in.
    #[derive(Clone, Default)]
    struct Tape(Arc<Mutex<Vec<String>>>);

    struct Line<'a>(&'a mut String);

    impl tracing::field::Visit for Line<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }

    impl Tape {
        fn add(&self, what: &str, record: impl FnOnce(&mut Line<'_>)) {
            let mut line = what.to_owned();
            record(&mut Line(&mut line));
            self.0.lock().unwrap().push(line);
        }
    }

    impl Subscriber for Tape {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().contains("flight")
        }
        fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
            self.add(span.metadata().name(), |line| span.record(line));
            span::Id::from_u64(7)
        }
        fn record(&self, _: &span::Id, values: &span::Record<'_>) {
            self.add("record", |line| values.record(line));
        }
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            self.add("event", |line| event.record(line));
        }
        fn enter(&self, span: &span::Id) {
            self.add(&format!("enter {}", span.into_u64()), |_| ());
        }
        fn exit(&self, _: &span::Id) {}
    }

    struct Says;

    impl Handler for Says {
        fn handle(self: Arc<Self>, _: Arc<Handed>) -> BoxFuture<'static, Outcome> {
            Box::pin(async {
                tracing::info!("hello");
                Outcome::Ack
            })
        }
    }

    #[tokio::test]
    async fn a_run_has_a_span_of_its_own() {
        let tape = Tape::default();
        let _installed = tracing::subscriber::set_default(tape.clone());
        let connect: Arc<dyn Connect> =
            Arc::new(Tcp::new(["redis://127.0.0.1:1"], &Tls::default(), Duration::from_secs(1)).unwrap());
        let hooked = tape.clone();
        let on_span = move |_: &Span, traceparent: &str| {
            hooked.add(&format!("hook {traceparent}"), |_| ());
            panic!("a hook that panics costs no message");
        };
        let runs = Runs::new(connect, Arc::new(Says), Some(Arc::new(on_span)));
        Flight::new(handed(3, Stage::Process, &[("body", "secret"), ("traceparent", "00-ab")]), runs.clone()).await;
        assert_eq!(runs.next_ended(true).await[0].outcome, Outcome::Ack);
        let lines = tape.0.lock().unwrap().clone();
        assert_eq!(
            lines[..5],
            [
                "message stream=\"s\" entry=3-0 attempt=1",
                "record traceparent=\"00-ab\"",
                "hook 00-ab",
                "enter 7",
                "event message=hello"
            ]
        );
    }
}
